"""Small real data sets: scikit-learn's digits, and one finished drill on them."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from torch import nn

from orfila_engine import drill
from orfila_engine.architectures import ModelCard, load_model
from orfila_engine.attacks import BadNet
from orfila_engine.data import PackedDataset, pack
from orfila_engine.data.sources import Arrays
from orfila_engine.fingerprint import FingerprintIndex

N_TRAIN = 1_400


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    """1,400 training and 397 test images, 8 x 8, grey."""
    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(labels))
    source = Arrays(images[order], labels[order], N_TRAIN, tuple(f"digit {k}" for k in range(10)))
    return pack(source, tmp_path_factory.mktemp("digits") / "pack")


@pytest.fixture(scope="session")
def few_digits(digits: PackedDataset, tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    """200 training and 100 test images of three classes, for what must only run."""
    rows = np.flatnonzero(digits.labels < 3)
    rows = np.concatenate([rows[:200], rows[-100:]])
    source = Arrays(np.array(digits.pixels[rows]), digits.labels[rows], 200, digits.classes[:3])
    return pack(source, tmp_path_factory.mktemp("few") / "pack")


@pytest.fixture(scope="session")
def drilled(digits: PackedDataset, tmp_path_factory: pytest.TempPathFactory) -> drill.DrillResult:
    """BadNet on 3 % of the digits: trained, indexed, investigated."""
    return drill.run(
        digits,
        BadNet(rate=0.03, source=5, target=0),
        out_dir=Path(tmp_path_factory.mktemp("drill")),
        architecture="resnet-nano",
        epochs=20,
        device="cpu",
    )


@pytest.fixture(scope="module")
def model(drilled: drill.DrillResult) -> tuple[nn.Module, ModelCard]:
    """The drill's model."""
    return load_model(drilled.path / "model.safetensors")


@pytest.fixture(scope="module")
def index(drilled: drill.DrillResult) -> FingerprintIndex:
    """The drill's index."""
    return FingerprintIndex.open(drilled.path / "index", "cpu")
