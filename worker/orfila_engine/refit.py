"""A finding that learns from reviewers: a verdict fixes the side of the image that was judged, the rest is ranked anew.

Computed again is what verdicts can change: the mixture, the direction, who is flagged. The influences do not depend on
them. The evidence must not: it stays what was measured before anybody had looked, or a team could agree a p-value down.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.engines import InfluenceEngine
from orfila_engine.evidence import Calibration, Evidence
from orfila_engine.finding import counted, ranked, write_flagged, write_scores
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, Investigation, as_engine, explain
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.questions import ask_each

FILES = ("scores.parquet", "flagged.csv", "summary.json")
"""What a refit writes; the other files of an investigation stay as they are."""


def refit(
    found: Path,
    engine: InfluenceEngine[Any] | FingerprintIndex,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    affected: Sequence[Affected],
    *,
    poison: Collection[int],
    clean: Collection[int],
    out_dir: Path,
    progress: Progress = quiet,
) -> Investigation:
    """Learn from verdicts and write FILES to `out_dir`, which may be `found`.

    found: a finished investigation of these affected images, or its FILES alone; whether it has learned from other
    verdicts before makes no difference. poison, clean: `index` of the training images that were judged so. An image
    that was judged poison is flagged and one that was judged clean is not, whether or not they are suspects. Without
    any verdict the result is that of the first investigation. Scores of images that are no suspects stay.

    Raises ValueError when an index is no training image or has two verdicts, or when data, model, engine and affected
    images do not belong to the finding.
    """
    began = time.perf_counter()
    engine = as_engine(engine, packed, model, card)
    judged = _judged(poison, clean, packed.n_train)
    summary = json.loads((found / "summary.json").read_text())
    made_for = len(summary["affected"]), summary["digests"]["data"], summary["digests"]["model"], summary["engine"]
    if made_for != (len(affected), packed.digest, engine.meta["model"], engine.name):
        raise ValueError(
            "the finding is of other affected images, or another data set, model or engine; give those it was made for"
        )
    asked_with, predicted = summary["parameters"], summary["predicted"]
    progress("asking again", 0.0)
    engine.prepare(part(progress, 0, 0.3))
    asked = ask_each(
        engine.store, model, card, (a.pixels for a in affected), predicted,
        n_b=asked_with["n_queries"], seed=asked_with["seed"],
    )  # fmt: skip
    progress("learning from verdicts", 0.3)
    reference = Calibration(engine.store, packed, model, card, asked_with["suspects"]).of(predicted)
    result = explain(
        engine, packed, asked, predicted, asked_with["suspects"], reference,
        poison=poison, clean=clean, progress=part(progress, 0.3, 0.9),
    )  # fmt: skip

    progress("writing the result", 0.9)
    table = pq.read_table(found / "scores.parquet")
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in ("index", "name", "label")}
    score = columns["collapse_score"].copy()
    score[result.suspects] = result.score
    posterior, rule_posterior, mark_score = (np.zeros(len(score), dtype=np.float32) for _ in range(3))
    posterior[result.suspects], rule_posterior[result.suspects] = result.posterior, result.rule_posterior
    if result.mark is not None:
        mark_score[result.suspects] = result.mark.score
    by_collapse = asked_with["rule"] == "collapse"
    flagged_rule = rule_posterior > result.threshold if by_collapse else columns["flagged_paper"]
    flagged = flagged_rule.copy()
    for indices, is_poison in ((poison, True), (clean, False)):
        posterior[list(indices)], flagged[list(indices)] = float(is_poison), is_poison
    columns |= {"collapse_score": score, "posterior": posterior, "rule_posterior": rule_posterior}
    columns |= {"mark_score": mark_score, "flagged": flagged, "flagged_rule": flagged_rule}
    evidence = _evidence(summary)
    summary |= counted(columns, evidence, summary["predicted_name"], judged=judged)
    summary["threshold"] = result.threshold
    summary["mark"] = None if result.mark is None else result.mark.described()
    summary["parameters"]["n_confirmed"] = len(judged)
    _write(out_dir, packed, columns, summary | {"seconds": summary["seconds"] | {"refit": _since(began)}})
    progress("learned", 1.0)
    return Investigation(out_dir, summary, ranked(columns))


def read_verdicts(path: Path) -> tuple[list[int], list[int]]:
    """`index` of the images judged poison and of those judged clean, from a CSV file with columns index and verdict.

    Rows without a verdict, or with "unsure", say nothing; so flagged.csv of the server can be given as it is.
    Raises ValueError when the file cannot be read or holds something else.
    """
    said: dict[str, list[int]] = {"poison": [], "clean": []}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                verdict = row["verdict"]
                if verdict in said:
                    said[verdict].append(int(row["index"]))
                elif verdict not in ("", "unsure"):
                    raise ValueError(f"'{verdict}' is no verdict; write poison, clean or unsure")
    except OSError as error:
        raise ValueError(
            f"'{path}' cannot be read ({error.strerror}); give a CSV file with index and verdict"
        ) from error
    except (KeyError, TypeError) as error:
        raise ValueError(f"'{path}' has no column {error}; give a CSV file with index and verdict") from error
    return said["poison"], said["clean"]


def _evidence(summary: dict[str, Any]) -> Evidence:
    try:
        return Evidence(**summary["evidence"])
    except TypeError as error:
        raise ValueError("the finding was made by an earlier version; investigate again, then learn") from error


def _judged(poison: Collection[int], clean: Collection[int], n_train: int) -> NDArray[np.int64]:
    both = set(poison) & set(clean)
    if both:
        raise ValueError(f"training image {min(both)} was judged poison and clean; give one verdict for each image")
    judged = np.array(sorted({*poison, *clean}), dtype=np.int64)
    if len(judged) and (judged[0] < 0 or judged[-1] >= n_train):
        wrong = judged[0] if judged[0] < 0 else judged[-1]
        raise ValueError(f"a verdict is on image {wrong}; the training images are numbered 0..{n_train - 1}")
    return judged


def _write(folder: Path, packed: PackedDataset, columns: dict[str, NDArray[Any]], summary: dict[str, Any]) -> None:
    """Each file is replaced whole; the summary comes last, so a refit that was stopped can be run again."""
    folder.mkdir(parents=True, exist_ok=True)
    write_scores(folder / "scores.parquet.part", packed, columns)
    write_flagged(folder / "flagged.csv.part", packed, columns)
    (folder / "summary.json.part").write_text(json.dumps(summary, indent=1))
    for name in FILES:
        (folder / f"{name}.part").replace(folder / name)


def _since(began: float) -> float:
    return round(time.perf_counter() - began, 4)
