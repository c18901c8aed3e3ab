"""Scores of a case as pages, columns, files, and the evidence on one training image."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from orfila import columns
from orfila.cases import findings, schemas
from orfila.cases.models import Case
from orfila.datasets.images import column
from orfila.errors import NotFound
from orfila.pagination import decode_cursor, encode_cursor
from orfila.review.schemas import VerdictValue
from orfila.schema_base import Page
from orfila.storage import BlobStore

ScoreKey = Literal[
    "posterior",
    "collapse_score",
    "mark_score",
    "influence",
    "shift_mean",
    "self_influence",
    "relative_influence",
    "n_collapsed",
    "index",
]
VerdictFilter = Literal["poison", "clean", "unsure", "none"]
Verdicts = Mapping[int, VerdictValue]


@dataclass(frozen=True)
class ScoreFilter:
    """Which training images, in which order. None means: do not ask."""

    sort: ScoreKey = "posterior"
    order: Literal["asc", "desc"] = "desc"
    label: int | None = None
    flagged: bool | None = None
    suspect: bool | None = None
    verdict: VerdictFilter | None = None
    min_posterior: float | None = None


def page(
    store: BlobStore, case: Case, verdicts: Verdicts, wanted: ScoreFilter, cursor: str | None, limit: int
) -> Page[schemas.ScoreRow]:
    """Training images that match, sorted, and a cursor that is exact.

    Many posteriors are exactly 1: the collapse score then decides, as in `Evidence.rank`. Other ties go by index.
    """
    scores = findings.scores(store, case)
    mask = _matching(scores, verdicts, wanted)
    total = int(mask.sum())
    rows = np.flatnonzero(mask)
    sign = 1 if wanted.order == "asc" else -1
    key = sign * scores.column(wanted.sort)[rows].astype(np.float64)
    second = sign * scores.numbers["collapse_score"][rows].astype(np.float64)
    tie = second if wanted.sort == "posterior" else np.zeros(len(rows))
    if cursor is not None:
        at, at_tie, last = decode_cursor(cursor, (float, float, int))
        after = (key > at) | ((key == at) & ((tie > at_tie) | ((tie == at_tie) & (rows > last))))
        rows, key, tie = rows[after], key[after], tie[after]
    order = _first(key, tie, rows, limit + 1)
    rows, key, tie = rows[order], key[order], tie[order]
    end = limit - 1
    more = len(rows) > limit
    next_cursor = encode_cursor([float(key[end]), float(tie[end]), int(rows[end])]) if more else None
    items = [row(scores, verdicts, int(i)) for i in rows[:limit]]
    return Page(items=items, next_cursor=next_cursor, total=total)


def row(scores: columns.Scores, verdicts: Verdicts, index: int) -> schemas.ScoreRow:
    """One training image's scores."""
    return schemas.ScoreRow(
        index=index,
        name=scores.names[index].as_py(),
        label=int(scores.label[index]),
        n_collapsed=int(scores.n_collapsed[index]),
        verdict=verdicts.get(index),
        **{name: float(values[index]) for name, values in scores.numbers.items()},
        **{name: bool(values[index]) for name, values in scores.flags.items()},
    )


def as_columns(
    store: BlobStore, case: Case, names: Sequence[schemas.ScoreColumnName] | None = None
) -> schemas.ScoreColumns:
    """Scores as typed arrays; all of them unless some are named."""
    scores = findings.scores(store, case)
    arrays: dict[str, NDArray[Any]] = {"index": scores.index, "label": scores.label, "n_collapsed": scores.n_collapsed}
    arrays |= scores.numbers | scores.flags
    return schemas.ScoreColumns(
        n=len(scores), columns={name: column(arrays[name]) for name in (arrays if names is None else names)}
    )


def of_image(store: BlobStore, case: Case, verdicts: Verdicts, index: int, classes: list[str]) -> schemas.Evidence:
    """Why one training image is, or is not, flagged: its shift under each transformed query."""
    scores = findings.scores(store, case)
    if not 0 <= index < len(scores):
        raise NotFound(f"The case has the training images 0 to {len(scores) - 1:,}.")
    values = findings.shifts(store, case)[:, index, :].astype(np.float32)
    shifts: list[schemas.QueryShift] = []
    by_transform: dict[str, list[float]] = {}
    for number, queries in enumerate(findings.queries(store, case)):
        for position, query in enumerate(queries):
            shift = float(values[number, position])
            shifts.append(
                schemas.QueryShift(
                    affected=number, query=position, transform=query.transform, query_label=query.label, shift=shift
                )
            )
            by_transform.setdefault(query.transform, []).append(shift)
    return schemas.Evidence(
        row=row(scores, verdicts, index),
        label_name=classes[scores.label[index]],
        shifts=shifts,
        by_transform={name: float(np.mean(v)) for name, v in sorted(by_transform.items())},
        rank=_rank(scores, index),
    )


def flagged_csv(store: BlobStore, case: Case, verdicts: Verdicts, classes: list[str]) -> str:
    """path,index,label,score,posterior,verdict of the flagged images, best first; label is the class name."""
    scores = findings.scores(store, case)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "index", "label", "score", "posterior", "verdict"))
    score = scores.numbers["collapse_score"]
    for i in scores.surest_first(np.flatnonzero(scores.flags["flagged"])):
        index = int(i)
        name = scores.names[index].as_py()
        label = classes[scores.label[index]]
        writer.writerow((name, index, label, f"{score[i]:.6g}", f"{scores.posterior[i]:.6g}", verdicts.get(index, "")))
    return out.getvalue()


def _matching(scores: columns.Scores, verdicts: Verdicts, wanted: ScoreFilter) -> NDArray[np.bool_]:
    mask = np.ones(len(scores), dtype=bool)
    if wanted.label is not None:
        mask &= scores.label == wanted.label
    if wanted.flagged is not None:
        mask &= scores.flags["flagged"] == wanted.flagged
    if wanted.suspect is not None:
        mask &= scores.flags["suspect"] == wanted.suspect
    if wanted.min_posterior is not None:
        mask &= scores.posterior >= wanted.min_posterior
    if wanted.verdict is not None:
        chosen = np.zeros(len(scores), dtype=bool)
        chosen[[i for i, v in verdicts.items() if wanted.verdict in ("none", v)]] = True
        mask &= ~chosen if wanted.verdict == "none" else chosen
    return mask


def _first(key: NDArray[np.float64], tie: NDArray[np.float64], rows: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """Positions of the first n by (key, tie, row), sorted; a partition first where there are many more."""
    if len(key) <= 4 * n:
        return np.lexsort((rows, tie, key))[:n]
    bound = np.partition(key, n - 1)[n - 1]
    near = np.flatnonzero(key <= bound)
    return near[np.lexsort((rows[near], tie[near], key[near]))][:n]


def _rank(scores: columns.Scores, index: int) -> int:
    """Position by posterior, then collapse score, then index; 1 is first."""
    p, c = scores.posterior, scores.numbers["collapse_score"]
    better = (p > p[index]) | ((p == p[index]) & (c > c[index]))
    better[:index] |= (p[:index] == p[index]) & (c[:index] == c[index])
    return int(better.sum()) + 1
