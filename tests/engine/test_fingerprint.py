"""The index: equal to a dense Fisher in float64, and the same for every batch size and sharding."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, build, normalise
from orfila_engine.fingerprint import FingerprintIndex, IndexSpec, build_index, project_shard, reduce_shards
from orfila_engine.fingerprint.passes import _n_workers, default_batch_size
from orfila_engine.gradients import cross_entropy, measurement
from orfila_engine.gradients.random import projection

CARD = ModelCard("resnet-nano", ("a", "b", "c", "d"), (12, 12), 1, (0.5,), (0.25,))
N = 150
FULL = IndexSpec(dtype="float32", k_in=8, k_out=8, k_in_vector=40)
QUESTIONS = torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(9)), torch.tensor([0, 1, 2, 3, 0, 1])


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    made = build(CARD)
    with torch.no_grad():
        for _ in range(20):  # batch normalisation with statistics of its own
            made(torch.randn(32, 1, 12, 12))
    return made.eval()


@pytest.fixture(scope="module")
def data() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (N, 12, 12, 1), dtype=np.uint8), rng.integers(0, 4, N)


Data = tuple[NDArray[np.uint8], NDArray[np.int64]]


def gradients(model: nn.Module, images: Tensor, labels: Tensor, objective: object, name: str) -> Tensor:
    """Full gradients of one layer by autograd, float64 [N, fan-out, fan-in (+ 1)]."""
    layer = model.get_submodule(name)
    parameters = [p for p in (layer.weight, layer.bias) if p is not None]
    rows = []
    for x, y in zip(images, labels, strict=True):
        grads = torch.autograd.grad(objective(model(x[None]), y[None]).sum(), parameters)  # type: ignore[operator]
        rows.append(torch.cat([g.reshape(g.shape[0], -1) for g in grads], dim=1))  # type: ignore[arg-type]
    return torch.stack(rows)


def test_influence_is_that_of_a_dense_fisher(model: nn.Module, data: Data, tmp_path: Path) -> None:
    """s_iq = sum_l vec(P g_i) . (mean P g g^T P^T + damping)^-1 . vec(P h_q), every step in float64 without hooks."""
    pixels, labels = data
    index = build_index(model, CARD, pixels, labels, tmp_path / "index", FULL)
    found = index.query(model, CARD, *QUESTIONS)
    double = build(CARD).double().eval()
    double.load_state_dict(model.state_dict())
    train = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), CARD).double()
    asked = normalise(QUESTIONS[0], CARD).double()
    expected = torch.zeros(N, 6, dtype=torch.float64)
    own = torch.zeros(N, dtype=torch.float64)
    for layer in index.layers:
        g = gradients(double, train, torch.from_numpy(labels), cross_entropy, layer.name)
        h = gradients(double, asked, QUESTIONS[1], measurement, layer.name)
        p_b = projection(FULL.seed, layer.name, "output", layer.k_b, g.shape[1])
        p_a = projection(FULL.seed, layer.name, "input", layer.k_a, g.shape[2])
        g, h = ((p_b @ t @ p_a.T).flatten(1) for t in (g, h))
        fisher = g.T @ g / N
        fisher += FULL.damping * fisher.diagonal().mean() * torch.eye(len(fisher))
        expected += g @ torch.linalg.solve(fisher, h.T)
        own += (g * torch.linalg.solve(fisher, g.T).T).sum(1)
    got = torch.from_numpy(index.influence(found)).double()
    torch.testing.assert_close(got, expected, rtol=2e-3, atol=2e-4 * float(expected.abs().max()))
    torch.testing.assert_close(torch.from_numpy(index.self_influence).double(), own, rtol=2e-3, atol=1e-6)
    with torch.no_grad():
        measured = measurement(double(train), torch.from_numpy(labels))
    torch.testing.assert_close(torch.from_numpy(index.measurements).double(), measured, rtol=1e-4, atol=1e-4)
    relative = torch.from_numpy(index.relative_influence(found)).double()
    torch.testing.assert_close(relative, expected / own.sqrt()[:, None], rtol=5e-3, atol=1e-3)


def test_full_rank_needs_no_projection_at_all(model: nn.Module, data: Data, tmp_path: Path) -> None:
    """With every coordinate kept, influence is g_i . F^-1 . h_q with the empirical Fisher of the layer itself."""
    pixels, labels = data
    spec = IndexSpec(dtype="float32", k_in=10**6, k_out=10**6, k_in_vector=10**6, layers="classifier")
    index = build_index(model, CARD, pixels, labels, tmp_path / "index", spec)
    got = index.influence(index.query(model, CARD, *QUESTIONS))
    double = build(CARD).double().eval()
    double.load_state_dict(model.state_dict())
    train = normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2), CARD).double()
    g = gradients(double, train, torch.from_numpy(labels), cross_entropy, "classifier").flatten(1)
    h = gradients(double, normalise(QUESTIONS[0], CARD).double(), QUESTIONS[1], measurement, "classifier").flatten(1)
    fisher = g.T @ g / N
    fisher += 0.1 * fisher.diagonal().mean() * torch.eye(len(fisher))
    expected = (g @ torch.linalg.solve(fisher, h.T)).numpy()
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("batch_size", "shard_images"), [(1, N), (7, N), (64, 49), (150, 1_000), (33, 1)])
def test_batches_and_shards_do_not_matter(
    model: nn.Module, data: Data, tmp_path: Path, batch_size: int, shard_images: int
) -> None:
    if shard_images == 1:
        data = (data[0][:5], data[1][:5])
    reference = build_index(model, CARD, *data, tmp_path / "reference", FULL)
    other = build_index(model, CARD, *data, tmp_path / "other", FULL, batch_size=batch_size, shard_images=shard_images)
    np.testing.assert_allclose(other.measurements, reference.measurements, rtol=1e-4, atol=1e-4)
    scale = float(np.abs(reference.fingerprints[:]).max())
    np.testing.assert_allclose(other.fingerprints[:], reference.fingerprints[:], atol=2e-4 * scale)
    np.testing.assert_allclose(other.self_influence, reference.self_influence, rtol=1e-3)
    assert not list(tmp_path.glob("*shard*"))
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_not_matter(model: nn.Module, data: Data, tmp_path: Path, threads: int) -> None:
    """Batches run side by side, each on its own copy of the model, and come back in order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    reference = build_index(model, CARD, *data, tmp_path / "reference", FULL, batch_size=7)
    torch.set_num_threads(threads)
    try:
        other = build_index(model, CARD, *data, tmp_path / "other", FULL, batch_size=7)
        assert torch.get_num_threads() == threads
        with pytest.raises(ZeroDivisionError):
            build_index(model, CARD, *data, tmp_path / "third", FULL, batch_size=7, progress=lambda _doing, _s: 1 // 0)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    scale = float(np.abs(reference.fingerprints[:]).max())
    np.testing.assert_allclose(other.fingerprints[:], reference.fingerprints[:], atol=2e-4 * scale)


@pytest.mark.parametrize(
    ("threads", "area", "expected"), [(2, 32**2, 2), (6, 32**2, 6), (16, 32**2, 8), (11, 32**2, 1), (16, 224**2, 2)]
)
def test_passes_side_by_side_use_all_threads_evenly(threads: int, area: int, expected: int) -> None:
    workers = _n_workers(threads, area)
    assert workers == expected
    batch = default_batch_size(torch.device("cpu"), area, workers)
    assert batch == 32 if area == 32**2 else batch * workers == 32, "large pictures: no more in memory at once"


def test_shards_in_any_order_give_the_same_bits(model: nn.Module, data: Data, tmp_path: Path) -> None:
    """A worker that was killed and ran its shard again leaves no trace in the result."""
    shards = [tmp_path / "a", tmp_path / "b"]
    project_shard(model, CARD, *data, 100, N, shards[1])
    project_shard(model, CARD, *data, 0, 100, shards[0])
    reduce_shards(shards, tmp_path / "first")
    shutil.rmtree(shards[0])
    project_shard(model, CARD, *data, 0, 100, shards[0])
    reduce_shards(shards[::-1], tmp_path / "second")
    for name in (
        "gradients-00000.npy",
        "gradients-00001.npy",
        "scales-00000.npy",
        "self_influence.npy",
        "whitening.safetensors",
    ):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_index_file_describes_itself(model: nn.Module, data: Data, tmp_path: Path) -> None:
    seen: list[float] = []
    index = build_index(
        model, CARD, *data, tmp_path / "index", data_digest="d" * 64, progress=lambda _doing, share: seen.append(share)
    )
    meta = json.loads((tmp_path / "index" / "index.json").read_text())
    assert (meta["format"], meta["n"], meta["data"]) == ("orfila-index/3", N, "d" * 64)
    assert meta["dimension"] == sum(layer["k_a"] * layer["k_b"] for layer in meta["layers"])
    assert np.load(tmp_path / "index" / "gradients-00000.npy", mmap_mode="r").dtype == np.float16
    assert {item.kind for item in index.left_out} == {"BatchNorm2d"}
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    norms = np.square(index.fingerprints[:]).sum(1)
    np.testing.assert_allclose(norms, index.self_influence, rtol=5e-3)


def test_the_whitened_gradients_are_white(model: nn.Module, data: Data, tmp_path: Path) -> None:
    """mean phi phi^T = I - damping L^-1 L^-T within a layer, so no direction weighs more than 1."""
    index = build_index(model, CARD, *data, tmp_path / "index", FULL)
    for layer in index.layers:
        phi = index.fingerprints[:][:, layer.columns].astype(np.float64)
        eigenvalues = np.linalg.eigvalsh(phi.T @ phi / N)
        assert eigenvalues[-1] <= 1.001
        assert eigenvalues[-1] > 0.5


def test_progress_cancels(model: nn.Module, data: Data, tmp_path: Path) -> None:
    class Cancelled(Exception):
        pass

    def stop(_doing: str, share: float) -> None:
        if share > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        build_index(model, CARD, *data, tmp_path / "index", batch_size=16, progress=stop)
    assert not (tmp_path / "index").exists()


def test_an_image_on_which_the_model_overflows_is_named(data: Data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    broken = build(CARD).eval()
    pixels = np.zeros_like(data[0])
    pixels[7] = 255
    with torch.no_grad():
        broken.stem[0].weight.fill_(1e38)  # type: ignore[index,operator]
        broken.stem[1].running_mean.fill_(-1.8e38)  # type: ignore[index,operator]
    with pytest.raises(ValueError, match="training image 7 is not finite"):
        build_index(broken, CARD, pixels, data[1], tmp_path / "index")


def test_refusals(model: nn.Module, data: Data, tmp_path: Path) -> None:
    pixels, labels = data
    with pytest.raises(ValueError, match="resize the data set"):
        build_index(model, CARD, pixels[:, :8], labels, tmp_path / "index")
    with pytest.raises(ValueError, match="outside the model's 4 classes"):
        build_index(model, CARD, pixels, labels + 1, tmp_path / "index")
    with pytest.raises(ValueError, match="149 labels for 150"):
        build_index(model, CARD, pixels, labels[1:], tmp_path / "index")
    with pytest.raises(ValueError, match="not a range"):
        project_shard(model, CARD, pixels, labels, 100, 151, tmp_path / "shard")
    with pytest.raises(ValueError, match="not a fingerprint index"):
        FingerprintIndex.open(tmp_path)
    with pytest.raises(ValueError, match="damping"):
        IndexSpec(damping=0)
    with pytest.raises(ValueError, match="later-half"):
        IndexSpec(layers="first")  # type: ignore[arg-type]


def test_shards_that_do_not_fit_are_refused(model: nn.Module, data: Data, tmp_path: Path) -> None:
    project_shard(model, CARD, *data, 0, 50, tmp_path / "a")
    project_shard(model, CARD, *data, 60, N, tmp_path / "gap")
    project_shard(model, CARD, *data, 50, N, tmp_path / "seed", IndexSpec(seed=1))
    with pytest.raises(ValueError, match="60 where 50 is next"):
        reduce_shards([tmp_path / "a", tmp_path / "gap"], tmp_path / "index")
    with pytest.raises(ValueError, match="differs from the first in spec"):
        reduce_shards([tmp_path / "a", tmp_path / "seed"], tmp_path / "index")
    with pytest.raises(ValueError, match="no shards"):
        reduce_shards([], tmp_path / "index")


def test_another_model_is_refused(model: nn.Module, data: Data, tmp_path: Path) -> None:
    index = build_index(model, CARD, *data, tmp_path / "index")
    with pytest.raises(ValueError, match="built from another model"):
        index.query(build(CARD).eval(), CARD, *QUESTIONS)


def test_a_dead_layer_is_no_obstacle(data: Data, tmp_path: Path) -> None:
    torch.manual_seed(0)
    dead = build(CARD).eval()
    with torch.no_grad():
        dead.classifier.weight.zero_()  # type: ignore[union-attr,operator]
    index = build_index(dead, CARD, *data, tmp_path / "index")
    stem = index.fingerprints[:][:, index.layers[0].columns]
    assert not stem.any()
    assert np.isfinite(index.self_influence).all()
    assert index.self_influence.min() > 0
