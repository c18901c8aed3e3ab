"""The factors against the dense Fisher in float64, layer by layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from test_gradients import MODELS, N_CLASSES, prepared
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.ekfac import EkfacFactors, EkfacSpec, fit_factors
from orfila_engine.ekfac.factors import uniforms
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients.hooked import HookedLayer

CARD = ModelCard("test", tuple("abcd"), (9, 9), 3, (0.5,) * 3, (0.25,) * 3)
EXACT = EkfacSpec(labels="all")


def pictures(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 9, 9, 3), dtype=np.uint8)


def linear_net(seed: int, scale: float = 1.0) -> nn.Module:
    """Three linear layers with nothing between them."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.AvgPool2d(3), nn.Flatten(), nn.Linear(27, 6), nn.Linear(6, 5), nn.Linear(5, N_CLASSES))
    last = net[4]
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.weight *= scale
        last.bias *= 0
    return net.double().eval()


def packed_gradients(factors: EkfacFactors, model: nn.Module, layer: HookedLayer, losses: Tensor) -> Tensor:
    """Gradients [len(losses), g O I] of one layer by autograd, in the layout of the factors."""
    parameters = dict(model.named_parameters())
    wanted = [parameters[layer.weight]] + ([] if layer.bias is None else [parameters[layer.bias]])
    rows = []
    for loss in losses:
        found = torch.autograd.grad(loss, wanted, retain_graph=True)
        packed = factors.contraction(layer).pack(found[0], found[1] if layer.bias is not None else None)
        rows.append(packed.flatten())
    return torch.stack(rows)


def dense_fisher(factors: EkfacFactors, model: nn.Module, layer: HookedLayer, pixels: np.ndarray) -> Tensor:
    """E over images and the model's own labels of g g^T, [d, d]."""
    x = normalise(to_tensor(pixels), CARD).double()
    log_p = model(x).log_softmax(1)
    gradients = packed_gradients(factors, model, layer, -log_p.flatten())
    weighted = gradients * log_p.detach().exp().flatten()[:, None]
    return weighted.T @ gradients / len(pixels)


def kronecker_basis(factors: EkfacFactors, name: str) -> Tensor:
    """The eigenbasis as one matrix [d, d], columns in the order of the flattened eigenvalues."""
    f = factors.layers[name]
    return torch.block_diag(*(torch.kron(v, u) for v, u in zip(f.output_basis, f.input_basis, strict=True)))


@pytest.mark.parametrize(
    "kind", ["plain", "no bias", "strided", "dilated", "grouped", "depthwise", "batch normalisation, grouped",
             "padding reflect", "shared module", "tokens"],
)  # fmt: skip
def test_eigenvalues_are_the_dense_fishers_in_the_kronecker_basis(kind: str) -> None:
    model, pixels = prepared(MODELS[kind]), pictures(6)
    factors = fit_factors(model, CARD, pixels, EXACT, batch_size=4)
    for layer in factors.hooked.layers:
        fisher = dense_fisher(factors, model, layer, pixels)
        basis = kronecker_basis(factors, layer.name)
        identity = torch.eye(len(basis), dtype=torch.float64)
        torch.testing.assert_close(basis.T @ basis, identity, rtol=0, atol=1e-10)
        expected = (basis.T @ fisher @ basis).diagonal()
        got = factors.layers[layer.name].eigenvalues.flatten()
        torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-12 * float(expected.max()))


def test_the_bases_diagonalise_the_second_moments() -> None:
    model, pixels = linear_net(0), pictures(40)
    factors = fit_factors(model, CARD, pixels, EXACT, batch_size=16)
    x = normalise(to_tensor(pixels), CARD).double()
    a = torch.cat([model[:2](x), torch.ones(40, 1, dtype=torch.float64)], dim=1)  # type: ignore[index]
    u = factors.layers["2"].input_basis[0]
    turned = u.T @ (a.T @ a) @ u
    assert float((turned - turned.diagonal().diag()).abs().max()) < 1e-9 * float(turned.max())


