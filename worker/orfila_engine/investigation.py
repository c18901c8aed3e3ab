"""An investigation: from one or several affected images to scores of every training image, and a finding.

The command line and the worker call `investigate`; the API and the report read what it writes (docs/formats.md).
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
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
from orfila_engine.engines import FingerprintEngine, InfluenceEngine, Store
from orfila_engine.evaluation import Evaluation, evaluate
from orfila_engine.evidence import Calibration, Evidence, Reference, judge
from orfila_engine.finding import counted, ranked, write_flagged, write_scores
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.mark import pictures_of
from orfila_engine.progress import Progress, part, quiet, repeated
from orfila_engine.questions import Asked, Suspects, ask_each, counterpart_rows, suspects_of
from orfila_engine.suspects import Vector
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
class Symptom:
    """What the model does with A affected images."""

    predictions: Evaluation
    fingerprints: Vector
    """[A, D] what the engine's store makes of them with the label that they receive."""


@dataclass(frozen=True)
class Investigation:
    """A finished investigation: its directory, the summary, and the flagged images (best first)."""

    path: Path
    summary: dict[str, Any]
    flagged: NDArray[np.int64]
    symptom: Symptom | None = None
    """None where it learned from verdicts, which change nothing about it."""


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
    calibration: Calibration | None = None,
    progress: Progress = quiet,
) -> Investigation:
    """Score every training image for the affected images and write an investigation to `out_dir`.

    engine: of this model and these training images; an index stands for itself as an engine.
    rule: which rule decides `flagged`; the scores of both are written.
    calibration: of the evidence test; by default the one kept beside the engine's store, made now if it is missing.

    Raises ValueError when data, model and engine do not belong together, when an affected image is classified right, or
    when several affected images receive different labels.
    """
    engine = as_engine(engine, packed, model, card)
    clock = _Clock()
    predictions = predict_affected(model, card, affected)
    predicted = one_symptom(predictions, affected, card)
    engine.prepare(part(progress, 0, 0.3))
    clock.lap("self-influence")
    calibration = calibration or Calibration(engine.store, packed, model, card, suspects)
    reference = calibration.of(predicted).without({a.test_index for a in affected if a.test_index is not None})
    progress("calibrating the evidence test", 0.6)
    clock.lap("calibration")

    asked = ask_each(engine.store, model, card, (a.pixels for a in affected), predicted, n_b=n_b, seed=seed)
    clock.lap("queries")
    progress("scoring training images", 0.6)
    # The test images' gradients are rows of the store, so the evidence is weighed there, whichever engine ranks.
    in_store = explain_in_store(engine.store, packed, asked, predicted, suspects, reference)
    symptom = Symptom(predictions, np.stack([a.fingerprints[0] for a in asked]))
    evidence = judge(in_store, reference, symptom.fingerprints)
    result = (
        in_store
        if isinstance(engine, FingerprintEngine)
        else explain(engine, packed, asked, predicted, suspects, reference, progress=part(progress, 0.6, 0.7))
    )
    clock.lap("collapse")
    scores = _score(engine, asked, result, rule, part(progress, 0.7, 0.9))
    clock.lap("influences")
    progress("writing the result", 0.9)
    flagged = ranked(scores.columns)
    summary = _summary(
        engine, packed, card, affected, predictions, evidence, result, scores, rule=rule, n_b=n_b, seed=seed,
        suspects=suspects,
    )  # fmt: skip
    summary |= _caveats(engine, packed, model, card, len(result.suspects), predicted)

    writing = out_dir.with_name(out_dir.name + ".part")
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    write_scores(writing / "scores.parquet", packed, scores.columns)
    np.save(writing / "shifts.npy", scores.shifts[0] if len(scores.shifts) == 1 else scores.shifts)
    _write_queries(writing, asked, summary["affected"])
    write_flagged(writing / "flagged.csv", packed, scores.columns)
    clock.lap("writing")
    summary["seconds"] = clock.laps
    (writing / "summary.json").write_text(json.dumps(summary, indent=1))
    shutil.rmtree(out_dir, ignore_errors=True)
    writing.rename(out_dir)
    progress("investigated", 1.0)
    return Investigation(out_dir, summary, flagged, symptom)


