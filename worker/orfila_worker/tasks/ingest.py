"""Ingest: an untrusted archive becomes a pack, read in sandboxed processes.

A small archive has one stage. A large one has three: the first reading, which names the parts; the parts, on any number
of workers; their joining.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orfila.jobs.contracts import IngestPartResult, IngestResult, IngestSpec, IngestSurveyResult
from orfila_engine.data.parts import ranges
from orfila_engine.data.survey import Survey
from orfila_engine.progress import part
from orfila_worker.sandbox import run_step

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def ingest(work: Work) -> IngestResult | IngestSurveyResult | IngestPartResult:
    """Pack the archive with its originals and thumbnail atlases, and store every file of the pack."""
    spec = IngestSpec.model_validate(work.spec)
    if not spec.in_parts:
        return _whole(work, spec)
    return (_survey, _fill, _join)[work.stage](work, spec)


def _whole(work: Work, spec: IngestSpec) -> IngestResult:
    out_dir = _fresh(work, "pack")
    seconds = run_step("pack", _request(work, spec, out_dir), work.progress)
    return _stored(work, out_dir, seconds)


def _survey(work: Work, spec: IngestSpec) -> IngestSurveyResult:
    work.progress("looking through the archive", 0.0)
    out_dir = _fresh(work, "survey")
    seconds = run_step("survey", _request(work, spec, out_dir), work.progress)
    parts = ranges(Survey.open(out_dir), work.settings.ingest_part_images)
    return IngestSurveyResult(
        survey=work.store.put_tree(out_dir),
        split=[{"start": start, "stop": stop} for start, stop in parts],
        seconds=seconds,
    )


def _fill(work: Work, spec: IngestSpec) -> IngestPartResult:
    before = IngestSurveyResult.model_validate(work.earlier[0])
    survey = work.store.materialise(before.survey, work.folder / "survey")
    out_dir = _fresh(work, "part")
    request = _request(work, spec, out_dir) | {"survey": survey} | work.payload
    seconds = run_step("fill", request, part(work.progress, 0.0, 0.95))
    files = work.store.put_tree(out_dir)
    return IngestPartResult(**work.payload, files=files, survey=before.survey, seconds=seconds)


def _join(work: Work, spec: IngestSpec) -> IngestResult:
    work.progress("putting the parts together", 0.0)
    parts = [IngestPartResult.model_validate(result) for result in work.earlier]
    survey = work.store.materialise(parts[0].survey, work.folder / "survey")
    folders = [work.store.materialise(p.files, work.folder / f"part-{n:05d}") for n, p in enumerate(parts)]
    out_dir = _fresh(work, "pack")
    request = _request(work, spec, out_dir) | {"survey": survey, "parts": folders}
    seconds = run_step("join", request, part(work.progress, 0.0, 0.8))
    # The sheets of thumbnails are the pack's own by now; the other files of a part are one of their kind.
    work.discard.extend(p.files[name] for p in parts for name in ("pixels.npy", "originals.bin", "known.parquet"))
    return _stored(work, out_dir, seconds + sum(p.seconds for p in parts))


def _request(work: Work, spec: IngestSpec, out_dir: Path) -> dict[str, Any]:
    return {
        "archive": work.store.local_path(spec.archive),
        "out_dir": out_dir,
        "labels": spec.labels,
        "options": {
            "on_broken": spec.on_broken,
            "seed": spec.split_seed,
            "size": (spec.size.height, spec.size.width) if spec.size else None,
            "class_names": spec.class_names,
            "keep_originals": True,
            "atlases": True,
        },
    }


def _fresh(work: Work, name: str) -> Path:
    out_dir = work.folder / name
    shutil.rmtree(out_dir, ignore_errors=True)
    return out_dir


def _stored(work: Work, out_dir: Path, seconds: float) -> IngestResult:
    began = time.monotonic()
    work.progress("storing the data set", 1.0)
    meta = json.loads((out_dir / "meta.json").read_text())
    files = work.store.put_tree(out_dir)
    return IngestResult(
        files=files, meta=meta, n_duplicates=meta["n_duplicates"], seconds=seconds + time.monotonic() - began
    )