def test_exact_where_the_fisher_is_a_kronecker_product() -> None:
    """A deep linear net whose prediction hardly depends on the image: then output gradients do not either."""
    model, pixels = linear_net(1, scale=1e-5), pictures(60)
    factors = fit_factors(model, CARD, pixels, EXACT)
    parameters = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    solved = factors.inverse_product(parameters)
    for layer in factors.hooked.layers:
        fisher = dense_fisher(factors, model, layer, pixels)
        damped = fisher + 0.1 * fisher.diagonal().mean() * torch.eye(len(fisher), dtype=torch.float64)
        contraction = factors.contraction(layer)
        assert layer.bias is not None
        expected = torch.linalg.solve(
            damped, contraction.pack(parameters[layer.weight], parameters[layer.bias]).flatten()
        )
        got = contraction.pack(solved[layer.weight], solved[layer.bias]).flatten()
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("seed", range(4))
def test_nearer_to_the_exact_answer_than_kfac_and_than_identity(seed: int) -> None:
    """Influences g . F^-1 . h on deep linear nets: EK-FAC, K-FAC with the same damping, and no curvature."""
    model, pixels = linear_net(seed, scale=3.0), pictures(80, seed)
    factors = fit_factors(model, CARD, pixels, EXACT)
    x = normalise(to_tensor(pixels), CARD).double()
    log_p = model(x).log_softmax(1)
    labels = torch.arange(80) % N_CLASSES
    losses = -log_p.gather(1, labels[:, None]).flatten()
    answers: dict[str, list[Tensor]] = {"exact": [], "ekfac": [], "kfac": [], "identity": []}
    matrix_errors: dict[str, list[float]] = {"ekfac": [], "kfac": []}
    for layer in factors.hooked.layers:
        fisher = dense_fisher(factors, model, layer, pixels)
        gradients = packed_gradients(factors, model, layer, losses)
        identity = torch.eye(len(fisher), dtype=torch.float64)
        damping = 0.1 * fisher.diagonal().mean() * identity
        basis = kronecker_basis(factors, layer.name)
        ekfac = basis @ factors.layers[layer.name].eigenvalues.flatten().diag() @ basis.T
        f = factors.layers[layer.name]
        a, b = moments(model, layer, x, log_p.detach().exp())
        kfac = torch.kron(b, a)
        a = a.detach()
        assert float((f.input_basis[0].T @ a @ f.input_basis[0]).triu(1).abs().max()) < 1e-8 * float(a.max())
        matrix_errors["ekfac"].append(float((ekfac - fisher).norm()))
        matrix_errors["kfac"].append(float((kfac - fisher).detach().norm()))
        for name, matrix in (("exact", fisher), ("ekfac", ekfac), ("kfac", kfac), ("identity", identity)):
            level = damping if name != "identity" else 0 * damping
            answers[name].append(gradients[:60] @ torch.linalg.solve(matrix + level, gradients[60:].T))
    assert all(e < k for e, k in zip(matrix_errors["ekfac"], matrix_errors["kfac"], strict=True))
    answers = {name: [part.detach() for part in found] for name, found in answers.items()}
    exact = torch.stack(answers["exact"]).sum(0).flatten()
    agreement = {
        name: float(torch.corrcoef(torch.stack([exact, torch.stack(found).sum(0).flatten()]))[0, 1])
        for name, found in answers.items()
    }
    error = {name: float((torch.stack(found).sum(0).flatten() - exact).norm()) for name, found in answers.items()}
    assert error["ekfac"] < error["kfac"]
    assert agreement["ekfac"] > agreement["kfac"] > agreement["identity"]
    assert agreement["ekfac"] > 0.95


