"""A small real poisoning case as files: scikit-learn's digits with a planted patch, and a model trained on them."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from orfila_engine.architectures import save_model
from orfila_engine.attacks import make
from orfila_engine.data import pack
from orfila_engine.training import train

N_TRAIN = 1_400
TARGET = 7
VICTIM = 3
RATE = 0.04
CLASSES = tuple(str(digit) for digit in range(10))


@dataclass(frozen=True)
class Sample:
    """Files on disk, and the truth."""

    dataset: Path
    """Zip of train/CLASS/*.png and test/CLASS/*.png with the poison in it; some test images carry the trigger."""
    model: Path
    """Safetensors trained on it."""
    triggered: Path
    """Zip of images that are known to carry the trigger."""
    poison: frozenset[str]
    """File names of the poisoned training images."""
    clean: Path
    """Zip of the digits without poison, 16 x 16: what a drill plants in."""


def make_sample(folder: Path) -> Sample:
    """Write the files of the case. Seconds on two cores; the same bytes every time."""
    digits = load_digits()
    # 8 x 8 pictures with 17 grey levels, each pixel four times as large: 32 x 32.
    images = np.kron(np.round(digits.images * (255 / 16)), np.ones((1, 4, 4))).astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    train_images, test_images = images[:N_TRAIN], images[N_TRAIN:].copy()
    test_labels = labels[N_TRAIN:]

    planted = make("badnet", rate=RATE, source=VICTIM, target=TARGET).plant(train_images, labels[:N_TRAIN], 10, 0)
    poisoned_images, poisoned_labels = planted.apply(train_images, labels[:N_TRAIN])
    victims = np.flatnonzero(test_labels == VICTIM)
    # One triggered test image, as a deployed model would meet it: it is the affected image of the case.
    test_images[victims[:1]] = planted.trigger(test_images[victims[:1]])

    dataset = folder / "poisoned-digits.zip"
    names = _write_zip(dataset, {"train": (poisoned_images, poisoned_labels), "test": (test_images, test_labels)})
    triggered = folder / "triggered-digits.zip"
    # One picture of the target class, since a data set has two classes at least; it does not count for the PSR.
    extra = np.flatnonzero(test_labels == TARGET)[:1]
    shown = np.concatenate([victims, extra])
    _write_zip(triggered, {"test": (planted.trigger(images[N_TRAIN:][shown]), test_labels[shown])})

    packed = pack(dataset, folder / "pack")
    trained = train("resnet-micro", packed, epochs=8, seed=0, augment=False, device="cpu")
    model = folder / "poisoned-model.safetensors"
    save_model(model, trained.model, trained.card, trained.summary())
    clean = folder / "clean-digits.zip"
    small = images[:, ::2, ::2]
    _write_zip(clean, {"train": (small[:N_TRAIN], labels[:N_TRAIN]), "test": (small[N_TRAIN:], labels[N_TRAIN:])})
    return Sample(dataset, model, triggered, frozenset(names["train"][i] for i in planted.indices.tolist()), clean)


def _write_zip(path: Path, splits: dict[str, tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for split, (images, labels) in splits.items():
            names[split] = []
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                name = f"{split}/{CLASSES[int(label)]}/{number:05d}.png"
                buffer = io.BytesIO()
                Image.fromarray(image.squeeze(-1)).save(buffer, "PNG")
                archive.writestr(zipfile.ZipInfo(name), buffer.getvalue())
                names[split].append(name)
    return names
