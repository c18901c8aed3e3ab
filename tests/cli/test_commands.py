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
from orfila_engine.data import PackedDataset


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


def test_investigate_learns_from_verdicts(work: Path) -> None:
    drill = work / "drill"
    arguments = ("investigate", drill / "model.safetensors", drill / "data", "--affected", drill / "affected-0.png")
    first = list(csv.DictReader((drill / "investigation" / "flagged.csv").open()))
    said = {row["index"]: "clean" for row in first[:5]} | {first[5]["index"]: "unsure"}
    with (work / "verdicts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["index", "verdict"], *said.items()])
    done = orfila(*arguments, "--verdicts", work / "verdicts.csv", "--out", work / "learned", home=work)
    assert done.returncode == 0, done.stderr
    assert "after 5 verdicts" in done.stdout
    flagged = {row["index"] for row in csv.DictReader((work / "learned" / "flagged.csv").open())}
    assert not flagged & {row["index"] for row in first[:5]}
    (work / "verdicts.csv").write_text("index,verdict\n1,guilty\n")
    wrong = orfila(*arguments, "--verdicts", work / "verdicts.csv", "--out", work / "wrong", home=work)
    assert wrong.returncode == 2
    assert "'guilty' is no verdict" in wrong.stderr


def test_investigate_with_ekfac_keeps_its_factors_and_confirms(work: Path) -> None:
    drill = work / "drill"
    arguments = ("investigate", drill / "model.safetensors", drill / "data", "--affected", drill / "affected-0.png")
    arguments = (*arguments, "--engine", "ekfac", "--queries", 20, "--out", work / "exact")
    done = orfila(*arguments, "--confirm", home=work)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("Poisoning found: ")
    assert "Exact derivatives: rank correlation " in done.stdout
    summary = json.loads((work / "exact" / "summary.json").read_text())
    assert summary["engine"] == "ekfac"
    assert summary["confirmation"]["rank_correlation"] > 0.9
    truth = {int(r["index"]) for r in csv.DictReader((drill / "truth.csv").open())}
    flagged = {int(r["index"]) for r in csv.DictReader((work / "exact" / "flagged.csv").open())}
    assert len(truth & flagged) >= 0.9 * max(len(truth), len(flagged))
    assert "Exact derivatives: rank correlation " in (work / "exact" / "report.html").read_text()
    kept = (work / "exact.ekfac" / "factors.safetensors").stat().st_mtime_ns
    again = orfila(*arguments, home=work)
    assert again.returncode == 0, again.stderr
    assert (work / "exact.ekfac" / "factors.safetensors").stat().st_mtime_ns == kept
    assert "Exact derivatives" not in again.stdout


def test_a_drill_can_stop_after_training_and_go_on(work: Path) -> None:
    arguments = (
        "drill", work / "digits", "--attack", "badnet", "--all-to-one", "--target", "d1", "--rate", 0.03,
        "--arch", "resnet-nano", "--epochs", 8, "--out", work / "all",
    )  # fmt: skip
    done = orfila(*arguments, "--train-only", home=work)
    assert done.returncode == 0, done.stderr
    assert "poisons planted for 'd1'" in done.stdout
    assert not (work / "all" / "index").exists()
    trained = (work / "all" / "model.safetensors").stat().st_mtime_ns
    done = orfila(*arguments, home=work)
    assert done.returncode == 0, done.stderr
    assert (work / "all" / "model.safetensors").stat().st_mtime_ns == trained
    report = json.loads((work / "all" / "drill.json").read_text())
    assert (report["source"], report["target"]) == (None, "d1")
    assert f"Average precision {report['average_precision']:.3f}" in done.stdout


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        ("warp", ("--strength", 2.0)),
        ("sinusoid", ("--amplitude", 60.0)),
        ("label-flip", ("--random",)),
        ("witches-brew", ("--eps", 24, "--steps", 2, "--restarts", 2, "--ensemble", 2, "--target", "d3")),
    ],
)
def test_every_attack_is_planted_with_its_settings(work: Path, attack: str, settings: tuple[object, ...]) -> None:
    done = orfila(
        "drill", work / "digits", "--attack", attack, *settings, "--rate", 0.05, "--arch", "resnet-nano",
        "--epochs", 2, "--train-only", "--out", work / attack, home=work,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    planting = json.loads((work / attack / "planting.json").read_text())
    assert planting["n_poison"] == round(0.05 * PackedDataset.open(work / attack / "data").n_train)
    given = {str(k).removeprefix("--"): v for k, v in zip(settings[::2], settings[1::2], strict=False)}
    for name in ("strength", "amplitude", "eps", "steps", "restarts", "ensemble"):
        if name in given:
            assert planting["settings"]["attack"][name] == given[name]


def test_pack_at_a_size_and_use_it(work: Path) -> None:
    done = orfila("pack", work / "digits", "--size", "16x12", "--out", work / "larger", home=work)
    assert done.returncode == 0, done.stderr
    assert "16 x 12, grey, 10 classes" in done.stdout
    assert "1,797 resized" in done.stdout
    assert PackedDataset.open(work / "larger").pixels.shape[1:] == (12, 16, 1)
    done = orfila(
        "train", work / "larger", "--arch", "resnet-nano", "--epochs", 1, "--out", work / "l.safetensors", home=work
    )
    assert done.returncode == 0, done.stderr


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
        "foreign setting": (("drill", data, "--eps", 8, *out), "has no setting 'eps'"),
        "foreign surrogates": (("drill", data, "--surrogates", work, *out), "belongs to witches-brew"),
        "training victim": (("drill", data, "--attack", "witches-brew", "--victim", 0, *out), "no test image"),
        "too much poison": (("drill", data, "--source", "d1", "--rate", 0.5, *out), "use a rate of at most"),
        "no size": (("pack", work / "digits", "--size", "big", *out), "is no size"),
        "pack is there": (("pack", work / "digits", "--out", drill), "exists already"),
        "no coarse labels": (("pack", work / "digits", "--labels", "coarse", *out), "only CIFAR-100"),
    }


CASES = (
    "no data", "not an archive", "no such architecture", "pickle", "no image", "not an image", "training image",
    "empty list", "other list", "unknown attack", "unknown class", "foreign setting", "foreign surrogates",
    "training victim", "too much poison", "no size", "pack is there", "no coarse labels",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_sentence_and_status_two(work: Path, case: str) -> None:
    arguments, sentence = refusals(work)[case]
    done = orfila(*arguments, home=work)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""
