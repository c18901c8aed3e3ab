"""What decides an index, and how its files are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from orfila_engine.gradients import ProjectionSpec

FORMAT = "orfila-index/3"


@dataclass(frozen=True)
class IndexSpec(ProjectionSpec):
    """Everything, beside model and data, that decides an index."""

    damping: float = 0.1
    """Added to each Gram matrix's diagonal, as a share of the diagonal's mean."""
    dtype: Literal["float16", "float32"] = "float16"
    """How projected gradients are stored, each scaled by a power of two of its own; float16 keeps 3 to 4 digits."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.damping > 0:
            raise ValueError(f"damping is {self.damping}; it must be positive (0.1 is usual)")
        if self.dtype not in ("float16", "float32"):
            raise ValueError(f"dtype is '{self.dtype}'; use float16 or float32")
