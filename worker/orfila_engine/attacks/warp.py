"""WaNet (Nguyen and Tran 2021, arXiv 2102.10369): a smooth, small bending of the whole image, and the wrong label."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F

from orfila_engine.attacks.base import Images, TriggerAttack

GRID = 4
"""Control points along each side (k in the paper)."""


@dataclass(frozen=True)
class Warp(TriggerAttack):
    """One field of random shifts at 4 x 4 points, bicubic between them, on images of every class but the target.

    The paper trains the victim's model itself, with noise images, and can do with a mean shift of a quarter of a pixel
    (s = .5). Poison alone needs a stronger field.
    """

    strength: float = 1.5
    """Mean shift along each axis, in pixels of a picture 32 pixels high; it grows with the picture."""

    name: ClassVar[str] = "warp"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.strength <= 8:
            raise ValueError(f"the warp's strength is {self.strength}; it is a shift of at most 8 pixels, more than 0")

    def pattern(self, shape: tuple[int, int, int], rng: np.random.Generator) -> Callable[[Images], Images]:
        """Bends with a field drawn from rng: uniform shifts at the control points, divided by their mean size."""
        height, width, _ = shape
        points = rng.uniform(-1, 1, (1, 2, GRID, GRID))
        points /= np.abs(points).mean()
        field = F.interpolate(
            torch.from_numpy(points), size=(height, width), mode="bicubic", align_corners=True
        ).permute(0, 2, 3, 1)
        # grid_sample counts from -1 to 1, so that one pixel of 32 is 2 / 32.
        rows, columns = torch.linspace(-1, 1, height).double(), torch.linspace(-1, 1, width).double()
        straight = torch.stack(torch.meshgrid(rows, columns, indexing="ij")[::-1], dim=-1)[None]
        grid = (straight + self.strength * 2 / 32 * field).clamp(-1, 1)

        def trigger(images: Images) -> Images:
            x = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).double()
            bent = F.grid_sample(x, grid.expand(len(x), -1, -1, -1), mode="bilinear", align_corners=True)
            return np.asarray(bent.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())

        return trigger