def explain(
    engine: InfluenceEngine[Any],
    packed: PackedDataset,
    asked: Sequence[Asked],
    predicted: int,
    suspects: Suspects,
    reference: Reference,
    *,
    poison: Collection[int] = (),
    clean: Collection[int] = (),
    progress: Progress = quiet,
) -> Collapse[Any]:
    """The collapse rule as the engine sees it. poison, clean: reviewers' verdicts by `index`, see `collapse`."""
    if isinstance(engine, FingerprintEngine):
        return explain_in_store(engine.store, packed, asked, predicted, suspects, reference, poison=poison, clean=clean)
    same = counterpart_rows(packed.test[1], predicted, suspects)
    return collapse(
        engine.suspects(suspects_of(packed.train[1], predicted, suspects), repeated(progress)),
        engine.direction(asked),
        counterparts=engine.counterparts(packed.test[0][same], packed.test[1][same]),
        pictures=pictures_of(engine.store, packed, predicted, suspects),
        confirmed_poison=poison,
        confirmed_clean=clean,
    )


def explain_in_store(
    store: Store,
    packed: PackedDataset,
    asked: Sequence[Asked],
    predicted: int,
    suspects: Suspects,
    reference: Reference,
    *,
    poison: Collection[int] = (),
    clean: Collection[int] = (),
) -> Collapse[Vector]:
    """The same as the rows of a store show it."""
    return collapse(
        store.suspects(suspects_of(packed.train[1], predicted, suspects)),
        query_direction([a.fingerprints for a in asked]),
        counterparts=reference.cosines,
        pictures=pictures_of(store, packed, predicted, suspects),
        confirmed_poison=poison,
        confirmed_clean=clean,
    )


def as_engine(
    engine: InfluenceEngine[Any] | FingerprintIndex, packed: PackedDataset, model: nn.Module, card: ModelCard
) -> InfluenceEngine[Any]:
    """An index stands for itself as an engine. Raises ValueError when data, model and engine do not belong together."""
    check_fit(card, packed)
    made = FingerprintEngine(engine, model, card) if isinstance(engine, FingerprintIndex) else engine
    if made.n != packed.n_train:
        raise ValueError(f"the index holds {made.n} training images, the data set {packed.n_train}; build it again")
    if made.meta["data"] not in ("", packed.digest):
        raise ValueError("the index was built from another data set; build it for this one, or open the right one")
    return made


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
    posterior, mark_score = np.zeros(n, dtype=np.float32), np.zeros(n, dtype=np.float32)
    posterior[result.suspects] = result.posterior  # nothing is judged yet: the rule's own
    if result.mark is not None:
        mark_score[result.suspects] = result.mark.score
    score = products / norms
    score[result.suspects] = result.score  # the same, but for the image's own part in the direction
    flagged_paper = np.logical_or.reduce(flags)
    flagged = posterior > result.threshold if rule == "collapse" else flagged_paper
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
            "rule_posterior": posterior,
            "mark_score": mark_score,
            "suspect": suspect,
            "flagged": flagged,
            "flagged_rule": flagged,
            "flagged_paper": flagged_paper,
        },
    )


def _write_queries(folder: Path, asked: Sequence[Asked], affected: Sequence[dict[str, Any]]) -> None:
    np.save(folder / "query_images.npy", np.stack([a.images for a in asked]))
    described = [
        image
        | {"queries": [{"transform": kind, "label": int(label)} for kind, label in zip(a.kinds, a.labels, strict=True)]}
        for image, a in zip(affected, asked, strict=True)
    ]
    (folder / "queries.json").write_text(json.dumps(described, indent=1))


def _summary(
    engine: InfluenceEngine[Any],
    packed: PackedDataset,
    card: ModelCard,
    affected: Sequence[Affected],
    predictions: Evaluation,
    evidence: Evidence,
    result: Collapse[Any],
    scores: _Scores,
    *,
    rule: Rule,
    n_b: int,
    seed: int,
    suspects: Suspects,
) -> dict[str, Any]:
    predicted = int(predictions.predicted[0])
    return counted(scores.columns, evidence, card.classes[predicted]) | {
        "format": "orfila-investigation/1",
        "predicted": predicted,
        "predicted_name": card.classes[predicted],
        "evidence": asdict(evidence),
        "n_train": packed.n_train,
        "n_suspects": len(result.suspects),
        "n_flagged_paper": int(scores.columns["flagged_paper"].sum()),
        "threshold": result.threshold,
        "mark": None if result.mark is None else result.mark.described(),
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
            "n_confirmed": 0,
            "dimension": engine.dimension,
        },
        "digests": {"data": packed.digest, "model": engine.meta["model"]},
        "versions": {"orfila": version("orfila"), "torch": torch.__version__, "numpy": np.__version__},
    }
