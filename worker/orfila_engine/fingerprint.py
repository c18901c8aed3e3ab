"""The fingerprint index: influence as an inner product (docs/method.md).

One pass over the training set writes each image's projected gradient G_il of every layer l. With
L_l L_l^T = mean_i vec(G_il) vec(G_il)^T + damping, the fingerprint is phi(g_i) = concat_l L_l^-1 vec(G_il). Then

    influence            s_iq = phi(g_i) . phi(h_q)          (g . F^-1 . h with the projected Fisher, a block per layer)
    self-influence       |phi(g_i)|^2
    relative influence   phi(g_i) . phi(h_q) / |phi(g_i)|    (RelatIF, Barshan 2020)

The pass is split into shards whose Gram matrices add up: `project_shard` on any number of workers, `reduce_shards` on
one. Neither the sharding nor the batch size changes the result beyond rounding; the same ones give the same bits.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.devices import select_device
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients import GradientProjector, IndexedLayer, LeftOut, ProjectionSpec, measurement
from orfila_engine.progress import Progress, part, quiet

FORMAT = "orfila-index/1"
BATCH_SIZE = 32
"""Images in one pass of the model on a processor, whose cache then holds a layer's activations (the fastest of 16 to
128 measured)."""
BATCH_SIZE_CUDA = 256
_BLOCK = 1024
"""Rows whitened, or multiplied into a Gram matrix, at a time."""


@dataclass(frozen=True)
class IndexSpec(ProjectionSpec):
    """Everything, beside model and data, that decides an index."""

    damping: float = 0.1
    """Added to each Gram matrix's diagonal, as a share of the diagonal's mean."""
    dtype: Literal["float16", "float32"] = "float16"
    """How fingerprints are stored. Whitened coordinates are near 1, so float16 loses 3 to 4 digits of each."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.damping > 0:
            raise ValueError(f"damping is {self.damping}; it must be positive (0.1 is usual)")
        if self.dtype not in ("float16", "float32"):
            raise ValueError(f"dtype is '{self.dtype}'; use float16 or float32")


