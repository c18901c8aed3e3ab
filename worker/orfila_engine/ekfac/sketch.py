"""A short summary of whitened gradients that keeps their inner products: what the evidence test compares.

psi_i = Lambda^-1/2 V^T G_i U, all layers joined, has as many numbers as the model has parameters, and its products are
those of the gradients, g_i . F^-1 . g_j = psi_i . psi_j. Its sketch gives every coordinate a random sign and adds up
those that are equal modulo the sketch's length (a count sketch, Charikar 2002, with the buckets in turn): products are
kept in expectation, and for unit vectors within about 1 / sqrt(length).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orfila_engine.fingerprint.store import RowWriter, StoredRows, scaled

LENGTH = 4096
KINDS = ("sketch", "scales", "self_influence")


class Sketch:
    """Adds up whitened gradients, layer by layer, into rows [N, LENGTH]."""

    def __init__(self, whitening: Mapping[str, Tensor], seed: int) -> None:
        """whitening: by layer, (Lambda + damping)^-1/2 of any shape. seed: of the signs."""
        self._factors: dict[str, tuple[int, Tensor]] = {}
        start = 0
        for name, root in whitening.items():
            signs = _signs(seed, name, root.numel()).to(root)
            self._factors[name] = start % LENGTH, root.flatten() * signs
            start += root.numel()

    def add(self, rows: Tensor, name: str, rotated: Tensor) -> Tensor:
        """Add a layer's gradients in the eigenbasis, [N, ...], to rows [N, LENGTH]; returns their squared norms [N]."""
        start, factors = self._factors[name]
        whitened = rotated.flatten(1) * factors
        _fold(rows, whitened, start)
        return whitened.square().sum(1)


class SketchWriter:
    """Writes the sketches and self-influences of n training images as they come, all of them or a part."""

    def __init__(self, folder: Path, n: int, number: int = 0) -> None:
        """number: of the part, in order."""
        self._folder, self._number = folder, number
        self._rows = RowWriter(folder / "sketch.npy.part", n, LENGTH, "float16")
        self._scales: list[Tensor] = []
        self._self_influence: list[Tensor] = []

    def write(self, rows: Tensor, self_influence: Tensor) -> None:
        """Append the next images' sketches [N, LENGTH] and self-influences [N]."""
        stored, scales = scaled(rows.float())
        self._rows.write(stored)
        self._scales.append(scales.cpu())
        self._self_influence.append(self_influence.float().cpu())

    def close(self) -> None:
        """Put the files in place, the one that is looked for last."""
        self._rows.close()
        (self._folder / "sketch.npy.part").replace(self._folder / file_name("sketch", self._number))
        np.save(self._folder / file_name("scales", self._number), torch.cat(self._scales).numpy())
        np.save(self._folder / file_name("self_influence", self._number), torch.cat(self._self_influence).numpy())


def file_name(kind: str, number: int) -> str:
    """Name of a part's file; kind is one of KINDS."""
    return f"{kind}-{number:05d}.npy"


def is_written(folder: Path) -> bool:
    """Whether a folder holds the sketches, of all parts."""
    counts = {len(list(folder.glob(f"{kind}-*.npy"))) for kind in KINDS}
    return len(counts) == 1 and 0 not in counts


def read(folder: Path) -> tuple[StoredRows, NDArray[np.float32], NDArray[np.float32]]:
    """Stored rows [n, LENGTH], their scales [n], and self-influences [n]."""
    rows, scales, own = (sorted(folder.glob(f"{kind}-*.npy")) for kind in KINDS)
    return (
        StoredRows(rows),
        np.concatenate([np.load(path) for path in scales]),
        np.concatenate([np.load(path) for path in own]),
    )


def _fold(rows: Tensor, values: Tensor, start: int) -> None:
    """rows[:, (start + j) mod LENGTH] += values[:, j]."""
    head = min(values.shape[1], LENGTH - start)
    rows[:, start : start + head] += values[:, :head]
    rest = values[:, head:]
    n_whole, tail = divmod(rest.shape[1], LENGTH)
    if n_whole:
        rows += torch.unflatten(rest[:, : n_whole * LENGTH], 1, (n_whole, LENGTH)).sum(1)
    rows[:, :tail] += rest[:, n_whole * LENGTH :]


def _signs(seed: int, layer: str, n: int) -> Tensor:
    """n random signs from raw Philox bits, the same on every machine."""
    key = int.from_bytes(hashlib.sha256(f"sketch\0{seed}\0{layer}".encode()).digest()[:16], "little")
    words = np.random.Philox(key=key).random_raw(-(-n // 64))
    bits = np.unpackbits(np.asarray(words, dtype="<u8").view(np.uint8), count=n, bitorder="little")
    return torch.from_numpy(2.0 * bits - 1.0)
