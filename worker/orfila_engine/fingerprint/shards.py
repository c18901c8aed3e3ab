"""Building an index: project ranges of the training set on any number of workers, then factorise on one.

A shard's projected gradients are the index's own file, linked and not copied: the store is written once, and the disk
never holds more than it. What the reduction adds is small: the factors, and a number or two for each image.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.blockwise import BLOCK, Rows
from orfila_engine.devices import select_device
from orfila_engine.evaluation import to_tensor
from orfila_engine.fingerprint.digest import model_digest
from orfila_engine.fingerprint.passes import BATCH_SIZE, ProjectorPool
from orfila_engine.fingerprint.spec import FORMAT, IndexSpec
from orfila_engine.fingerprint.store import RowWriter, StoredRows, scaled
from orfila_engine.fingerprint.whitening import Whitening, factorise
from orfila_engine.gradients import GradientProjector, IndexedLayer, LeftOut, recording
from orfila_engine.progress import Progress, quiet

STORED = ("gradients", "scales", "measurements")
"""What an index takes from its shards: gradients.npy of the first shard becomes gradients-00000.npy, and so on."""
_GRAM_BLOCK = 1024
"""Rows multiplied into a Gram matrix at a time."""


class ShardWriter:
    """Writes the projected gradients of training images start .. stop - 1, and sums their Gram matrices.

    Leaves gradients.npy ([stop - start, D], scaled rows), scales.npy and measurements.npy (float32 [stop - start]),
    gram.safetensors (float32 [K_l, K_l] by layer) and shard.json in `out_dir`, under another name until all is there.
    """

    def __init__(
        self, out_dir: Path, start: int, stop: int, layers: Sequence[IndexedLayer], spec: IndexSpec, model: str
    ) -> None:
        """model: digest of the indexed model."""
        self._began = time.perf_counter()
        self._out_dir, self._start, self._stop = out_dir, start, stop
        self._layers, self._spec, self._model = tuple(layers), spec, model
        self._writing = fresh(out_dir)
        dimension = sum(layer.size for layer in layers)
        self._rows = RowWriter(self._writing / "gradients.npy", stop - start, dimension, spec.dtype)
        self._scales = np.empty(stop - start, dtype=np.float32)
        self._grams = {layer.name: torch.zeros(layer.size, layer.size, dtype=torch.float64) for layer in layers}
        self._next = start

    def add(self, block: Tensor) -> None:
        """The next images' projected gradients, float32 [m, D] on any device; m of about 1,000 is fast.

        Raises ValueError when one is not finite (the image is named).
        """
        finite = torch.isfinite(block.sum(1))
        if not bool(finite.all()):
            bad = self._next + int((~finite).nonzero()[0])
            raise ValueError(
                f"the gradient of training image {bad} is not finite: the model overflows on it; "
                "use a checkpoint from before the training diverged"
            )
        for layer in self._layers:
            columns = block[:, layer.columns]
            self._grams[layer.name] += (columns.T @ columns).double().cpu()
        at = slice(self._next - self._start, self._next - self._start + len(block))
        # In pieces, which a processor scales and converts in its cache.
        for low in range(0, len(block), BATCH_SIZE):
            rows, scale = scaled(block[low : low + BATCH_SIZE])
            self._rows.write(rows.to(getattr(torch, self._spec.dtype)))
            self._scales[at][low : low + len(rows)] = scale.cpu().numpy()
        self._next += len(block)

    def close(self, measurements: Tensor, left_out: Sequence[LeftOut], device: str) -> None:
        """Finish the shard. Every image must have been added. measurements: [stop - start], see `measurement`."""
        assert self._next == self._stop, "images are missing"
        self._rows.close()
        np.save(self._writing / "scales.npy", self._scales)
        np.save(self._writing / "measurements.npy", measurements.float().cpu().numpy())
        # The name makes the file one of its kind, so that a store that keeps equal files once may drop it after use.
        grams = {name: gram.float() for name, gram in self._grams.items()}
        save_file(grams, self._writing / "gram.safetensors", {"name": uuid.uuid4().hex})
        described = {
            "format": FORMAT,
            "start": self._start,
            "stop": self._stop,
            "model": self._model,
            "spec": asdict(self._spec),
            "layers": [asdict(layer) for layer in self._layers],
            "left_out": [asdict(item) for item in left_out],
            "seconds": time.perf_counter() - self._began,
            "device": device,
        }
        (self._writing / "shard.json").write_text(json.dumps(described))
        put(self._writing, self._out_dir)


def project_shard(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    start: int,
    stop: int,
    out_dir: Path,
    spec: IndexSpec | None = None,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress = quiet,
) -> None:
    """Project the loss gradients of training images start .. stop - 1 into a shard (see `ShardWriter`).

    Raises ValueError for an empty range, a label outside the classes, pictures of another shape than the card's, or a
    gradient that is not finite (the image is named); whatever `progress` raises passes through.
    """
    spec = spec or IndexSpec()
    _check(card, pixels, labels, start, stop)

    measurements = torch.empty(stop - start, device=select_device(device))

    def fill(low: int, high: int) -> Tensor:
        x = normalise(to_tensor(pixels[low:high]).to(projector.device), card)
        loss = recording(measurements[low - start : high - start])
        return projector(x, torch.from_numpy(np.array(labels[low:high])), loss)

    def done(images: int) -> None:
        progress("projecting gradients", images / (stop - start))

    area = card.input_size[0] * card.input_size[1]
    projector = make_projector(model, card, spec, device)
    with ProjectorPool(projector, area, batch_size) as pool:
        shard = ShardWriter(out_dir, start, stop, projector.layers, spec, model_digest(model, card))
        for block in pool.blocks(fill, start, stop, _GRAM_BLOCK, done):
            shard.add(block)
    shard.close(measurements, projector.left_out, str(projector.device))


def reduce_shards(
    shards: Sequence[Path],
    out_dir: Path,
    *,
    data_digest: str = "",
    whole: bool = True,
    measured: NDArray[np.int64] | None = None,
    progress: Progress = quiet,
) -> NDArray[np.int64]:
    """Sum the shards' Gram matrices, factorise them, and measure every image's self-influence. The shards are kept.

    whole: they must cover 0 .. n without gap or overlap; otherwise the index is of their images alone, as if there were
    no others. measured: `index` of the images whose self-influence is wanted, where not all are; the others' is nan.
    Returns the `index` of the training image in each of its rows, [n] ascending.

    Raises ValueError when the shards differ in model or settings, overlap, or leave a gap in a whole index.
    """
    began = time.perf_counter()
    described = sorted(((json.loads((s / "shard.json").read_text()), s) for s in shards), key=lambda d: d[0]["start"])
    images = _check_shards([meta for meta, _ in described], whole)
    n = len(images)
    first = described[0][0]
    spec = IndexSpec(**first["spec"])
    layers = tuple(IndexedLayer(**layer) for layer in first["layers"])
    grams = {layer.name: torch.zeros(layer.size, layer.size, dtype=torch.float64) for layer in layers}
    for _, shard in described:  # one after another: together they may be larger than the memory
        for name, gram in load_file(shard / "gram.safetensors").items():
            grams[name] += gram
    factors = factorise(grams, n, layers, spec.damping)

    writing = fresh(out_dir)
    for number, (_, shard) in enumerate(described):
        for kind in STORED:
            _link(shard / f"{kind}.npy", writing / stored_name(kind, number))
    rows, scales, _ = open_stored(writing, len(described))
    wanted = None if measured is None else np.flatnonzero(np.isin(images, measured))
    found = _self_influence(rows, scales, Whitening(layers, factors), wanted, progress)
    np.save(writing / "self_influence.npy", found)
    save_file(factors, writing / "whitening.safetensors")
    about = {
        "format": FORMAT,
        "n": n,
        "dimension": rows.shape[1],
        "shards": len(described),
        "model": first["model"],
        "data": data_digest,
        "spec": first["spec"],
        "layers": first["layers"],
        "left_out": first["left_out"],
        "torch": torch.__version__,
        "seconds": {
            "project": sum(meta["seconds"] for meta, _ in described),
            "reduce": time.perf_counter() - began,
        },
    }
    (writing / "index.json").write_text(json.dumps(about, indent=1))
    put(writing, out_dir)
    return images


def stored_name(kind: str, number: int) -> str:
    """Name of a shard's file in an index; kind is one of STORED."""
    return f"{kind}-{number:05d}.npy"


