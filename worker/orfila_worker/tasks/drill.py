"""Drill: plant a known poison, train on it, investigate, and hold the finding against the truth.

Training is one worker's; the index is built by all that are free.
"""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve

from orfila.drills.schemas import Curve, Detection, DrillAffected, DrillOutcome
from orfila.jobs.contracts import (
    DrillPlantedResult,
    DrillResult,
    DrillSpec,
    IndexResult,
    IndexShardResult,
    IngestResult,
)
from orfila_engine import attacks
from orfila_engine.data import PackedDataset
from orfila_engine.data.pack import add_atlases, pack
from orfila_engine.data.sources import Arrays, Picture, Unused
from orfila_engine.drill import investigate_planted
from orfila_engine.finding import ranks
from orfila_engine.fingerprint import IndexSpec
from orfila_engine.planting import PoisonedModel, plant_and_train
from orfila_engine.progress import Progress, part
from orfila_worker.tasks.index import index_files, project, reduce, shards_of
from orfila_worker.tasks.model_check import check

if TYPE_CHECKING:
    from orfila_worker.runner import Work

RULES = ("collapse_rule", "paper_rule")
KEPT = ("planting.json", "truth.csv", "model.safetensors", "triggered.npz", "crafted-*.npz")
"""What the planting leaves for the last stage, beside the poisoned data set."""
CURVE_POINTS = 200
"""Points that a drawn curve keeps; the average precision is of all of them."""


def drill(work: Work) -> DrillPlantedResult | IndexShardResult | DrillResult:
    """Stage 0: plant and train. Stage 1: the index, one range of images. Stage 2: everything else."""
    spec = DrillSpec.model_validate(work.spec)
    if work.stage == 0:
        return _plant(work, spec)
    if work.stage == 1:
        planted = DrillPlantedResult.model_validate(work.earlier[0])
        return project(work, planted.weights, None, planted.poisoned.files, IndexSpec()).model_copy(
            update={"planted": planted}
        )
    return _find(work, spec)


def _plant(work: Work, spec: DrillSpec) -> DrillPlantedResult:
    """A killed worker's successor goes on from the last epoch."""
    began = time.monotonic()
    made = _planted(work, spec, work.progress)
    made.affected(spec.n_affected)  # that somebody is fooled is seen before an index is built
    work.progress("drawing thumbnails", 1.0)
    poisoned = add_atlases(made.packed)
    kept = [path for pattern in KEPT for path in sorted(made.path.glob(pattern))]
    return DrillPlantedResult(
        poisoned=_stored(work, poisoned),
        planting={path.name: work.store.put_file(path) for path in kept},
        weights=work.store.put_file(made.path / "model.safetensors"),
        seconds=time.monotonic() - began,
    )


def _planted(work: Work, spec: DrillSpec, progress: Progress) -> PoisonedModel:
    """The planted poison and the model, made or, where they lie in the folder, opened."""
    attack = attacks.make(spec.attack, rate=spec.rate, source=spec.source, target=spec.target, **spec.options)
    return plant_and_train(
        work.warm.pack(spec.pack),
        attack,
        out_dir=work.folder / "drill",
        architecture=spec.architecture,
        epochs=spec.epochs,
        seed=spec.seed,
        n_affected=spec.n_affected,
        device=work.device,
        progress=progress,
    )


def _find(work: Work, spec: DrillSpec) -> DrillResult:
    """Sum the index, investigate, and hold the finding against the truth."""
    began = time.monotonic()
    shards = shards_of(work)
    planted = shards[0].planted
    assert planted is not None, "stage 1 hands on what stage 0 made"
    folder = work.store.materialise(planted.planting, work.folder / "drill")
    work.store.materialise(planted.poisoned.files, folder / "data")
    made = _planted(work, spec, part(work.progress, 0.0, 0.1))
    affected = made.affected(spec.n_affected)
    index = reduce(work, shards, folder / "index", made.packed, part(work.progress, 0.1, 0.3))
    found = investigate_planted(
        made,
        index=index,
        n_affected=spec.n_affected,
        n_b=spec.n_queries,
        seed=spec.seed,
        device=work.device,
        progress=part(work.progress, 0.3, 0.8),
    )
    built = IndexResult(
        files=index_files(work, shards, folder / "index"),
        dimension=int(found.investigation.summary["parameters"]["dimension"]),
        seconds=sum(s.seconds for s in shards) + time.monotonic() - began,
    )
    triggered = _pack_victims(work, made) if made.planted.has_trigger else None
    checked = check(work, made.model, made.card, made.packed)
    truth = np.sort(made.planted.indices).astype(np.int32)
    carriers = [] if triggered is None else _rows_of(triggered, [image.pixels for image in affected])
    outcome = _outcome(made, found.report, found.investigation.summary, _curves(made, found.investigation.summary))
    return DrillResult(
        poisoned=planted.poisoned,
        triggered=None if triggered is None else _stored(work, triggered),
        truth=work.store.put_bytes(_npy(truth)),
        weights=planted.weights,
        check=checked,
        index=built,
        outcome=DrillOutcome(
            **outcome,
            affected=[
                DrillAffected(test_index=image.test_index, triggered_index=carriers[n] if carriers else None)
                for n, image in enumerate(affected)
            ],
            seconds=planted.seconds + sum(s.seconds for s in shards) + time.monotonic() - began,
        ),
    )


