"""Index: project ranges of the training set on any number of workers, sum and factorise on one, calibrate on any."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from orfila.jobs.contracts import (
    IndexBuildSpec,
    IndexCalibrationResult,
    IndexFactorsResult,
    IndexResult,
    IndexShardResult,
    Tree,
)
from orfila.models.schemas import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.evidence import Calibration, prepared_labels
from orfila_engine.fingerprint import (
    STORED,
    FingerprintIndex,
    IndexSpec,
    default_batch_size,
    project_shard,
    reduce_shards,
    stored_name,
)
from orfila_engine.progress import Progress, part

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def index(work: Work) -> IndexShardResult | IndexFactorsResult | IndexCalibrationResult | IndexResult:
    """Stage 0: one range. Stage 1: the index of them. Stage 2: some labels. Stage 3: everything."""
    spec = IndexBuildSpec.model_validate(work.spec)
    if work.stage == 0:
        return project(work, spec.weights, spec.card, spec.pack, IndexSpec(seed=spec.seed))
    return (_factors, _calibrate, _join)[work.stage - 1](work, spec)


def _factors(work: Work, spec: IndexBuildSpec) -> IndexFactorsResult:
    began = time.monotonic()
    shards = shards_of(work)
    packed, out_dir = work.warm.pack(spec.pack), work.folder / "index"
    opened = reduce(work, shards, out_dir, packed, part(work.progress, 0.0, 0.6))
    model, card = work.warm.model(spec.weights, spec.card)
    labels = prepared_labels(card)
    if labels:
        _ = Calibration(opened, packed, model, card).sample  # once for all labels
        model.to(work.device)
    made = IndexResult(
        files=index_files(work, shards, out_dir),
        dimension=opened.dimension,
        seconds=sum(s.seconds for s in shards) + time.monotonic() - began,
    )
    return IndexFactorsResult(index=made, split=[{"labels": [label]} for label in labels] or [{"labels": []}])


def _calibrate(work: Work, spec: IndexBuildSpec) -> IndexCalibrationResult:
    """References for the evidence test: once for each index, so that every case on it is answered at once."""
    began = time.monotonic()
    [made] = [IndexFactorsResult.model_validate(result).index for result in work.earlier]
    model, card = work.warm.model(spec.weights, spec.card)
    calibration = Calibration(work.warm.index(made.files), work.warm.pack(spec.pack), model, card)
    files: Tree = {}
    for number, label in enumerate(work.payload["labels"]):
        work.progress("calibrating the evidence test", number / len(work.payload["labels"]))
        calibration.of(label)
        path = calibration.path_of(label)
        files[path.name] = work.store.put_file(path)
    return IndexCalibrationResult(files=files, seconds=time.monotonic() - began, index=made)


def _join(work: Work, _spec: IndexBuildSpec) -> IndexResult:
    parts = [IndexCalibrationResult.model_validate(result) for result in work.earlier]
    made = parts[0].index
    for each in parts:
        made.files |= each.files
    return made.model_copy(update={"seconds": made.seconds + sum(each.seconds for each in parts)})


def project(work: Work, weights: str, given: ModelCard | None, pack: Tree, spec: IndexSpec) -> IndexShardResult:
    """Project the range of training images that the shard's payload names (start, stop), and store that."""
    began = time.monotonic()
    model, card = work.warm.model(weights, given)
    pixels, labels = work.warm.pack(pack).train
    start, stop = work.payload["start"], work.payload["stop"]
    out_dir = work.folder / "shard"
    usual = default_batch_size(torch.device(work.device), card.input_size[0] * card.input_size[1])
    project_shard(
        model,
        card,
        pixels,
        labels,
        start,
        stop,
        out_dir,
        spec,
        device=work.device,
        batch_size=usual // 2 if work.half_batch else None,
        progress=work.progress,
    )
    files = work.store.put_tree(out_dir)
    return IndexShardResult(start=start, stop=stop, files=files, seconds=time.monotonic() - began)


def shards_of(work: Work) -> list[IndexShardResult]:
    """What the stage before has projected, in the order of the images."""
    return sorted((IndexShardResult.model_validate(result) for result in work.earlier), key=lambda s: s.start)


def reduce(
    work: Work, shards: Sequence[IndexShardResult], out_dir: Path, packed: PackedDataset, progress: Progress
) -> FingerprintIndex:
    """Sum the shards, which are in order, to an index, and open it."""
    folders = [work.store.materialise(s.files, work.folder / f"shard-{n:05d}") for n, s in enumerate(shards)]
    reduce_shards(folders, out_dir, data_digest=packed.digest, progress=progress)
    return FingerprintIndex.open(out_dir, work.device)


def index_files(work: Work, shards: Sequence[IndexShardResult], out_dir: Path) -> Tree:
    """Store an index that was reduced, and whatever was added to it; its shards need no place of their own any more."""
    # What the shards stored is part of the index as it is; hashing it again would take minutes at a million images.
    files = {stored_name(kind, k): s.files[f"{kind}.npy"] for k, s in enumerate(shards) for kind in STORED}
    written = [path for path in sorted(out_dir.iterdir()) if path.name not in files]
    files |= {path.name: work.store.put_file(path) for path in written}
    work.discard.extend(s.files[name] for s in shards for name in ("gram.safetensors", "shard.json"))
    return files
