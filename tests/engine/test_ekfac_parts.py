"""EK-FAC whose sums and passes are taken in parts: its findings are those of one process, but for rounding."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch import nn

from orfila.jobs import contracts
from orfila_engine.architectures import ModelCard
from orfila_engine.drill import DrillResult
from orfila_engine.ekfac import EkfacEngine, EkfacSpec, build_engine, factors, open_engine, parts, sketch
from orfila_engine.investigation import Affected, investigate
from orfila_engine.progress import quiet
from orfila_engine.questions import ask_each

N_B = 8
BOUNDS = ((0, 448), (448, 1_088), (1_088, 1_400))
"""Of the passes; they begin where a batch does, and another number of images would differ in the last digits only."""


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "PART_IMAGES", 512)


def test_the_api_knows_how_many_parts_there_are() -> None:
    spec = EkfacSpec()
    for n in (1, 512, 513, 9_999, 50_000):
        expected = [{"number": k} for k in range(len(factors.drawn_parts(n, spec)))]
        assert contracts.ekfac_parts(n, part_images=factors.PART_IMAGES) == expected
    assert spec.n_images == contracts.EKFAC_IMAGES


def test_the_api_knows_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert contracts.EKFAC_PART_IMAGES == factors.PART_IMAGES


def test_parts_make_the_same_engine_and_the_same_finding(
    drilled: DrillResult, model: tuple[nn.Module, ModelCard], tmp_path: Path
) -> None:
    spec, packed = EkfacSpec(n_images=1_200), drilled.packed
    pixels, labels = packed.train
    whole = build_engine(*model, pixels, labels, tmp_path / "whole", spec, device="cpu", data_digest=packed.digest)
    numbers = range(len(factors.drawn_parts(len(pixels), spec)))
    assert len(numbers) == 3

    moments = [tmp_path / f"moments-{k}" for k in numbers]
    for k in reversed(numbers):
        parts.write_moments(*model, pixels, k, moments[k], spec, device="cpu")
    parts.join_moments(moments, *model, tmp_path / "bases", device="cpu")
    sums = [tmp_path / f"sums-{k}" for k in numbers]
    for k in reversed(numbers):
        parts.write_eigenvalues(*model, pixels, k, tmp_path / "bases", sums[k], spec, device="cpu")
    folder = tmp_path / "joined"
    parts.join_eigenvalues(sums, tmp_path / "bases", *model, packed, folder, spec, device="cpu")
    joined = open_engine(folder, *model, pixels, labels, device="cpu")
    for name, layer in whole.factors.layers.items():
        # Bases may differ by a rotation among equal eigenvalues; what they say of the Fisher does not.
        ours, theirs = (f.eigenvalues.double().sum().item() for f in (joined.factors.layers[name], layer))
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert joined.factors.spec == spec

    with Image.open(drilled.path / "affected-0.png") as image:
        affected = Affected(np.asarray(image)[..., None], "affected-0.png")
    predicted = int(drilled.investigation.summary["predicted"])
    asked = ask_each(joined, *model, [affected.pixels], predicted, n_b=N_B, seed=0)
    made = [tmp_path / f"answers-{k}" for k in range(len(BOUNDS))]
    for k, (start, stop) in reversed(list(enumerate(BOUNDS))):
        parts.write_answers(joined, asked, start, stop, made[k], k, quiet)
    for k, part in enumerate(made):
        for kind in sketch.KINDS:
            name = sketch.file_name(kind, k)
            (part / name).rename(folder / name)
    answers = parts.join_answers([part / parts.ANSWERS for part in made])
    answered: EkfacEngine = dataclasses.replace(joined, answers=answers)

    one = investigate(whole, packed, *model, [affected], n_b=N_B, out_dir=tmp_path / "one")
    other = investigate(answered, packed, *model, [affected], n_b=N_B, out_dir=tmp_path / "other")
    assert np.array_equal(one.flagged, other.flagged)
    assert len(one.flagged) > 10
    tables = [pq.read_table(found.path / "scores.parquet") for found in (one, other)]
    for name in ("influence", "self_influence", "collapse_score", "posterior"):
        first, second = (table[name].to_numpy() for table in tables)
        assert np.allclose(first, second, rtol=2e-4, atol=2e-5 * np.abs(first).max()), name
    shifts = [np.load(found.path / "shifts.npy") for found in (one, other)]
    assert np.allclose(*shifts, rtol=2e-3, atol=2e-4 * np.abs(shifts[0]).max())

    parts.write_answers(answered, asked, 0, 448, tmp_path / "again", 0, quiet)
    assert [path.name for path in (tmp_path / "again").iterdir()] == [parts.ANSWERS], "the store is made once"