class _Triggered(Arrays):
    """Pictures named by what they are; the split that a pack gives them means nothing here."""

    def read(self) -> Iterator[Picture | Unused]:
        """See `Arrays`."""
        for picture in super().read():
            assert isinstance(picture, Picture), "arrays hold pictures only"
            yield replace(picture, name=picture.name.replace("train/", "triggered/", 1))


def _pack_victims(work: Work, made: PoisonedModel) -> PackedDataset:
    """The victims with the trigger on them as a data set, to measure the poison success rate of later repairs.

    A data set has two classes at least, so a lone victim class is joined by one test image of the target; it does not
    count for the rate (see the remedy).
    """
    images, labels = made.victims, made.outcome.labels
    if len(np.unique(labels)) < 2:
        pixels, test_labels = made.packed.test
        other = np.flatnonzero(test_labels != labels[0])
        aim = other[test_labels[other] == made.planted.target]
        extra = (aim if len(aim) else other)[:1]
        images, labels = np.concatenate([images, pixels[extra]]), np.concatenate([labels, test_labels[extra]])
    present = np.unique(labels)
    names = tuple(made.packed.classes[int(label)] for label in present)
    source = _Triggered(images, np.searchsorted(present, labels).astype(np.int64), len(images), names)
    target = work.folder / "triggered"
    shutil.rmtree(target, ignore_errors=True)
    return pack(source, target, atlases=True)


def _rows_of(packed: PackedDataset, pictures: list[NDArray[np.uint8]]) -> list[int]:
    """`index` of each picture in a pack that holds it."""
    places = {image.tobytes(): index for index, image in enumerate(packed.pixels)}
    return [places[np.ascontiguousarray(picture).tobytes()] for picture in pictures]


def _curves(made: PoisonedModel, summary: dict[str, Any]) -> dict[str, Curve]:
    """Precision and recall of both rankings; the truth is the poison behind the label that the image received."""
    names = ["collapse_score", "posterior", "n_collapsed", "suspect"]
    table = pq.read_table(made.path / "investigation" / "scores.parquet", columns=names)
    columns = {name: table[name].to_numpy() for name in names}
    truth = np.zeros(made.packed.n_train, dtype=bool)
    truth[made.planted.behind(summary["predicted"])] = True
    return {
        "collapse_curve": _curve(truth, ranks(columns)),
        "paper_curve": _curve(truth, columns["n_collapsed"].astype(np.float64)),
    }


def _curve(truth: NDArray[np.bool_], score: NDArray[np.float64]) -> Curve:
    if not truth.any():
        return Curve(average_precision=None, recall=[], precision=[])
    precision, recall, _ = precision_recall_curve(truth, score)
    kept = np.unique(np.linspace(0, len(recall) - 1, CURVE_POINTS).round().astype(int))
    return Curve(
        average_precision=float(average_precision_score(truth, score)),
        recall=recall[kept].round(4).tolist(),
        precision=precision[kept].round(4).tolist(),
    )


def _outcome(
    made: PoisonedModel, report: dict[str, Any], summary: dict[str, Any], curves: dict[str, Curve]
) -> dict[str, Any]:
    return {
        "sentence": summary["sentence"],
        "evidence": summary["evidence"]["verdict"],
        "level": summary["evidence"]["level"],
        "p_value": summary["evidence"]["p_value"],
        "predicted": summary["predicted"],
        "source": made.planted.source,
        "target": made.planted.target,
        "n_poison": len(made.planted.indices),
        "n_train": made.packed.n_train,
        "poison_success_rate": made.about["poison_success_rate"],
        "n_victims": made.about["n_victims"],
        "has_trigger": made.about["has_trigger"],
        "took_hold": made.about["took_hold"],
        "accuracy": made.about["accuracy"],
        **{rule: Detection(**{k: report[rule][k] for k in Detection.model_fields}) for rule in RULES},
        **curves,
    }


def _stored(work: Work, packed: PackedDataset) -> IngestResult:
    return IngestResult(
        files=work.store.put_tree(packed.path), meta=packed.meta, n_duplicates=packed.meta["n_duplicates"], seconds=0.0
    )


def _npy(indices: NDArray[np.int32]) -> bytes:
    out = io.BytesIO()
    np.save(out, indices, allow_pickle=False)
    return out.getvalue()