@dataclass(frozen=True)
class FingerprintIndex:
    """An index opened for reading. Its fingerprints stay on disk until they are used."""

    path: Path
    meta: dict[str, Any]
    spec: IndexSpec
    layers: tuple[IndexedLayer, ...] = field(repr=False)
    left_out: tuple[LeftOut, ...] = field(repr=False)
    """Parameters that have no part in the fingerprint, and why."""
    fingerprints: NDArray[np.float16] | NDArray[np.float32] = field(repr=False)
    """[n, D] phi(g_i), memory-mapped."""
    self_influence: NDArray[np.float32] = field(repr=False)
    """[n] |phi(g_i)|^2, computed before rounding to the stored dtype."""
    device: str = "auto"
    """Where queries are computed."""
    _factors: dict[str, Tensor] = field(repr=False, default_factory=dict)
    _ready: dict[int, tuple[nn.Module, GradientProjector]] = field(repr=False, default_factory=dict)

    @classmethod
    def open(cls, path: Path, device: str = "auto") -> FingerprintIndex:
        """Open an index directory; raises ValueError when it is no index of this version."""
        try:
            meta = json.loads((path / "index.json").read_text())
            fingerprints = np.load(path / "fingerprints.npy", mmap_mode="r")
            self_influence = np.load(path / "self_influence.npy")
            factors = load_file(path / "whitening.safetensors")
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} is not a fingerprint index ({error}); build it again") from error
        if meta.get("format") != FORMAT:
            raise ValueError(f"{path} has format {meta.get('format')!r}, this version reads {FORMAT}; build it again")
        layers = tuple(IndexedLayer(**layer) for layer in meta["layers"])
        spec = IndexSpec(**meta["spec"])
        skipped = tuple(LeftOut(**item) for item in meta["left_out"])
        return cls(path, meta, spec, layers, skipped, fingerprints, self_influence, device, factors)

    @property
    def n(self) -> int:
        """Number of training images."""
        return int(self.fingerprints.shape[0])

    @property
    def dimension(self) -> int:
        """D, the length of a fingerprint."""
        return int(self.fingerprints.shape[1])

    def query(
        self, model: nn.Module, card: ModelCard, images: Tensor, labels: Tensor, batch_size: int | None = None
    ) -> NDArray[np.float32]:
        """phi(h_q): whitened gradients of the measurement m(x, y), float32 [Q, D].

        model: the one that was indexed; it is prepared at the first question and remembered, so that a further one
        costs a fraction of a second. images: [Q, C, H, W], uint8 or float in [0, 1]; normalised here. labels: [Q].

        Raises ValueError when the index was built from another model, or a gradient is not finite.
        """
        projector = self._projector_of(model, card)
        batch_size = batch_size or _batch_size(projector)
        rows = []
        for start in range(0, len(images), batch_size):
            x = normalise(images[start : start + batch_size].to(projector.device), card)
            rows.append(projector(x, labels[start : start + batch_size], measurement).float().cpu())
        raw = torch.cat(rows)
        if not bool(torch.isfinite(raw).all()):
            raise ValueError("the gradient at a queried image is not finite; the model overflows on it")
        return self._whitening(raw).numpy()

    @cached_property
    def _whitening(self) -> _Whitening:
        return _Whitening(self.layers, self._factors)

    def _projector_of(self, model: nn.Module, card: ModelCard) -> GradientProjector:
        known = self._ready.get(id(model))
        if known is None:
            if model_digest(model, card) != self.meta["model"]:
                raise ValueError("the index was built from another model; build it for this one, or open the right one")
            # The model is kept beside its projector, so that its id is not given to another one.
            known = self._ready[id(model)] = (model, _projector(model, card, self.spec, self.device))
        return known[1]

    def influence(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Influence of every training image on every query: queries [Q, D] -> [n, Q]. Reads the store once."""
        out = np.empty((self.n, len(queries)), dtype=np.float32)
        columns = torch.from_numpy(np.asarray(queries, dtype=np.float32)).T
        for start in range(0, self.n, _BLOCK):
            rows = torch.from_numpy(self.fingerprints[start : start + _BLOCK].astype(np.float32))
            out[start : start + _BLOCK] = (rows @ columns).numpy()
        return out

    def relative_influence(self, queries: NDArray[np.float32]) -> NDArray[np.float32]:
        """Influence divided by the root of self-influence, [n, Q]; 0 for an image without any gradient."""
        root = np.sqrt(self.self_influence)[:, None]
        influence = self.influence(queries)
        return np.divide(influence, root, out=np.zeros_like(influence), where=root > 0)


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
    return FingerprintIndex.open(out_dir, device)


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
    """Project the loss gradients of training images start .. stop - 1 and sum their Gram matrices.

    Writes raw.npy (float32 [stop - start, D]), gram.safetensors (float64 [K_l, K_l] by layer) and shard.json, under
    another name first. Raises ValueError for an empty range, a label outside the classes, pictures of another shape
    than the card's, or a gradient that is not finite (the image is named); whatever `progress` raises passes through.
    """
    spec = spec or IndexSpec()
    _check(card, pixels, labels, start, stop)
    began = time.perf_counter()
    projector = _projector(model, card, spec, device)
    batch_size = batch_size or _batch_size(projector)
    layers = projector.layers
    writing = _fresh(out_dir)
    shape = (stop - start, projector.dimension)
    raw = np.lib.format.open_memmap(writing / "raw.npy", mode="w+", dtype=np.float32, shape=shape)
    grams = {layer.name: torch.zeros(layer.size, layer.size, dtype=torch.float64) for layer in layers}
    for first in range(start, stop, _BLOCK):
        last = min(first + _BLOCK, stop)
        block = torch.empty(last - first, projector.dimension, device=projector.device)
        for low in range(first, last, batch_size):
            high = min(low + batch_size, last)
            x = normalise(to_tensor(pixels[low:high]).to(projector.device), card)
            y = torch.from_numpy(np.array(labels[low:high]))
            block[low - first : high - first] = projector(x, y)
            progress("projecting gradients", (high - start) / (stop - start))
        finite = torch.isfinite(block.sum(1))
        if not bool(finite.all()):
            bad = first + int((~finite).nonzero()[0])
            raise ValueError(
                f"the gradient of training image {bad} is not finite: the model overflows on it; "
                "use a checkpoint from before the training diverged"
            )
        for layer in layers:
            columns = block[:, layer.columns]
            grams[layer.name] += (columns.T @ columns).double().cpu()
        raw[first - start : last - start] = block.cpu().numpy()
    raw.flush()
    save_file(grams, writing / "gram.safetensors")
    described = {
        "format": FORMAT,
        "start": start,
        "stop": stop,
        "model": model_digest(model, card),
        "spec": asdict(spec),
        "layers": [asdict(layer) for layer in layers],
        "left_out": [asdict(item) for item in projector.left_out],
        "seconds": time.perf_counter() - began,
        "device": str(projector.device),
    }
    (writing / "shard.json").write_text(json.dumps(described))
    _put(writing, out_dir)


def reduce_shards(
    shards: Sequence[Path], out_dir: Path, *, data_digest: str = "", progress: Progress = quiet
) -> FingerprintIndex:
    """Sum the shards' Gram matrices, factorise them, and write every whitened fingerprint. The shards are kept.

    Raises ValueError when the shards differ in model or settings, or do not cover 0 .. n without gap or overlap.
    """
    began = time.perf_counter()
    described = sorted(((json.loads((s / "shard.json").read_text()), s) for s in shards), key=lambda d: d[0]["start"])
    n = _check_shards([meta for meta, _ in described])
    first = described[0][0]
    spec = IndexSpec(**first["spec"])
    layers = tuple(IndexedLayer(**layer) for layer in first["layers"])
    factors = _factorise([load_file(shard / "gram.safetensors") for _, shard in described], n, layers, spec.damping)
    whitening = _Whitening(layers, factors)

    writing = _fresh(out_dir)
    shape = (n, sum(layer.size for layer in layers))
    store = np.lib.format.open_memmap(writing / "fingerprints.npy", mode="w+", dtype=np.dtype(spec.dtype), shape=shape)
    self_influence = np.empty(n, dtype=np.float32)
    for meta, shard in described:
        raw = np.load(shard / "raw.npy", mmap_mode="r")
        for low in range(0, len(raw), _BLOCK):
            rows = whitening(torch.from_numpy(np.array(raw[low : low + _BLOCK])))
            at = slice(meta["start"] + low, meta["start"] + low + len(rows))
            stored = rows.to(getattr(torch, spec.dtype))
            if not bool(torch.isfinite(stored).all()):
                raise ValueError("a fingerprint is too large for float16; build the index with dtype float32")
            store[at] = stored.numpy()
            self_influence[at] = torch.linalg.vector_norm(rows, dim=1).square().numpy()
            progress("whitening fingerprints", at.stop / n)
    store.flush()
    np.save(writing / "self_influence.npy", self_influence)
    save_file(factors, writing / "whitening.safetensors")
    about = {
        "format": FORMAT,
        "n": n,
        "dimension": shape[1],
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
    _put(writing, out_dir)
    return FingerprintIndex.open(out_dir)


def model_digest(model: nn.Module, card: ModelCard) -> str:
    """SHA-256 of a model's card and of every tensor of its state, wherever it lies in memory."""
    digest = hashlib.sha256(json.dumps(card.to_metadata(), sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"\0{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class _Whitening:
    """Applies L_l^-1 to every layer's coordinates."""

    def __init__(self, layers: Sequence[IndexedLayer], factors: dict[str, Tensor]) -> None:
        # The factors are well conditioned thanks to the damping, so a product with the inverse is as good as a solve.
        self._inverse = []
        for layer in layers:
            factor = factors[layer.name].double()
            identity = torch.eye(layer.size, dtype=torch.float64)
            inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
            self._inverse.append((layer.columns, inverse.T.float().contiguous()))

    def __call__(self, raw: Tensor) -> Tensor:
        """[m, D] projected gradients -> [m, D] fingerprints, float32 on the CPU."""
        out = torch.empty_like(raw)
        for columns, inverse in self._inverse:
            torch.matmul(raw[:, columns], inverse, out=out[:, columns])
        return out


def _factorise(
    grams: Sequence[dict[str, Tensor]], n: int, layers: Sequence[IndexedLayer], damping: float
) -> dict[str, Tensor]:
    """Layer name -> lower Cholesky factor L_l of the mean Gram matrix plus damping, float64 [K_l, K_l]."""
    factors = {}
    for layer in layers:
        gram = torch.stack([g[layer.name] for g in grams]).sum(0) / n
        level = float(gram.diagonal().mean())
        if level == 0:
            # No image has a gradient in this layer (it is dead), so its coordinates are 0 under any factor.
            factors[layer.name] = torch.eye(layer.size, dtype=torch.float64)
            continue
        gram.diagonal().add_(damping * level)
        factors[layer.name] = torch.linalg.cholesky(gram).contiguous()
    return factors


def _projector(model: nn.Module, card: ModelCard, spec: IndexSpec, device: str) -> GradientProjector:
    return GradientProjector(model, (card.channels, *card.input_size), spec, select_device(device))


def _batch_size(projector: GradientProjector) -> int:
    return BATCH_SIZE_CUDA if projector.device.type == "cuda" else BATCH_SIZE


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


def _check_shards(described: Sequence[dict[str, Any]]) -> int:
    """Number of images that the shards cover together."""
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
        if meta["start"] != position:
            raise ValueError(
                f"a shard starts at image {meta['start']} where {position} is next; project the missing ones"
            )
        position = meta["stop"]
    return position


def _fresh(target: Path) -> Path:
    """An empty directory beside `target` to write into."""
    writing = target.with_name(target.name + ".part")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    return writing


def _put(writing: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    writing.rename(target)
