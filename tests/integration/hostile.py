"""Files that attack whoever reads them, each made by a few lines: the corpus of `test_hostile.py`.

Every maker writes one file and returns its path. A payload that runs creates CANARY in the folder that it is given.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CANARY = "canary"
Maker = Callable[[Path], Path]


def picture(seed: int = 0, kind: str = "PNG", size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


HONEST = {f"train/{c}/{i}.png": picture(10 * len(c) + i) for c in ("ox", "cow") for i in range(3)}
HONEST |= {f"test/{c}/{i}.png": picture(100 * len(c) + i) for c in ("ox", "cow") for i in range(2)}


def zipped(folder: Path, files: dict[str, bytes], honest: bool = True) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in ((HONEST if honest else {}) | files).items():
            archive.writestr(name, data)
    return path


def with_picture(data: bytes, suffix: str = "png") -> Maker:
    return lambda folder: zipped(folder, {f"train/ox/bad.{suffix}": data})


def named(name: str) -> Maker:
    return lambda folder: zipped(folder, {name: picture()})


class Payload:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.folder / CANARY),)


def payload(folder: Path) -> bytes:
    return pickle.dumps(Payload(folder))


# Archives


def zip_bomb(folder: Path) -> Path:
    return zipped(folder, {f"train/ox/{i}.txt": bytes(60 * 2**20) for i in range(8)}, honest=False)


def overlapping_zip(folder: Path) -> Path:
    path = zipped(folder, {})
    raw = path.read_bytes()
    second = raw.find(b"PK\x01\x02", raw.find(b"PK\x01\x02") + 4)
    path.write_bytes(raw[: second + 42] + struct.pack("<I", 0) + raw[second + 46 :])  # it begins where the first does
    return path


def lying_zip(folder: Path) -> Path:
    path = zipped(folder, {"train/ox/large.png": bytes(5 * 2**20)})
    raw = bytearray(path.read_bytes())
    at = raw.rfind(b"PK\x01\x02")
    raw[at + 24 : at + 28] = struct.pack("<I", 100)  # its size, as the directory tells it
    path.write_bytes(raw)
    return path


def linked_zip(folder: Path) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("train/ox/0.png")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return path


def tarred(kind: bytes) -> Maker:
    def make(folder: Path) -> Path:
        path = folder / "a.tar"
        with tarfile.open(path, "w") as archive:
            info = tarfile.TarInfo("train/ox/0.png")
            info.type, info.linkname, info.devmajor, info.devminor = kind, "/etc/passwd", 1, 9
            archive.addfile(info)
        return path

    return make


def tar_that_claims_terabytes(folder: Path) -> Path:
    path = folder / "a.tar.gz"
    info = tarfile.TarInfo("train/ox/0.png")
    info.size = 2**42
    path.write_bytes(gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)))
    return path


def stream_bomb(compress: Callable[[bytes], bytes]) -> Maker:
    """A compressed tar of half a gigabyte of zeros behind one honest header."""

    def make(folder: Path) -> Path:
        info = tarfile.TarInfo("train/ox/0.png")
        info.size = 512 * 2**20
        path = folder / "a.tar.any"
        path.write_bytes(compress(info.tobuf() + bytes(info.size)))
        return path

    return make


# Pictures


def png_of(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(k, d) for k, d in chunks) + chunk(b"IEND", b"")


TEXT_BOMB = png_of(
    8,
    8,
    (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(200 * 2**20), 9)),
    (b"IDAT", zlib.compress(bytes(8 * 25))),
)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%touch canary) (w) file closefile\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>'


def animated_gif(frames: int) -> bytes:
    out = io.BytesIO()
    first, *rest = (Image.new("P", (8, 8), i % 200) for i in range(frames))
    first.save(out, "GIF", save_all=True, append_images=rest)
    return out.getvalue()


def gif_with_a_zip_behind(folder: Path) -> Path:
    inner = zipped(folder, {"payload.py": b"import os"}, honest=False).read_bytes()
    return zipped(folder, {"train/ox/both.gif": picture(kind="GIF") + inner})


# Arrays


def npz_with_objects(folder: Path) -> Path:
    path = folder / "a.npz"
    np.savez(path, images=np.array([Payload(folder)], dtype=object), labels=np.array([0]))
    return path


def npz_that_claims_an_absurd_shape(folder: Path) -> Path:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000, 100000, 3), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(100)
    return zipped(folder, {"images.npy": array, "labels.npy": array}, honest=False)


def torch_file(folder: Path) -> Path:
    """What torch.save writes, uploaded as a data set."""
    return zipped(folder, {"model/data.pkl": payload(folder), "model/data/0": bytes(64)}, honest=False)


def cifar_in_python(folder: Path) -> Path:
    path = folder / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("data_batch_1", "test_batch", "batches.meta"):
            info, data = tarfile.TarInfo(f"cifar-10-batches-py/{name}"), payload(folder)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def idx_that_claims_an_absurd_shape(folder: Path) -> Path:
    wide = b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**16, 2**16)
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    return zipped(folder, dict.fromkeys(names, wide), honest=False)


def parquet_of_one_picture_a_million_times(folder: Path) -> Path:
    path = folder / "a.parquet"
    large = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, np.int32)), pa.array([picture(size=(64, 64))]))
    table = pa.table({"image": large, "label": pa.array(np.zeros(1_000_000, np.int32))})
    pq.write_table(table, path, compression="zstd")
    return path


def parquet_with_a_broken_footer(folder: Path) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"image": [picture()], "label": [0]}), path)
    raw = path.read_bytes()
    path.write_bytes(raw[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1")
    return path


REFUSED: dict[str, tuple[Maker, str]] = {
    "zip bomb": (zip_bomb, "decompression bomb"),
    "overlapping zip": (overlapping_zip, "overlap|File name in directory"),
    "zip that lies about a size": (lying_zip, "not as large as the archive says|damaged"),
    "zip with a link": (linked_zip, "link or a device"),
    "tar with a symbolic link": (tarred(tarfile.SYMTYPE), "link or a device"),
    "tar with a hard link": (tarred(tarfile.LNKTYPE), "link or a device"),
    "tar with a device": (tarred(tarfile.CHRTYPE), "link or a device"),
    "tar that claims terabytes": (tar_that_claims_terabytes, "larger than"),
    "gzip bomb": (stream_bomb(gzip.compress), "larger than"),
    "zstd bomb": (stream_bomb(lambda data: pa.compress(data, "zstd", asbytes=True)), "larger than"),
    "path upwards": (named("train/../../ox/0.png"), "unsafe path"),
    "absolute path": (named("/train/ox/9.png"), "unsafe path"),
    "10,000 folders deep": (named("a/" * 10_000 + "0.png"), "nested deeper"),
    "name that reads backwards": (named("train/ox/\u202egnp.exe.png"), "control or invisible"),
    "names that differ by case": (named("train/ox/0.PNG"), "twice"),
    "picture of gigapixels": (with_picture(png_of(60_000, 60_000)), "absurd number of pixels"),
    "text chunk that unpacks to 200 MB": (with_picture(TEXT_BOMB), "cannot be"),
    "truncated JPEG": (with_picture(picture(kind="JPEG", size=(64, 64))[:300], "jpg"), "bad.jpg"),
    "PostScript called PNG": (with_picture(POSTSCRIPT), "is not a PNG, JPEG"),
    "SVG called PNG": (with_picture(SVG), "is not a PNG, JPEG"),
    "TIFF called PNG": (with_picture(picture(kind="TIFF")), "is not a PNG, JPEG"),
    "NPZ with objects": (npz_with_objects, "without pickle"),
    "NPZ with an absurd shape": (npz_that_claims_an_absurd_shape, "memory|cannot be read"),
    "torch file": (torch_file, "no pictures"),
    "CIFAR in Python's pickles": (cifar_in_python, "no pictures"),
    "IDX with an absurd shape": (idx_that_claims_an_absurd_shape, "too many"),
    "Parquet bomb": (parquet_of_one_picture_a_million_times, "decompression bomb"),
    "Parquet with a broken footer": (parquet_with_a_broken_footer, "not a readable Parquet file"),
}
"""What -> who makes it, and what the refusal says."""

HARMLESS: dict[str, Maker] = {
    "GIF of 2,000 frames": with_picture(animated_gif(2_000), "gif"),
    "GIF with a zip behind it": gif_with_a_zip_behind,
    "50,000 files that are no pictures": lambda folder: zipped(folder, {f"junk/{i}.txt": b"" for i in range(50_000)}),
}
"""Odd, but what a picture needs is there: they are read."""
