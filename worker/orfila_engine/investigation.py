"""An investigation: from one or several affected images to scores of every training image, and a finding.

The command line and the worker call `investigate`; the API and the report read what it writes (docs/formats.md).
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.caveats import few_suspects, kept_training_accuracy, unindexed, untrained
from orfila_engine.collapse import (
    N_REFINEMENTS,
    N_TOLERATE,
    Collapse,
    collapse,
    paper_rule,
    query_direction,
)
from orfila_engine.data import PackedDataset
from orfila_engine.data.images import decode, to_pixels
from orfila_engine.engines import FingerprintEngine, InfluenceEngine
from orfila_engine.estimates import estimate_precision, estimate_recall
from orfila_engine.evaluation import Evaluation, evaluate
from orfila_engine.evidence import Calibration, Evidence, counterpart_rows, judge
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.questions import Asked, Suspects, ask, suspects_of
from orfila_engine.training import check_fit

Rule = Literal["collapse", "paper"]


@dataclass(frozen=True)
class Affected:
    """An affected image, converted to what the model takes."""

    pixels: NDArray[np.uint8]
    """[H, W, C]"""
    name: str
    true_label: int | None = None
    test_index: int | None = None
    """Its `index`, where it is a test image of the data set."""
    note: str = ""
    """What was converted; empty if nothing."""


@dataclass(frozen=True)
class Investigation:
    """A finished investigation: its directory, the summary, and the flagged images (best first)."""

    path: Path
    summary: dict[str, Any]
    flagged: NDArray[np.int64]


def read_affected(data: bytes, name: str, card: ModelCard, true_label: int | None = None) -> Affected:
    """Decode an affected image and convert it to the model's size and channels; `note` says what was done.

    Raises DataError when it is no picture.
    """
    decoded = decode(data, name)
    pixels, notes = to_pixels(decoded.image, card.input_size, card.channels)
    return Affected(pixels, name, true_label, note="; ".join((*decoded.notes, *notes)))


def affected_from_test(packed: PackedDataset, index: int) -> Affected:
    """A test image of the data set as an affected image. Raises ValueError when `index` is none."""
    if not packed.n_train <= index < len(packed.labels):
        raise ValueError(f"{index} is no test image; they are numbered {packed.n_train}..{len(packed.labels) - 1}")
    return Affected(np.array(packed.pixels[index]), packed.names[index], int(packed.labels[index]), index)


def investigate(
    engine: InfluenceEngine[Any] | FingerprintIndex,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    affected: Sequence[Affected],
    *,
    out_dir: Path,
    rule: Rule = "collapse",
    n_b: int = 50,
    seed: int = 0,
    suspects: Suspects = "label",
    confirmed_poison: Collection[int] = (),
    confirmed_clean: Collection[int] = (),
    calibration: Calibration | None = None,
    progress: Progress = quiet,
) -> Investigation:
    """Score every training image for the affected images and write an investigation to `out_dir`.

    engine: of this model and these training images; an index stands for itself as an engine.
    rule: which rule decides `flagged`; the scores of both are written.
    confirmed_poison, confirmed_clean: reviewers' verdicts by `index`, see `collapse`.
    calibration: of the evidence test; by default the one kept beside the engine's store, made now if it is missing.

    Raises ValueError when data, model and engine do not belong together, when an affected image is classified right, or
    when several affected images receive different labels.
    """
    check_fit(card, packed)
    engine = FingerprintEngine(engine, model, card) if isinstance(engine, FingerprintIndex) else engine
    if engine.n != packed.n_train:
        raise ValueError(f"the index holds {engine.n} training images, the data set {packed.n_train}; build it again")
    if engine.meta["data"] not in ("", packed.digest):
        raise ValueError("the index was built from another data set; build it for this one, or open the right one")
    clock = _Clock()
    predictions = predict_affected(model, card, affected)
    predicted = one_symptom(predictions, affected, card)
    engine.prepare(part(progress, 0, 0.3))
    clock.lap("self-influence")
    calibration = calibration or Calibration(engine.store, packed, model, card, suspects)
    reference = calibration.of(predicted).without({a.test_index for a in affected if a.test_index is not None})
    progress("calibrating the evidence test", 0.6)
    clock.lap("calibration")

    asked = [
        ask(engine.store, model, card, a.pixels, predicted, n_b=n_b, seed=seed + i) for i, a in enumerate(affected)
    ]
    clock.lap("queries")
    progress("scoring training images", 0.6)
    rows = suspects_of(packed.train[1], predicted, suspects)
    decide = partial(collapse, confirmed_poison=confirmed_poison, confirmed_clean=confirmed_clean)
    same = counterpart_rows(packed.test[1], predicted, suspects)
    # The test images' gradients are rows of the store, so the evidence is weighed there, whichever engine ranks.
    in_store = decide(
        engine.store.suspects(rows),
        query_direction([a.fingerprints for a in asked]),
        counterparts=reference.cosines,
    )
    evidence = judge(in_store, reference, np.stack([a.fingerprints[0] for a in asked]))
    result = (
        in_store
        if isinstance(engine, FingerprintEngine)
        else decide(
            engine.suspects(rows, part(progress, 0.6, 0.7)),
            engine.direction(asked),
            counterparts=engine.counterparts(packed.test[0][same], packed.test[1][same]),
        )
    )
    clock.lap("collapse")
    scores = _score(engine, asked, result, rule, part(progress, 0.7, 0.9))
    clock.lap("influences")
    progress("writing the result", 0.9)
    flagged = _ranked(scores)
    summary = _summary(
        engine, packed, card, affected, predictions, evidence, result, scores, len(flagged),
        rule=rule, n_b=n_b, seed=seed, suspects=suspects, n_confirmed=len(confirmed_poison) + len(confirmed_clean),
    )  # fmt: skip
    summary |= _caveats(engine, packed, model, card, len(rows), predicted)

    writing = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    _write_scores(writing, packed, scores)
    _write_queries(writing, asked, summary["affected"])
    _write_flagged(writing, packed, scores, flagged)
    clock.lap("writing")
    summary["seconds"] = clock.laps
    (writing / "summary.json").write_text(json.dumps(summary, indent=1))
    shutil.rmtree(out_dir, ignore_errors=True)
    writing.rename(out_dir)
    progress("investigated", 1.0)
    return Investigation(out_dir, summary, flagged)


def _caveats(
    engine: InfluenceEngine[Any],
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    n_suspects: int,
    predicted: int,
) -> dict[str, Any]:
    """Warnings, and what the engine does not look at."""
    accuracy = kept_training_accuracy(model, card, packed, engine.store.path)
    left_out = engine.meta["left_out"]
    n_parameters = sum(p.numel() for p in model.parameters())
    warnings = (
        untrained(accuracy, packed),
        few_suspects(n_suspects, card.classes[predicted]),
        unindexed(left_out, n_parameters),
    )
    return {
        "warnings": [sentence for sentence in warnings if sentence is not None],
        "training_accuracy": accuracy,
        "n_parameters": n_parameters,
        "left_out": left_out,
    }


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.laps[phase] = round(now - self._last, 4)
        self._last = now


@dataclass(frozen=True)
class _Scores:
    """Columns over all n training images; `shifts` is [A, n, n_b]."""

    shifts: NDArray[np.float32]
    columns: dict[str, NDArray[Any]]


def predict_affected(model: nn.Module, card: ModelCard, affected: Sequence[Affected]) -> Evaluation:
    """What the model says of the affected images. Raises ValueError when there are none or their shape is another."""
    if not affected:
        raise ValueError("give at least one affected image")
    expected = (*card.input_size, card.channels)
    for image in affected:
        if image.pixels.shape != expected:
            raise ValueError(f"'{image.name}' has the shape {image.pixels.shape}, the model takes {expected}")
    labels = np.array([-1 if a.true_label is None else a.true_label for a in affected])
    return evaluate(model, card, np.stack([a.pixels for a in affected]), labels, device="cpu")


def one_symptom(predictions: Evaluation, affected: Sequence[Affected], card: ModelCard) -> int:
    """The label that all affected images receive. Raises ValueError when they differ or the label is the true one."""
    first = int(predictions.predicted[0])
    for image, label in zip(affected, predictions.predicted.tolist(), strict=True):
        if label == image.true_label:
            raise ValueError(
                f"the model classifies '{image.name}' right, as '{card.classes[label]}'; "
                "give an image that it gets wrong, or correct the true label"
            )
        if label != first:
            raise ValueError(
                f"'{affected[0].name}' is predicted as '{card.classes[first]}' but '{image.name}' as "
                f"'{card.classes[label]}'; investigate images that receive the same label together, others one by one"
            )
    return first


def _score(
    engine: InfluenceEngine[Any], asked: Sequence[Asked], result: Collapse[Any], rule: Rule, progress: Progress
) -> _Scores:
    n = engine.n
    per_image, products = engine.scores(asked, result.direction, progress)
    norms = np.sqrt(np.maximum(engine.self_influence, 1e-30))
    shifts = per_image[:, :, 1:] - per_image[:, :, :1]
    influence = per_image[:, :, 0].mean(0)
    counts, flags = zip(*(paper_rule(s) for s in shifts), strict=True)
    suspect = np.zeros(n, dtype=bool)
    suspect[result.suspects] = True
    posterior = np.zeros(n, dtype=np.float32)
    posterior[result.suspects] = result.posterior
    score = products / norms
    score[result.suspects] = result.score  # the same, but for the image's own part in the direction
    flagged_paper = np.logical_or.reduce(flags)
    return _Scores(
        shifts,
        {
            "influence": influence.astype(np.float32),
            "shift_mean": shifts.mean((0, 2)).astype(np.float32),
            "n_collapsed": np.maximum.reduce(counts).astype(np.int16),
            "self_influence": engine.self_influence.astype(np.float32),
            "relative_influence": (influence / norms).astype(np.float32),
            "collapse_score": score.astype(np.float32),
            "posterior": posterior,
            "suspect": suspect,
            "flagged": posterior > result.threshold if rule == "collapse" else flagged_paper,
            "flagged_paper": flagged_paper,
        },
    )


def _ranked(scores: _Scores) -> NDArray[np.int64]:
    """`index` of the flagged images, the surest first."""
    columns = scores.columns
    flagged = np.flatnonzero(columns["flagged"])
    order = np.lexsort((-columns["collapse_score"][flagged], -columns["posterior"][flagged]))
    return np.asarray(flagged[order], dtype=np.int64)


def _write_scores(folder: Path, packed: PackedDataset, scores: _Scores) -> None:
    n = packed.n_train
    table = pa.table(
        {
            "index": pa.array(np.arange(n, dtype=np.int32)),
            "name": pa.array(packed.names[:n], pa.string()),
            "label": pa.array(packed.labels[:n].astype(np.int32)),
        }
        | {name: pa.array(column) for name, column in scores.columns.items()}
    )
    pq.write_table(table, folder / "scores.parquet", compression="zstd", compression_level=1)
    np.save(folder / "shifts.npy", scores.shifts[0] if len(scores.shifts) == 1 else scores.shifts)


def _write_queries(folder: Path, asked: Sequence[Asked], affected: Sequence[dict[str, Any]]) -> None:
    np.save(folder / "query_images.npy", np.stack([a.images for a in asked]))
    described = [
        image
        | {"queries": [{"transform": kind, "label": int(label)} for kind, label in zip(a.kinds, a.labels, strict=True)]}
        for image, a in zip(affected, asked, strict=True)
    ]
    (folder / "queries.json").write_text(json.dumps(described, indent=1))


def _write_flagged(folder: Path, packed: PackedDataset, scores: _Scores, flagged: NDArray[np.int64]) -> None:
    with (folder / "flagged.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "index", "label", "score", "posterior"])
        for i in flagged.tolist():
            score, posterior = scores.columns["collapse_score"][i], scores.columns["posterior"][i]
            label = packed.classes[int(packed.labels[i])]
            writer.writerow([packed.names[i], i, label, f"{score:.6f}", f"{posterior:.6f}"])


def _summary(
    engine: InfluenceEngine[Any],
    packed: PackedDataset,
    card: ModelCard,
    affected: Sequence[Affected],
    predictions: Evaluation,
    evidence: Evidence,
    result: Collapse[Any],
    scores: _Scores,
    n_flagged: int,
    *,
    rule: Rule,
    n_b: int,
    seed: int,
    suspects: Suspects,
    n_confirmed: int,
) -> dict[str, Any]:
    predicted = int(predictions.predicted[0])
    flags = scores.columns["flagged"][result.suspects]
    return {
        "format": "orfila-investigation/1",
        "sentence": sentence(evidence, n_flagged, packed.n_train, len(result.suspects), card.classes[predicted]),
        "predicted": predicted,
        "predicted_name": card.classes[predicted],
        "evidence": asdict(evidence),
        "n_train": packed.n_train,
        "n_suspects": len(result.suspects),
        "n_flagged": n_flagged,
        "n_flagged_paper": int(scores.columns["flagged_paper"].sum()),
        "threshold": result.threshold,
        "precision": asdict(estimate_precision(result.posterior, flags)),
        "recall": asdict(estimate_recall(result.posterior, flags)),
        "affected": [
            {
                "number": number,
                "name": image.name,
                "test_index": image.test_index,
                "true_label": image.true_label,
                "predicted": predicted,
                "confidence": float(predictions.confidence[number]),
                "margin": float(predictions.margin[number]),
                "logits": predictions.logits[number].tolist(),
                "note": image.note,
            }
            for number, image in enumerate(affected)
        ],
        "engine": engine.name,
        "parameters": {
            "rule": rule,
            "n_queries": n_b,
            "n_tolerate": N_TOLERATE,
            "n_refinements": N_REFINEMENTS,
            "seed": seed,
            "suspects": suspects,
            "n_confirmed": n_confirmed,
            "dimension": engine.dimension,
        },
        "digests": {"data": packed.digest, "model": engine.meta["model"]},
        "versions": {"orfila": version("orfila"), "torch": torch.__version__, "numpy": np.__version__},
    }


def sentence(evidence: Evidence, n_flagged: int, n_train: int, n_suspects: int, label: str) -> str:
    """The finding in one sentence."""
    p = f"p = {evidence.p_value:.2f}" if evidence.p_value >= 0.01 else f"p = {evidence.p_value:.3f}"
    images = "training image" if n_flagged == 1 else "training images"
    if evidence.verdict == "no evidence of poisoning":
        return (
            f"No evidence of poisoning: none of the {n_suspects:,} suspects (of {n_train:,} training images) stand out "
            f"more than for ordinary test images ({p})."
        )
    start = f"{n_flagged:,} of {n_train:,} {images} explain why the model says '{label}' ({p})"
    if evidence.verdict == "weak evidence":
        return f"Weak evidence of poisoning: {start}; review them before anything is removed."
    return f"Poisoning found: {start}."
