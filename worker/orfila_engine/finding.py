"""What an investigation says in the end: who is flagged, how sure that is, and one sentence.

Both the first answer and the one that has learned from verdicts (`refit`) are written with this.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orfila_engine.data import PackedDataset
from orfila_engine.estimates import estimate_precision, estimate_recall
from orfila_engine.evidence import Evidence

Columns = Mapping[str, NDArray[Any]]
"""Scores of all n training images by name; at least collapse_score, posterior, suspect and flagged."""


def counted(
    columns: Columns,
    evidence: Evidence,
    label: str,
    *,
    judged: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Sentence, number of flagged images, estimated precision and recall: the part of a summary that verdicts change.

    label: name of the one that the affected images receive. judged: `index` of images with a verdict, ascending; they
    count for the estimates although they may be no suspects.
    """
    flagged, suspect = columns["flagged"], columns["suspect"]
    counts = suspect.copy()
    n_verdicts = 0
    if judged is not None:
        counts[judged] = True
        n_verdicts = len(judged)
    n_flagged = int(flagged.sum())
    posterior, flags = columns["posterior"][counts], flagged[counts]
    return {
        "sentence": sentence(evidence, n_flagged, len(flagged), int(suspect.sum()), label, n_verdicts),
        "n_flagged": n_flagged,
        "precision": asdict(estimate_precision(posterior, flags)),
        "recall": asdict(estimate_recall(posterior, flags)),
    }


def sentence(evidence: Evidence, n_flagged: int, n_train: int, n_suspects: int, label: str, n_verdicts: int = 0) -> str:
    """The finding in one sentence. The p-value is that of the evidence test, which no verdict has a part in."""
    p = _p(evidence.p_value)
    images = "training image" if n_flagged == 1 else "training images"
    if evidence.verdict == "no evidence of poisoning":
        found = (
            f"No evidence of poisoning: none of the {n_suspects:,} suspects (of {n_train:,} training images) stand out "
            f"more than for ordinary test images ({p})"
        )
        learned = f"; after {_verdicts(n_verdicts)}, {n_flagged:,} {'is' if n_flagged == 1 else 'are'} flagged"
        return f"{found}{learned if n_verdicts else ''}."
    learned = f", after {_verdicts(n_verdicts)}" if n_verdicts else ""
    start = f"{n_flagged:,} of {n_train:,} {images} explain why the model says '{label}' ({p}){learned}"
    if evidence.verdict == "weak evidence":
        return f"Weak evidence of poisoning: {start}; review them before anything is removed."
    return f"Poisoning found: {start}."


def ranked(columns: Columns) -> NDArray[np.int64]:
    """`index` of the flagged images, the surest first."""
    flagged = np.flatnonzero(columns["flagged"])
    order = np.lexsort((-columns["collapse_score"][flagged], -columns["posterior"][flagged]))
    return np.asarray(flagged[order], dtype=np.int64)


def ranks(columns: Columns) -> NDArray[np.float64]:
    """How suspicious every training image is, [n]: its place among the suspects as a share of them, 1 for the surest.

    By posterior, then by collapse score; 0 for images that are no suspects. For measures of a ranking against a truth.
    """
    suspects = np.flatnonzero(columns["suspect"])
    order = np.lexsort((columns["collapse_score"][suspects], columns["posterior"][suspects]))
    found = np.zeros(len(columns["suspect"]))
    found[suspects[order]] = np.arange(1, len(order) + 1) / max(len(order), 1)
    return found


def write_scores(path: Path, packed: PackedDataset, columns: Columns) -> None:
    """scores.parquet: index, name and label of every training image, and its scores."""
    n = packed.n_train
    table = pa.table(
        {
            "index": pa.array(np.arange(n, dtype=np.int32)),
            "name": pa.array(packed.names[:n], pa.string()),
            "label": pa.array(packed.labels[:n].astype(np.int32)),
        }
        | {name: pa.array(column) for name, column in columns.items()}
    )
    # Hardly a number comes twice: dictionaries would take more than half of the time, and make the file larger.
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=False)


def write_flagged(path: Path, packed: PackedDataset, columns: Columns) -> None:
    """flagged.csv: path, index, label, score and posterior of the flagged images, the surest first."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "index", "label", "score", "posterior"])
        for i in ranked(columns).tolist():
            score, posterior = columns["collapse_score"][i], columns["posterior"][i]
            label = packed.classes[int(packed.labels[i])]
            writer.writerow([packed.names[i], i, label, f"{score:.6f}", f"{posterior:.6f}"])


def _p(value: float) -> str:
    """To a thousandth, as the interface shows it: "p = 0.017", "p = 0.25"."""
    return "p < 0.001" if value < 0.001 else f"p = {f'{value:.3f}'.removesuffix('0')}"


def _verdicts(number: int) -> str:
    return f"{number:,} {'verdict' if number == 1 else 'verdicts'}"
