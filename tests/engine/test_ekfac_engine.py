"""The engine's answers against autograd and the factors' own inverse, in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_ekfac_factors import CARD, pictures
from test_gradients import MODELS, prepared
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.ekfac import EkfacEngine, EkfacSpec, build_engine, open_engine, passes
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients.hooked import HookedModel, Receive
from orfila_engine.gradients.objectives import Objective, cross_entropy, measurement
from orfila_engine.questions import Asked

N = 7
KINDS = ("plain", "grouped", "depthwise", "batch normalisation, grouped", "padding circular", "shared module", "tokens")
LABELS = np.arange(N) % 4


def made(kind: str, folder: Path, **kwargs: int) -> tuple[nn.Module, EkfacEngine]:
    model = prepared(MODELS[kind])
    built = build_engine(model, CARD, pictures(N), LABELS, folder, EkfacSpec(labels="all"), device="cpu")
    return model, EkfacEngine(built.path, built.meta, built.factors, built.card, built.pixels, built.labels, **kwargs)


def asked(seed: int, n_b: int = 3) -> Asked:
    pixels = pictures(1 + n_b, seed)
    inputs = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return Asked(np.empty((0, 0), np.float32), inputs, pixels, np.arange(1 + n_b) % 4, ("none",) * (1 + n_b))


def vectors(
    model: nn.Module,
    engine: EkfacEngine,
    x: Tensor,
    labels: NDArray[np.int64],
    objective: Objective,
    card: ModelCard = CARD,
) -> Tensor:
    """Gradients [N, d] of the covered parameters by autograd."""
    parameters = dict(model.named_parameters())
    names = [n for layer in engine.factors.hooked.layers for n in (layer.weight, layer.bias) if n is not None]
    rows = []
    for i in range(len(x)):
        loss = objective(model(normalise(x[i : i + 1], card).double()), torch.tensor([labels[i]])).sum()
        found = torch.autograd.grad(loss, [parameters[n] for n in names])
        rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows)


def solve(model: nn.Module, engine: EkfacEngine, rows: Tensor) -> Tensor:
    """F^-1 of each row by `inverse_product`."""
    parameters = dict(model.named_parameters())
    names = [n for layer in engine.factors.hooked.layers for n in (layer.weight, layer.bias) if n is not None]
    sizes = [parameters[n].numel() for n in names]
    out = []
    for row in rows:
        parts = {n: g.view_as(parameters[n]) for n, g in zip(names, row.split(sizes), strict=True)}
        solved = engine.factors.inverse_product(parts)
        out.append(torch.cat([solved[n].flatten() for n in names]))
    return torch.stack(out)


def training_vectors(model: nn.Module, engine: EkfacEngine) -> Tensor:
    return vectors(model, engine, to_tensor(engine.pixels), LABELS, cross_entropy)


def query_vectors(model: nn.Module, engine: EkfacEngine, question: Asked) -> Tensor:
    return vectors(model, engine, question.inputs, question.labels, measurement)


def close(got: object, expected: object) -> None:
    np.testing.assert_allclose(
        np.asarray(got), np.asarray(expected), rtol=1e-5, atol=1e-6 * float(np.abs(np.asarray(expected)).max())
    )


@pytest.mark.parametrize("kind", KINDS)
def test_influences_and_self_influences(kind: str, tmp_path: Path) -> None:
    model, engine = made(kind, tmp_path / "ekfac")
    questions = [asked(1), asked(2)]
    g = training_vectors(model, engine)
    expected = torch.stack([g @ solve(model, engine, query_vectors(model, engine, q)).T for q in questions])
    first = engine.influence(questions)  # this pass makes the store too, in the eigenbasis
    assert (tmp_path / "ekfac" / "sketch-00000.npy").is_file()
    close(first, expected)
    close(engine.influence(questions), expected)  # this one does not rotate
    close(engine.self_influence, (g * solve(model, engine, g)).sum(1))


def test_questions_that_do_not_fit_in_memory_take_more_passes(tmp_path: Path) -> None:
    _, engine = made("plain", tmp_path / "ekfac")
    _, small = made("plain", tmp_path / "small", query_bytes=4 * engine.dimension * 8)
    questions = [asked(1), asked(2)]
    passes: list[float] = []
    close(small.influence(questions, lambda _doing, share: passes.append(share)), engine.influence(questions))
    assert len(passes) == 3  # 8 queries, 3 at a time
    assert passes == sorted(passes)
    assert passes[-1] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_directions_products_and_suspects(kind: str, tmp_path: Path) -> None:
    model, engine = made(kind, tmp_path / "ekfac")
    questions = [asked(1), asked(2)]
    g = training_vectors(model, engine)

    def unit(row: Tensor) -> Tensor:
        return row / (row @ solve(model, engine, row[None])[0]).sqrt()

    shifts = []
    for q in questions:
        h = query_vectors(model, engine, q)
        shifts.append(unit(h[0] - h[1:].mean(0)))
    v = unit(torch.stack(shifts).sum(0))
    direction = engine.direction(questions)
    influences, products = engine.scores(questions, direction)
    close(influences, engine.influence(questions))
    close(products, g @ solve(model, engine, v[None])[0])
    close(engine.products(direction), products)

    rows = np.array([0, 2, 3, 6])
    suspects = engine.suspects(rows)
    u = torch.stack([unit(row) for row in g[rows]])
    close(suspects.cosines(direction), u @ solve(model, engine, v[None])[0])
    weights = np.array([0.5, -0.2, 0.3, -0.6], dtype=np.float32)
    w = unit(torch.from_numpy(weights).double() @ u)
    contrast = suspects.contrast(weights)
    close(suspects.cosines(contrast), u @ solve(model, engine, w[None])[0])
    assert suspects.inner(contrast, direction) == pytest.approx(float(w @ solve(model, engine, v[None])[0]), abs=1e-6)
    assert suspects.inner(contrast, contrast) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", ["batch normalisation, grouped", "tokens"])
def test_cosines_of_other_images(kind: str, tmp_path: Path) -> None:
    model, engine = made(kind, tmp_path / "ekfac")
    others, labels = pictures(5, seed=8), np.array([3, 1, 0, 0, 2])
    direction = engine.direction([asked(1)])
    h = vectors(model, engine, to_tensor(others), labels, cross_entropy)
    lengths = (h * solve(model, engine, h)).sum(1).sqrt()
    q = query_vectors(model, engine, asked(1))
    shift = q[0] - q[1:].mean(0)
    v = shift / (shift @ solve(model, engine, shift[None])[0]).sqrt()
    close(engine.counterparts(others, labels)(direction), h @ solve(model, engine, v[None])[0] / lengths)


def test_the_sketch_keeps_products(tmp_path: Path) -> None:
    model, engine = made("tokens", tmp_path / "ekfac")
    g = training_vectors(model, engine)
    gram = g @ solve(model, engine, g).T
    lengths = gram.diagonal().sqrt()
    rows = engine.store.suspects(np.arange(N)).products(np.eye(4096, dtype=np.float32))
    assert float(np.abs(rows @ rows.T - np.asarray(gram / lengths[:, None] / lengths)).max()) < 5 / np.sqrt(4096)
    # A question's sketch has the length of its gradient.
    question = asked(1)
    h = query_vectors(model, engine, question)
    sketched = engine.store.query(model, CARD, question.inputs, torch.from_numpy(question.labels))
    products = rows @ sketched.T
    expected = np.asarray(g @ solve(model, engine, h).T / lengths[:, None])
    scale = np.asarray((h * solve(model, engine, h)).sum(1).sqrt())
    assert float(np.abs((products - expected) / scale).max()) < 5 / np.sqrt(4096)


def test_nothing_depends_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = made("grouped", tmp_path / "one")
    whole, direction = engine.influence([asked(1)]), engine.direction([asked(1)])
    monkeypatch.setattr("orfila_engine.ekfac.passes.BATCH_SIZE", 3)
    _, other = made("grouped", tmp_path / "other")
    close(other.influence([asked(1)]), whole)
    close(other.self_influence, engine.self_influence)
    close(other.products(other.direction([asked(1)])), engine.products(direction))


def test_half_a_batch_is_half_of_what_the_largest_layer_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, engine = made("grouped", tmp_path / "one")
    whole, hooked = engine.influence([asked(1)]), engine.factors.hooked
    largest = max(layer.fan_in * layer.fan_out for layer in hooked.layers)
    monkeypatch.setitem(passes._MAX_GRADIENTS, "cpu", 6 * largest)
    assert [passes.batch_size_for(hooked, half=half) for half in (False, True)] == [6, 3]
    monkeypatch.setitem(passes._MAX_GRADIENTS, "cpu", 1)
    assert [passes.batch_size_for(hooked, half=half) for half in (False, True)] == [1, 1]

    monkeypatch.setitem(passes._MAX_GRADIENTS, "cpu", 6 * largest)
    sizes: list[int] = []
    run = type(hooked).run

    def counted(self: HookedModel, x: Tensor, labels: Tensor, objective: Objective, receive: Receive) -> None:
        sizes.append(len(x))
        run(self, x, labels, objective, receive)

    monkeypatch.setattr(type(hooked), "run", counted)
    close(replace(engine, half_batch=True).influence([asked(1)]), whole)
    assert max(sizes) == 3


def test_an_engine_is_opened_again(tmp_path: Path) -> None:
    model, engine = made("plain", tmp_path / "ekfac")
    before = engine.influence([asked(1)])
    stored = (tmp_path / "ekfac" / "sketch-00000.npy").stat().st_mtime_ns
    opened = open_engine(tmp_path / "ekfac", model, CARD, pictures(N), LABELS, device="cpu")
    assert np.array_equal(opened.self_influence, engine.self_influence)
    close(opened.influence([asked(1)]), before)
    assert (tmp_path / "ekfac" / "sketch-00000.npy").stat().st_mtime_ns == stored
    with pytest.raises(ValueError, match="other images"):
        open_engine(tmp_path / "ekfac", model, CARD, pictures(N + 1), LABELS, device="cpu")
    with pytest.raises(ValueError, match="another model"):
        open_engine(tmp_path / "ekfac", prepared(MODELS["plain"], seed=4), CARD, pictures(N), LABELS, device="cpu")
    with pytest.raises(ValueError, match="make them again"):
        open_engine(tmp_path, model, CARD, pictures(N), LABELS, device="cpu")


def test_an_image_without_a_gradient_has_no_direction(tmp_path: Path) -> None:
    """Where the softmax is exact, the loss gradient is exactly zero, and nothing may become nan."""
    model = prepared(MODELS["plain"])
    with torch.no_grad():
        model.get_parameter("classifier.bias").copy_(torch.tensor([1e6, 0, 0, 0]))
    labels = np.zeros(N, dtype=np.int64)
    engine = build_engine(model, CARD, pictures(N), labels, tmp_path / "ekfac", device="cpu")
    assert not engine.self_influence.any()
    suspects = engine.suspects(np.arange(N))
    assert np.isfinite(suspects.cosines(suspects.contrast(np.ones(N, dtype=np.float32)))).all()


def test_unfinite_gradients_are_named(tmp_path: Path) -> None:
    _, engine = made("linear only", tmp_path / "ekfac")
    weight = dict(engine.factors.hooked._model.named_parameters())["1.weight"]
    with torch.no_grad():
        weight[0, 0] = torch.inf
    with pytest.raises(ValueError, match=r"training image \d is not finite"):
        _ = engine.self_influence
    with pytest.raises(ValueError, match="queried image is not finite"):
        engine.influence([asked(1)])


def test_cancelling_leaves_no_half_made_store(tmp_path: Path) -> None:
    _, engine = made("plain", tmp_path / "ekfac")

    def stop(_doing: str, _share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.influence([asked(1)], stop)
    assert not (tmp_path / "ekfac" / "sketch-00000.npy").exists()
    assert engine.influence([asked(1)]).shape == (1, N, 4)
