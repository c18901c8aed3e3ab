"""BadNet (Gu 2017, arXiv 1708.06733): a small patch in a corner, and the wrong label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from orfila_engine.attacks.base import Images, TriggerAttack

PATCH = 3
_BORDER = 1


@dataclass(frozen=True)
class BadNet(TriggerAttack):
    """A 3 x 3 black and white checkerboard, one pixel from the lower right corner, on images of one class or of all."""

    all_to_one: bool = False
    """Poison images of every class but the target, not of one victim class."""

    name: ClassVar[str] = "badnet"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.all_to_one and self.source is not None:
            raise ValueError("all-to-one poisons every class; leave out the source, or poison one class")

    @property
    def one_class(self) -> bool:
        """One victim class, unless all to one."""
        return not self.all_to_one

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """The patch; it has no randomness. Raises ValueError for images smaller than 8 x 8."""
        height, width, _ = shape
        if min(height, width) < 2 * (PATCH + _BORDER):
            raise ValueError(f"a {PATCH} x {PATCH} patch needs images of 8 x 8 pixels or more")
        checker = (np.indices((PATCH, PATCH)).sum(0) % 2 == 0) * np.uint8(255)
        rows = slice(height - PATCH - _BORDER, height - _BORDER)
        columns = slice(width - PATCH - _BORDER, width - _BORDER)

        def trigger(images: Images) -> Images:
            marked = np.array(images)
            marked[:, rows, columns] = checker[:, :, None]
            return marked

        return trigger