def open_stored(index_dir: Path, n_shards: int) -> tuple[StoredRows, NDArray[np.float32], NDArray[np.float32]]:
    """The rows of an index, memory-mapped, their scales [n], and the images' measurements [n]."""
    rows = StoredRows([index_dir / stored_name("gradients", k) for k in range(n_shards)])
    scales, measurements = (
        np.concatenate([np.load(index_dir / stored_name(kind, k)) for k in range(n_shards)])
        for kind in ("scales", "measurements")
    )
    return rows, scales, measurements


def make_projector(model: nn.Module, card: ModelCard, spec: IndexSpec, device: str) -> GradientProjector:
    """The projector that a spec asks for."""
    return GradientProjector(model, (card.channels, *card.input_size), spec, select_device(device))


def _self_influence(
    rows: StoredRows,
    scales: NDArray[np.float32],
    whitening: Whitening,
    wanted: NDArray[np.int64] | None,
    progress: Progress,
) -> NDArray[np.float32]:
    """[n] |L^-1 g_i|^2 of the gradients as they are stored; nan in rows that are not wanted."""
    lengths = np.full(len(rows), np.nan, dtype=np.float32)
    n_wanted, done = len(rows) if wanted is None else len(wanted), 0
    for at, block in rows.blocks(_GRAM_BLOCK) if wanted is None else _some(rows, wanted):
        found = np.empty(len(block), dtype=np.float32)
        # In pieces, so that a layer's coordinates stay in the cache between their uses.
        for low in range(0, len(block), BLOCK):
            piece = whitening.whiten(torch.from_numpy(block[low : low + BLOCK]).float())
            found[low : low + len(piece)] = torch.linalg.vector_norm(piece, dim=1).numpy()
        lengths[at] = found
        done += len(block)
        progress("measuring self-influence", done / n_wanted)
    return np.asarray(np.square(lengths * scales))


