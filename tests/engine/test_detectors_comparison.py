"""Detectors side by side: what is measured, what is written, and the command."""

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from orfila.cli import main
from orfila_engine import detectors
from orfila_engine.architectures import load_model
from orfila_engine.comparison import compare, measure, write
from orfila_engine.detectors import Detected, DetectorInput
from orfila_engine.drill import DrillResult
from orfila_engine.fingerprint import FingerprintIndex


@dataclass(frozen=True)
class Oracle:
    """Flags what it is told."""

    flagged: tuple[int, ...]

    name: ClassVar[str] = "oracle"
    title: ClassVar[str] = "Oracle"
    source: ClassVar[str] = "Delphi"
    needs: ClassVar[tuple[()]] = ()

    def detect(self, evidence: DetectorInput) -> Detected:
        scores = np.zeros(evidence.n, dtype=np.float32)
        scores[list(self.flagged)] = 1
        return Detected(scores, np.array(self.flagged))


@dataclass(frozen=True)
class Mute:
    """Cannot work on anything."""

    name: ClassVar[str] = "mute"
    title: ClassVar[str] = "Mute"
    source: ClassVar[str] = "nowhere"
    needs: ClassVar[tuple[()]] = ()

    def detect(self, evidence: DetectorInput) -> Detected:
        raise ValueError("there is nothing to see")


@pytest.fixture(scope="module")
def evidence(drilled: DrillResult) -> DetectorInput:
    model, card = load_model(drilled.path / "model.safetensors")
    with Image.open(drilled.path / "affected-0.png") as image:
        pixels = np.asarray(image)[None, ..., None]
    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    packed = drilled.packed
    return DetectorInput(packed, model, card, index, pixels, drilled.planted.target, packed.test[0], device="cpu")


def test_measures_of_a_known_answer() -> None:
    poison = np.array([True, True, False, False, True, False])
    answer = Detected(np.array([6, 1, 5, 4, 3, 2], np.float32), np.array([0, 2, 4]))
    everywhere = measure(answer, poison, np.ones(6, dtype=bool))
    assert (everywhere.n_flagged, everywhere.precision, everywhere.recall) == (3, 2 / 3, 2 / 3)
    # Ranks of the poison are 1, 4 and 6.
    assert everywhere.average_precision == pytest.approx((1 / 1 + 2 / 4 + 3 / 6) / 3)
    within = measure(answer, poison, np.array([True, True, False, True, True, False]))
    assert (within.n_flagged, within.precision, within.recall) == (2, 1.0, 2 / 3)
    assert within.average_precision == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    nothing = measure(Detected(answer.scores, np.empty(0, np.int64)), poison, np.ones(6, dtype=bool))
    assert (nothing.n_flagged, nothing.precision, nothing.recall) == (0, None, 0.0)
    assert measure(answer, None, np.ones(6, dtype=bool)).precision is None


def test_a_detector_that_cannot_answer_says_why_and_the_others_go_on(
    evidence: DetectorInput, drilled: DrillResult
) -> None:
    truth = drilled.planted.indices.tolist()
    told = Oracle(tuple(truth[:10]))
    result = compare(evidence, [Mute(), told, detectors.make("influence")], truth)
    mute, oracle, influence = result.rows
    assert (mute.error, mute.all_classes) == ("there is nothing to see", None)
    assert oracle.all_classes is not None
    assert (oracle.all_classes.precision, oracle.all_classes.recall) == (1.0, 10 / len(truth))
    assert oracle.settings == {"flagged": tuple(truth[:10])}
    assert influence.error == ""
    assert set(result.answers) == {"oracle", "influence"}
    assert list(result.shared_seconds) == ["influences"]
    assert result.n_label == int((evidence.labels == evidence.predicted).sum())


def test_a_wrong_truth_and_a_doubled_detector_are_refused(evidence: DetectorInput) -> None:
    with pytest.raises(ValueError, match=r"numbered 0\.\.1399; the truth holds 3 to 1400"):
        compare(evidence, [Mute()], [3, 1400])
    with pytest.raises(ValueError, match="named twice"):
        compare(evidence, [Mute(), Mute()])


def test_the_files_hold_every_answer(evidence: DetectorInput, drilled: DrillResult, tmp_path: Path) -> None:
    truth = drilled.planted.indices.tolist()
    chosen = [Oracle((5, 3)), Mute(), detectors.make("spectral-signatures")]
    result = compare(evidence, chosen, truth)
    write(result, evidence, tmp_path / "out", affected=["a.png"], truth=truth)
    described = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert described["format"] == "orfila-comparison/1"
    assert (described["predicted"], described["predicted_name"]) == (0, "digit 0")
    assert (described["n_poison"], described["affected"]) == (len(truth), ["a.png"])
    assert [row["detector"] for row in described["rows"]] == ["oracle", "mute", "spectral-signatures"]
    assert described["rows"][0]["all_classes"]["n_flagged"] == 2
    assert described["rows"][1]["label"] is None
    table = pq.read_table(tmp_path / "out" / "comparison.parquet")
    assert np.flatnonzero(table["oracle:flagged"].to_numpy()).tolist() == [3, 5]
    assert np.flatnonzero(table["poison"].to_numpy()).tolist() == truth
    assert "mute:score" not in table.column_names
    assert table["spectral-signatures:score"].to_numpy() == pytest.approx(result.answers["spectral-signatures"].scores)


def orfila(*arguments: object, home: Path) -> tuple[int, str, str]:
    """Run the command line in this process, as the script `orfila` does."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr("sys.argv", ["orfila", *(str(a) for a in arguments)])
        patch.setenv("XDG_CACHE_HOME", str(home))
        patch.setenv("COLUMNS", "160")
        try:
            main()
            status = 0
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    return status, out.getvalue(), err.getvalue()


def test_the_command_compares_and_writes(drilled: DrillResult, tmp_path: Path) -> None:
    path = drilled.path
    status, out, err = orfila(
        "compare", path / "model.safetensors", path / "data", "--affected", path / "affected-0.png",
        "--truth", path / "truth.csv", "--detector", "collapse", "--detector", "delta-influence", "--queries", 20,
        "--out", tmp_path / "out", "--device", "cpu", home=tmp_path,
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert "collapse" in out
    assert f"{len(drilled.planted.indices)} are poisoned" in out
    rows = json.loads((tmp_path / "out" / "comparison.json").read_text())["rows"]
    assert [row["detector"] for row in rows] == ["collapse", "delta-influence"]
    assert rows[0]["all_classes"]["precision"] > 0.9
    assert rows[0]["all_classes"]["precision"] > rows[1]["all_classes"]["precision"]


def test_the_command_refuses_an_unknown_detector_in_one_sentence(drilled: DrillResult, tmp_path: Path) -> None:
    path = drilled.path
    status, out, err = orfila(
        "compare", path / "model.safetensors", path / "data", "--affected", path / "affected-0.png",
        "--detector", "crystal-ball", "--out", tmp_path / "out", home=tmp_path,
    )  # fmt: skip
    assert (status, out) == (2, "")
    assert err.strip().startswith("unknown detector 'crystal-ball'")
    assert len(err.strip().splitlines()) == 1
