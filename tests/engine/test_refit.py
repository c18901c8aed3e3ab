"""A finding learns from verdicts, and the evidence does not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.drill import DrillResult, triggered_test
from orfila_engine.evaluation import evaluate
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, Investigation, investigate
from orfila_engine.refit import FILES, refit
from orfila_engine.report import write_report


@pytest.fixture(scope="module")
def affected(drilled: DrillResult, model: tuple[nn.Module, ModelCard]) -> list[Affected]:
    images, labels = triggered_test(drilled.packed, drilled.planted)
    predicted = evaluate(*model, images, labels, device="cpu").predicted
    row = int(np.flatnonzero(predicted == drilled.planted.target)[0])
    return [Affected(images[row], "affected.png", int(labels[row]))]


@pytest.fixture(scope="module")
def first(
    drilled: DrillResult,
    index: FingerprintIndex,
    model: tuple[nn.Module, ModelCard],
    affected: list[Affected],
    tmp_path_factory: pytest.TempPathFactory,
) -> Investigation:
    return investigate(index, drilled.packed, *model, affected, out_dir=tmp_path_factory.mktemp("first") / "found")


Refit = Callable[..., Investigation]


@pytest.fixture
def learn(
    drilled: DrillResult,
    index: FingerprintIndex,
    model: tuple[nn.Module, ModelCard],
    affected: list[Affected],
    first: Investigation,
    tmp_path: Path,
) -> Refit:
    """Refit the first investigation, or what is said instead."""

    def again(
        found: Path = first.path, images: list[Affected] = affected, name: str = "out", **verdicts: Any
    ) -> Investigation:
        return refit(
            found, index, drilled.packed, *model, images, out_dir=tmp_path / name,
            **({"poison": [], "clean": []} | verdicts),
        )  # fmt: skip

    return again


def columns(folder: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "scores.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


def test_without_verdicts_the_first_answer_comes_back(first: Investigation, learn: Refit) -> None:
    learned = learn(poison=first.flagged[:3].tolist(), name="learned")
    assert learned.summary["parameters"]["n_confirmed"] == 3
    undone = learn(learned.path, name="undone")
    for name, column in columns(first.path).items():
        assert np.array_equal(columns(undone.path)[name], column), name
    assert (undone.path / "flagged.csv").read_bytes() == (first.path / "flagged.csv").read_bytes()
    kept = set(first.summary) - {"seconds"}
    assert {k: undone.summary[k] for k in kept} == {k: first.summary[k] for k in kept}
    assert sorted(p.name for p in undone.path.iterdir()) == sorted(FILES)


def test_verdicts_move_the_rest_and_not_the_evidence(
    drilled: DrillResult, first: Investigation, learn: Refit, tmp_path: Path
) -> None:
    """Half of the poison is called clean: what resembles it follows."""
    before = columns(first.path)
    truth = drilled.planted.indices
    said_clean, others = truth[::2].tolist(), truth[1::2]
    folder = Path(shutil.copytree(first.path, tmp_path / "found"))
    learned = learn(folder, clean=said_clean, name="found")
    after = columns(folder)
    assert not after["flagged"][said_clean].any()
    assert after["posterior"][others].mean() < before["posterior"][others].mean() - 0.2
    assert learned.summary["evidence"] == first.summary["evidence"]
    assert json.loads((folder / "summary.json").read_text())["n_flagged"] == int(after["flagged"].sum())
    assert f"after {len(said_clean)} verdicts" in learned.summary["sentence"]
    for name in ("influence", "shift_mean", "self_influence", "suspect", "flagged_paper"):
        assert np.array_equal(after[name], before[name]), name
    write_report(folder, drilled.packed, folder / "report.html")
    page = (folder / "report.html").read_text()
    assert f"learned from {len(said_clean)} verdicts" in page
    assert "nobody has judged" not in page


def test_what_the_rule_says_of_a_judged_image_is_kept(drilled: DrillResult, first: Investigation, learn: Refit) -> None:
    before = columns(first.path)
    assert np.array_equal(before["rule_posterior"], before["posterior"])
    assert np.array_equal(before["flagged_rule"], before["flagged"])
    # One wrong verdict on each side: more of them would teach the rule that poison is clean.
    surest = int(first.flagged[0])
    assert surest in drilled.planted.indices
    poison = [surest]
    innocent = [int(np.flatnonzero(before["suspect"])[before["posterior"][before["suspect"]].argmin()])]
    after = columns(learn(clean=poison, poison=innocent).path)
    assert after["posterior"][poison].max() == 0
    assert after["rule_posterior"][poison].min() > 0.5
    assert after["posterior"][innocent].min() == 1
    assert after["rule_posterior"][innocent].max() < 0.5
    assert after["flagged_rule"][poison].all()
    assert not after["flagged"][poison].any()
    assert after["flagged"][innocent].all()
    assert not after["flagged_rule"][innocent].any()
    others = np.setdiff1d(np.arange(len(after["flagged"])), poison + innocent)
    assert np.array_equal(after["flagged_rule"][others], after["flagged"][others])


def test_a_verdict_counts_outside_the_suspects_too(first: Investigation, learn: Refit) -> None:
    stranger = int(np.flatnonzero(~columns(first.path)["suspect"])[0])
    suspected = int(first.flagged[-1])
    learned = learn(poison=[stranger], clean=[suspected])
    after = columns(learned.path)
    assert after["flagged"][stranger]
    assert stranger in learned.flagged
    assert not after["flagged"][suspected]
    assert learned.summary["n_flagged"] == len(learned.flagged)


def test_what_a_refit_refuses(
    drilled: DrillResult, affected: list[Affected], first: Investigation, learn: Refit, tmp_path: Path
) -> None:
    n = drilled.packed.n_train
    for poison, clean, message in (([1], [1], "poison and clean"), ([n], [], f"image {n}"), ([], [-1], "image -1")):
        with pytest.raises(ValueError, match=message):
            learn(poison=poison, clean=clean)
    with pytest.raises(ValueError, match="other affected images"):
        learn(images=[*affected] * 2)
    other = Path(shutil.copytree(first.path, tmp_path / "other"))
    summary = json.loads((other / "summary.json").read_text())
    (other / "summary.json").write_text(json.dumps(summary | {"engine": "ekfac"}))
    with pytest.raises(ValueError, match="model or engine"):
        learn(other)
    assert not (tmp_path / "out").exists()
