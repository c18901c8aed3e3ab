"""An early look: the shifts of the images that are there, and the poison at their head."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch import nn

from orfila_engine import drill
from orfila_engine.architectures import ModelCard
from orfila_engine.early import EarlyLook, early_look, suspects_so_far
from orfila_engine.fingerprint import FingerprintIndex, project_shard, reduce_shards
from orfila_engine.investigation import Affected, investigate


def _affected(drilled: drill.DrillResult) -> list[Affected]:
    with Image.open(drilled.path / "affected-0.png") as image:
        return [Affected(np.asarray(image)[..., None], "affected")]


def _look(
    ranges: list[tuple[int, int]],
    drilled: drill.DrillResult,
    model: nn.Module,
    card: ModelCard,
    folder: Path,
    *,
    only_suspects: bool = True,
) -> tuple[EarlyLook, FingerprintIndex]:
    packed = drilled.packed
    pixels, labels = packed.train
    shards = [folder / f"shard-{start}" for start, _ in ranges]
    for (start, stop), shard in zip(ranges, shards, strict=True):
        project_shard(model, card, pixels, labels, start, stop, shard, device="cpu")
    affected = _affected(drilled)
    measured = suspects_so_far(packed, model, card, affected, "label") if only_suspects else None
    images = reduce_shards(shards, folder / "index", whole=False, measured=measured)
    assert images.tolist() == [i for start, stop in ranges for i in range(start, stop)]
    index = FingerprintIndex.open(folder / "index", "cpu")
    if measured is not None:
        assert (
            np.flatnonzero(~np.isnan(index.self_influence)).tolist()
            == np.flatnonzero(np.isin(images, measured)).tolist()
        )
    return early_look(index, images, packed, model, card, affected, n_b=50, seed=0, suspects="label"), index


def test_of_all_images_it_is_what_the_investigation_finds(
    drilled: drill.DrillResult, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    n = drilled.packed.n_train
    look, index = _look([(0, 600), (600, n)], drilled, *model, tmp_path, only_suspects=False)
    found = investigate(index, drilled.packed, *model, _affected(drilled), out_dir=tmp_path / "case")
    table = pq.read_table(found.path / "scores.parquet").sort_by("index")
    shift, suspect = table["shift_mean"].to_numpy(), table["suspect"].to_numpy()
    inside = np.clip(shift, look.edges[0], look.edges[-1])
    assert (look.n_images, look.n_suspects) == (n, int(suspect.sum()))
    # A value on an edge may fall on either side of it by rounding.
    assert np.abs(look.suspects - np.histogram(inside[suspect], look.edges)[0]).sum() <= 4
    assert np.abs(look.rest - np.histogram(inside[~suspect], look.edges)[0]).sum() <= 4
    assert look.suspects.sum() + look.rest.sum() == n


def test_half_of_the_images_show_their_poison(
    drilled: drill.DrillResult, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    ranges = [(0, 300), (900, 1_300)]  # workers do not finish in order
    look, _ = _look(ranges, drilled, *model, tmp_path)
    assert look.n_images == 700
    there = np.concatenate([np.arange(*r) for r in ranges])
    poison = np.intersect1d(drilled.planted.indices, there)
    assert len(poison) >= 12
    assert np.isin(look.leading, there).all()
    assert np.isin(look.leading, poison).mean() >= 0.9


def test_a_gap_is_no_whole_index(
    drilled: drill.DrillResult, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    pixels, labels = drilled.packed.train
    for start, stop in ((0, 100), (200, 300)):
        project_shard(*model, pixels, labels, start, stop, tmp_path / f"{start}", device="cpu")
    shards = [tmp_path / "0", tmp_path / "200"]
    with pytest.raises(ValueError, match="project the missing ones"):
        reduce_shards(shards, tmp_path / "index")
    assert len(reduce_shards(shards, tmp_path / "index", whole=False)) == 200
    with pytest.raises(ValueError, match="project the missing ones"):
        reduce_shards([shards[0], shards[0]], tmp_path / "index", whole=False)
