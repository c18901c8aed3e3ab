"""New data sets from a pack: with some images replaced (a planted poison), and as a zip of class folders."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orfila_engine.data.pack import PackedDataset
from orfila_engine.data.sources import Picture, Source, Unused


class Replaced(Source):
    """The pictures of a pack in its order, some of them replaced. Give it to `pack`: every `index` stays what it is.

    indices: [P] which; images: uint8 [P, H, W, C] and labels: [P] what they become.
    """

    def __init__(
        self, packed: PackedDataset, indices: NDArray[np.int64], images: NDArray[np.uint8], labels: NDArray[np.int64]
    ) -> None:
        self.classes = packed.classes
        self._packed = packed
        self._position = {int(index): row for row, index in enumerate(indices)}
        self._images = images
        self._labels = labels

    def read(self) -> Iterator[Picture | Unused]:
        """Pictures as pixels, under the names that they had."""
        packed = self._packed
        for index, name in enumerate(packed.names):
            row = self._position.get(index)
            image = packed.pixels[index] if row is None else self._images[row]
            label = packed.labels[index] if row is None else self._labels[row]
            yield Picture(name, packed.classes[int(label)], "train" if index < packed.n_train else "test", image)


def write_zip(packed: PackedDataset, path: Path) -> None:
    """Write a pack as a zip of `train|test/CLASS/NUMBER.png`, in the pack's order, so that each `index` stays."""
    part = path.with_name(path.name + ".part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for index, (pixels, label) in enumerate(zip(packed.pixels, packed.labels, strict=True)):
            split = "train" if index < packed.n_train else "test"
            buffer = io.BytesIO()
            Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "PNG", compress_level=1)
            archive.writestr(f"{split}/{packed.classes[int(label)]}/{index:06d}.png", buffer.getvalue())
    part.replace(path)
