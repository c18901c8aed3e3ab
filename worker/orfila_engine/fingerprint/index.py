"""An index opened for reading: fingerprints of questions, influences, and the suspects' unit gradients."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.blockwise import multiply
from orfila_engine.fingerprint.digest import model_digest
from orfila_engine.fingerprint.passes import query_batches
from orfila_engine.fingerprint.shards import (
    make_projector,
    open_stored,
    project_shard,
    reduce_shards,
)
from orfila_engine.fingerprint.spec import FORMAT, IndexSpec
from orfila_engine.fingerprint.store import StoredRows
from orfila_engine.fingerprint.whitening import Whitening
from orfila_engine.gradients import GradientProjector, IndexedLayer, LeftOut, measurement
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.suspects import HELD_BYTES, FingerprintSuspects
from orfila_engine.threads import in_order


class Fingerprints:
    """phi(g_i) of every training image, [n, D], read and whitened when they are asked for."""

    def __init__(self, rows: StoredRows, scales: NDArray[np.float32], whitening: Whitening) -> None:
        self._rows, self._scales, self._whitening = rows, scales, whitening
        self.shape, self.dtype = rows.shape, np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice | NDArray[Any] | list[int]) -> NDArray[np.float32]:
        """Rows as of an array: an index, a slice, a list of indices or a mask -> float32 [D] or [m, D] in memory."""
        asked = np.arange(len(self))[key]
        indices = np.atleast_1d(asked)
        rows = torch.from_numpy(self._rows[indices].astype(np.float32) * self._scales[indices, None])
        return self._whitening.whiten(rows).numpy().reshape(*asked.shape, self.shape[1])


@dataclass(frozen=True)
class FingerprintIndex:
    """An index opened for reading. Its rows stay on disk until they are used."""

    path: Path
    meta: dict[str, Any]
    spec: IndexSpec
    layers: tuple[IndexedLayer, ...] = field(repr=False)
    left_out: tuple[LeftOut, ...] = field(repr=False)
    """Parameters that have no part in the fingerprint, and why."""
    rows: StoredRows = field(repr=False)
    """[n, D] projected gradients g_i / scale_i, memory-mapped."""
    scales: NDArray[np.float32] = field(repr=False)
    """[n]"""
    measurements: NDArray[np.float32] = field(repr=False)
    """[n] m(x_i, y_i) of every training image with its own label, see `measurement`."""
    self_influence: NDArray[np.float32] = field(repr=False)
    """[n] |phi(g_i)|^2 of the stored gradients."""
    whitening: Whitening = field(repr=False)
    device: str = "auto"
    """Where queries are computed."""
    _ready: dict[int, tuple[nn.Module, GradientProjector]] = field(repr=False, default_factory=dict)
    _suspects: OrderedDict[bytes, FingerprintSuspects] = field(repr=False, default_factory=OrderedDict)

    @classmethod
    def open(cls, path: Path, device: str = "auto") -> FingerprintIndex:
        """Open an index directory; raises ValueError when it is no index of this version."""
        try:
            meta = json.loads((path / "index.json").read_text())
            if meta.get("format") != FORMAT:
                raise ValueError(f"it has format {meta.get('format')!r}, this version reads {FORMAT}")
            rows, scales, measurements = open_stored(path, meta["shards"])
            self_influence = np.load(path / "self_influence.npy")
            factors = load_file(path / "whitening.safetensors")
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is not a fingerprint index ({error}); build it again") from error
        layers = tuple(IndexedLayer(**layer) for layer in meta["layers"])
        skipped = tuple(LeftOut(**item) for item in meta["left_out"])
        whitening = Whitening(layers, factors)
        return cls(
            path,
            meta,
            IndexSpec(**meta["spec"]),
            layers,
            skipped,
            rows,
            scales,
            measurements,
            self_influence,
            whitening,
            device,
        )

    @property
    def n(self) -> int:
        """Number of training images."""
        return len(self.rows)

    @property
    def dimension(self) -> int:
        """D, the length of a fingerprint."""
        return self.rows.shape[1]

    @property
    def fingerprints(self) -> Fingerprints:
        """phi(g_i), [n, D], to read rows of. Products with all of them are `influence`'s, which whitens no row."""
        return Fingerprints(self.rows, self.scales, self.whitening)

    def query(
        self, model: nn.Module, card: ModelCard, images: Tensor, labels: Tensor, batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """phi(h_q): whitened gradients of the measurement m(x, y), float32 [Q, D].

        model: the one that was indexed; it is prepared at the first question and remembered, so that a further one
        costs a fraction of a second. images: [Q, C, H, W], uint8 or float in [0, 1]; normalised here. labels: [Q].

        Raises ValueError when the index was built from another model, or a gradient is not finite.
        """
        projector = self._projector_of(model, card)
        size, side_by_side = query_batches(projector.device, card.input_size[0] * card.input_size[1], len(images))
        size = batch_size or size

        def rows(start: int) -> Tensor:
            x = normalise(images[start : start + size].to(projector.device), card)
            return projector(x, labels[start : start + size], measurement).float().cpu()

        starts = range(0, len(images), size)
        raw = torch.cat(list(in_order(rows, starts) if side_by_side else map(rows, starts)))
        if not bool(torch.isfinite(raw).all()):
            raise ValueError("the gradient at a queried image is not finite; the model overflows on it")
        return self.whitening.whiten(raw).numpy()

    def influence(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Influence of every training image on every query: queries [Q, D] -> [n, Q]. Reads the store once."""
        return self.products(self.adjoint(queries))

    def adjoint(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Queries [Q, D] -> the vectors whose `products` are the influences on them."""
        return self.whitening.adjoint(torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32))).numpy()

    def products(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every training image's projected gradient times vectors [K, D] -> [n, K]. Reads the store once."""
        out = multiply(self.rows.blocks(), self.n, vectors)
        out *= self.scales[:, None]
        return out

    def relative_influence(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Influence divided by the root of self-influence, [n, Q]; 0 for an image without any gradient."""
        root = np.sqrt(self.self_influence)[:, None]
        influence = self.influence(queries)
        return np.divide(influence, root, out=np.zeros_like(influence), where=root > 0)

    def suspects(self, indices: NDArray[np.int64]) -> FingerprintSuspects:
        """Unit gradients of some training images, for `collapse`. indices: [S] ascending.

        The last ones asked for stay in memory, as far as HELD_BYTES go, so that a refit reads nothing.
        """
        key = hashlib.blake2b(np.ascontiguousarray(indices, dtype=np.int64).tobytes()).digest()
        if key not in self._suspects:
            of_rows = np.square(np.sqrt(self.self_influence) / self.scales)
            self._suspects[key] = FingerprintSuspects(self.rows, of_rows, indices, self.whitening)
        self._suspects.move_to_end(key)
        while len(self._suspects) > 1 and sum(s.held_bytes for s in self._suspects.values()) > HELD_BYTES:
            self._suspects.popitem(last=False)
        return self._suspects[key]

    def hold(self) -> None:
        """Keep the rows in memory, if they take HELD_BYTES at most: for whoever asks many questions."""
        if self.rows.nbytes <= HELD_BYTES:
            self.rows.hold()

    def forget(self) -> None:
        """Give back the memory of `suspects` and `hold`."""
        self._suspects.clear()
        self.rows.let_go()

    def _projector_of(self, model: nn.Module, card: ModelCard) -> GradientProjector:
        known = self._ready.get(id(model))
        if known is None:
            if model_digest(model, card) != self.meta["model"]:
                raise ValueError("the index was built from another model; build it for this one, or open the right one")
            # The model is kept beside its projector, so that its id is not given to another one.
            known = self._ready[id(model)] = (model, make_projector(model, card, self.spec, self.device))
        return known[1]


def build_index(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    out_dir: Path,
    spec: IndexSpec | None = None,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    shard_images: int = 50_000,
    data_digest: str = "",
    progress: Progress = quiet,
) -> FingerprintIndex:
    """Index a training set in this process: every shard, then the reduction.

    pixels: uint8 [n, H, W, C], of the card's size; labels: [n], the true ones. See `project_shard` for the errors.
    """
    shards: list[Path] = []
    bounds = [(start, min(start + shard_images, len(pixels))) for start in range(0, len(pixels), shard_images)]
    try:
        for number, (start, stop) in enumerate(bounds):
            shards.append(out_dir.with_name(f"{out_dir.name}.shard-{number:05d}"))
            reported = part(progress, 0.95 * number / len(bounds), 0.95 * (number + 1) / len(bounds))
            project_shard(
                model,
                card,
                pixels,
                labels,
                start,
                stop,
                shards[-1],
                spec,
                device=device,
                batch_size=batch_size,
                progress=reported,
            )
        reduce_shards(shards, out_dir, data_digest=data_digest, progress=part(progress, 0.95, 1.0))
    finally:
        for shard in shards:
            shutil.rmtree(shard, ignore_errors=True)
            shutil.rmtree(shard.with_name(shard.name + ".part"), ignore_errors=True)
    return FingerprintIndex.open(out_dir, device)
