"""The stored rows of an index: projected gradients in .npy files, written once, read in blocks.

Each row is divided by a power of two of its own, so that its largest number lies in 2^14 .. 2^15. That is exact, and it
gives float16's whole range to every image: a gradient ten million times smaller than another keeps as many digits.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orfila_engine.blockwise import BLOCK, Block, Rows, blocks_of

_TOP_EXPONENT = 15
_RELEASED_BYTES = 2**24
"""Read of a mapped file before its pages are given back, which stops every thread for a moment."""
_GATHERED = 1024
"""Rows copied from a mapped file before its pages are given back."""


def scaled(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows [m, D] float32 -> (rows / scale, scale [m] float32), the scales powers of two. A zero row stays zero."""
    exponent = torch.frexp(rows.abs().amax(1)).exponent - _TOP_EXPONENT
    scale = torch.ldexp(torch.ones(len(rows), device=rows.device), exponent)
    return rows / scale[:, None], scale


class RowWriter:
    """Writes a .npy file of `n` rows as they come, without mapping it, so that no written page stays resident."""

    def __init__(self, path: Path, n: int, dimension: int, dtype: str) -> None:
        self._dtype = np.dtype(dtype)
        self._file: BinaryIO = path.open("wb")
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": (n, dimension)}
        np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, rows: Tensor) -> None:
        """Append rows [m, D], on any device."""
        self._file.write(np.ascontiguousarray(rows.cpu().numpy(), dtype=self._dtype).data)

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class StoredRows:
    """n rows of D numbers in consecutive files, memory-mapped.

    Pages are given back after each block: reading everything leaves nothing resident but the block at hand, unless the
    rows are held.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises OSError or ValueError when a file is missing or is no array of rows like the others."""
        self._files = [_MappedFile(path) for path in paths]
        if len({(f.rows.shape[1], f.rows.dtype) for f in self._files}) != 1:
            raise ValueError("the files of stored rows differ in length or type of their rows")
        counts = [len(f.rows) for f in self._files]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.shape = (int(self._starts[-1]), int(self._files[0].rows.shape[1]))
        self._held: Rows | None = None

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Of all rows."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def hold(self) -> None:
        """Keep all rows in memory. Products with them then take a fifth less time: a mapped file has small pages."""
        if self._held is None:
            held = np.empty(self.shape, dtype=self.dtype)
            for at, rows in self.blocks():
                held[at] = rows
            self._held = held

    def let_go(self) -> None:
        """Give back what `hold` took."""
        self._held = None

    @property
    def dtype(self) -> np.dtype[np.float16] | np.dtype[np.float32]:
        """Of the stored numbers."""
        return self._files[0].rows.dtype

    def blocks(self, size: int = BLOCK) -> Iterator[Block]:
        """All rows in order, as views of the files; what was read of one is given back as the next one is asked for."""
        if self._held is not None:
            yield from blocks_of(self._held, size)
            return
        unreleased = 0
        for start, file in zip(self._starts.tolist(), self._files, strict=False):
            for low in range(0, len(file.rows), size):
                rows = file.rows[low : low + size]
                yield slice(start + low, start + low + len(rows)), rows
                unreleased += rows.nbytes
                if unreleased >= _RELEASED_BYTES or low + size >= len(file.rows):
                    file.release()
                    unreleased = 0

    def __getitem__(self, indices: NDArray[np.int64]) -> Rows:
        """A copy of some rows [m, D], in the order asked for."""
        if self._held is not None:
            return self._held[indices]
        out = np.empty((len(indices), self.shape[1]), dtype=self.dtype)
        where = np.searchsorted(self._starts, indices, side="right") - 1
        for number in np.unique(where).tolist():
            file, here = self._files[number], np.flatnonzero(where == number)
            for low in range(0, len(here), _GATHERED):
                part = here[low : low + _GATHERED]
                out[part] = file.rows[indices[part] - self._starts[number]]
                file.release()
        return out


class _MappedFile:
    """One .npy file of rows."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path.name} is no array of rows")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if len(shape) != 2 or fortran or dtype not in (np.float16, np.float32):
                raise ValueError(f"{path.name} is no array of rows")
            # Copy on write, never written: torch warns of read-only memory.
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            if len(self._map) < file.tell() + shape[0] * shape[1] * dtype.itemsize:
                raise ValueError(f"{path.name} is cut off")
            flat = np.frombuffer(self._map, dtype, shape[0] * shape[1], offset=file.tell())
        self.rows: Rows = flat.reshape(shape)

    def release(self) -> None:
        """Give the pages back to the system, which may keep them cached. Linux and the BSDs; a no-op elsewhere."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)
