"""Each detector against an oracle: scikit-learn, numpy, scipy, autograd, or what the investigation wrote."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.fft
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.metrics import average_precision_score, silhouette_score
from torch import nn

from orfila_engine import detectors
from orfila_engine.architectures import ModelCard, build, load_model, normalise
from orfila_engine.data import PackedDataset
from orfila_engine.detectors import DetectorInput
from orfila_engine.detectors.activation_clustering import ActivationClustering, ActivationClusteringIca
from orfila_engine.detectors.base import outliers
from orfila_engine.detectors.frequency import Frequency, dct, mark, score_pictures
from orfila_engine.detectors.spectral_signatures import SpectralSignatures, spectral_scores
from orfila_engine.detectors.trak import trak_scores
from orfila_engine.drill import DrillResult
from orfila_engine.evaluation import to_tensor
from orfila_engine.features import penultimate_features
from orfila_engine.fingerprint import FingerprintIndex, IndexSpec, build_index
from orfila_engine.transforms import transformed_queries


@pytest.fixture(scope="module")
def evidence(drilled: DrillResult) -> DetectorInput:
    """BadNet on 3 % of the digits, one affected image."""
    model, card = load_model(drilled.path / "model.safetensors")
    with Image.open(drilled.path / "affected-0.png") as image:
        pixels = np.asarray(image)[None, ..., None]
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    packed = drilled.packed
    return DetectorInput(packed, model, card, index, pixels, drilled.planted.target, packed.test[0], device="cpu")


@pytest.fixture(scope="module")
def truth(drilled: DrillResult) -> NDArray[np.bool_]:
    mask = np.zeros(drilled.packed.n_train, dtype=bool)
    mask[drilled.planted.indices] = True
    return mask


@pytest.fixture(scope="module")
def linear(few_digits: PackedDataset, tmp_path_factory: pytest.TempPathFactory) -> DetectorInput:
    """A model of one Linear layer, so small that the index projects nothing away: gradients are the whole ones."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    card = ModelCard("one-layer", few_digits.classes, (8, 8), 1, (0.3,), (0.4,))
    spec = IndexSpec(k_in_vector=65, k_out=3, dtype="float32")
    path = tmp_path_factory.mktemp("linear") / "index"
    index = build_index(model, card, *few_digits.train, path, spec, device="cpu")
    images = np.array(few_digits.test[0][:2])
    return DetectorInput(few_digits, model, card, index, images, 1, few_digits.test[0], n_b=10, device="cpu")


def dense_gradients(
    evidence: DetectorInput, images: NDArray[np.uint8], labels: list[int], *, loss: bool
) -> torch.Tensor:
    """[N, D] by autograd, one example at a time: of the loss, or of f = log(p / (1 - p))."""
    model = evidence.model
    rows = []
    for image, label in zip(images, labels, strict=True):
        log_p = model(normalise(to_tensor(image[None]), evidence.card)).double().log_softmax(1)[0, label]
        value = -log_p if loss else log_p - torch.log1p(-log_p.exp())
        weight, bias = torch.autograd.grad(value, list(model.parameters()))
        rows.append(torch.cat([weight, bias[:, None]], dim=1).flatten())
    return torch.stack(rows).double()


