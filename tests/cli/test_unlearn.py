"""`orfila unlearn`: every method from the command line, the preview, and what is refused."""

import json
import typing
from pathlib import Path

import pytest
from test_commands import Done, orfila, work  # noqa: F401 (a fixture)

from orfila.remedies import schemas
from orfila_engine.commands.unlearn import Method
from orfila_engine.unlearning import METHODS, TRAINING


def unlearn(work: Path, *arguments: object) -> Done:  # noqa: F811
    drill = work / "drill"
    flagged = drill / "investigation" / "flagged.csv"
    return orfila("unlearn", drill / "model.safetensors", drill / "data", "--remove", flagged, *arguments, home=work)


def test_engine_command_and_api_name_the_same_methods() -> None:
    assert [m.value for m in Method] == list(METHODS) == list(typing.get_args(schemas.Method))
    assert set(TRAINING) == schemas.TRAINING


@pytest.mark.parametrize("method", ["scrub", "badt", "ssd", "influence", "iau", "selective"])
def test_a_method_writes_a_model_and_a_proof(work: Path, method: str) -> None:  # noqa: F811
    drill = work / "drill"
    out = work / f"{method}.safetensors"
    done = unlearn(
        work, "--method", method, "--affected", drill / "affected-0.png", "--triggered", drill / "triggered.npz",
        "--index", drill / "index", "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    proof = json.loads((work / f"{method}.verification.json").read_text())
    outcome = proof["affected"][0]
    assert outcome["predicted_margin"] < outcome["before_margin"]
    assert proof["method"] == method
    assert proof["poison_success_rate"]["before"] > 0.5
    assert proof["accuracy"]["after"] > proof["accuracy"]["before"] - 0.05
    assert (proof["epochs"] is None) == (method not in TRAINING)
    assert out.is_file()


def test_a_preview_repairs_nothing(work: Path) -> None:  # noqa: F811
    drill = work / "drill"
    before = sorted(work.iterdir())
    done = unlearn(work, "--preview", "--affected", drill / "affected-0.png", "--index", drill / "index")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("affected-0.png: without ")
    assert done.stdout.rstrip().endswith(": expected to flip.")
    assert sorted(work.iterdir()) == before


def test_what_does_not_go_together_is_one_sentence(work: Path) -> None:  # noqa: F811
    drill = work / "drill"
    image, out = ("--affected", drill / "affected-0.png"), ("--out", work / "refused.safetensors")
    refusals = {
        "give --out": image,
        "--preview needs --affected and --index": ("--preview", *image),
        "trains nothing": ("--method", "influence", "--epochs", 2, *out),
        "not a fingerprint index": ("--index", drill / "data", *out),
        "--triggered needs --affected": ("--triggered", drill / "triggered.npz", *out),
    }
    for sentence, arguments in refusals.items():
        done = unlearn(work, *arguments)
        assert done.returncode == 2, sentence
        assert sentence in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
