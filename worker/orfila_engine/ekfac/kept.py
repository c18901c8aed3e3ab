"""EK-FAC engines in directories: factors are made once for a model and its data and used again.

factors.json, factors.safetensors                 see `EkfacFactors`
ekfac.json                                        what the engine was made from
sketch-N.npy, scales-N.npy, self_influence-N.npy  made by the first pass that needs them, in one part or several
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.ekfac.engine import EkfacEngine
from orfila_engine.ekfac.factors import EkfacFactors, EkfacSpec, fit_factors
from orfila_engine.fingerprint.digest import model_digest
from orfila_engine.progress import Progress, quiet

FORMAT = "orfila-ekfac/2"


def build_engine(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    out_dir: Path,
    spec: EkfacSpec | None = None,
    *,
    device: str = "auto",
    data_digest: str = "",
    progress: Progress = quiet,
) -> EkfacEngine:
    """Fit the factors of a model and keep them in a directory.

    pixels: uint8 [n, H, W, C] of the card's size; labels: [n], the true ones. See `fit_factors` for the errors.
    """
    began = time.perf_counter()
    factors = fit_factors(model, card, pixels, spec, device=device, progress=progress)
    meta = keep_factors(factors, model, card, len(pixels), out_dir, data_digest, time.perf_counter() - began)
    return EkfacEngine(out_dir, meta, factors, card, pixels, labels)


def keep_factors(
    factors: EkfacFactors, model: nn.Module, card: ModelCard, n: int, out_dir: Path, data_digest: str, seconds: float
) -> dict[str, Any]:
    """Write the directory of an engine over n training images, and return what its ekfac.json says."""
    writing = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    meta = {
        "format": FORMAT,
        "model": model_digest(model, card),
        "data": data_digest,
        "n": n,
        "layers": list(factors.layers),
        "left_out": [vars(item) for item in factors.left_out],
        "torch": torch.__version__,
        "seconds": {"factors": round(seconds, 2)},
    }
    factors.save(writing, str(meta["model"]))
    (writing / "ekfac.json").write_text(json.dumps(meta, indent=1))
    shutil.rmtree(out_dir, ignore_errors=True)
    writing.rename(out_dir)
    return meta


def open_engine(
    path: Path,
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    device: str = "auto",
) -> EkfacEngine:
    """Open what `build_engine` wrote, with the same model and images; raises ValueError when it is something else."""
    try:
        meta = json.loads((path / "ekfac.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} holds no EK-FAC factors ({error}); make them again") from error
    if meta.get("format") != FORMAT or meta["n"] != len(pixels):
        raise ValueError(f"{path} was made by another version or from other images; make it again")
    return EkfacEngine(path, meta, EkfacFactors.open(path, model, card, device), card, pixels, labels)


def kept_engine(
    path: Path,
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    spec: EkfacSpec | None = None,
    *,
    device: str = "auto",
    progress: Progress = quiet,
) -> EkfacEngine:
    """The engine of an earlier run at `path` if it is of the same model, data and settings, else a new one."""
    pixels, labels = packed.train
    spec = spec or EkfacSpec()
    try:
        kept = open_engine(path, model, card, pixels, labels, device=device)
    except ValueError:
        kept = None
    if kept is not None and kept.meta["data"] == packed.digest and kept.factors.spec == spec:
        return kept
    return build_engine(
        model, card, pixels, labels, path, spec, device=device, data_digest=packed.digest, progress=progress
    )
