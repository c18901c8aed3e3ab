"""The quick form of the benchmark: every piece runs, the page says what was measured, and nothing is measured twice."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import page_alarms, pieces, tables
from benchmarks.__main__ import main
from benchmarks.pieces import Piece, Place
from benchmarks.plan import FULL, QUICK
from orfila_engine import attacks, detectors


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished quick run on scikit-learn's digits."""
    work = tmp_path_factory.mktemp("bench")
    arguments = ["--quick", "--work", str(work), "--out", str(work / "page.md"), "--jobs", "2", "--threads", "1"]
    assert main(arguments) == 0
    return work


def test_the_page_tells_of_every_piece(measured: Path) -> None:
    text = (measured / "page.md").read_text()
    for heading in (
        "Targets", "Attacks", "Attacks by detectors", "The rules on EK-FAC", "The paper's figures beside ours",
        "Repair without what a detector flags", "Unlearning methods", "Preview of a removal",
        "Ordinary misclassified images", "Sweep without an affected image", "Machine",
    ):  # fmt: skip
        assert f"## {heading}\n" in text
    for name in detectors.names():
        assert f"| badnet | {detectors.make(name).title} |" in text
    assert "Not measured yet" not in text
    assert "command: python -m benchmarks" in text
    assert str(measured) not in text


def test_the_collapse_rule_is_measured_against_the_planted_truth(measured: Path) -> None:
    result = json.loads((measured / "results" / "detection badnet-0.json").read_text())["result"]
    row = next(r for r in result["rows"] if r["detector"] == "collapse")
    assert result["n_poison"] == 42
    assert row["all_classes"]["precision"] >= 0.95
    assert row["all_classes"]["recall"] >= 0.9
    assert not [r["error"] for r in result["rows"] if r["error"]]
    assert set(result["flagged"]) == set(detectors.names())


def test_a_repair_is_measured_before_and_after(measured: Path) -> None:
    result = json.loads((measured / "results" / "repair badnet-0 eu collapse.json").read_text())["result"]
    assert result["psr_before"] > 0.9
    assert result["psr_after"] < 0.1
    assert result["margin_after"] < 0 < result["margin_before"]


def test_what_is_measured_is_not_measured_again(measured: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (measured / "results").iterdir()}
    assert main(["--quick", "--work", str(measured), "--out", str(measured / "again.md")]) == 0
    assert {path: path.stat().st_mtime_ns for path in (measured / "results").iterdir()} == before
    assert (measured / "again.md").read_text() == (measured / "page.md").read_text()


def test_a_bank_of_models_is_read_and_not_written(measured: Path, tmp_path: Path) -> None:
    bank = measured / "models"
    before = {path: path.stat().st_mtime_ns for path in bank.rglob("*")}
    arguments = ["--quick", "--work", str(tmp_path), "--out", str(tmp_path / "page.md"), "--bank", str(bank)]
    assert main([*arguments, "--only", "model", "sweep badnet"]) == 0
    assert not (tmp_path / "models").exists()
    assert (tmp_path / "results" / "sweep badnet-0.json").is_file()
    assert {path: path.stat().st_mtime_ns for path in bank.rglob("*")} == before


def test_a_result_of_other_settings_does_not_count(measured: Path) -> None:
    place = Place(measured / "packs" / "digits", measured)
    wanted = pieces.pieces(QUICK, place, with_speed=False)
    assert pieces.missing(wanted, place, again=False) == []
    other = [Piece(p.name, p.stage, p.settings | {"data": "another"}, p.run, p.arguments) for p in wanted]
    assert pieces.missing(other, place, again=False) == other
    assert pieces.missing(wanted, place, again=True) == wanted


def test_a_piece_that_fails_is_named_and_the_others_are_measured(tmp_path: Path) -> None:
    place = Place(tmp_path / "nowhere", tmp_path)
    said: list[str] = []
    todo = [Piece("bad", pieces.MODELS, {}, divide, (1, 0)), Piece("good", pieces.MODELS, {}, divide, (1, 2))]
    assert pieces.run(todo, place, jobs=1, threads=1, say=said.append) == ["bad"]
    assert any("ZeroDivisionError" in line for line in said)
    kept = pieces.stored(place, todo[1])
    assert kept is not None
    assert kept["result"] == {"quotient": 0.5}
    assert kept["machine"]["threads"] == "1"
    assert pieces.stored(place, todo[0]) is None


def divide(a: int, b: int) -> dict[str, float]:
    """What a piece may do; at the top level, since another process runs it."""
    return {"quotient": a / b}


def test_no_data_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path / "absent"), "--work", str(tmp_path)]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_the_full_plan_names_attacks_that_there_are_and_the_issues_targets() -> None:
    assert len(FULL.seeds) == 3
    assert {attack.name for attack in FULL.attacks} == set(attacks.names())
    labels = {attack.label for attack in FULL.attacks}
    assert {*FULL.poisoned_for_alarms, *FULL.exact_removal, *FULL.unlearned, *FULL.on_ekfac} <= labels
    assert set(FULL.fine_tuned_after) <= set(detectors.names())
    wanted = {a.label: a.target for a in FULL.attacks if a.target}
    assert wanted["badnet"] == wanted["sinusoid"] == (0.99, 0.99)
    assert wanted["smooth"] == wanted["blended"] == (0.95, 0.95)
    assert (wanted["warp"], wanted["witches-brew"]) == ((0.85, 0.85), (0.80, 0.80))
    assert FULL.n_ordinary * (len(FULL.seeds) + len(FULL.poisoned_for_alarms)) >= 100


def test_small_parts_of_the_page() -> None:
    assert tables.spread([0.5, None, 0.7]) == "0.600 ± 0.141"
    assert tables.spread([1234.0], 0) == "1,234"
    assert tables.spread([None]) == "-"
    assert tables.table(["a", "b"], [["1", "2"]]).splitlines() == ["| a | b |", "|---|---|", "| 1 | 2 |"]
    answers = [{"verdict": "poisoning found", "level": "usual"}, {"verdict": "weak evidence", "level": "none"}]
    results = {"alarms clean-0": {"accuracy": 0.9, "answers": answers * 10}}
    rows = page_alarms.targets(results)
    assert rows[0][2:] == ["10 of 20 (50.0%)", "**missed**"]
    assert rows[1][2:] == ["0 of 20 (0.0%)", "met"]
    assert re.search(r"\| clean-0 \| 90\.0% \| 20 \| 10 \(50\.0%\) \| 0 \(0\.0%\) \| 10", page_alarms.alarms(results))
