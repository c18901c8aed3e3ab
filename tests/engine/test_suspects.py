"""Suspects' unit gradients against dense float64 algebra, whether they are held in memory or read again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from orfila_engine.blockwise import BLOCK, blocks_of, multiply, weighted_sum
from orfila_engine.collapse import collapse
from orfila_engine.fingerprint import FingerprintIndex, IndexSpec, ShardWriter, reduce_shards
from orfila_engine.gradients import IndexedLayer
from orfila_engine.suspects import FingerprintSuspects

LAYERS = (
    IndexedLayer("one", "conv2d", 4, 4, 0, 100),
    IndexedLayer("two", "conv2d", 8, 4, 16, 100),
    IndexedLayer("three", "linear", 3, 5, 48, 100),
)
D = 63
N = 3 * BLOCK + 17
POISON = np.arange(0, N, 20)


@pytest.fixture(scope="module")
def gradients() -> NDArray[np.float32]:
    """[N, D], correlated, over ten orders of magnitude; every 20th image is poison."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((N, D)) @ rng.standard_normal((D, D))
    rows[POISON] += 12 * rng.standard_normal(D)
    return (rows * 10 ** rng.uniform(-10, 0, (N, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def index(gradients: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory) -> FingerprintIndex:
    """The index of those gradients, in three shards."""
    folder = tmp_path_factory.mktemp("suspects")
    shards = []
    for start, stop in ((0, 300), (300, 301), (301, N)):
        shards.append(folder / f"shard-{start}")
        writer = ShardWriter(shards[-1], start, stop, LAYERS, IndexSpec(), "model")
        writer.add(torch.from_numpy(gradients[start:stop]))
        writer.close(torch.zeros(stop - start), [], "cpu")
    reduce_shards(shards, folder / "index")
    return FingerprintIndex.open(folder / "index")


@pytest.fixture(scope="module")
def phi(gradients: NDArray[np.float32]) -> NDArray[np.float64]:
    """Their fingerprints in float64, by the definition."""
    g = gradients.astype(np.float64)
    parts = []
    for layer in LAYERS:
        block = g[:, layer.columns]
        gram = block.T @ block / N
        gram += 0.1 * gram.diagonal().mean() * np.eye(layer.size)
        parts.append(np.linalg.solve(np.linalg.cholesky(gram), block.T).T)
    return np.concatenate(parts, axis=1)


def close(got: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(got, expected, atol=2e-3 * np.abs(expected).max(), rtol=0)


def test_the_index_is_the_definition(index: FingerprintIndex, phi: NDArray[np.float64]) -> None:
    close(np.sqrt(index.self_influence), np.linalg.norm(phi, axis=1))
    relative = index.fingerprints[:] / np.sqrt(index.self_influence)[:, None]
    close(relative, phi / np.linalg.norm(phi, axis=1, keepdims=True))
    queries = np.random.default_rng(1).standard_normal((5, D)).astype(np.float32)
    close(index.relative_influence(queries), phi @ queries.T / np.linalg.norm(phi, axis=1, keepdims=True))


@pytest.mark.parametrize("hold", [0, 2**30])
def test_products_and_sums_are_those_of_unit_fingerprints(
    index: FingerprintIndex, phi: NDArray[np.float64], hold: int
) -> None:
    indices = np.flatnonzero(np.arange(N) % 3 != 1)
    of_rows = np.square(np.sqrt(index.self_influence) / index.scales)
    suspects = FingerprintSuspects(index.rows, of_rows, indices, index.whitening, hold=hold)
    assert suspects.held_bytes == (len(indices) * D * 2 if hold else 0)
    unit = phi[indices] / np.linalg.norm(phi[indices], axis=1, keepdims=True)
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((3, D)).astype(np.float32)
    weights = rng.standard_normal((4, len(indices))).astype(np.float32)
    close(suspects.products(vectors), unit @ vectors.T)
    close(suspects.combine(weights), weights @ unit)
    close(suspects.cosines(vectors[0]), unit @ vectors[0])
    contrast = weights[0] @ unit
    close(suspects.contrast(weights[0]), contrast / np.linalg.norm(contrast))


def test_plain_fingerprints_need_no_whitening(phi: NDArray[np.float64]) -> None:
    rows = (phi / np.linalg.norm(phi, axis=1, keepdims=True)).astype(np.float16)
    suspects = FingerprintSuspects(rows, np.ones(N, dtype=np.float32), np.arange(N))
    close(suspects.cosines(phi[0].astype(np.float32)), rows.astype(np.float64) @ phi[0])


def test_an_image_without_gradient_has_cosine_zero() -> None:
    rows = np.eye(3, 5, dtype=np.float32)
    rows[1] = 0
    suspects = FingerprintSuspects(rows, np.square(rows).sum(1), np.arange(3))
    assert suspects.cosines(np.ones(5, dtype=np.float32)).tolist() == [1, 0, 1]


def test_the_collapse_rule_finds_tiny_gradients_too(index: FingerprintIndex, phi: NDArray[np.float64]) -> None:
    """Lengths over ten orders of magnitude, beyond float16's own range: only directions count."""
    direction = phi[POISON[:3]] / np.linalg.norm(phi[POISON[:3]], axis=1, keepdims=True)
    start = direction.sum(0)
    found = collapse(index.suspects(np.arange(N)), (start / np.linalg.norm(start)).astype(np.float32))
    assert set(np.flatnonzero(found.posterior > 0.9)) == set(POISON)


def test_suspects_are_remembered_within_bounds(index: FingerprintIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    first = index.suspects(np.arange(100))
    assert index.suspects(np.arange(100)) is first
    monkeypatch.setattr("orfila_engine.fingerprint.index.HELD_BYTES", 100 * D * 2 + 1)
    second = index.suspects(np.arange(100, 200))
    assert index.suspects(np.arange(100, 200)) is second
    assert index.suspects(np.arange(100)) is not first, "both together are over the bound"
    index.forget()
    assert index.suspects(np.arange(100, 200)) is not second


def test_an_index_that_is_held_answers_the_same_without_its_files(
    index: FingerprintIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = np.random.default_rng(0).standard_normal((3, D)).astype(np.float32)
    some = np.array([7, 3, N - 1])
    products, rows = index.products(vectors), index.rows[some]
    monkeypatch.setattr("orfila_engine.fingerprint.index.HELD_BYTES", N * D * 2 - 1)
    index.hold()
    assert index.rows._held is None, "it is larger than the bound"
    monkeypatch.setattr("orfila_engine.fingerprint.index.HELD_BYTES", N * D * 2)
    index.hold()
    files, index.rows._files = index.rows._files, []
    try:
        np.testing.assert_allclose(index.products(vectors), products, rtol=1e-4, atol=1e-5 * np.abs(products).max())
        np.testing.assert_array_equal(index.rows[some], rows)
    finally:
        index.rows._files = files
        index.forget()
    assert index.rows._held is None
    np.testing.assert_array_equal(index.products(vectors), products)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("n", [1, BLOCK, 2 * BLOCK + 1])
def test_blocks_cover_every_row(dtype: type[np.floating], n: int) -> None:
    rng = np.random.default_rng(n)
    rows = rng.standard_normal((n, 7)).astype(dtype)
    vectors, weights = rng.standard_normal((2, 7)), rng.standard_normal((3, n))
    product = multiply(blocks_of(rows), n, vectors.astype(np.float32))
    np.testing.assert_allclose(product, rows.astype(np.float64) @ vectors.T, atol=1e-5)
    total = weighted_sum(blocks_of(rows), weights.astype(np.float32), 7)
    np.testing.assert_allclose(total, weights @ rows.astype(np.float64), atol=1e-4)


def test_the_store_reads_like_an_array(index: FingerprintIndex, gradients: NDArray[np.float32]) -> None:
    whole = index.fingerprints[:]
    assert len(index.fingerprints) == N
    assert index.fingerprints.shape == whole.shape == (N, D)
    for key in (slice(298, 303), slice(None, None, -5), [700, 2, 300, 2], -1, 0, np.arange(N) % 7 == 0):
        np.testing.assert_allclose(index.fingerprints[key], whole[key], rtol=1e-5, atol=1e-5)
    assert index.fingerprints[np.arange(0)].shape == (0, D)
    with pytest.raises(IndexError):
        index.fingerprints[N]
    stored = index.rows[np.arange(N)].astype(np.float32) * index.scales[:, None]
    assert np.abs(stored - gradients).max(1) / np.abs(gradients).max(1) == pytest.approx(0, abs=2**-11)
    assert np.all(np.frexp(index.scales)[0] == 0.5), "scales are powers of two, so that scaling is exact"
