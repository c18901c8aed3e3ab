"""The server's sheets of chosen images show what the atlases of ingest show, to the pixel."""

import io

import numpy as np
import pytest
from PIL import Image

from orfila import pictures
from orfila_engine.data import atlas


@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (64, 48, 3), (80, 224, 3), (224, 100, 1)])
def test_a_chosen_sheet_is_cut_like_an_atlas(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    made = atlas.write(tmp_path, images)
    tile = made["tile"]
    whole = np.asarray(Image.open(tmp_path / "atlas-0000.webp").convert("RGB"))
    wanted = [39, 0, 7, 33]
    chosen = np.asarray(Image.open(io.BytesIO(pictures.sheet(images[wanted], tile, 3))).convert("RGB"))
    assert chosen.shape == (2 * tile, 3 * tile, 3)
    for place, index in enumerate(wanted):
        there = chosen[place // 3 * tile :, place % 3 * tile :][:tile, :tile]
        assert np.array_equal(there, whole[index // 32 * tile :, index % 32 * tile :][:tile, :tile]), index
    assert not chosen[tile:, tile:].any(), "what is left of the last row is black"
