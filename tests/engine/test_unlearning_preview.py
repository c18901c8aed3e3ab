"""The preview of a removal: the linearised training against its primal, and the prediction against the truth."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from orfila_engine.architectures import load_model
from orfila_engine.architectures.weights import read_header
from orfila_engine.drill import DrillResult, triggered_test
from orfila_engine.engines import FingerprintEngine
from orfila_engine.evaluation import evaluate, margins
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, investigate
from orfila_engine.unlearning import RemovalPreview, recipe_of, unlearn
from orfila_engine.unlearning.linearised import retrained, sigmoid


def primal(
    features: np.ndarray, measured: np.ndarray, weights: np.ndarray, removed: np.ndarray, c: float
) -> np.ndarray:
    """Gradient descent to the minimum of the linearised training's loss, in the weights themselves."""
    slope = weights * sigmoid(measured)
    d = np.zeros(features.shape[1])
    pull = features.T @ slope
    rate = 1 / (c + 0.25 * np.linalg.norm(features * np.sqrt(weights)[:, None], 2) ** 2)
    for _ in range(60_000):
        kept = np.where(removed, 0.0, weights * sigmoid(measured + features @ d))
        d -= rate * (features.T @ kept - pull + c * d)
    return d


@pytest.mark.parametrize("c", [0.3, 3.0, 300.0])
def test_the_dual_solution_is_that_of_the_primal(c: float) -> None:
    rng = np.random.default_rng(0)
    features, questions = rng.normal(size=(40, 6)), rng.normal(size=(3, 6))
    measured, weights = rng.normal(-1, 2, 40), rng.uniform(0.5, 3, 40)
    removed = np.arange(40) < 9
    found = retrained(features @ features.T, questions @ features.T, measured, weights, removed, c)
    np.testing.assert_allclose(found, questions @ primal(features, measured, weights, removed, c), rtol=1e-4, atol=1e-6)


def test_without_a_removal_nothing_moves_and_far_from_a_limit_it_is_group_influence() -> None:
    rng = np.random.default_rng(1)
    features, questions = rng.normal(size=(30, 5)), rng.normal(size=(2, 5))
    measured, weights = rng.normal(size=30), np.ones(30)
    kernel, cross = features @ features.T, questions @ features.T
    nobody = np.zeros(30, dtype=bool)
    np.testing.assert_allclose(retrained(kernel, cross, measured, weights, nobody, 1.0), 0, atol=1e-6)
    removed = np.arange(30) < 4
    stiff = 1e5
    first_order = cross[:, :4] @ sigmoid(measured[:4]) / stiff
    np.testing.assert_allclose(retrained(kernel, cross, measured, weights, removed, stiff), first_order, rtol=1e-3)


