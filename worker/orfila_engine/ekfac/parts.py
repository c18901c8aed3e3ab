"""EK-FAC in parts, for several workers: the steps of `fit_factors` and of a pass over the training set, as files.

moments.safetensors      a part's second moments              -> joined to bases.safetensors
eigenvalues.safetensors  a part's sums in the eigenbasis      -> joined to the directory of an engine
answers.safetensors      a part's influences on the queries   -> joined to what `EkfacEngine.answers` holds

and, from the first pass, the part's files of the store (see `sketch`). Sums are taken over the same parts whoever takes
them, so the result is that of one process, but for the last digits.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.ekfac.engine import EkfacEngine
from orfila_engine.ekfac.factors import (
    Bases,
    EkfacSpec,
    added,
    bases_of,
    drawn_images,
    drawn_parts,
    eigenvalue_sums,
    factors_of,
    hook,
    second_moments,
)
from orfila_engine.ekfac.kept import keep_factors
from orfila_engine.ekfac.passes import Images, batch_size_for
from orfila_engine.progress import Progress, quiet
from orfila_engine.questions import Asked

MOMENTS, BASES, EIGENVALUES, ANSWERS = (
    f"{name}.safetensors" for name in ("moments", "bases", "eigenvalues", "answers")
)


def write_moments(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    number: int,
    out: Path,
    spec: EkfacSpec,
    *,
    device: str = "auto",
    half_batch: bool = False,
    progress: Progress = quiet,
) -> None:
    """Second moments of part `number` of the drawn training images, see `drawn_parts`. pixels: of all n images.

    half_batch: see `batch_size_for`.
    """
    _save(second_moments(_drawn_part(model, card, pixels, number, spec, device, half_batch), spec, progress), out)


def join_moments(parts: Sequence[Path], model: nn.Module, card: ModelCard, out: Path, *, device: str = "auto") -> None:
    """The Kronecker eigenbases, from the moments of all parts in order. See `bases_of` for the error."""
    hooked = hook(model, card, device)
    bases = bases_of(added(_load(path, hooked.device) for path in parts), hooked)
    _save({f"{name}/{k}": basis for name, pair in bases.items() for k, basis in enumerate(pair)}, out)


def write_eigenvalues(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    number: int,
    bases: Path,
    out: Path,
    spec: EkfacSpec,
    *,
    device: str = "auto",
    half_batch: bool = False,
    progress: Progress = quiet,
) -> None:
    """Sums in the eigenbasis over part `number` of the drawn training images; see `write_moments`."""
    images = _drawn_part(model, card, pixels, number, spec, device, half_batch)
    _save(eigenvalue_sums(images, spec, _bases(bases, images.hooked.device), progress), out)


def join_eigenvalues(
    parts: Sequence[Path],
    bases: Path,
    model: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    out_dir: Path,
    spec: EkfacSpec,
    *,
    device: str = "auto",
) -> None:
    """The directory of an engine over a data set's training images, from the sums of all parts in order."""
    began = time.perf_counter()
    hooked = hook(model, card, device)
    sums = added(_load(path, hooked.device) for path in parts)
    n = drawn_parts(packed.n_train, spec)[-1][1]
    factors = factors_of(sums, _bases(bases, hooked.device), hooked, spec, n)
    keep_factors(factors, model, card, packed.n_train, out_dir, packed.digest, time.perf_counter() - began)


def write_answers(
    engine: EkfacEngine, asked: Sequence[Asked], start: int, stop: int, out_dir: Path, number: int, progress: Progress
) -> None:
    """Influences of the training images start .. stop - 1 on the queries, and their part of the store.

    number: of the part. The store's files are left out where the engine has a store already.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    store = None if engine.has_store else (out_dir, number)
    _save({"influence": torch.from_numpy(engine.answer_part(asked, start, stop, store, progress))}, out_dir / ANSWERS)


def join_answers(parts: Sequence[Path]) -> NDArray[np.float32]:
    """The influences of all training images, from the parts in order."""
    return np.concatenate([load_file(path)["influence"].numpy() for path in parts])


def _drawn_part(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    number: int,
    spec: EkfacSpec,
    device: str,
    half_batch: bool,
) -> Images:
    hooked = hook(model, card, device)
    start, stop = drawn_parts(len(pixels), spec)[number]
    images = drawn_images(hooked, card, pixels, spec, batch_size_for(hooked, half=half_batch))
    return replace(images, rows=images.rows[start:stop])


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    # The name makes the file one of its kind, so that a store that keeps equal files once may drop it after use.
    save_file({k: v.cpu().contiguous() for k, v in tensors.items()}, path, {"name": uuid.uuid4().hex})


def _load(path: Path, device: torch.device) -> dict[str, Tensor]:
    return {name: each.to(device) for name, each in load_file(path).items()}


def _bases(path: Path, device: torch.device) -> Bases:
    found = _load(path, device)
    names = dict.fromkeys(name.rpartition("/")[0] for name in found)
    return {name: (found[f"{name}/0"], found[f"{name}/1"]) for name in names}
