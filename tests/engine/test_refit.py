"""A finding learns from verdicts, and the evidence does not."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from torch import nn

from orfila_engine.architectures import ModelCard, load_model
from orfila_engine.drill import DrillResult, triggered_test
from orfila_engine.evaluation import evaluate
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, Investigation, investigate
from orfila_engine.refit import FILES, refit


@pytest.fixture(scope="module")
def model(drilled: DrillResult) -> tuple[nn.Module, ModelCard]:
    return load_model(drilled.path / "model.safetensors")


@pytest.fixture(scope="module")
def index(drilled: DrillResult) -> FingerprintIndex:
    return FingerprintIndex.open(drilled.path / "index", "cpu")


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


def columns(folder: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(folder / "scores.parquet")
    return {name: table[name].to_numpy() for name in table.column_names}


def test_without_verdicts_the_first_answer_comes_back(
    drilled: DrillResult,
    index: FingerprintIndex,
    model: tuple[nn.Module, ModelCard],
    affected: list[Affected],
    first: Investigation,
    tmp_path: Path,
) -> None:
    poison = first.flagged[:3].tolist()
    learned = refit(
        first.path, index, drilled.packed, *model, affected, poison=poison, clean=[], out_dir=tmp_path / "learned"
    )
    assert learned.summary["parameters"]["n_confirmed"] == 3
    undone = refit(
        learned.path, index, drilled.packed, *model, affected, poison=[], clean=[], out_dir=tmp_path / "undone"
    )
    for name, column in columns(first.path).items():
        assert np.array_equal(columns(undone.path)[name], column), name
    assert (undone.path / "flagged.csv").read_bytes() == (first.path / "flagged.csv").read_bytes()
    kept = set(first.summary) - {"seconds"}
    assert {k: undone.summary[k] for k in kept} == {k: first.summary[k] for k in kept}
    assert sorted(p.name for p in undone.path.iterdir()) == sorted(FILES)


def test_verdicts_move_the_rest_and_not_the_evidence(
    drilled: DrillResult,
    index: FingerprintIndex,
    model: tuple[nn.Module, ModelCard],
    affected: list[Affected],
    first: Investigation,
    tmp_path: Path,
) -> None:
    """Half of the poison is called clean: what resembles it follows."""
    before = columns(first.path)
    truth = drilled.planted.indices
    said_clean, others = truth[::2].tolist(), truth[1::2]
    folder = Path(shutil.copytree(first.path, tmp_path / "found"))
    learned = refit(folder, index, drilled.packed, *model, affected, poison=[], clean=said_clean, out_dir=folder)
    after = columns(folder)
    assert not after["flagged"][said_clean].any()
    assert after["posterior"][others].mean() < before["posterior"][others].mean() - 0.2
    assert learned.summary["evidence"] == first.summary["evidence"]
    assert json.loads((folder / "summary.json").read_text())["n_flagged"] == int(after["flagged"].sum())
    assert f"after {len(said_clean)} verdicts" in learned.summary["sentence"]
    for name in ("influence", "shift_mean", "self_influence", "suspect", "flagged_paper"):
        assert np.array_equal(after[name], before[name]), name


def test_a_verdict_counts_outside_the_suspects_too(
    drilled: DrillResult,
    index: FingerprintIndex,
    model: tuple[nn.Module, ModelCard],
    affected: list[Affected],
    first: Investigation,
    tmp_path: Path,
) -> None:
    before = columns(first.path)
    stranger = int(np.flatnonzero(~before["suspect"])[0])
    suspected = int(first.flagged[-1])
    learned = refit(
        first.path, index, drilled.packed, *model, affected, poison=[stranger], clean=[suspected],
        out_dir=tmp_path / "learned",
    )  # fmt: skip
    after = columns(learned.path)
    assert after["flagged"][stranger]
    assert stranger in learned.flagged
    assert not after["flagged"][suspected]
    assert learned.summary["n_flagged"] == len(learned.flagged)


def test_what_a_refit_refuses(
    drilled: DrillResult,
    index: FingerprintIndex,
    model: tuple[nn.Module, ModelCard],
    affected: list[Affected],
    first: Investigation,
    tmp_path: Path,
) -> None:
    n = drilled.packed.n_train
    for poison, clean, message in (([1], [1], "poison and clean"), ([n], [], f"image {n}"), ([], [-1], "image -1")):
        with pytest.raises(ValueError, match=message):
            refit(
                first.path, index, drilled.packed, *model, affected, poison=poison, clean=clean, out_dir=tmp_path / "x"
            )
    with pytest.raises(ValueError, match="other affected images"):
        refit(first.path, index, drilled.packed, *model, [*affected] * 2, poison=[], clean=[], out_dir=tmp_path / "x")
    assert not (tmp_path / "x").exists()
