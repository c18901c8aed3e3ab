"""The data sets of the paper in the formats that they are published in: CIFAR, Imagenette, Fashion-MNIST, MNIST's IDX.

The files are written here byte by byte from the formats' descriptions, and read from the real ones where they are.
"""

import gzip
import io
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from orfila_engine.data import DataError, PackedDataset, pack
from orfila_engine.data.binary import CIFAR10_CLASSES, FASHION_CLASSES
from orfila_engine.data.formats import open_source
from orfila_engine.sample import FASHION_MNIST

RNG = np.random.default_rng(0)
SHARED = Path(os.environ.get("ORFILA_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
Files = dict[str, bytes]
Place = Callable[[Files, Path], Path]


def in_folder(files: Files, root: Path) -> Path:
    root.mkdir()
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root


def in_folder_below(files: Files, root: Path) -> Path:
    root.mkdir()
    in_folder(files, root / "published-name")
    return root


def in_tar(files: Files, root: Path) -> Path:
    path = root.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(f"published-name/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def in_zip(files: Files, root: Path) -> Path:
    path = root.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


PLACES: list[Place] = [in_folder, in_folder_below, in_tar, in_zip]


def cifar_record(image: NDArray[np.uint8], *labels: int) -> bytes:
    """Labels, then 1,024 bytes of red, of green, of blue, row by row."""
    planes = [bytes(image[y, x, c] for y in range(32) for x in range(32)) for c in range(3)]
    return bytes(labels) + b"".join(planes)


def pictures(count: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("place", PLACES)
def test_cifar10(tmp_path: Path, place: Place) -> None:
    images, labels = pictures(60), [k % 10 for k in range(60)]
    records = [cifar_record(image, label) for image, label in zip(images, labels, strict=True)]
    files = {f"data_batch_{b + 1}.bin": b"".join(records[10 * b : 10 * b + 10]) for b in range(5)}
    files["test_batch.bin"] = b"".join(records[50:])
    files["readme.html"] = b"<html>"
    packed = pack(place(files, tmp_path / "cifar-10"), tmp_path / "out")
    assert packed.classes == CIFAR10_CLASSES
    assert packed.n_train == 50
    assert np.array_equal(packed.pixels, images)
    assert packed.labels.tolist() == labels
    assert packed.meta["split"] == "given"


@pytest.mark.parametrize("place", PLACES)
def test_cifar100_has_fine_and_coarse_labels(tmp_path: Path, place: Place) -> None:
    images = pictures(220)
    fine, coarse = [k % 100 for k in range(220)], [(k % 100) // 5 for k in range(220)]
    records = [cifar_record(i, c, f) for i, c, f in zip(images, coarse, fine, strict=True)]
    files = {"train.bin": b"".join(records[:200]), "test.bin": b"".join(records[200:])}
    source = place(files, tmp_path / "cifar-100")
    packed = pack(source, tmp_path / "fine")
    assert (packed.n_train, len(packed.classes), packed.labels.tolist()) == (200, 100, fine)
    assert np.array_equal(packed.pixels, images)
    packed = pack(open_source(source, "coarse"), tmp_path / "coarse")
    assert (len(packed.classes), packed.labels.tolist()) == (20, coarse)


def test_the_names_of_cifar_come_from_its_listing(tmp_path: Path) -> None:
    images = pictures(4)
    files = {
        "data_batch_1.bin": b"".join(cifar_record(image, k % 2) for k, image in enumerate(images[:3])),
        "test_batch.bin": cifar_record(images[3], 1),
        "batches.meta.txt": b"owl\nfox\n\n",
    }
    assert pack(in_folder(files, tmp_path / "in"), tmp_path / "out").classes == ("owl", "fox")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"data_batch_1.bin": b"x" * 3000}, r"data_batch_1\.bin is not a CIFAR binary"),
        ({"data_batch_1.bin": b""}, r"data_batch_1\.bin is not a CIFAR binary"),
        ({"test_batch.bin": None}, r"lacks test_batch\.bin"),
        ({"test_batch.bin": bytes([12]) + bytes(3072)}, r"labels must lie in 0\.\.9; found 0\.\.12"),
    ],
)
def test_damaged_cifar_files_are_named(tmp_path: Path, change: dict[str, bytes | None], sentence: str) -> None:
    image = pictures(1)[0]
    good = {
        "data_batch_1.bin": b"".join(cifar_record(image, k) for k in range(10)),
        "test_batch.bin": cifar_record(image, 0),
    }
    files = {name: data for name, data in (good | change).items() if data is not None}
    with pytest.raises(DataError, match=sentence):
        pack(in_folder(files, tmp_path / "in"), tmp_path / "out")


def test_coarse_labels_are_for_cifar100_only(tmp_path: Path) -> None:
    files = {"data_batch_1.bin": cifar_record(pictures(1)[0], 0), "test_batch.bin": cifar_record(pictures(1)[0], 0)}
    with pytest.raises(DataError, match="only CIFAR-100"):
        open_source(in_folder(files, tmp_path / "cifar"), "coarse")
    (tmp_path / "folders").mkdir()
    with pytest.raises(DataError, match="only CIFAR-100"):
        open_source(tmp_path / "folders", "fine")


def idx(array: NDArray[np.uint8]) -> bytes:
    """Two zero bytes, the type (8: unsigned bytes), the number of dimensions, each as a big-endian word, the data."""
    return bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape) + array.tobytes()


