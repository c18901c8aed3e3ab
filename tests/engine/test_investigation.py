"""An investigation of a planted poison, its files, its evidence, and what it refuses."""

import csv
import io
import json
import re
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import DataError, PackedDataset
from orfila_engine.drill import DrillResult, triggered_test
from orfila_engine.evaluation import evaluate
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, affected_from_test, investigate, read_affected
from orfila_engine.questions import ask
from orfila_engine.report import write_report


def fooled(drilled: DrillResult, model: tuple[nn.Module, ModelCard]) -> list[Affected]:
    images, labels = triggered_test(drilled.packed, drilled.planted)
    predicted = evaluate(*model, images, labels, device="cpu").predicted
    rows = np.flatnonzero(predicted == drilled.planted.target)
    return [Affected(images[r], f"{r}.png", int(labels[r])) for r in rows]


def test_the_collapse_rule_finds_the_planted_poison(drilled: DrillResult) -> None:
    report = drilled.report
    assert report["poison_success_rate"] > 0.9
    assert report["collapse_rule"]["precision"] >= 0.98
    assert report["collapse_rule"]["recall"] >= 0.9  # of 42 poisons; benchmarks/ measure the real target
    assert report["average_precision"] >= 0.98
    assert report["paper_rule"]["precision"] < 0.5
    assert report["paper_rule"]["recall"] >= 0.9
    assert report["evidence"]["verdict"] == "poisoning found"


def test_the_files_agree_with_each_other(drilled: DrillResult) -> None:
    folder = drilled.path / "investigation"
    scores = pq.read_table(folder / "scores.parquet")
    summary = json.loads((folder / "summary.json").read_text())
    shifts = np.load(folder / "shifts.npy")
    rows = list(csv.DictReader((folder / "flagged.csv").open()))
    packed = drilled.packed
    assert scores.num_rows == packed.n_train == len(shifts)
    assert scores["name"].to_pylist() == list(packed.names[: packed.n_train])
    assert summary["n_flagged"] == len(rows) == int(scores["flagged"].to_numpy().sum())
    assert sorted(int(r["index"]) for r in rows) == np.flatnonzero(scores["flagged"].to_numpy()).tolist()
    posteriors = [float(r["posterior"]) for r in rows]
    assert posteriors == sorted(posteriors, reverse=True)
    assert all(packed.names[int(r["index"])] == r["path"] for r in rows)
    assert np.array_equal((shifts < 0).sum(1), scores["n_collapsed"].to_numpy())
    assert scores["shift_mean"].to_numpy() == pytest.approx(shifts.mean(1), rel=1e-3, abs=1e-3)
    relative = scores["influence"].to_numpy() / np.sqrt(scores["self_influence"].to_numpy())
    assert scores["relative_influence"].to_numpy() == pytest.approx(relative, rel=1e-4)
    assert set(packed.train[1][scores["suspect"].to_numpy()]) == {drilled.planted.target}
    queries = json.loads((folder / "queries.json").read_text())
    assert len(queries[0]["queries"]) == 51 == np.load(folder / "query_images.npy").shape[1]
    assert all(q["label"] != summary["predicted"] for q in queries[0]["queries"][1:])


def test_the_shift_is_the_difference_of_two_influences(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard]
) -> None:
    with Image.open(drilled.path / "affected-0.png") as image:
        pixels = np.asarray(image)[..., None]
    asked = ask(index, *model, pixels, drilled.planted.target, n_b=50, seed=0)
    expected = index.influence(asked.fingerprints[7:8])[:, 0] - index.influence(asked.fingerprints[:1])[:, 0]
    stored = np.load(drilled.path / "investigation" / "shifts.npy")[:, 6]
    assert stored == pytest.approx(expected, rel=1e-3, abs=1e-2 * float(np.abs(expected).max()))


