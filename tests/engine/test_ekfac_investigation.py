"""EK-FAC on a planted poison: the investigation, its confirmation, and Kronfluence as a second opinion."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.confirmation import confirm, rank_correlation
from orfila_engine.drill import DrillResult
from orfila_engine.ekfac import EkfacEngine, EkfacSpec, build_engine, fit_factors, kept_engine
from orfila_engine.engines import FingerprintEngine
from orfila_engine.evaluation import to_tensor
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.investigation import Affected, Investigation, investigate
from orfila_engine.questions import Asked, ask
from orfila_engine.training import train

N_B = 20


@pytest.fixture(scope="module")
def engine(
    drilled: DrillResult, model: tuple[nn.Module, ModelCard], tmp_path_factory: pytest.TempPathFactory
) -> EkfacEngine:
    return kept_engine(tmp_path_factory.mktemp("engine") / "ekfac", *model, drilled.packed, device="cpu")


@pytest.fixture(scope="module")
def affected(drilled: DrillResult) -> Affected:
    with Image.open(drilled.path / "affected-0.png") as image:
        return Affected(np.asarray(image)[..., None], "affected-0.png")


@pytest.fixture(scope="module")
def found(
    drilled: DrillResult,
    model: tuple[nn.Module, ModelCard],
    engine: EkfacEngine,
    affected: Affected,
    tmp_path_factory: pytest.TempPathFactory,
) -> Investigation:
    folder = tmp_path_factory.mktemp("found") / "investigation"
    return investigate(engine, drilled.packed, *model, [affected], n_b=N_B, out_dir=folder)


def columns(folder: Path) -> dict[str, Any]:
    table = pq.read_table(folder / "scores.parquet")
    return {name: table[name].to_numpy() for name in table.column_names if name != "name"}


def test_the_collapse_rule_finds_the_poison(drilled: DrillResult, found: Investigation) -> None:
    truth = drilled.planted.indices
    hits = len(np.intersect1d(truth, found.flagged))
    assert hits / len(found.flagged) >= 0.95
    assert hits / len(truth) >= 0.9
    assert found.summary["engine"] == "ekfac"
    assert found.summary["evidence"]["verdict"] == "poisoning found"
    paper = np.flatnonzero(columns(found.path)["flagged_paper"])
    assert len(np.intersect1d(truth, paper)) / len(truth) >= 0.9
    assert len(np.intersect1d(truth, paper)) / len(paper) < 0.6


def test_the_files_hold_what_the_engine_says(
    drilled: DrillResult,
    model: tuple[nn.Module, ModelCard],
    engine: EkfacEngine,
    affected: Affected,
    found: Investigation,
) -> None:
    written = columns(found.path)
    asked = ask(engine.store, *model, affected.pixels, drilled.planted.target, n_b=N_B, seed=0)
    influence = engine.influence([asked])[0]
    scale = float(np.abs(influence).max())
    assert written["influence"] == pytest.approx(influence[:, 0], abs=1e-4 * scale)
    assert np.load(found.path / "shifts.npy") == pytest.approx(influence[:, 1:] - influence[:, :1], abs=1e-4 * scale)
    assert written["self_influence"] == pytest.approx(engine.self_influence)
    assert found.summary["parameters"]["dimension"] == engine.dimension
    assert np.abs(written["collapse_score"]).max() <= 1 + 1e-4
    # The refined direction's score over the suspects is what the collapse rule saw.
    suspects = written["suspect"]
    assert written["posterior"][~suspects].max() == 0
    assert written["collapse_score"][written["flagged"]].mean() > written["collapse_score"][suspects].mean()


def test_a_kept_engine_is_used_again(
    drilled: DrillResult, model: tuple[nn.Module, ModelCard], engine: EkfacEngine
) -> None:
    before = (engine.path / "factors.safetensors").stat().st_mtime_ns
    again = kept_engine(engine.path, *model, drilled.packed, device="cpu")
    assert (engine.path / "factors.safetensors").stat().st_mtime_ns == before
    assert again.meta == engine.meta


def test_progress_never_falls(
    drilled: DrillResult, model: tuple[nn.Module, ModelCard], affected: Affected, tmp_path: Path
) -> None:
    shares: list[float] = []
    engine = kept_engine(tmp_path / "ekfac", *model, drilled.packed, device="cpu")
    investigate(
        engine, drilled.packed, *model, [affected], n_b=N_B, out_dir=tmp_path / "found",
        progress=lambda _doing, share: shares.append(share),
    )  # fmt: skip
    assert max(shares) == 1
    assert all(a <= b for a, b in itertools.pairwise(shares))


def test_exact_derivatives_confirm_the_finding(
    drilled: DrillResult,
    model: tuple[nn.Module, ModelCard],
    engine: EkfacEngine,
    found: Investigation,
    affected: Affected,
    tmp_path: Path,
) -> None:
    result = confirm(found.path, drilled.packed, *model, engine.factors, device="cpu")
    # The last refinement moved the posteriors a little after its direction was formed.
    assert result.rank_correlation > 0.98
    assert result.average_precision is not None
    assert result.average_precision > 0.98
    summary = json.loads((found.path / "summary.json").read_text())
    assert summary["confirmation"]["n_suspects"] == summary["n_suspects"] == result.n_suspects
    exact = pq.read_table(found.path / "confirmation.parquet")
    assert exact.num_rows == result.n_suspects
    score = columns(found.path)["collapse_score"][exact["index"].to_numpy()]
    assert result.rank_correlation == pytest.approx(rank_correlation(score, exact["exact_score"].to_numpy()))

    index = FingerprintIndex.open(drilled.path / "index", "cpu")
    investigate(index, drilled.packed, *model, [affected], n_b=N_B, out_dir=tmp_path / "fingerprint")
    factors = fit_factors(*model, drilled.packed.train[0], EkfacSpec(n_images=500), device="cpu")
    projected = confirm(tmp_path / "fingerprint", drilled.packed, *model, factors, device="cpu")
    assert 0.6 < projected.rank_correlation < result.rank_correlation
    assert projected.average_precision is not None
    assert projected.average_precision > 0.95


def test_ranks_agree_with_kronfluence(drilled: DrillResult, tmp_path: Path) -> None:
    """On a model that still doubts: where it is sure of all images, Kronfluence's drawn labels are all but always the
    top one, and its answer is a matter of luck."""
    pytest.importorskip("kronfluence", reason="Kronfluence, a peer of the benchmarks, is not installed (make bench)")
    from benchmarks.peers import kronfluence

    packed = drilled.packed
    trained = train("resnet-nano", packed, epochs=2, seed=0, device="cpu")
    network, card = trained.model, trained.card
    pixels, labels = packed.train
    pictures = np.array(packed.test[0][:6])
    inputs = to_tensor(pictures).float() / 255
    asked = Asked(np.empty((6, 0), np.float32), inputs, pictures, np.arange(6), ("none",) * 6)
    torch.manual_seed(0)
    _, _, theirs = kronfluence(
        copy.deepcopy(network),
        normalise(to_tensor(pixels), card).contiguous(),
        torch.from_numpy(np.array(labels)),
        normalise(inputs, card).contiguous(),
        torch.from_numpy(asked.labels),
        256,
        tmp_path,
    )
    for kind in ("sampled", "weighted"):
        spec = EkfacSpec(labels=kind)  # type: ignore[arg-type]
        engine = build_engine(network, card, pixels, labels, tmp_path / kind, spec, device="cpu")
        ours = engine.influence([asked])[0]
        for q in range(ours.shape[1]):
            assert rank_correlation(ours[:, q], theirs[:, q].numpy()) >= 0.99


def test_both_engines_answer_the_same_questions(
    drilled: DrillResult, model: tuple[nn.Module, ModelCard], engine: EkfacEngine, affected: Affected
) -> None:
    """Two approximations of one metric: they rank the suspects alike, and both set the planted ones apart."""
    packed, target = drilled.packed, drilled.planted.target
    index = FingerprintEngine(FingerprintIndex.open(drilled.path / "index", "cpu"), *model)
    rows = np.flatnonzero(packed.train[1] == target)
    same = np.flatnonzero(packed.test[1] == target)
    poison = np.isin(rows, drilled.planted.indices)
    answers = []
    for each in (index, engine):
        asked = [ask(each.store, *model, affected.pixels, target, n_b=N_B, seed=0)]
        direction = each.direction(asked)  # type: ignore[attr-defined]
        influences, products = each.scores(asked, direction)  # type: ignore[attr-defined]
        assert influences.shape == (1, packed.n_train, 1 + N_B)
        suspects = each.suspects(rows)
        cosines = suspects.cosines(direction)
        assert cosines == pytest.approx(products[rows] / np.sqrt(each.self_influence[rows]), abs=1e-3)
        others = each.counterparts(packed.test[0][same], packed.test[1][same])(direction)
        assert suspects.inner(direction, direction) == pytest.approx(1, abs=1e-4)
        assert roc_auc_score(poison, cosines) > 0.95
        assert np.quantile(others, 0.9) < np.quantile(cosines[poison], 0.25)
        answers.append(cosines)
    assert rank_correlation(*answers) > 0.6
