"""The process that reads untrusted archives: whatever it is made to try, it ends instead."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orfila_engine.data import DataError, PackedDataset
from orfila_worker.sandbox import pack_untrusted

CANARY = "canary"
OPTIONS = {"on_broken": "refuse", "seed": 0, "keep_originals": True, "atlases": True}
ATTEMPTS = {
    "unpickle": "import pickle; pickle.loads(b'cos\\nsystem\\n(S\"touch {canary}\"\\ntR.')",
    "system": "import os; os.system('touch {canary}')",
    "program": "import subprocess; subprocess.run(['touch', '{canary}'])",
    "connect": "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 9)); open('{canary}', 'w')",
    "memory": "b = bytearray(6 * 2**30); open('{canary}', 'w')",
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_what_pictures_do_not_need_is_not_possible(name: str, tmp_path: Path) -> None:
    canary = tmp_path / CANARY
    code = "from orfila_worker import sandbox; sandbox.confine(); sandbox.watch(); " + ATTEMPTS[name].format(
        canary=canary
    )
    ended = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0
    assert not canary.exists()


def test_the_same_attempts_succeed_outside(tmp_path: Path) -> None:
    """Otherwise the test above would prove nothing."""
    canary = tmp_path / CANARY
    for name in ("unpickle", "system", "program"):
        subprocess.run([sys.executable, "-I", "-c", ATTEMPTS[name].format(canary=canary)], timeout=60, check=True)
        assert canary.exists()
        canary.unlink()


def test_an_archive_is_read_and_a_bad_one_refused_with_the_engine_s_sentence(sample: object, tmp_path: Path) -> None:
    shares: list[float] = []
    pack_untrusted(sample.archive, tmp_path / "pack", OPTIONS, lambda _, s: shares.append(s))  # type: ignore[attr-defined]
    assert (tmp_path / "pack" / "meta.json").is_file()
    assert shares[-1] == 1.0
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"no archive at all")
    with pytest.raises(DataError):
        pack_untrusted(bad, tmp_path / "other", OPTIONS, lambda _, s: None)


def test_pictures_of_many_sizes_are_packed_at_the_size_asked_for(tmp_path: Path) -> None:
    archive, rng = tmp_path / "mixed.zip", np.random.default_rng(0)
    with zipfile.ZipFile(archive, "w") as target:
        for number in range(40):
            picture = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            target.writestr(f"{'cat' if number % 2 else 'dog'}/{number}.png", file.getvalue())
    pack_untrusted(archive, tmp_path / "pack", OPTIONS | {"size": (24, 32)}, lambda _, s: None)
    packed = PackedDataset.open(tmp_path / "pack")
    assert packed.pixels.shape == (40, 24, 32, 3)
    assert sum(packed.meta["converted"].values()) >= 40


@pytest.mark.parametrize(("labels", "classes"), [("fine", 100), ("coarse", 20), (None, 100)])
def test_cifar100_as_it_is_published(tmp_path: Path, labels: str | None, classes: int) -> None:
    rng = np.random.default_rng(0)
    names = {"coarse": [f"super {i}" for i in range(20)], "fine": [f"kind {i}" for i in range(100)]}
    files = {f"{kind}_label_names.txt": "\n".join(found).encode() for kind, found in names.items()}
    for split in ("train", "test"):
        fine = np.arange(200) % 100
        rows = [fine[:, None] // 5, fine[:, None], rng.integers(0, 256, (200, 3072))]
        files[f"{split}.bin"] = np.concatenate(rows, axis=1).astype(np.uint8).tobytes()
    archive = tmp_path / "cifar-100-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as target:
        for name, data in files.items():
            about = tarfile.TarInfo(f"cifar-100-binary/{name}")
            about.size = len(data)
            target.addfile(about, io.BytesIO(data))
    stored = archive.rename(tmp_path / "f00d")  # the store keeps no file names
    pack_untrusted(stored, tmp_path / "pack", OPTIONS, lambda _, s: None, labels=labels)
    packed = PackedDataset.open(tmp_path / "pack")
    assert (packed.n_train, len(packed.labels), len(packed.classes)) == (200, 400, classes)
