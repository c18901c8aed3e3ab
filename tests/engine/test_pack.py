"""Packing: every kind of picture and source, broken ones, splits, memory maps."""

import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from orfila_engine.data import DataError, PackedDataset, pack, resolve
from orfila_engine.data.derive import Replaced, write_zip
from orfila_engine.data.images import decode

RNG = np.random.default_rng(0)


def png(mode: str = "RGB", size: tuple[int, int] = (8, 8), **options: object) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    shape = (size[1], size[0]) if channels == 1 else (size[1], size[0], channels)
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8), mode).save(buffer, "PNG", **options)
    return buffer.getvalue()


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


def two_classes(n: int = 4, prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}{c}/{k}.png": png() for c in ("cat", "dog") for k in range(n)}


def test_given_splits_are_kept_and_training_comes_first(tmp_path: Path) -> None:
    files = two_classes(2, "deep/er/test/") | two_classes(3, "deep/er/train/")
    packed = pack(folder(tmp_path / "in", files), tmp_path / "out")
    assert packed.meta["split"] == "given"
    assert packed.classes == ("cat", "dog")
    assert (packed.n_train, len(packed.labels)) == (6, 10)
    assert all("/train/" in name for name in packed.names[:6])
    assert isinstance(packed.pixels, np.memmap)
    for name, pixels in zip(packed.names, packed.pixels, strict=True):
        assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(files[name]))))


def test_a_picture_with_several_in_one_file_gives_the_first(tmp_path: Path) -> None:
    """MPO: what many phones and stereo cameras save as .jpg."""
    buffer = io.BytesIO()
    second = Image.new("RGB", (8, 8), (0, 0, 250))
    Image.new("RGB", (8, 8), (250, 0, 0)).save(buffer, "MPO", save_all=True, append_images=[second])
    packed = pack(folder(tmp_path / "in", two_classes() | {"cat/phone.jpg": buffer.getvalue()}), tmp_path / "out")
    assert packed.meta["converted"] == {"first frame": 1}
    red, _, blue = packed.pixels[list(packed.names).index("cat/phone.jpg")].reshape(-1, 3).mean(axis=0)
    assert red > 240
    assert blue < 10


@pytest.mark.parametrize("test_name", ["test", "val", "validation"])
def test_validation_folders_count_as_test(tmp_path: Path, test_name: str) -> None:
    files = two_classes(3, "train/") | two_classes(1, f"{test_name}/")
    assert pack(folder(tmp_path / "in", files), tmp_path / "out").n_train == 6