def test_a_further_image_is_answered_fast_and_repeatably(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    image = fooled(drilled, model)[1]
    first = investigate(index, drilled.packed, *model, [image], out_dir=tmp_path / "a")
    began = time.perf_counter()
    again = investigate(index, drilled.packed, *model, [image], out_dir=tmp_path / "b")
    assert time.perf_counter() - began < 5  # the target is 1 s; test machines are busy
    assert np.array_equal(first.flagged, again.flagged)
    for name in ("scores.parquet", "shifts.npy", "flagged.csv", "queries.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_several_affected_images_are_one_symptom(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    images = fooled(drilled, model)[:3]
    found = investigate(index, drilled.packed, *model, images, n_b=20, out_dir=tmp_path / "out")
    assert np.load(tmp_path / "out" / "shifts.npy").shape == (3, drilled.packed.n_train, 20)
    assert len(np.intersect1d(drilled.planted.indices, found.flagged)) >= 0.9 * len(drilled.planted.indices)


def test_every_image_can_be_a_suspect_and_the_paper_rule_can_decide(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    image = fooled(drilled, model)[0]
    found = investigate(
        index, drilled.packed, *model, [image], n_b=20, suspects="all", rule="paper", out_dir=tmp_path / "out"
    )
    scores = pq.read_table(tmp_path / "out" / "scores.parquet")
    assert found.summary["n_suspects"] == drilled.packed.n_train
    assert scores["flagged"].equals(scores["flagged_paper"])


def test_an_ordinary_mistake_is_not_called_poisoning(
    drilled: DrillResult, index: FingerprintIndex, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    packed = drilled.packed
    result = evaluate(*model, *packed.test, device="cpu")
    other = np.flatnonzero((result.predicted != result.labels) & (result.predicted != drilled.planted.target))
    image = affected_from_test(packed, packed.n_train + int(other[0]))
    found = investigate(index, packed, *model, [image], out_dir=tmp_path / "out")
    assert found.summary["evidence"]["verdict"] != "poisoning found"
    assert "Poisoning found" not in found.summary["sentence"]


def test_an_image_of_another_size_and_mode_is_converted_and_says_so(model: tuple[nn.Module, ModelCard]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 10), (200, 10, 10)).save(buffer, "PNG")
    affected = read_affected(buffer.getvalue(), "big.png", model[1])
    assert affected.pixels.shape == (8, 8, 1)
    assert affected.note == "colour to grey; resized from 20 x 10"
    with pytest.raises(DataError, match=r"broken\.png"):
        read_affected(b"nonsense", "broken.png", model[1])


def test_unusable_questions_are_sentences(
    drilled: DrillResult,
    digits: PackedDataset,
    index: FingerprintIndex,
    model: tuple[nn.Module, ModelCard],
    tmp_path: Path,
) -> None:
    packed = drilled.packed
    result = evaluate(*model, *packed.test, device="cpu")
    right = packed.n_train + int(np.flatnonzero(result.predicted == result.labels)[0])
    with pytest.raises(ValueError, match="right, as 'digit"):
        investigate(index, packed, *model, [affected_from_test(packed, right)], out_dir=tmp_path / "out")
    wrong = np.flatnonzero(result.predicted != result.labels)
    pair = [affected_from_test(packed, packed.n_train + int(w)) for w in wrong]
    with pytest.raises(ValueError, match="one by one"):
        investigate(index, packed, *model, pair, out_dir=tmp_path / "out")
    with pytest.raises(ValueError, match="at least one"):
        investigate(index, packed, *model, [], out_dir=tmp_path / "out")
    with pytest.raises(ValueError, match="another data set"):
        investigate(index, digits, *model, fooled(drilled, model)[:1], out_dir=tmp_path / "out")
    with pytest.raises(ValueError, match="no test image"):
        affected_from_test(packed, 0)
    assert not (tmp_path / "out").exists()


def test_the_report_stands_alone(drilled: DrillResult, tmp_path: Path) -> None:
    write_report(drilled.path / "investigation", drilled.packed, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert drilled.investigation.summary["sentence"].replace("'", "&#x27;") in page
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert not re.findall(r"https?://", page)
    assert page.count("<img") > min(len(drilled.investigation.flagged), 90)
    assert drilled.packed.digest in page


def test_names_in_the_report_are_text(drilled: DrillResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in (drilled.path / "investigation").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    summary = json.loads((folder / "summary.json").read_text())
    summary["sentence"] = "<script>alert(1)</script>"
    (folder / "summary.json").write_text(json.dumps(summary))
    write_report(folder, drilled.packed, tmp_path / "report.html")
    assert "<script" not in (tmp_path / "report.html").read_text()
