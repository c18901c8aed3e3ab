"""Ingest: an untrusted archive becomes a pack, read in a sandboxed process."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from orfila.jobs.contracts import IngestResult, IngestSpec
from orfila_worker.sandbox import pack_untrusted

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def ingest(work: Work) -> IngestResult:
    """Pack the archive with its originals and thumbnail atlases, and store every file of the pack."""
    spec = IngestSpec.model_validate(work.spec)
    out_dir = work.folder / "pack"
    shutil.rmtree(out_dir, ignore_errors=True)
    seconds = pack_untrusted(
        work.store.local_path(spec.archive),
        out_dir,
        {
            "on_broken": spec.on_broken,
            "seed": spec.split_seed,
            "size": (spec.size.height, spec.size.width) if spec.size else None,
            "class_names": spec.class_names,
            "keep_originals": True,
            "atlases": True,
        },
        work.progress,
        labels=spec.labels,
    )
    work.progress("storing the data set", 1.0)
    meta = json.loads((out_dir / "meta.json").read_text())
    return IngestResult(
        files=work.store.put_tree(out_dir), meta=meta, n_duplicates=meta["n_duplicates"], seconds=seconds
    )
