"""The command line without a server: a drill, an investigation, a repair, and what it refuses."""

import contextlib
import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from orfila.cli import main


@dataclass(frozen=True)
class Done:
    """A finished command."""

    returncode: int
    stdout: str
    stderr: str


def orfila(*arguments: object, home: Path) -> Done:
    """Run the command line in this process, as the script `orfila` does."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr("sys.argv", ["orfila", *(str(a) for a in arguments)])
        patch.setenv("XDG_CACHE_HOME", str(home))
        patch.setenv("COLUMNS", "120")
        try:
            main()
            status = 0
        except SystemExit as exit_:
            status = int(exit_.code or 0)
    return Done(status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as class folders of PNG files, and a finished drill on them."""
    folder = tmp_path_factory.mktemp("cli")
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(images, bunch.target, strict=True)):
        path = folder / "digits" / ("test" if number % 5 == 0 else "train") / f"d{label}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    done = orfila(
        "drill", folder / "digits", "--attack", "badnet", "--rate", 0.02, "--arch", "resnet-nano", "--epochs", 15,
        "--source", "d5", "--target", "d0", "--out", folder / "drill", home=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def test_a_drill_finds_its_poison(work: Path) -> None:
    report = json.loads((work / "drill" / "drill.json").read_text())
    truth = {int(r["index"]) for r in csv.DictReader((work / "drill" / "truth.csv").open())}
    flagged = {int(r["index"]) for r in csv.DictReader((work / "drill" / "investigation" / "flagged.csv").open())}
    assert len(truth & flagged) / len(flagged) == report["collapse_rule"]["precision"] >= 0.95
    assert len(truth & flagged) / len(truth) == report["collapse_rule"]["recall"] >= 0.95
    assert (work / "drill" / "investigation" / "report.html").is_file()


def test_investigate_writes_the_stated_files_and_keeps_its_index(work: Path) -> None:
    drill = work / "drill"
    arguments = ("investigate", drill / "model.safetensors", drill / "data", "--affected", drill / "affected-0.png")
    done = orfila(*arguments, "--out", work / "found", home=work)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("Poisoning found: ")
    assert {"flagged.csv", "scores.parquet", "summary.json", "report.html"} <= {
        p.name for p in (work / "found").iterdir()
    }
    assert next(csv.reader((work / "found" / "flagged.csv").open())) == ["path", "index", "label", "score", "posterior"]
    kept = (work / "found.index" / "gradients-00000.npy").stat().st_mtime_ns
    again = orfila(*arguments, "--rule", "paper", "--out", work / "found", home=work)
    assert again.returncode == 0, again.stderr
    assert (work / "found.index" / "gradients-00000.npy").stat().st_mtime_ns == kept
    assert json.loads((work / "found" / "summary.json").read_text())["parameters"]["rule"] == "paper"


def test_investigate_with_ekfac_keeps_its_factors_and_confirms(work: Path) -> None:
    drill = work / "drill"
    arguments = ("investigate", drill / "model.safetensors", drill / "data", "--affected", drill / "affected-0.png")
    arguments = (*arguments, "--engine", "ekfac", "--queries", 20, "--out", work / "exact")
    done = orfila(*arguments, "--confirm", home=work)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("Poisoning found: ")
    assert "Exact derivatives: rank correlation 0.9" in done.stdout or "rank correlation 1.00" in done.stdout
    summary = json.loads((work / "exact" / "summary.json").read_text())
    assert summary["engine"] == "ekfac"
    assert summary["confirmation"]["rank_correlation"] > 0.9
    truth = {int(r["index"]) for r in csv.DictReader((drill / "truth.csv").open())}
    flagged = {int(r["index"]) for r in csv.DictReader((work / "exact" / "flagged.csv").open())}
    assert len(truth & flagged) >= 0.9 * max(len(truth), len(flagged))
    assert (work / "exact" / "report.html").is_file()
    kept = (work / "exact.ekfac" / "factors.safetensors").stat().st_mtime_ns
    again = orfila(*arguments, home=work)
    assert again.returncode == 0, again.stderr
    assert (work / "exact.ekfac" / "factors.safetensors").stat().st_mtime_ns == kept
    assert "Exact derivatives" not in again.stdout


@pytest.mark.parametrize("method", ["eu", "cf"])
def test_unlearn_repairs_and_proves_it(work: Path, method: str) -> None:
    drill = work / "drill"
    done = orfila(
        "unlearn", drill / "model.safetensors", drill / "data", "--remove", drill / "investigation" / "flagged.csv",
        "--method", method, "--affected", drill / "affected-0.png", "--triggered", drill / "triggered.npz",
        "--out", work / f"{method}.safetensors", home=work,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    proof = json.loads((work / f"{method}.verification.json").read_text())
    assert proof["affected"][0]["after_predicted"] != proof["affected"][0]["before_predicted"]
    assert proof["poison_success_rate"]["before"] > 0.5
    assert proof["poison_success_rate"]["after"] < 0.2
    assert (work / f"{method}.safetensors").is_file()


def test_train_leaves_out_a_list(work: Path) -> None:
    done = orfila(
        "train", work / "drill" / "data", "--arch", "resnet-nano", "--epochs", 1, "--no-augment",
        "--exclude", work / "drill" / "investigation" / "flagged.csv", "--out", work / "again.safetensors", home=work,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    n_flagged = json.loads((work / "drill" / "investigation" / "summary.json").read_text())["n_flagged"]
    assert f"({n_flagged} left out)" in done.stdout


def refusals(work: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    drill = work / "drill"
    model, data, image = drill / "model.safetensors", drill / "data", drill / "affected-0.png"
    (work / "empty.csv").write_text("path,index\n")
    (work / "other.csv").write_text("path,index\nsomewhere/else.png,3\n")
    (work / "pickle.safetensors").write_bytes(b"\x80\x04\x95" + bytes(40))
    (work / "notes.txt").write_text("hello")
    out = ("--out", work / "refused")
    return {
        "no data": (("train", work / "absent", *out), "does not exist"),
        "not an archive": (("train", work / "notes.txt", *out), "neither a zip nor a tar"),
        "no such architecture": (("train", data, "--arch", "magic", *out), "unknown architecture"),
        "pickle": (("investigate", work / "pickle.safetensors", data, "--affected", image, *out), "pickle"),
        "no image": (("investigate", model, data, "--affected", work / "absent.png", *out), "does not exist"),
        "not an image": (("investigate", model, data, "--affected", work / "notes.txt", *out), "not a PNG"),
        "training image": (("investigate", model, data, "--affected", "test:0", *out), "no test image"),
        "empty list": (("unlearn", model, data, "--remove", work / "empty.csv", *out), "lists no images"),
        "other list": (("unlearn", model, data, "--remove", work / "other.csv", *out), "made from"),
        "unknown attack": (("drill", data, "--attack", "telepathy", *out), "unknown attack"),
        "unknown class": (("drill", data, "--source", "unicorn", *out), "no class 'unicorn'"),
    }


CASES = (
    "no data", "not an archive", "no such architecture", "pickle", "no image", "not an image", "training image",
    "empty list", "other list", "unknown attack", "unknown class",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_status_two(work: Path, case: str) -> None:
    arguments, sentence = refusals(work)[case]
    done = orfila(*arguments, home=work)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
