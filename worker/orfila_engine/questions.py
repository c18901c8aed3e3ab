"""One affected image as questions to an engine: itself and its transformed queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard
from orfila_engine.transforms import transformed_queries

Suspects = Literal["label", "all"]
MAX_COUNTERPARTS = 400


@dataclass(frozen=True)
class Asked:
    """The n_b + 1 queries of one affected image; row 0 is the image itself with its predicted label."""

    fingerprints: NDArray[np.float32]
    """[1 + n_b, D] what the store makes of them."""
    inputs: Tensor
    """[1 + n_b, C, H, W] in [0, 1]."""
    images: NDArray[np.uint8]
    """[1 + n_b, H, W, C] the same, rounded, for people."""
    labels: NDArray[np.int64]
    """[1 + n_b]"""
    kinds: tuple[str, ...]
    """[1 + n_b] the transform of each query; "none" for row 0."""


class Queried(Protocol):
    """What makes fingerprints of queries: a store, or the engine that will fill one."""

    def query(self, model: nn.Module, card: ModelCard, images: Tensor, labels: Tensor) -> NDArray[np.float32]:
        """See `Store`."""
        ...


def ask(
    store: Queried,
    model: nn.Module,
    card: ModelCard,
    image: NDArray[np.uint8],
    predicted: int,
    *,
    n_b: int,
    seed: int,
) -> Asked:
    """The questions about an affected image [H, W, C]: itself with the label that it received, and n_b transforms."""
    picture = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    images, labels, kinds = transformed_queries(picture, predicted, len(card.classes), n_b, seed)
    images = torch.cat([picture[None], images])
    labels = torch.cat([torch.tensor([predicted]), labels])
    pixels = images.mul(255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    # Two draws of a transform without a number of its own, and of one label, are one question.
    first, again = distinct([x.tobytes() + y.tobytes() for x, y in zip(images.numpy(), labels.numpy(), strict=True)])
    fingerprints = store.query(model, card, images[first], labels[first])[again]
    return Asked(fingerprints, images, pixels, labels.numpy(), ("none", *kinds))


def distinct(rows: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each different row stands first, ascending, and for each row the number of its like among those."""
    numbers: dict[bytes, int] = {}
    again = np.array([numbers.setdefault(row, len(numbers)) for row in rows], dtype=np.int64)
    return np.unique(again, return_index=True)[1], again


def ask_each(
    store: Queried,
    model: nn.Module,
    card: ModelCard,
    images: Iterable[NDArray[np.uint8]],
    predicted: int,
    *,
    n_b: int,
    seed: int,
) -> list[Asked]:
    """The questions about affected images [H, W, C] that receive one label; each has transforms of its own."""
    return [
        ask(store, model, card, image, predicted, n_b=n_b, seed=seed + number) for number, image in enumerate(images)
    ]


def suspects_of(labels: NDArray[np.int64], predicted: int, suspects: Suspects) -> NDArray[np.int64]:
    """`index` of the training images that may be the poison, from all training labels [n].

    "label": those that carry the predicted label (label-flipping and clean-label poison alike do); "all": every one.
    """
    if suspects == "all":
        return np.arange(len(labels))
    return np.flatnonzero(labels == predicted)


def counterpart_rows(labels: NDArray[np.int64], label: int, suspects: Suspects) -> NDArray[np.int64]:
    """Rows of the counterparts among the test images, from all their labels; at most MAX_COUNTERPARTS."""
    same = np.flatnonzero(labels == label) if suspects == "label" else np.arange(len(labels))
    rng = np.random.default_rng([label, len(labels)])
    return np.sort(rng.permutation(same)[:MAX_COUNTERPARTS])