def idx_files(images: NDArray[np.uint8], labels: list[int], n_train: int, *, packed: bool) -> Files:
    files = {}
    for prefix, rows in (("train", slice(n_train)), ("t10k", slice(n_train, None))):
        files[f"{prefix}-images-idx3-ubyte"] = idx(images[rows])
        files[f"{prefix}-labels-idx1-ubyte"] = idx(np.array(labels[rows], dtype=np.uint8))
    return {f"{n}.gz": gzip.compress(d) for n, d in files.items()} if packed else files


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist(tmp_path: Path, place: Place, packed: bool) -> None:
    images = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    labels = [k % 10 for k in range(30)]
    source = place(idx_files(images, labels, 20, packed=packed), tmp_path / "fashion-mnist")
    made = pack(source, tmp_path / "out")
    assert made.classes == (FASHION_CLASSES if place is not in_folder_below else tuple("0123456789"))
    assert made.pixels.shape == (30, 28, 28, 1)
    assert np.array_equal(made.pixels[..., 0], images)
    assert (made.n_train, made.labels.tolist()) == (20, labels)


def test_labels_that_do_not_start_at_zero_are_the_classes(tmp_path: Path) -> None:
    """EMNIST letters count from 1."""
    images = RNG.integers(0, 256, (12, 28, 28), dtype=np.uint8)
    source = in_folder(idx_files(images, [1, 2, 7] * 4, 9, packed=True), tmp_path / "letters")
    made = pack(source, tmp_path / "out")
    assert made.classes == ("1", "2", "7")
    assert made.labels.tolist() == [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("train-images-idx3-ubyte.gz", b"\x1f\x8b no gzip", "is damaged"),
        ("train-images-idx3-ubyte.gz", gzip.compress(b"hello"), "not an IDX file"),
        ("train-images-idx3-ubyte.gz", gzip.compress(idx(np.zeros((4, 28, 28), np.uint8)))[:-20], "is damaged"),
        ("t10k-labels-idx1-ubyte.gz", gzip.compress(idx(np.zeros(99, np.uint8))), "30 images but 109 labels"),
        ("t10k-images-idx3-ubyte.gz", gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12), "too many"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path: Path, name: str, data: bytes, sentence: str) -> None:
    images = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    files = idx_files(images, [k % 3 for k in range(30)], 10 if "labels" in name else 20, packed=True)
    with pytest.raises(DataError, match=sentence):
        pack(in_folder(files | {name: data}, tmp_path / "in"), tmp_path / "out")


SYNSETS = ("n01440764", "n02102040", "n02979186")


