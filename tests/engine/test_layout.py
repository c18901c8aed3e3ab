"""Maps of fingerprints: against a dense decomposition, and neighbours that stay neighbours."""

import numpy as np
import pytest

from orfila_engine.drill import DrillResult
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.layout import N_AXES, principal_layout, umap_layout
from orfila_engine.questions import suspects_of


@pytest.fixture(scope="module")
def suspects(drilled: DrillResult) -> np.ndarray:
    return suspects_of(drilled.packed.train[1], drilled.planted.target, "label")


def unit_rows(index: FingerprintIndex) -> np.ndarray:
    rows = index.fingerprints[:].astype(np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_axes_are_the_principal_ones_of_the_suspects(index: FingerprintIndex, suspects: np.ndarray) -> None:
    rows = unit_rows(index)
    mean = rows[suspects].mean(0)
    _, lengths, axes = np.linalg.svd(rows[suspects] - mean, full_matrices=False)
    expected = (rows - mean) @ axes[:2].T
    found = principal_layout(index, suspects)
    assert found.points.shape == (index.n, 2)
    assert np.isfinite(found.points).all()
    for axis in range(2):
        signed = expected[:, axis] * np.sign((found.points[:, axis] * expected[:, axis]).sum())
        assert np.corrcoef(found.points[:, axis], signed)[0, 1] > 0.999
        assert np.abs(found.points[:, axis] - signed).max() < 0.05 * np.ptp(signed)
    share = np.square(lengths[:2]) / np.square(lengths).sum()
    assert found.explained == pytest.approx(tuple(share), rel=0.02)
    assert np.abs(found.points[suspects].mean(0)).max() < 1e-4
    assert ((found.points[suspects] ** 3).mean(0) > -1e-9).all(), "what stands out lies to the right and above"


def test_the_poison_lies_apart_on_the_map(drilled: DrillResult, index: FingerprintIndex, suspects: np.ndarray) -> None:
    poison = np.isin(suspects, drilled.planted.indices)
    for layout in (principal_layout(index, suspects), umap_layout(index, suspects, seed=1)):
        points = layout.points[suspects]
        nearest = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag(np.full(len(points), np.inf))
        same = poison[nearest.argmin(1)] == poison
        assert same.mean() > 0.9


def test_umap_shows_the_suspects_alone_and_is_the_same_again(index: FingerprintIndex, suspects: np.ndarray) -> None:
    once, again = (umap_layout(index, suspects, seed=3).points for _ in range(2))
    assert np.array_equal(once, again, equal_nan=True)
    assert np.flatnonzero(np.isfinite(once[:, 0])).tolist() == suspects.tolist()


def test_few_suspects_make_no_picture(index: FingerprintIndex) -> None:
    for lay_out in (principal_layout, umap_layout):
        with pytest.raises(ValueError, match="9 suspects; a map needs at least 10"):
            lay_out(index, np.arange(9))


def test_distances_along_the_main_axes_find_the_nearest_fingerprints(
    drilled: DrillResult, index: FingerprintIndex, suspects: np.ndarray
) -> None:
    coordinates = principal_layout(index, suspects).coordinates
    assert coordinates is not None
    assert coordinates.shape == (len(suspects), N_AXES)
    rows = unit_rows(index)[suspects]
    exact, along = (
        np.linalg.norm(x[:, None] - x[None], axis=2) + np.diag(np.full(len(x), np.inf)) for x in (rows, coordinates)
    )
    assert (along <= exact + 1e-3).all(), "a projection brings nothing further apart"
    near = [
        set(d.argsort(1)[i, :10]) & set(e.argsort(1)[i, :10]) for d, e in [(along, exact)] for i in range(len(rows))
    ]
    assert np.mean([len(both) / 10 for both in near]) > 0.6
    poison = np.isin(suspects, drilled.planted.indices)
    nearest = along.argsort(1)[:, :10]
    assert poison[nearest[poison]].mean() > 0.9, "the neighbours of poison are poison"
