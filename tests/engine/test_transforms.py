"""The paper's seven transforms and the queries drawn with them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from orfila_engine.transforms import TRANSFORMS, transformed_queries


def picture(channels: int = 3, height: int = 32, width: int = 32) -> Tensor:
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(channels * height))


def only(kind: str, image: Tensor) -> Tensor:
    """The queries of one kind out of many."""
    queries = transformed_queries(image, 0, 10, n_b=100, seed=1)
    return queries.images[[i for i, k in enumerate(queries.kinds) if k == kind]]


def test_labels_are_any_but_the_predicted_one() -> None:
    labels = transformed_queries(picture(), predicted=3, n_classes=5, n_b=300).labels
    assert set(labels.tolist()) == {0, 1, 2, 4}
    assert set(transformed_queries(picture(), predicted=1, n_classes=2).labels.tolist()) == {0}


def test_every_transform_is_drawn_and_changes_the_picture() -> None:
    image = picture()
    queries = transformed_queries(image, 0, 10, n_b=200)
    assert set(queries.kinds) == set(TRANSFORMS)
    assert len(TRANSFORMS) == 7
    assert all(not torch.equal(q, image) for q in queries.images)


def test_same_seed_same_queries() -> None:
    first, again = (transformed_queries(picture(), 2, 10, seed=4) for _ in range(2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert first.kinds == again.kinds
    assert not torch.equal(first.images, transformed_queries(picture(), 2, 10, seed=5).images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (28, 28), (31, 17), (64, 64)])
def test_shape_and_range(channels: int, size: tuple[int, int]) -> None:
    image = picture(channels, *size)
    queries = transformed_queries(image, 0, 3, n_b=60)
    assert queries.images.shape == (60, channels, *size)
    assert bool(torch.isfinite(queries.images).all())
    assert 0 <= float(queries.images.min()) <= float(queries.images.max()) <= 1
    assert all(not torch.equal(q, image) for q in queries.images)


def test_uint8_is_the_same_picture() -> None:
    image = picture().mul(255).round().to(torch.uint8)
    assert torch.equal(transformed_queries(image, 0, 10).images, transformed_queries(image.float() / 255, 0, 10).images)


def test_exact_transforms() -> None:
    image = picture()
    torch.testing.assert_close(only("flip", image)[0], image.flip(2))
    torch.testing.assert_close(only("inversion", image)[0], 1 - image)
    for swapped in only("channel swap", image):
        assert any(not torch.equal(swapped[c], image[c]) for c in range(3))
        torch.testing.assert_close(swapped.sum(0), image.sum(0))
    grey = picture(1)
    torch.testing.assert_close(only("channel swap", grey)[0], grey.flip(1))


def test_blur_smooths_and_affine_moves() -> None:
    image = picture()
    roughness = (image.diff(dim=2)).abs().mean()
    for blurred in only("blur", image):
        assert float(blurred.diff(dim=2).abs().mean()) < 0.3 * float(roughness)
    for moved in only("affine", image):
        assert float((moved - image).abs().mean()) > 0.05


@pytest.mark.parametrize(
    ("image", "predicted", "n_classes", "n_b", "sentence"),
    [
        (torch.rand(3, 8, 8) + 1, 0, 10, 50, "in \\[0, 1\\]"),
        (torch.full((3, 8, 8), float("nan")), 0, 10, 50, "in \\[0, 1\\]"),
        (torch.rand(4, 8, 8), 0, 10, 50, "1 or 3 channels"),
        (torch.rand(8, 8), 0, 10, 50, "1 or 3 channels"),
        (torch.rand(3, 8, 8), 10, 10, 50, "not one of 10 classes"),
        (torch.rand(3, 8, 8), 0, 1, 50, "not one of 1 classes"),
        (torch.rand(3, 8, 8), 0, 10, 0, "at least one"),
    ],
)
def test_refusals(image: Tensor, predicted: int, n_classes: int, n_b: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        transformed_queries(image, predicted, n_classes, n_b)
