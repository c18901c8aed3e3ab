"""An index built by workers: nothing is stored twice; what a refit needs stays in memory, of one index at a time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orfila.db import Database
from orfila.jobs.contracts import IndexBuildSpec
from orfila.models.schemas import ModelCard as CardSchema
from orfila.settings import Settings
from orfila.storage.local import LocalStore
from orfila_engine.architectures import ModelCard, build, save_model
from orfila_engine.data import PackedDataset
from orfila_engine.fingerprint import build_index
from orfila_worker.runner import Work
from orfila_worker.tasks.index import index
from orfila_worker.warm import Warm

N = 200


class Bench:
    """One worker's store and cache, and an index job on them."""

    def __init__(self, folder: Path, packed: PackedDataset, seed: int) -> None:
        self.folder, self.packed = folder, packed
        self.store = LocalStore(folder / "blobs")
        self.warm = Warm(self.store, "cpu", folder)
        torch.manual_seed(seed)
        self.card = ModelCard("resnet-nano", packed.classes, (8, 8), 1, (0.5,), (0.25,))
        self.model = build(self.card).eval()
        save_model(folder / "model.safetensors", self.model, self.card)
        self.spec = IndexBuildSpec(
            index_id="1",
            weights=self.store.put_file(folder / "model.safetensors"),
            card=CardSchema.model_validate(
                {k: getattr(self.card, k) for k in ("architecture", "classes", "input_size", "channels", "mean", "std")}
            ),
            pack=self.store.put_tree(packed.path),
            n_train=N,
        ).model_dump(mode="json")
        self.discarded: list[str] = []

    def run(self, stage: int, payload: dict[str, Any], earlier: list[dict[str, Any]], name: str) -> dict[str, Any]:
        folder = self.folder / name
        folder.mkdir()
        settings = Settings(data_dir=self.folder)
        work = Work(
            kind="index",
            job_id="1",
            stage=stage,
            spec=self.spec,
            payload=payload,
            earlier=earlier,
            half_batch=False,
            device="cpu",
            folder=folder,
            store=self.store,
            database=Database(settings.resolved_database_url),
            settings=settings,
            warm=self.warm,
            progress=lambda _doing, _share: None,  # type: ignore[arg-type]
        )
        result = index(work).model_dump(mode="json")
        self.discarded += work.discard
        return result

    def build(self) -> dict[str, Any]:
        bounds = [(120, N), (0, 120)]  # in any order
        before = self.stored()
        shards = [self.run(0, {"start": a, "stop": b}, [], f"shard-{a}") for a, b in bounds]
        factors = self.run(1, {}, shards, "reduce")
        calibrated = [
            self.run(2, payload, [factors], f"calibration-{number}")
            for number, payload in reversed(list(enumerate(factors["split"])))
        ]
        result = self.run(3, {}, calibrated, "join")
        self.added = self.stored() - before
        return result

    def stored(self) -> int:
        """Bytes of all blobs."""
        return sum(path.stat().st_size for path in (self.folder / "blobs").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def built(few_digits: PackedDataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bench, dict[str, Any]]:
    bench = Bench(tmp_path_factory.mktemp("worker"), few_digits, seed=0)
    return bench, bench.build()


def test_the_workers_index_is_that_of_one_process(built: tuple[Bench, dict[str, Any]], tmp_path: Path) -> None:
    bench, result = built
    mine = bench.warm.index(result["files"])
    theirs = build_index(bench.model, bench.card, *bench.packed.train, tmp_path / "index")
    assert mine.n == theirs.n == N
    assert result["dimension"] == theirs.dimension
    np.testing.assert_allclose(mine.self_influence, theirs.self_influence, rtol=1e-3)
    apart = np.abs(mine.fingerprints[:] - theirs.fingerprints[:]) / np.sqrt(theirs.self_influence)[:, None]
    assert apart.max() < 5e-3


def test_rows_are_stored_once(built: tuple[Bench, dict[str, Any]]) -> None:
    bench, result = built
    rows = {name for name in result["files"] if name.startswith("gradients-")}
    assert len(rows) == 2
    matrices = sum(layer.size**2 for layer in bench.warm.index(result["files"]).layers)
    expected = N * result["dimension"] * 2 + 2 * matrices * 4 + matrices * 8  # rows, Gram matrices, factors
    evidence = sum(bench.store.size(sha) for name, sha in result["files"].items() if name.startswith("evidence"))
    assert expected < bench.added - evidence < expected + 50_000
    # The job's own folders hold the same files under second names.
    for name in rows:
        inode = bench.store.local_path(result["files"][name]).stat().st_ino
        assert os.stat(bench.folder / "reduce" / "index" / name).st_ino == inode  # noqa: PTH116
    assert not set(bench.discarded) & set(result["files"].values())
    assert len(bench.discarded) == 4, "Gram matrices and descriptions of two shards"


def test_suspects_stay_in_memory_for_one_index_at_a_time(
    built: tuple[Bench, dict[str, Any]], few_digits: PackedDataset, tmp_path: Path
) -> None:
    bench, result = built
    suspects = np.flatnonzero(few_digits.train[1] == 1)
    held = bench.warm.index(result["files"]).suspects(suspects)
    assert held.held_bytes == len(suspects) * result["dimension"] * 2
    assert bench.warm.index(result["files"]).suspects(suspects) is held, "a refit reads nothing"
    other = build_index(bench.model, bench.card, *few_digits.train, tmp_path / "other")
    bench.warm.index(bench.store.put_tree(other.path)).suspects(suspects)
    assert bench.warm.index(result["files"]).suspects(suspects) is not held