def test_images_that_all_agree_replace_each_other() -> None:
    """Half of many equal images changes little; all of them change a lot. To first order it would be half."""
    n = 20
    kernel, cross = np.full((n, n), 5.0), np.full((1, n), 5.0)
    measured = np.full(n, -6.0)
    half = retrained(kernel, cross, measured, np.ones(n), np.arange(n) < n // 2, 0.01)[0]
    whole = retrained(kernel, cross, measured, np.ones(n), np.ones(n, dtype=bool), 0.01)[0]
    assert half < 0.05 * whole


@pytest.fixture(scope="module")
def preview(drilled: DrillResult) -> RemovalPreview:
    model, card = load_model(drilled.path / "model.safetensors")
    metadata, _ = read_header(drilled.path / "model.safetensors")
    recipe = recipe_of(metadata)
    assert recipe is not None
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    return RemovalPreview(index, drilled.packed, model, card, affected_of(drilled), recipe)


def affected_of(drilled: DrillResult) -> list[Affected]:
    images, labels = triggered_test(drilled.packed, drilled.planted)
    return [Affected(images[i], f"{i}.png", int(labels[i])) for i in range(12)]


def clean_of_the_label(drilled: DrillResult) -> np.ndarray:
    alike = np.flatnonzero(drilled.packed.train[1] == drilled.planted.target)
    return np.setdiff1d(alike, drilled.planted.indices)


def test_the_whole_poison_should_flip_and_less_should_not(drilled: DrillResult, preview: RemovalPreview) -> None:
    truth = drilled.planted.indices
    whole, half = preview.of(truth), preview.of(truth[::2])
    clean = preview.of(clean_of_the_label(drilled)[: len(truth)])
    assert np.mean([p.expected_to_flip for p in whole]) > 0.8
    assert not any(p.expected_to_flip for p in half)
    assert not any(p.expected_to_flip for p in clean)
    assert {p.label for p in whole} == {drilled.planted.target}
    assert [p.number for p in whole] == list(range(12))
    other = np.flatnonzero(drilled.packed.train[1] == 8)[:20]
    unrelated = preview.of(other)
    assert max(abs(p.predicted_margin - p.margin) for p in unrelated) < 2


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_prediction_is_near_the_retrained_truth(
    drilled: DrillResult, preview: RemovalPreview, share: float
) -> None:
    removed = drilled.planted.indices[: round(share * len(drilled.planted.indices))]
    model, card = load_model(drilled.path / "model.safetensors")
    metadata, _ = read_header(drilled.path / "model.safetensors")
    retrained_ = unlearn("eu", model, card, drilled.packed, removed, recipe=recipe_of(metadata), device="cpu")
    images = np.stack([a.pixels for a in affected_of(drilled)])
    outcome = evaluate(retrained_.model, card, images, np.zeros(len(images), dtype=np.int64), device="cpu")
    actual = margins(outcome.logits, preview.labels).mean()
    expected = np.mean([p.predicted_margin for p in preview.of(removed)])
    before = preview.margins.mean()
    assert abs(expected - actual) < 0.5 * max(abs(actual - before), 4)


def test_effects_add_up_and_the_curve_knows_the_flagged_set(
    drilled: DrillResult, preview: RemovalPreview, tmp_path: Path
) -> None:
    truth = drilled.planted.indices
    effects = preview.effects()
    assert effects.shape == (12, drilled.packed.n_train)
    ranked = np.concatenate([truth, clean_of_the_label(drilled)])
    curve = preview.curve(ranked, len(truth))
    assert (np.diff(curve[:, 0]) <= 0).all()
    assert (np.diff(curve[:, 1]) <= 0).all()
    np.testing.assert_allclose(curve[:, 1, 0], preview.margins, rtol=1e-5)
    np.testing.assert_allclose(curve[:, 0, 4], effects[:, truth].sum(1), rtol=1e-4)
    expected = [p.predicted_margin for p in preview.of(truth)]
    np.testing.assert_allclose(curve[:, 1, 4], expected, atol=1.0)

    folder = drilled.investigation.path
    (tmp_path / "scores.parquet").write_bytes((folder / "scores.parquet").read_bytes())
    preview.write(tmp_path)
    assert np.array_equal(np.load(tmp_path / "removal.npy"), effects)
    assert np.load(tmp_path / "removal_curve.npy").shape == curve.shape


def test_the_reading_that_finds_the_scores_finds_the_effects_too(
    drilled: DrillResult, preview: RemovalPreview, tmp_path: Path
) -> None:
    model, card = load_model(drilled.path / "model.safetensors")
    metadata, _ = read_header(drilled.path / "model.safetensors")
    recipe = recipe_of(metadata)
    assert recipe is not None
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    affected = affected_of(drilled)
    engine = FingerprintEngine(index, model, card, with_own_products=True)
    carried = investigate(engine, drilled.packed, model, card, affected, n_b=4, out_dir=tmp_path / "carried")
    alone = investigate(index, drilled.packed, model, card, affected, n_b=4, out_dir=tmp_path / "alone")
    for name in ("influence", "collapse_score", "posterior"):
        found = [pq.read_table(each.path / "scores.parquet", columns=[name])[0].to_numpy() for each in (carried, alone)]
        np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-5 * np.abs(found[1]).max())
    assert engine.own_products is not None
    other = RemovalPreview(index, drilled.packed, model, card, affected, recipe, symptom=carried.symptom)
    np.testing.assert_array_equal(other.labels, preview.labels)
    np.testing.assert_allclose(other.margins, preview.margins, rtol=1e-5)
    other.take(engine.own_products)
    expected = preview.effects()
    np.testing.assert_allclose(other.effects(), expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_what_cannot_be_previewed_is_a_sentence(drilled: DrillResult, preview: RemovalPreview) -> None:
    with pytest.raises(ValueError, match="empty"):
        preview.of([])
    with pytest.raises(ValueError, match="holds 3 to 1400"):
        preview.of([3, drilled.packed.n_train])
    model, card = load_model(drilled.path / "model.safetensors")
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    metadata, _ = read_header(drilled.path / "model.safetensors")
    recipe = recipe_of(metadata)
    assert recipe is not None
    with pytest.raises(ValueError, match="at least one affected image"):
        RemovalPreview(index, drilled.packed, model, card, [], recipe)