def test_a_seeded_split_takes_a_tenth_of_each_class(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", two_classes(20))
    first, again = pack(source, tmp_path / "a"), pack(source, tmp_path / "b")
    other = pack(source, tmp_path / "c", seed=1)
    assert first.meta["split"] == "seeded"
    assert first.meta["counts"] == {"train": [18, 18], "test": [2, 2]}
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_the_digest_depends_on_bytes_labels_and_splits(tmp_path: Path) -> None:
    files = two_classes(3, "train/") | two_classes(1, "test/")
    base = pack(folder(tmp_path / "a", files), tmp_path / "pa").digest
    moved = {("test/cat/9.png" if n == "train/cat/0.png" else n): d for n, d in files.items()}
    changed = files | {"train/cat/0.png": png()}
    assert pack(folder(tmp_path / "b", files), tmp_path / "pb").digest == base
    assert pack(folder(tmp_path / "c", moved), tmp_path / "pc").digest != base
    assert pack(folder(tmp_path / "d", changed), tmp_path / "pd").digest != base


def test_originals_and_manifest_point_at_the_same_bytes(tmp_path: Path) -> None:
    files = two_classes(3)
    packed = pack(folder(tmp_path / "in", files), tmp_path / "out", keep_originals=True, atlases=True)
    stored = (tmp_path / "out" / "originals.bin").read_bytes()
    for row in pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist():
        assert stored[row["offset"] : row["offset"] + row["length"]] == files[row["name"]]
    sheet = np.asarray(Image.open(tmp_path / "out" / "atlas-0000.webp").convert("RGB"))
    tile = packed.meta["atlas"]["tile"]
    for index in range(len(packed.labels)):
        assert np.array_equal(sheet[:tile, index * tile : (index + 1) * tile], packed.pixels[index])


def test_an_example_of_each_conversion_and_of_duplicates_is_named(tmp_path: Path) -> None:
    same = png()
    files = two_classes(3, "train/") | two_classes(1, "test/")
    files |= {"train/cat/7.png": png(size=(9, 8)), "train/dog/8.png": same, "train/dog/9.png": same}
    packed = pack(folder(tmp_path / "in", files), tmp_path / "out")
    names = {what: packed.names[index] for what, index in packed.meta["examples"].items()}
    assert names == {"resized": "train/cat/7.png", "duplicate": "train/dog/9.png"}
    assert packed.meta["n_duplicates"] == 1


def test_one_broken_picture_is_named_and_refused_or_skipped(tmp_path: Path) -> None:
    broken = png(size=(64, 64))[:-400]
    source = folder(tmp_path / "in", two_classes(4, "train/") | two_classes(1, "test/") | {"train/cat/bad.png": broken})
    with pytest.raises(DataError, match=r"train/cat/bad\.png.*skip"):
        pack(source, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    packed = pack(source, tmp_path / "skipped", on_broken="skip")
    assert [s["name"] for s in packed.meta["skipped"]] == ["train/cat/bad.png"]
    assert len(packed.pixels) == len(packed.labels) == 10
    assert "train/cat/bad.png" not in packed.names


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"only/1.png": png(), "only/2.png": png()}, "one class"),
        ({"a/notes.txt": b"hello"}, "no pictures"),
        ({"1.png": png(), "2.png": png()}, "outside any class folder"),
        (two_classes(1, "train/") | {"test/bird/1.png": png()}, "no training pictures"),
    ],
)
def test_unusable_data_sets_are_refused(tmp_path: Path, files: dict[str, bytes], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        pack(folder(tmp_path / "in", files), tmp_path / "out")


def test_grey_stays_grey_and_mixed_becomes_colour(tmp_path: Path) -> None:
    grey = {f"{c}/{k}.png": png("L") for c in "ab" for k in range(2)}
    assert pack(folder(tmp_path / "a", grey), tmp_path / "pa").meta["channels"] == 1
    mixed = pack(folder(tmp_path / "b", grey | {"a/9.png": png("RGB")}), tmp_path / "pb")
    assert mixed.meta["channels"] == 3
    assert mixed.meta["converted"]["grey to RGB"] == 4


def test_other_sizes_become_the_most_frequent_one(tmp_path: Path) -> None:
    packed = pack(folder(tmp_path / "in", two_classes(4) | {"cat/big.png": png(size=(20, 12))}), tmp_path / "out")
    assert packed.pixels.shape[1:] == (8, 8, 3)
    note = {r["name"]: r["note"] for r in pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()}
    assert note["cat/big.png"] == "resized from 20 x 12"
    assert note["cat/0.png"] == ""


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_every_kind_of_picture_has_its_stated_behaviour() -> None:
    red = Image.new("RGB", (4, 2), (255, 0, 0))
    assert decode(encoded(red.convert("P"), "PNG"), "p").image.getpixel((0, 0)) == (255, 0, 0)
    clear = decode(encoded(Image.new("RGBA", (4, 2), (255, 0, 0, 0)), "PNG"), "a")
    assert (clear.image.getpixel((0, 0)), clear.notes) == ((255, 255, 255), ("alpha composed on white",))
    deep = decode(encoded(Image.fromarray(np.full((2, 4), 0xFFFF, np.uint16)), "PNG"), "16")
    assert (deep.image.mode, deep.image.getpixel((0, 0)), deep.notes) == ("L", 255, ("16-bit to 8-bit",))
    assert decode(encoded(red.convert("CMYK"), "JPEG"), "k").notes == ("CMYK to RGB",)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = decode(encoded(red, "JPEG", exif=exif), "e")
    assert (turned.image.size, turned.notes) == ((2, 4), ("EXIF rotation applied",))
    frames = encoded(red.convert("P"), "GIF", save_all=True, append_images=[Image.new("P", (4, 2), 3)])
    assert "first frame" in decode(frames, "g").notes


@pytest.mark.parametrize("data", [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(DataError, match="strange"):
        decode(data, "strange.png")


def test_a_png_bomb_is_refused_before_it_is_decoded() -> None:
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="pixels"):
        decode(bomb, "bomb.png")


def idx(array: np.ndarray) -> bytes:
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def test_idx_npz_cifar_and_parquet_give_the_same_pixels(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    labels = np.array([0, 1] * 6)
    np.savez(tmp_path / "d.npz", x_train=images[:8], y_train=labels[:8], x_test=images[8:], y_test=labels[8:])
    cifar = tmp_path / "cifar"
    cifar.mkdir()
    flat = np.concatenate([labels[:, None].astype(np.uint8), images.transpose(0, 3, 1, 2).reshape(12, -1)], axis=1)
    flat[:8].tofile(cifar / "data_batch_1.bin")
    flat[8:].tofile(cifar / "test_batch.bin")
    (cifar / "batches.meta.txt").write_text("cat\ndog\n")
    for number, path in enumerate((tmp_path / "d.npz", cifar)):
        packed = pack(path, tmp_path / f"out{number}")
        assert np.array_equal(packed.pixels, images)
        assert packed.labels.tolist() == labels.tolist()
        assert packed.n_train == 8
    rows = [
        {"image": {"bytes": encoded(Image.fromarray(i), "PNG")}, "label": int(k)}
        for i, k in zip(images, labels, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "d.parquet")
    packed = pack(tmp_path / "d.parquet", tmp_path / "out-parquet")
    for name, pixels in zip(packed.names, packed.pixels, strict=True):
        assert np.array_equal(pixels, images[int(name)])


def test_idx_files_are_read_compressed(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (6, 28, 28), dtype=np.uint8)
    labels = np.array([0, 1, 0, 1, 0, 1], dtype=np.uint8)
    for prefix, rows in (("train", slice(0, 4)), ("t10k", slice(4, 6))):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[rows])))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[rows])))
    packed = pack(tmp_path, tmp_path / "out")
    assert np.array_equal(packed.pixels[..., 0], images)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)[:100]))
    with pytest.raises(DataError, match="shorter"):
        pack(tmp_path, tmp_path / "out2")


