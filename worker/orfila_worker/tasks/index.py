"""Index: project ranges of the training set on any number of workers, then sum, factorise and whiten on one."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from orfila.jobs.contracts import IndexBuildSpec, IndexResult, IndexShardResult
from orfila_engine.evidence import calibration_of
from orfila_engine.fingerprint import (
    STORED,
    FingerprintIndex,
    IndexSpec,
    default_batch_size,
    project_shard,
    reduce_shards,
    stored_name,
)
from orfila_engine.progress import part

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def index(work: Work) -> IndexShardResult | IndexResult:
    """Stage 0: one range. Stage 1: everything."""
    spec = IndexBuildSpec.model_validate(work.spec)
    return _project(work, spec) if work.stage == 0 else _reduce(work, spec)


def _project(work: Work, spec: IndexBuildSpec) -> IndexShardResult:
    began = time.monotonic()
    model, card = work.warm.model(spec.weights, spec.card)
    pixels, labels = work.warm.pack(spec.pack).train
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
        IndexSpec(seed=spec.seed),
        device=work.device,
        batch_size=usual // 2 if work.half_batch else None,
        progress=work.progress,
    )
    files = work.store.put_tree(out_dir)
    return IndexShardResult(start=start, stop=stop, files=files, seconds=time.monotonic() - began)


def _reduce(work: Work, spec: IndexBuildSpec) -> IndexResult:
    began = time.monotonic()
    shards = sorted((IndexShardResult.model_validate(result) for result in work.earlier), key=lambda s: s.start)
    folders = [work.store.materialise(s.files, work.folder / f"shard-{n:05d}") for n, s in enumerate(shards)]
    out_dir = work.folder / "index"
    model, card = work.warm.model(spec.weights, spec.card)
    packed = work.warm.pack(spec.pack)
    reduce_shards(folders, out_dir, data_digest=packed.digest, progress=part(work.progress, 0.0, 0.3))
    opened = FingerprintIndex.open(out_dir, work.device)
    # Once for each index, so that every case on it is answered at once.
    calibration_of(opened, packed, model, card, progress=part(work.progress, 0.3, 1.0))
    model.to(work.device)
    # What the shards stored is part of the index as it is; hashing it again would take minutes at a million images.
    files = {stored_name(kind, k): s.files[f"{kind}.npy"] for k, s in enumerate(shards) for kind in STORED}
    written = [path for path in sorted(out_dir.iterdir()) if path.name not in files]
    files |= {path.name: work.store.put_file(path) for path in written}
    work.discard.extend(s.files[name] for s in shards for name in ("gram.safetensors", "shard.json"))
    return IndexResult(
        files=files,
        dimension=opened.dimension,
        seconds=sum(s.seconds for s in shards) + time.monotonic() - began,
    )
