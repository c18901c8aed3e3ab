"""What every attack gives back, and what trigger attacks share.

An attack is a pure function of (images, labels, seed): the same inputs plant the same poison.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Planted:
    """A planted poison: the changed training images, where they are, and how to set the model off.

    Only the P changed images are held, so that a data set larger than memory can be poisoned.
    """

    attack: str
    indices: NDArray[np.int64]
    """[P] the truth: `index` of every poisoned training image, ascending."""
    images: Images
    """[P, H, W, C] what they become."""
    labels: Labels
    """[P] the label they get."""
    source: int | None
    """The victim class, None when every class is."""
    target: int
    """The label that a triggered image shall receive."""
    trigger: Callable[[Images], Images]
    """[N, H, W, C] -> the same with the trigger."""

    def apply(self, images: Images, labels: Labels) -> tuple[Images, Labels]:
        """Copies of all training images [N, H, W, C] and labels [N] with the poison in them."""
        images, labels = np.array(images), np.array(labels)
        images[self.indices] = self.images
        labels[self.indices] = self.labels
        return images, labels

    def victims(self, labels: Labels) -> NDArray[np.int64]:
        """Positions of the images (true labels [N]) that the poison success rate counts.

        The victim class where there is one, else every class but the target.
        """
        chosen = labels == self.source if self.source is not None else labels != self.target
        return np.flatnonzero(chosen)


class Attack(Protocol):
    """An attack with its settings."""

    name: ClassVar[str]

    def plant(self, images: Images, labels: Labels, n_classes: int, seed: int) -> Planted:
        """Choose and change training images [N, H, W, C] with labels [N]."""
        ...


@dataclass(frozen=True)
class TriggerAttack:
    """An attack that puts one trigger on some training images and, unless clean-label, gives them the target label."""

    rate: float
    source: int | None = None
    target: int | None = None

    name: ClassVar[str]
    clean_label: ClassVar[bool] = False
    """Poison only images that carry the target label already."""
    one_class: ClassVar[bool] = False
    """Without a source, choose one victim class by seed (else every class but the target is a victim)."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"the rate is {self.rate}; it is a share of the training images between 0 and 1")
        if self.source is not None and self.source == self.target:
            raise ValueError("source and target are the same class; choose two")

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """The trigger for images of a shape [H, W, C]."""
        raise NotImplementedError

    def plant(self, images: Images, labels: Labels, n_classes: int, seed: int) -> Planted:
        """Choose and change training images. Raises ValueError when the classes hold too few for the rate."""
        rng = np.random.default_rng([seed, *self.name.encode()])
        source, target = self._classes(n_classes, rng)
        if self.clean_label:
            candidates = np.flatnonzero(labels == target)
        elif source is not None:
            candidates = np.flatnonzero(labels == source)
        else:
            candidates = np.flatnonzero(labels != target)
        count = max(1, round(self.rate * len(labels)))
        if count > len(candidates):
            raise ValueError(
                f"a rate of {self.rate} needs {count} images to poison, the victim class has {len(candidates)}; "
                f"use a rate of at most {len(candidates) / max(1, len(labels)):.3g}"
            )
        indices = np.sort(rng.choice(candidates, count, replace=False))
        trigger = self.pattern(images.shape[1:], rng)
        return Planted(
            attack=self.name,
            indices=indices,
            images=trigger(np.array(images[indices])),
            labels=np.full(count, target, dtype=np.int64),
            source=source,
            target=target,
            trigger=trigger,
        )

    def _classes(self, n_classes: int, rng: np.random.Generator) -> tuple[int | None, int]:
        for name, value in (("source", self.source), ("target", self.target)):
            if value is not None and not 0 <= value < n_classes:
                raise ValueError(f"the {name} class is {value}; classes are numbered 0..{n_classes - 1}")
        first, second = (int(c) for c in rng.permutation(n_classes)[:2])
        target = self.target if self.target is not None else (first if first != self.source else second)
        source = self.source
        if source is None and self.one_class:
            source = second if second != target else first
        return source, target


def add(images: Images, pattern: NDArray[np.float64]) -> Images:
    """Images [N, H, W, C] plus a pattern [H, W, C] in grey levels, kept within 0..255."""
    return np.clip(np.rint(images + pattern), 0, 255).astype(np.uint8)
