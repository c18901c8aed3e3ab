"""The sweep: it finds a planted group without any affected image, and accuses no natural one."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import nn

from orfila_engine import sweep as module
from orfila_engine.architectures import ModelCard
from orfila_engine.drill import DrillResult
from orfila_engine.evidence import Reference, units
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.suspects import FingerprintSuspects, Vector
from orfila_engine.sweep import sweep, write_sweep

D = 64


@dataclass
class Rows:
    """Suspects from an array: what the search needs of a store."""

    rows: Vector

    def suspects(self, indices: NDArray[np.int64]) -> FingerprintSuspects:
        return FingerprintSuspects(self.rows, np.square(self.rows).sum(1), indices)


def images(n: int, natural: float, n_poison: int, seed: int) -> Vector:
    """n rows with a natural group along axis 1, and after it n_poison rows along axis 0."""
    rows = np.random.default_rng(seed).standard_normal((n + n_poison, D)).astype(np.float32)
    rows[: round(natural * n), 1] += 9
    rows[n:, 0] += 7
    return rows


def search(training: Vector, test: Vector) -> module.ClassFinding:
    reference = Reference(units(test), np.empty((0, D), np.float32), np.empty(0, np.int64))
    return module._search(Rows(training), reference, np.arange(len(training)), 3, "cat")  # type: ignore[arg-type]


def test_a_natural_group_is_not_accused_though_it_stands_out_most() -> None:
    finding = search(images(600, 0.3, 0, 0), images(200, 0.3, 0, 1))
    assert finding.evidence.verdict == "no evidence of poisoning"
    assert not finding.accused
    assert len(finding.flagged) == 0


@pytest.mark.parametrize("searched", [2_000, 400])
def test_poison_is_found_beside_a_natural_group(searched: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEARCHED", searched)
    finding = search(images(600, 0.3, 90, 0), images(200, 0.3, 0, 1))
    assert finding.accused
    assert finding.evidence.verdict == "poisoning found"
    truth = np.arange(600, 690)
    assert len(np.intersect1d(finding.flagged, truth)) >= 0.95 * len(truth)
    assert np.isin(finding.flagged, truth).mean() >= 0.95
    assert np.all(np.diff(finding.posterior) <= 0)


def test_most_of_a_class_may_be_poison() -> None:
    finding = search(images(200, 0.3, 400, 0), images(200, 0.3, 0, 1))
    assert finding.accused
    assert np.isin(finding.flagged, np.arange(200, 600)).mean() >= 0.95
    assert len(finding.flagged) >= 0.9 * 400


def test_too_few_images_are_no_evidence() -> None:
    assert search(images(6, 0, 0, 0), images(200, 0, 0, 1)).evidence.p_value == 1
    few = search(images(300, 0, 60, 0), images(6, 0, 0, 1))
    assert few.evidence.p_value == 1
    assert few.evidence.n_counterparts == 6


def test_the_p_value_pays_for_the_number_of_groups() -> None:
    finding = search(images(600, 0.3, 90, 0), images(200, 0.3, 0, 1))
    assert finding.evidence.p_value > finding.evidence.p_group
    ratio = finding.evidence.p_value / finding.evidence.p_group
    assert ratio == pytest.approx(round(ratio))


def test_the_planted_class_of_a_drill_stands_out_most(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    result = sweep(index, drilled.packed, *model)
    by_p = sorted(result.classes, key=lambda c: c.evidence.p_value)
    assert by_p[0].label == drilled.planted.target
    assert by_p[0].evidence.verdict == "poisoning found"
    assert not any(c.accused for c in by_p[1:])
    write_sweep(result, drilled.packed, tmp_path)
    described = json.loads((tmp_path / "sweep.json").read_text())
    assert [c["label"] for c in described["classes"]] == list(range(10))
    assert [c["accused"] for c in described["classes"]] == [c.accused for c in result.classes]
    flagged = json.loads((tmp_path / "flagged.json").read_text())
    assert set(flagged) <= {str(drilled.planted.target)}  # 43 counterparts are near the least for the strict level


def test_the_files_name_the_images_of_an_accused_class(drilled: DrillResult, tmp_path: Path) -> None:
    finding = search(images(600, 0.3, 90, 0), images(200, 0.3, 0, 1))
    result = module.SweepResult(drilled.packed.n_train, (finding,), 0.1, {"data": drilled.packed.digest})
    write_sweep(result, drilled.packed, tmp_path)
    assert json.loads((tmp_path / "flagged.json").read_text()) == {"3": finding.flagged.tolist()}
    rows = list(csv.DictReader((tmp_path / "flagged.csv").open()))
    assert [int(r["index"]) for r in rows] == finding.flagged.tolist()
    assert rows[0]["path"] == drilled.packed.names[int(rows[0]["index"])]
    assert "images of 'cat'" in result.sentence


def test_an_index_of_other_data_is_refused(
    drilled: DrillResult, few_digits: object, index: FingerprintIndex, model: tuple[nn.Module, ModelCard]
) -> None:
    with pytest.raises(ValueError, match="build it again"):
        sweep(index, few_digits, *model)  # type: ignore[arg-type]