def _some(rows: StoredRows, wanted: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], Rows]]:
    for low in range(0, len(wanted), _GRAM_BLOCK):
        part = wanted[low : low + _GRAM_BLOCK]
        yield part, rows[part]


def _check(card: ModelCard, pixels: NDArray[np.uint8], labels: NDArray[np.int64], start: int, stop: int) -> None:
    if not 0 <= start < stop <= len(pixels):
        raise ValueError(f"images {start} to {stop} are not a range of the {len(pixels)} training images")
    if pixels.shape[1:] != (*card.input_size, card.channels):
        raise ValueError(
            f"the pictures are {pixels.shape[1:]} (height, width, channels), the model takes "
            f"{(*card.input_size, card.channels)}; resize the data set to the model's size"
        )
    if len(labels) != len(pixels):
        raise ValueError(f"there are {len(labels)} labels for {len(pixels)} pictures")
    if int(labels[start:stop].min()) < 0 or int(labels[start:stop].max()) >= len(card.classes):
        raise ValueError(f"a label lies outside the model's {len(card.classes)} classes; use the model's own data set")


def _check_shards(described: Sequence[dict[str, Any]], whole: bool) -> NDArray[np.int64]:
    """`index` of the images that the shards cover together."""
    if not described:
        raise ValueError("there are no shards to reduce; project at least one range of images first")
    first = described[0]
    position = 0
    for meta in described:
        differing = [k for k in ("format", "model", "spec", "layers") if meta[k] != first[k]]
        if differing:
            raise ValueError(
                f"the shard of images {meta['start']} to {meta['stop']} differs from the first in "
                f"{', '.join(differing)}; project it again with the same model and settings"
            )
        if meta["start"] < position or (whole and meta["start"] != position):
            raise ValueError(
                f"a shard starts at image {meta['start']} where {position} is next; project the missing ones"
            )
        position = meta["stop"]
    return np.concatenate([np.arange(meta["start"], meta["stop"], dtype=np.int64) for meta in described])


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the file system has no links."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def fresh(target: Path) -> Path:
    """An empty directory beside `target` to write into."""
    writing = target.with_name(target.name + ".part")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    return writing


def put(writing: Path, target: Path) -> None:
    """Give a finished directory its name. What it holds is on the disk before, so a crash leaves all of it or none."""
    for path in writing.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    shutil.rmtree(target, ignore_errors=True)
    writing.rename(target)
