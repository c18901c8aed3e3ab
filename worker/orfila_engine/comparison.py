"""Detectors side by side on one case: what each flags and, where the truth is known, how right it is.

Every detector is measured twice: over all classes, as it answers, and within the affected label, as if somebody had
told it that label too. The command line, the benchmarks and the API read what `write` writes (docs/formats.md).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from orfila_engine.detectors import Detected, Detector, DetectorInput, settings_of
from orfila_engine.progress import Progress, quiet

FORMAT = "orfila-comparison/1"


@dataclass(frozen=True)
class Measured:
    """A flagged set against the truth; the three shares are None where no truth is given or nothing is flagged."""

    n_flagged: int
    precision: float | None
    recall: float | None
    average_precision: float | None
    """Of the scores, whatever is flagged."""


@dataclass(frozen=True)
class Row:
    """One detector."""

    detector: str
    title: str
    source: str
    settings: dict[str, Any]
    seconds: float
    """Its own time; that of parts it shares with others is in `Comparison.shared_seconds`."""
    all_classes: Measured | None
    label: Measured | None
    note: str = ""
    error: str = ""
    """Why it gave no answer; empty if it did."""


@dataclass(frozen=True)
class Comparison:
    """All detectors on one case."""

    rows: tuple[Row, ...]
    answers: dict[str, Detected]
    """By detector, those that answered."""
    predicted: int
    n_train: int
    n_label: int
    """Training images that carry the affected label."""
    n_poison: int | None
    """None without a truth."""
    shared_seconds: dict[str, float]
    """Time for parts that several detectors use."""


def compare(
    evidence: DetectorInput,
    detectors: Sequence[Detector],
    truth: Collection[int] | None = None,
    *,
    progress: Progress = quiet,
) -> Comparison:
    """Run detectors on the same evidence. truth: `index` of the poisoned training images, for measuring alone.

    A detector that cannot work on this case gets a row that says why; the others go on.

    Raises ValueError for a truth outside the training images, or two detectors of one name.
    """
    if len({d.name for d in detectors}) < len(detectors):
        raise ValueError("a detector is named twice; compare each one once")
    poison = _mask(truth, evidence.n)
    rows: list[Row] = []
    answers: dict[str, Detected] = {}
    shared: dict[str, float] = {}
    for number, detector in enumerate(detectors):
        progress(f"detector {detector.name}", number / len(detectors))
        error, answer = "", None
        began = time.perf_counter()
        try:
            for need in detector.needs:
                if need not in shared:
                    getattr(evidence, need)
                    shared[need] = round(time.perf_counter() - began, 3)
                began = time.perf_counter()
            answer = answers[detector.name] = detector.detect(evidence)
        except ValueError as reason:
            error = str(reason)
        rows.append(_row(detector, answer, error, time.perf_counter() - began, evidence, poison))
    progress("compared", 1.0)
    return Comparison(
        rows=tuple(rows),
        answers=answers,
        predicted=evidence.predicted,
        n_train=evidence.n,
        n_label=int((evidence.labels == evidence.predicted).sum()),
        n_poison=None if poison is None else int(poison.sum()),
        shared_seconds=shared,
    )


def measure(answer: Detected, poison: NDArray[np.bool_] | None, judged: NDArray[np.bool_]) -> Measured:
    """An answer against the truth [n], or only counted without one. judged: [n] the images among which it is measured.

    Recall is over all poison, judged or not.
    """
    flagged = answer.flagged[judged[answer.flagged]]
    if poison is None or not poison.any():
        return Measured(len(flagged), None, None, None)
    hits = int(poison[flagged].sum())
    scores = np.nan_to_num(answer.scores[judged].astype(np.float64), nan=-np.inf, neginf=-1e30)
    ranked = float(average_precision_score(poison[judged], scores)) if poison[judged].any() else 0.0
    return Measured(len(flagged), hits / len(flagged) if len(flagged) else None, hits / int(poison.sum()), ranked)


def describe(comparison: Comparison, evidence: DetectorInput, affected: Sequence[str] = ()) -> dict[str, Any]:
    """The content of comparison.json. affected: names of the affected images."""
    return {
        "format": FORMAT,
        "predicted": comparison.predicted,
        "predicted_name": evidence.card.classes[comparison.predicted],
        "affected": list(affected),
        "n_train": comparison.n_train,
        "n_label": comparison.n_label,
        "n_poison": comparison.n_poison,
        "rows": [asdict(row) for row in comparison.rows],
        "shared_seconds": comparison.shared_seconds,
        "parameters": {"n_queries": evidence.n_b, "seed": evidence.seed, "n_clean": len(evidence.clean)},
        "digests": {"data": evidence.packed.digest, "model": evidence.index.meta["model"]},
        "versions": {"orfila": version("orfila"), "torch": torch.__version__, "numpy": np.__version__},
    }


def write(
    comparison: Comparison,
    evidence: DetectorInput,
    out_dir: Path,
    *,
    affected: Sequence[str] = (),
    truth: Collection[int] | None = None,
) -> None:
    """Write comparison.json and comparison.parquet (scores and flags of every training image) to `out_dir`."""
    partial = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    described = describe(comparison, evidence, affected)
    (partial / "comparison.json").write_text(json.dumps(described, indent=1))
    n = comparison.n_train
    columns: dict[str, Any] = {
        "index": pa.array(np.arange(n, dtype=np.int32)),
        "name": pa.array(evidence.packed.names[:n], pa.string()),
        "label": pa.array(evidence.labels.astype(np.int32)),
    }
    poison = _mask(truth, n)
    if poison is not None:
        columns["poison"] = pa.array(poison)
    for name, answer in comparison.answers.items():
        flags = np.zeros(n, dtype=bool)
        flags[answer.flagged] = True
        columns[f"{name}:score"] = pa.array(answer.scores)
        columns[f"{name}:flagged"] = pa.array(flags)
    pq.write_table(pa.table(columns), partial / "comparison.parquet", compression="zstd", compression_level=1)
    shutil.rmtree(out_dir, ignore_errors=True)
    partial.rename(out_dir)


def _row(
    detector: Detector,
    answer: Detected | None,
    error: str,
    seconds: float,
    evidence: DetectorInput,
    poison: NDArray[np.bool_] | None,
) -> Row:
    everywhere = within = None
    if answer is not None:
        everywhere = measure(answer, poison, np.ones(evidence.n, dtype=bool))
        within = measure(answer, poison, evidence.labels == evidence.predicted)
    return Row(
        detector=detector.name,
        title=detector.title,
        source=detector.source,
        settings=settings_of(detector),
        seconds=round(seconds, 3),
        all_classes=everywhere,
        label=within,
        note=answer.note if answer else "",
        error=error,
    )


def _mask(truth: Collection[int] | None, n: int) -> NDArray[np.bool_] | None:
    if truth is None:
        return None
    indices = np.array(sorted(truth), dtype=np.int64)
    if len(indices) and not 0 <= indices[0] <= indices[-1] < n:
        raise ValueError(f"training images are numbered 0..{n - 1}; the truth holds {indices[0]} to {indices[-1]}")
    mask = np.zeros(n, dtype=bool)
    mask[indices] = True
    return mask
