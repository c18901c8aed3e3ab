"""What every attack gives back, and what attacks share.

An attack is a pure function of (images, labels, seed): the same inputs plant the same poison. Witches' Brew is one of
(models, target image) as well, see `witches_brew`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


def no_trigger(images: Images) -> Images:
    """The trigger of attacks that need none: the images as they are."""
    return images


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
    target: int | None
    """The label that a triggered image shall receive; None for random label flips, which want any wrong label."""
    trigger: Callable[[Images], Images]
    """[N, H, W, C] -> the same with the trigger."""
    victim_row: int | None = None
    """Row among the test images of the one image that the attack is about, where it is about one."""

    @property
    def has_trigger(self) -> bool:
        """Whether a victim must be changed before the model errs."""
        return self.trigger is not no_trigger

    def apply(self, images: Images, labels: Labels) -> tuple[Images, Labels]:
        """Copies of all training images [N, H, W, C] and labels [N] with the poison in them."""
        images, labels = np.array(images), np.array(labels)
        images[self.indices] = self.images
        labels[self.indices] = self.labels
        return images, labels

    def victims(self, labels: Labels) -> NDArray[np.int64]:
        """Rows of the test images (true labels [N]) that the poison success rate counts.

        The one image that the attack is about, else the victim class where there is one, else every class but the
        target; for random label flips all images.
        """
        if self.victim_row is not None:
            return np.array([self.victim_row], dtype=np.int64)
        if self.source is not None:
            return np.flatnonzero(labels == self.source)
        return np.flatnonzero(labels != (-1 if self.target is None else self.target))

    def fooled(self, predicted: Labels, labels: Labels) -> NDArray[np.bool_]:
        """Which victims the attack has won, from their predicted and true labels [V]: those given the target label.

        Without a target (random label flips) those given any wrong label, so that the rate holds ordinary errors too.
        """
        return np.asarray(predicted != labels if self.target is None else predicted == self.target)

    def behind(self, label: int) -> NDArray[np.int64]:
        """`index` of the poison that carries a label: the truth for an affected image that is given this label."""
        return np.asarray(self.indices[self.labels == label])


class Attack(Protocol):
    """An attack with its settings."""

    name: ClassVar[str]
    augmented: ClassVar[bool]
    """Whether the training should have random shifts and flips: they keep a small patch from taking hold."""

    def settings(self) -> dict[str, Any]:
        """Name and every setting: together with data and seed they decide the poison."""
        ...

    def plant(self, images: Images, labels: Labels, n_classes: int, seed: int) -> Planted:
        """Choose and change training images [N, H, W, C] with labels [N]."""
        ...


@dataclass(frozen=True)
class PoisonSettings:
    """The settings that all attacks have, and how poisoned images are chosen.

    Raises ValueError for a rate that is no share, or when source and target are one class.
    """

    rate: float
    """Share of all training images that become poison."""
    source: int | None = None
    """The victim class; None takes the attack's default."""
    target: int | None = None
    """The label that victims shall receive; None chooses by seed."""

    name: ClassVar[str]
    augmented: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"the rate is {self.rate}; it is a share of the training images between 0 and 1")
        if self.source is not None and self.source == self.target:
            raise ValueError("source and target are the same class; choose two")

    @property
    def one_class(self) -> bool:
        """Without a source, choose one victim class by seed (else every class but the target is a victim)."""
        return False

    def settings(self) -> dict[str, Any]:
        """Name and every setting: together with data and seed they decide the poison."""
        return {"name": self.name} | asdict(self)

    def generator(self, seed: int) -> np.random.Generator:
        """Random numbers that no other attack draws from the same seed."""
        return np.random.default_rng([seed, *self.name.encode()])

    def classes(self, labels: Labels, n_classes: int, rng: np.random.Generator) -> tuple[int | None, int]:
        """Source and target. Raises ValueError when they, or the labels, are not among the classes."""
        if len(labels) and not 0 <= labels.min() <= labels.max() < n_classes:
            raise ValueError(f"labels are numbered 0..{n_classes - 1}; the data hold {labels.min()} to {labels.max()}")
        for name, value in (("source", self.source), ("target", self.target)):
            if value is not None and not 0 <= value < n_classes:
                raise ValueError(f"the {name} class is {value}; classes are numbered 0..{n_classes - 1}")
        first, second = (int(c) for c in rng.permutation(n_classes)[:2])
        target = self.target if self.target is not None else (first if first != self.source else second)
        source = self.source
        if source is None and self.one_class:
            source = second if second != target else first
        return source, target

    def choose(self, labels: Labels, candidates: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Rows of the images to poison, ascending: the rate's share of all N, drawn from the candidates.

        One image of each class stays as it is: a class that is poison altogether is lost, or all there is of it.
        Raises ValueError when the candidates are too few.
        """
        count = max(1, round(self.rate * len(labels)))
        shuffled = rng.permutation(candidates)
        first_of_class = np.unique(labels[shuffled], return_index=True)[1]
        free = np.delete(shuffled, first_of_class)
        if count > len(free):
            most = math.floor(1e5 * len(free) / len(labels)) / 1e5
            advice = f"use a rate of at most {most:g}" if len(free) else "choose a class with more images"
            raise ValueError(
                f"a rate of {self.rate} needs {count} images to poison, and there are {len(candidates)} to choose "
                f"from, of which one of each class has to stay clean; {advice}"
            )
        return np.asarray(np.sort(free[:count]), dtype=np.int64)


class TriggerAttack(PoisonSettings, ABC):
    """An attack that puts one trigger on some training images and, unless clean-label, gives them the target label."""

    clean_label: ClassVar[bool] = False
    """Poison only images that carry the target label already."""

    @abstractmethod
    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """The trigger for images of a shape [H, W, C]."""

    def plant(self, images: Images, labels: Labels, n_classes: int, seed: int) -> Planted:
        """Choose and change training images. Raises ValueError when the classes hold too few for the rate."""
        rng = self.generator(seed)
        source, target = self.classes(labels, n_classes, rng)
        if self.clean_label:
            candidates = np.flatnonzero(labels == target)
        elif source is not None:
            candidates = np.flatnonzero(labels == source)
        else:
            candidates = np.flatnonzero(labels != target)
        indices = self.choose(labels, candidates, rng)
        height, width, channels = images.shape[1:]
        trigger = self.pattern((height, width, channels), rng)
        return Planted(
            attack=self.name,
            indices=indices,
            images=trigger(np.array(images[indices])),
            labels=np.full(len(indices), target, dtype=np.int64),
            source=source,
            target=target,
            trigger=trigger,
        )


def check_amplitude(amplitude: float) -> None:
    """Raises ValueError for an amplitude that changes nothing or more than a picture holds."""
    if not 1 <= amplitude <= 255:
        raise ValueError(f"the amplitude is {amplitude}; it is a change of 1 to 255 grey levels")


def add(images: Images, pattern: NDArray[np.float64]) -> Images:
    """Images [N, H, W, C] plus a pattern [H, W, C] in grey levels, kept within 0..255."""
    return np.clip(np.rint(images + pattern), 0, 255).astype(np.uint8)