def clusters(n_majority: int, n_minority: int, gap: float, dimensions: int = 20) -> NDArray[np.float32]:
    """Features of one class: a majority around 0 and a minority, the last rows, `gap` away."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((n_majority + n_minority, dimensions)).astype(np.float32)
    features[n_majority:, 0] += gap
    return features


def with_features(evidence: DetectorInput, features: NDArray[np.float32]) -> DetectorInput:
    """The same evidence with given penultimate features."""
    copy = replace(evidence)
    copy.__dict__["features"] = features
    return copy


@pytest.mark.parametrize("architecture", ["resnet-nano", "torchvision:mobilenet_v3_small", "timm:convnext_atto"])
def test_features_are_what_the_last_layer_turns_into_logits(architecture: str) -> None:
    torch.manual_seed(0)
    card = ModelCard(architecture, ("a", "b", "c"), (32, 32), 3, (0.5,) * 3, (0.25,) * 3)
    model = build(card).eval()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    features = torch.from_numpy(penultimate_features(model, card, pixels, batch_size=2, device="cpu"))
    head = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        logits = model(normalise(to_tensor(pixels), card))
        assert torch.allclose(head(features), logits, atol=1e-4)
    assert not list(head._forward_pre_hooks)


def test_features_need_a_linear_layer_at_the_end() -> None:
    card = ModelCard("convolution", ("a", "b"), (8, 8), 1, (0.5,), (0.25,))
    model = nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten())
    with pytest.raises(ValueError, match="do not come from a Linear layer"):
        penultimate_features(model, card, np.zeros((2, 8, 8, 1), np.uint8), device="cpu")


def test_the_paper_rule_is_that_of_the_investigation(evidence: DetectorInput, drilled: DrillResult) -> None:
    answer = detectors.make("delta-influence").detect(evidence)
    table = pq.read_table(drilled.path / "investigation" / "scores.parquet")
    assert sorted(answer.flagged.tolist()) == np.flatnonzero(table["flagged_paper"].to_numpy()).tolist()
    assert np.array_equal(np.floor(answer.scores), table["n_collapsed"].to_numpy())
    # Among images with the same count the more negative mean shift comes first.
    equal = np.flatnonzero(table["n_collapsed"].to_numpy() == 50)
    order = equal[np.argsort(-answer.scores[equal])]
    assert np.all(np.diff(table["shift_mean"].to_numpy()[order]) >= -1e-4)


def test_the_ablations_change_one_thing_only(evidence: DetectorInput) -> None:
    picture = torch.from_numpy(np.array(evidence.images[0])).permute(2, 0, 1).float() / 255
    queries = transformed_queries(picture, evidence.predicted, 10, 50, 0)
    own = evidence.influence_on(picture[None], torch.tensor([evidence.predicted]))
    same_label = torch.full((50,), evidence.predicted)
    same_picture = picture.expand(50, -1, -1, -1)
    for detector, pictures, labels in (
        (detectors.ImageOnly(), queries.images, same_label),
        (detectors.LabelOnly(), same_picture, queries.labels),
        (detectors.DeltaInfluence(), queries.images, queries.labels),
    ):
        expected = evidence.influence_on(pictures, labels) - own
        assert detector.shifts(evidence, 0) == pytest.approx(
            expected, rel=1e-3, abs=1e-3 * float(np.abs(expected).max())
        )


def test_the_collapse_rule_is_that_of_the_investigation(evidence: DetectorInput, drilled: DrillResult) -> None:
    answer = detectors.make("collapse").detect(evidence)
    table = pq.read_table(drilled.path / "investigation" / "scores.parquet")
    assert answer.within == "label"
    assert sorted(answer.flagged.tolist()) == np.flatnonzero(table["flagged"].to_numpy()).tolist()
    suspects = table["suspect"].to_numpy()
    # The surest first, as in the investigation: by posterior, then by collapse score.
    ranks = np.lexsort((table["collapse_score"].to_numpy(), table["posterior"].to_numpy(), suspects))
    ours = np.argsort(answer.scores, kind="stable")
    assert table["posterior"].to_numpy()[ours[-300:]] == pytest.approx(
        table["posterior"].to_numpy()[ranks[-300:]], abs=2e-3
    )
    assert answer.scores[~suspects].max() < answer.scores[suspects].min()
    assert detectors.make("collapse-all").detect(evidence).within == "all classes"


def test_influence_is_a_mean_over_affected_images(linear: DetectorInput) -> None:
    answer = detectors.make("influence", deviations=2).detect(linear)
    pictures = to_tensor(linear.images).float() / 255
    expected = linear.influence_on(pictures, torch.tensor([1, 1])).mean(1)
    assert answer.scores == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert set(answer.flagged) == set(np.flatnonzero(outliers(expected, 2)))


def test_measurement_gradients_are_those_of_autograd_and_parallel_to_the_loss(linear: DetectorInput) -> None:
    images, labels = linear.packed.train[0][:20], linear.labels[:20].tolist()
    f = dense_gradients(linear, images, labels, loss=False)
    found = torch.from_numpy(linear.measurement_gradients[:20]).double()
    assert torch.allclose(found, -f, atol=1e-4)
    loss = dense_gradients(linear, images, labels, loss=True)
    with torch.no_grad():
        p = linear.model(normalise(to_tensor(images), linear.card)).softmax(1)[range(20), labels].double()
    assert torch.allclose((1 - p)[:, None] * found, loss, atol=1e-4)


def test_cosine_is_that_of_the_loss_gradients(linear: DetectorInput) -> None:
    loss = dense_gradients(linear, linear.packed.train[0], linear.labels.tolist(), loss=True)
    asked = -dense_gradients(linear, linear.images, [1, 1], loss=False)
    expected = sum(F.cosine_similarity(loss, a[None]) for a in asked) / 2
    answer = detectors.make("cosine").detect(linear)
    assert answer.scores == pytest.approx(expected.numpy(), abs=1e-4)


def test_trak_is_the_dense_formula(linear: DetectorInput) -> None:
    phi = dense_gradients(linear, linear.packed.train[0], linear.labels.tolist(), loss=False)[:, :60]
    asked = dense_gradients(linear, linear.images, [1, 1], loss=False)[:, :60]
    doubt = torch.linspace(0.1, 0.9, len(phi), dtype=torch.float64)
    expected = asked @ torch.linalg.pinv(phi.T @ phi) @ phi.T @ torch.diag(doubt)
    found = trak_scores(phi.float().numpy(), asked.float().numpy(), doubt.numpy())
    assert found == pytest.approx(expected.numpy(), rel=1e-2, abs=2e-3 * float(expected.abs().max()))


def test_trak_takes_the_doubt_of_the_model_and_k_coordinates(linear: DetectorInput) -> None:
    answer = detectors.make("trak", k=40).detect(linear)
    with torch.no_grad():
        p = linear.model(normalise(to_tensor(linear.packed.train[0]), linear.card)).softmax(1)
    doubt = 1 - p[torch.arange(linear.n), torch.from_numpy(linear.labels)].double().numpy()
    projection = np.random.default_rng(0).standard_normal((195, 40), dtype=np.float32) / np.sqrt(40)
    phi, asked = linear.measurement_gradients @ projection, linear.affected_gradients @ projection
    expected = (asked @ np.linalg.inv((phi.T @ phi).astype(np.float64)) @ phi.T * doubt).mean(0)
    assert answer.scores == pytest.approx(expected, rel=1e-3, abs=1e-3 * float(np.abs(expected).max()))


def test_trak_ranks_an_image_first_for_itself(linear: DetectorInput) -> None:
    number = int(np.flatnonzero(linear.labels == 1)[0])
    itself = replace(linear, images=np.array(linear.packed.train[0][number : number + 1]))
    assert int(detectors.make("trak").detect(itself).scores.argmax()) == number


def test_activation_clustering_is_pca_two_means_and_silhouette() -> None:
    features = clusters(300, 60, gap=12)
    split = ActivationClustering().split(features)
    reduced = PCA(10, random_state=0).fit_transform(features.astype(np.float64))
    labels = KMeans(2, n_init=10, random_state=0).fit_predict(reduced)
    assert split.silhouette == pytest.approx(silhouette_score(reduced, labels))
    assert np.flatnonzero(split.position > 0).tolist() == list(range(300, 360))
    centre = reduced[300:].mean(0)
    far = reduced[:300].mean(0)
    assert split.position[300:].mean() == pytest.approx(0.5)
    at = np.argmin(np.linalg.norm(reduced - (centre + far) / 2, axis=1))
    assert abs(split.position[at]) < 0.5


def test_activation_clustering_flags_the_small_cluster_of_the_split_class_only(evidence: DetectorInput) -> None:
    labels = evidence.labels
    features = np.random.default_rng(1).standard_normal((evidence.n, 20)).astype(np.float32)
    poisoned = np.flatnonzero(labels == 3)[:20]
    features[poisoned, 0] += 12
    answer = detectors.make("activation-clustering").detect(with_features(evidence, features))
    assert sorted(answer.flagged.tolist()) == sorted(poisoned.tolist())
    assert set(np.argsort(-answer.scores)[:20]) == set(poisoned)
    assert len(ActivationClustering(silhouette=0.9).detect(with_features(evidence, features)).flagged) == 0


def test_independent_components_are_those_of_fast_ica() -> None:
    features = clusters(300, 60, gap=12)
    split = ActivationClusteringIca().split(features)
    ica = FastICA(10, whiten="unit-variance", random_state=0, max_iter=1000, tol=0.005)
    reduced = ica.fit_transform(features.astype(np.float64))
    labels = KMeans(2, n_init=10, random_state=0).fit_predict(reduced)
    assert split.silhouette == pytest.approx(silhouette_score(reduced, labels))
    assert (split.position > 0).sum() == np.bincount(labels).min()


def test_spectral_scores_are_those_of_the_singular_value_decomposition() -> None:
    features = clusters(200, 30, gap=5)
    centred = features - features.mean(0)
    _, _, vectors = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = (centred @ vectors[0]) ** 2
    assert spectral_scores(features) == pytest.approx(expected / expected.mean(), rel=1e-4)


def test_spectral_signatures_remove_one_and_a_half_times_the_expected_share_of_each_class(
    evidence: DetectorInput,
) -> None:
    labels = evidence.labels
    features = np.random.default_rng(1).standard_normal((evidence.n, 20)).astype(np.float32)
    poisoned = np.flatnonzero(labels == 3)[:14]
    features[poisoned, 0] += 12
    answer = SpectralSignatures(expected_share=0.2).detect(with_features(evidence, features))
    counts = np.bincount(labels[answer.flagged], minlength=10)
    assert np.abs(counts - 0.3 * np.bincount(labels, minlength=10)).max() <= 0.51
    assert set(poisoned) <= set(answer.flagged)
    with pytest.raises(ValueError, match="share of a class"):
        SpectralSignatures(expected_share=1.5)


@pytest.mark.parametrize("shape", [(8, 8), (32, 20)])
def test_the_cosine_transform_is_that_of_scipy(shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).random((3, 2, *shape))
    expected = scipy.fft.dctn(x, axes=(2, 3), norm="ortho")
    assert dct(torch.from_numpy(x).float()).numpy() == pytest.approx(expected, abs=1e-5)


def test_every_mark_changes_its_picture_and_the_seed_decides(digits: PackedDataset) -> None:
    pictures = np.array(digits.test[0][:100])
    marked = mark(pictures, np.random.default_rng(3))
    changed = (marked != pictures).reshape(100, -1).any(1)
    assert changed.sum() >= 95  # a block may fall on equal pixels, a shadow on black ones
    assert np.array_equal(marked, mark(pictures, np.random.default_rng(3)))
    assert not np.array_equal(marked, mark(pictures, np.random.default_rng(4)))


def test_the_frequency_network_tells_marked_pictures_it_has_not_seen(digits: PackedDataset, tmp_path: Path) -> None:
    clean = np.array(digits.train[0][:500])
    detector = Frequency(epochs=6, width=8, folder=tmp_path)
    network = detector.network(clean, "cpu")
    assert detector.network(clean, "cpu") is network
    fresh = np.array(digits.test[0])
    scores = np.concatenate([score_pictures(network, p, "cpu") for p in (fresh, mark(fresh, np.random.default_rng(9)))])
    assert average_precision_score(np.arange(len(scores)) >= len(fresh), scores) > 0.7
    for again in (Frequency(epochs=6, width=8), Frequency(epochs=6, width=8, folder=tmp_path)):
        assert np.array_equal(score_pictures(again.network(clean, "cpu"), fresh, "cpu"), scores[: len(fresh)])
    assert len(list(tmp_path.iterdir())) == 1


def test_the_frequency_detector_refuses_tiny_pictures() -> None:
    with pytest.raises(ValueError, match="8 x 8"):
        Frequency().network(np.zeros((10, 4, 4, 1), np.uint8), "cpu")


@pytest.mark.parametrize("name", [n for n in detectors.names() if n != "frequency"])
def test_every_detector_ranks_a_patch_on_digits_above_chance(
    name: str, evidence: DetectorInput, truth: NDArray[np.bool_]
) -> None:
    answer = detectors.make(name).detect(evidence)
    assert answer.scores.shape == (evidence.n,)
    assert answer.scores.dtype == np.float32
    assert np.isfinite(answer.scores).all()
    assert len(set(answer.flagged.tolist())) == len(answer.flagged) < evidence.n
    assert np.all(np.diff(answer.scores[answer.flagged]) <= 0)
    assert average_precision_score(truth, answer.scores) > 1.5 * truth.mean()


def test_outliers_lie_above_the_median_by_robust_deviations() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.standard_normal(10_000), np.full(50, 20.0)])
    flags = outliers(scores, 3)
    assert flags[-50:].all()
    assert flags[:-50].mean() == pytest.approx(0.00135, abs=0.001)


def test_unknown_names_and_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown detector 'crystal-ball'"):
        detectors.make("crystal-ball")
    with pytest.raises(ValueError, match="it knows deviations"):
        detectors.make("influence", mood="suspicious")
    assert detectors.settings_of(detectors.make("trak")) == {"k": 2048, "seed": 0, "deviations": 3.0}
    assert detectors.settings_of(Frequency()) == {"epochs": 10, "width": 16, "seed": 0}