def moments(model: nn.Module, layer: HookedLayer, x: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """E[a a^T] and E[b b^T] of a Linear layer of a linear net, over images and labels."""
    assert isinstance(model, nn.Sequential)
    number = int(layer.name)
    a = torch.cat([model[:number](x), torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
    jacobian = torch.eye(N_CLASSES, dtype=torch.float64)
    for later in reversed(list(model)[number + 1 :]):
        jacobian = jacobian @ later.weight
    outputs = torch.zeros(jacobian.shape[1], jacobian.shape[1], dtype=torch.float64)
    for k in range(N_CLASSES):
        b = (p - torch.eye(N_CLASSES, dtype=torch.float64)[k]) @ jacobian
        outputs += b.T @ (b * p[:, k : k + 1]) / len(x)
    return a.T @ a / len(x), outputs


def test_inverse_product_leaves_other_parameters_as_they_are() -> None:
    model, pixels = prepared(MODELS["batch normalisation, bias"]), pictures(12)
    factors = fit_factors(model, CARD, pixels, EXACT)
    gradient = {name: torch.randn_like(p) for name, p in model.named_parameters()}
    solved = factors.inverse_product(gradient)
    covered = {n for layer in factors.hooked.layers for n in (layer.weight, layer.bias)}
    assert {name for name in gradient if torch.equal(solved[name], gradient[name])} == set(gradient) - covered
    assert {item.kind for item in factors.left_out} == {"BatchNorm2d"}
    for layer in factors.hooked.layers:
        basis, f = kronecker_basis(factors, layer.name), factors.layers[layer.name]
        values = f.eigenvalues.flatten()
        matrix = basis @ (values + 0.5 * values.mean()).diag() @ basis.T
        contraction = factors.contraction(layer)
        assert layer.bias is not None
        packed = contraction.pack(gradient[layer.weight], gradient[layer.bias]).flatten()
        got = factors.inverse_product(gradient, damping=0.5)
        torch.testing.assert_close(
            contraction.pack(got[layer.weight], got[layer.bias]).flatten(), torch.linalg.solve(matrix, packed)
        )
        with pytest.raises(ValueError, match="gradient of its bias"):
            factors.inverse_product({layer.weight: gradient[layer.weight]})


@pytest.mark.parametrize("labels", ["sampled", "weighted"])
def test_drawn_labels_tend_to_the_expectation_and_do_not_depend_on_the_batches(labels: str) -> None:
    model, pixels = linear_net(2, scale=3.0), pictures(1_500)
    exact = fit_factors(model, CARD, pixels, EXACT)
    spec = EkfacSpec(labels=labels)  # type: ignore[arg-type]
    one = fit_factors(model, CARD, pixels, spec, batch_size=64)
    other = fit_factors(model, CARD, pixels, spec, batch_size=37)
    another = fit_factors(model, CARD, pixels, EkfacSpec(labels=labels, seed=1))  # type: ignore[arg-type]
    for name in exact.layers:
        torch.testing.assert_close(one.layers[name].eigenvalues, other.layers[name].eigenvalues)
        assert not torch.equal(one.layers[name].eigenvalues, another.layers[name].eigenvalues)
        total = float(exact.layers[name].eigenvalues.sum())
        assert float(one.layers[name].eigenvalues.sum()) == pytest.approx(total, rel=0.1)


def test_nothing_depends_on_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels = prepared(MODELS["grouped"]), pictures(10)
    whole = fit_factors(model, CARD, pixels, EXACT)
    monkeypatch.setattr("orfila_engine.ekfac.factors.PART_IMAGES", 4)
    parted = fit_factors(model, CARD, pixels, EXACT)
    for name, layer in whole.layers.items():
        torch.testing.assert_close(parted.layers[name].eigenvalues, layer.eigenvalues)


def test_weighted_labels_know_the_fisher_of_a_model_that_is_sure() -> None:
    """Where the prediction is nearly certain, labels drawn from it are all the same; weighted ones are not."""
    model, pixels = linear_net(2, scale=3.0), pictures(400)
    with torch.no_grad():
        model.get_parameter("4.bias").copy_(torch.tensor([25.0, 0.0, -2.0, 1.0]))
    exact = fit_factors(model, CARD, pixels, EXACT)
    weighted = fit_factors(model, CARD, pixels)
    sampled = fit_factors(model, CARD, pixels, EkfacSpec(labels="sampled"))
    for name, layer in exact.layers.items():
        total = float(layer.eigenvalues.sum())
        assert float(weighted.layers[name].eigenvalues.sum()) == pytest.approx(total, rel=0.1)
        assert float(sampled.layers[name].eigenvalues.sum()) < 1e-3 * total


def test_the_drawn_numbers_are_fixed_for_ever() -> None:
    assert np.array_equal(uniforms(3, "bases", 1_000)[:10], uniforms(3, "bases", 10))
    assert uniforms(0, "bases", 4) == pytest.approx(
        [0.3253669462296, 0.8818889727972, 0.7033083311541, 0.7025218127508]
    )
    assert not np.array_equal(uniforms(0, "bases", 4), uniforms(0, "eigenvalues", 4))
    assert abs(float(uniforms(1, "bases", 10_000).mean()) - 0.5) < 0.02


def test_only_some_images_estimate_the_factors() -> None:
    model, pixels = linear_net(0), pictures(50)
    some = fit_factors(model, CARD, pixels, EkfacSpec(n_images=20, labels="all"))
    every = fit_factors(model, CARD, pixels, EXACT)
    assert not torch.allclose(some.layers["2"].eigenvalues, every.layers["2"].eigenvalues)
    again = fit_factors(model, CARD, pixels, EkfacSpec(n_images=20, labels="all"), batch_size=7)
    torch.testing.assert_close(some.layers["2"].eigenvalues, again.layers["2"].eigenvalues)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    model, pixels = prepared(MODELS["grouped"]), pictures(10)
    factors = fit_factors(model, CARD, pixels)
    factors.save(tmp_path, "digest of another model")
    with pytest.raises(ValueError, match="another model"):
        EkfacFactors.open(tmp_path, model, CARD, "cpu")
    from orfila_engine.fingerprint import model_digest

    factors.save(tmp_path, model_digest(model, CARD))
    opened = EkfacFactors.open(tmp_path, model, CARD, "cpu")
    assert opened.spec == factors.spec
    for name, layer in factors.layers.items():
        assert torch.equal(opened.layers[name].eigenvalues, layer.eigenvalues)
        assert torch.equal(opened.layers[name].input_basis, layer.input_basis)
    with pytest.raises(ValueError, match="no EK-FAC factors"):
        EkfacFactors.open(tmp_path / "absent", model, CARD, "cpu")


def test_what_cannot_be_is_refused() -> None:
    for wrong, words in (
        ({"damping": 0.0}, "positive"),
        ({"labels": "true"}, "sampled or all"),
        ({"n_images": 0}, "one image"),
    ):
        with pytest.raises(ValueError, match=words):
            EkfacSpec(**wrong)  # type: ignore[arg-type]
    model = linear_net(0)
    with torch.no_grad():
        model.get_parameter("2.weight").fill_(1e200)
    with pytest.raises(ValueError, match="not finite"):
        fit_factors(model, CARD, pictures(4))


def test_layers_that_are_too_wide_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orfila_engine.ekfac.factors.MAX_FAN", 20)
    factors = fit_factors(linear_net(0), CARD, pictures(4), EXACT)
    assert list(factors.layers) == ["3", "4"]
    assert "at most 20 inputs" in next(item.reason for item in factors.left_out if item.name == "2")