def test_an_npz_with_objects_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=np.array([object()]), labels=np.array([0]))
    with pytest.raises(DataError, match="without pickle"):
        pack(tmp_path / "d.npz", tmp_path / "out")


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        ([0.0, 1.5, 0.0, 1.0], {}, "whole numbers"),
        ([0, np.nan, 0, 1], {}, "whole numbers"),
        ([0, -1, 0, 1], {}, "whole numbers from 0"),
        (["cat", "dog", "cat", "dog"], {}, "whole numbers"),
        ([0, 1, 0, 2], {"classes": ["cat", "dog"]}, r"labels must lie in 0\.\.1; found 0\.\.2"),
        ([[1, 0], [0, 1], [1, 0], [0, 1]], {}, "4 images but 8 labels"),
    ],
)
def test_impossible_labels_are_refused(
    labels: list[object], options: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    images = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", images=images, labels=np.array(labels), **options)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=sentence):
        pack(tmp_path / "d.npz", tmp_path / "out")


def test_numbers_of_an_npz_are_the_classes_that_occur(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (8, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", images=images, labels=np.array([7, 2_000_000_000] * 4, dtype=np.float64), n_train=6)
    packed = pack(tmp_path / "d.npz", tmp_path / "out")
    assert packed.classes == ("7", "2000000000")
    assert sorted(packed.labels.tolist()) == [0] * 4 + [1] * 4


def test_a_class_of_one_image_trains_on_it(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", two_classes(20) | {"owl/1.png": png()})
    packed = pack(source, tmp_path / "out")
    assert packed.meta["counts"] == {"train": [18, 18, 1], "test": [2, 2, 0]}


def test_a_killed_packing_leaves_no_pack(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", two_classes(40))

    def die(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "out", progress=die)
    assert not (tmp_path / "out").exists()
    assert len(pack(source, tmp_path / "out").labels) == 80


def test_opening_something_else_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a packed data set"):
        PackedDataset.open(tmp_path)
    packed = pack(folder(tmp_path / "in", two_classes(4)), tmp_path / "out")
    (packed.path / "meta.json").write_text(json.dumps(packed.meta | {"format": "orfila-pack/9"}))
    with pytest.raises(DataError, match="orfila-pack/9"):
        PackedDataset.open(packed.path)


def test_resolve_packs_once(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", two_classes(4))
    first = resolve(source, tmp_path / "cache")
    assert resolve(source, tmp_path / "cache").path == first.path
    assert resolve(first.path, tmp_path / "elsewhere").path == first.path


def test_a_zip_of_a_pack_packs_to_the_same_indices(few_digits: PackedDataset, tmp_path: Path) -> None:
    write_zip(few_digits, tmp_path / "d.zip")
    again = pack(tmp_path / "d.zip", tmp_path / "out")
    assert np.array_equal(again.pixels, few_digits.pixels)
    assert np.array_equal(again.labels, few_digits.labels)
    assert again.n_train == few_digits.n_train
    with zipfile.ZipFile(tmp_path / "d.zip") as file:
        assert file.namelist()[0].startswith("train/digit ")


def test_replaced_images_keep_every_index(few_digits: PackedDataset, tmp_path: Path) -> None:
    indices = np.array([3, 7])
    images = 255 - np.array(few_digits.pixels[indices])
    packed = pack(Replaced(few_digits, indices, images, np.array([1, 2])), tmp_path / "out")
    assert packed.names == few_digits.names
    assert np.array_equal(packed.pixels[indices], images)
    assert packed.labels[indices].tolist() == [1, 2]
    rest = np.setdiff1d(np.arange(len(packed.labels)), indices)
    assert np.array_equal(packed.pixels[rest], few_digits.pixels[rest])
    assert packed.digest != few_digits.digest


def test_the_data_modules_do_not_import_torch() -> None:
    code = "import sys, orfila_engine.data.derive, orfila_engine.data; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_class_list_gives_order_and_names_and_joins_folders(tmp_path: Path) -> None:
    files = {f"set/train/{c}/{k}.png": png() for c in ("n01", "n02", "n03") for k in range(2)}
    listed = b"n03\tspringer\nn01\ttench\nn02\ttench\n"
    packed = pack(folder(tmp_path / "in", files | {"set/classes.txt": listed}), tmp_path / "out")
    assert packed.classes == ("springer", "tench")
    assert packed.meta["n_skipped"] == 0
    assert sorted(zip(packed.names, packed.labels.tolist(), strict=True))[0] == ("set/train/n01/0.png", 1)
    assert sorted(packed.labels.tolist()) == [0, 0, 1, 1, 1, 1]
    with pytest.raises(DataError, match=r"'n04' is not in classes\.txt"):
        pack(folder(tmp_path / "in", {"set/train/n04/0.png": png()}), tmp_path / "out2")
    with pytest.raises(DataError, match="lists 'n01' twice"):
        pack(folder(tmp_path / "in2", files | {"classes.txt": b"n01\nn01\n"}), tmp_path / "out3")


def test_names_may_be_given_for_classes(tmp_path: Path) -> None:
    source = folder(tmp_path / "in", two_classes(3))
    packed = pack(source, tmp_path / "out", class_names={"cat": "Felis catus"})
    assert packed.classes == ("Felis catus", "dog")
    assert pack(source, tmp_path / "plain").digest != packed.digest
    with pytest.raises(DataError, match="'cow', which is none of: cat, dog"):
        pack(source, tmp_path / "out2", class_names={"cow": "Bos taurus"})
    with pytest.raises(DataError, match="belong to one class, 'pet'"):
        pack(source, tmp_path / "out3", class_names={"cat": "pet", "dog": "pet"})


def parquet(path: Path, labels: list[object], names: list[str] | None = None, picture: bytes | None = None) -> Path:
    """A file as the `datasets` library writes it."""
    table = pa.Table.from_pylist([{"image": {"bytes": picture or png(), "path": None}, "label": k} for k in labels])
    if names is not None:
        features = {"label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("kind", ["folder", "zip", "tar.zst"])
def test_parquet_files_of_a_hub_keep_splits_and_class_names(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "data"
    parquet(root / "train-00000-of-00002.parquet", [1, 0, 1], ["zebra", "ant"])
    parquet(root / "train-00001-of-00002.parquet", [0], ["zebra", "ant"])
    parquet(root / "validation" / "part.parquet", [0, 1], ["zebra", "ant"])
    source = root
    if kind == "zip":
        source = tmp_path / "a.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in root.rglob("*.parquet"):
                archive.write(path, path.relative_to(root))
    if kind == "tar.zst":
        source = zstd_tar(tmp_path / "a.tar.zst", {p.relative_to(root).as_posix(): p for p in root.rglob("*.parquet")})
    packed = pack(source, tmp_path / "out")
    assert packed.classes == ("zebra", "ant")
    assert packed.labels.tolist() == [1, 0, 1, 0, 0, 1]
    assert packed.n_train == 4


def zstd_tar(path: Path, files: dict[str, Path]) -> Path:
    with pa.CompressedOutputStream(str(path), "zstd") as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        for name, file in files.items():
            archive.add(file, name)
    return path


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda f: parquet(f, [0, 2], ["cat", "dog"]), "label 2; the file names 2 classes"),
        (lambda f: parquet(f, ["cat", "cow"], ["cat", "dog"]), "'cow', which is not one of the classes"),
        (lambda f: parquet(f, [0, None]), "row 1 of d.parquet has no picture or no label"),
        (lambda f: pq.write_table(pa.table({"text": ["a"]}), f), r"columns 'image' and 'label'; it has \['text'\]"),
        (lambda f: f.write_bytes(b"PAR1" + bytes(60)), "not a readable Parquet file"),
        (lambda f: parquet(f, [0, 1] * 30_000, picture=png(size=(64, 64))), "decompression bomb"),
    ],
)  # fmt: skip
def test_an_unusable_parquet_file_is_refused_with_a_sentence(
    tmp_path: Path, write: Callable[[Path], object], sentence: str
) -> None:
    path = tmp_path / "d.parquet"
    write(path)
    with pytest.raises(DataError, match=sentence):
        pack(path, tmp_path / "out")


def test_parquet_files_that_disagree_are_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "in" / "train.parquet", [0, 1], ["cat", "dog"])
    parquet(tmp_path / "in" / "test.parquet", [0, 1], ["dog", "cat"])
    with pytest.raises(DataError, match="names other classes than"):
        pack(tmp_path / "in", tmp_path / "out")