def imagenette(root: Path, count: int = 4) -> Path:
    """JPEG files of many sizes, `train|val/SYNSET/NAME.JPEG`, a few of them grey, beside the published noise tables."""
    sizes = [(500, 375), (375, 500), (160, 213), (333, 500), (1024, 97)]
    for split, n in (("train", count), ("val", 2)):
        for synset in SYNSETS:
            folder = root / split / synset
            folder.mkdir(parents=True)
            for k in range(n):
                width, height = sizes[k % len(sizes)]
                noise = RNG.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                image = Image.fromarray(noise).resize((width, height)).convert("L" if k == 1 else "RGB")
                image.save(folder / f"{synset}_{k}.JPEG", quality=90)
    (root / "noisy_imagenette.csv").write_text("path,noisy_labels_0\n")
    return root


def test_imagenette_is_packed_at_a_chosen_size(tmp_path: Path) -> None:
    source = imagenette(tmp_path / "imagenette2-160")
    packed = pack(source, tmp_path / "out", size=(48, 64), atlases=True)
    assert packed.classes == SYNSETS
    assert packed.meta["counts"] == {"train": [4, 4, 4], "test": [2, 2, 2]}
    assert packed.pixels.shape == (18, 48, 64, 3)
    assert packed.meta["converted"] == {"resized": 18, "grey to RGB": 6}
    assert [s["name"] for s in packed.meta["skipped"]] == ["noisy_imagenette.csv"]
    with Image.open(source / packed.names[0]) as image:
        expected = np.asarray(image.convert("RGB").resize((64, 48), Image.Resampling.BILINEAR))
    assert np.array_equal(packed.pixels[0], expected)


def test_packs_of_other_sizes_are_other_data_sets(tmp_path: Path) -> None:
    source = imagenette(tmp_path / "in", 2)
    digests = {pack(source, tmp_path / f"out-{size}", size=size).digest for size in (None, (32, 32), (32, 48))}
    assert len(digests) == 3
    for size in ((0, 32), (32, 1025)):
        with pytest.raises(DataError, match=r"choose 1 to 1024"):
            pack(source, tmp_path / "refused", size=size)


def test_the_real_fashion_mnist(tmp_path: Path) -> None:
    if not any(FASHION_MNIST.glob("train-images-idx3-ubyte*")):
        pytest.skip("Debian's dataset-fashion-mnist is not installed")
    source = open_source(FASHION_MNIST)
    first = next(iter(source.read()))
    assert source.classes == FASHION_CLASSES
    assert (first.class_name, first.split) == ("ankle boot", "train")  # type: ignore[union-attr]


def test_real_cifar10_pictures_survive_the_binary_format(tmp_path: Path, real_cifar: PackedDataset) -> None:
    """Real pictures written as CIFAR binary files give the pack that their own files give, pixel by pixel."""
    records = [cifar_record(p, int(k)) for p, k in zip(real_cifar.pixels, real_cifar.labels, strict=True)]
    names = "\n".join(real_cifar.classes).encode()
    files = {
        "data_batch_1.bin": b"".join(records[: real_cifar.n_train]),
        "test_batch.bin": b"".join(records[real_cifar.n_train :]),
        "batches.meta.txt": names,
    }
    packed = pack(in_folder(files, tmp_path / "in"), tmp_path / "out")
    assert np.array_equal(packed.pixels, real_cifar.pixels)
    assert np.array_equal(packed.labels, real_cifar.labels)


@pytest.fixture(scope="module")
def real_cifar(tmp_path_factory: pytest.TempPathFactory) -> PackedDataset:
    """Eight training and two test pictures of each class."""
    archive = SHARED / "cifar10-12k.zip"
    if not archive.is_file():
        pytest.skip(f"{archive.name} is not there; set ORFILA_TEST_DATA")
    folder = tmp_path_factory.mktemp("cifar")
    with zipfile.ZipFile(archive) as zipped:
        chosen = [n for n in zipped.namelist() if int(Path(n).stem) < (8 if n.startswith("train") else 2)]
        zipped.extractall(folder / "in", chosen)
    return pack(folder / "in", folder / "out")
