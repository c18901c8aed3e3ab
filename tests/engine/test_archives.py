"""Archives that attack the reader, and honest ones."""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orfila_engine.data import DataError, archives
from orfila_engine.data.archives import read_entries, safe_name


def make_zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in entries.items():
            file.writestr(name, data)
    return path


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for info, data in members:
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def read(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.data for entry in read_entries(path)}


@pytest.mark.parametrize(
    "name",
    [
        "../outside.png",
        "a/../../outside.png",
        "/etc/passwd",
        "C:/windows.png",
        "a\\b.png",
        "a/\x00.png",
        "a/\n.png",
        "a/\u202egnp.exe",
        "/".join("abcdefghi") + "/x.png",
        "",
    ],
)
def test_an_unsafe_name_is_refused_with_a_sentence(name: str) -> None:
    with pytest.raises(DataError, match=r".{20,}"):
        safe_name(name)


@given(st.text(max_size=40))
def test_a_name_that_passes_stays_inside_any_folder(name: str) -> None:
    try:
        safe = safe_name(name)
    except DataError:
        return
    root = Path("/some/root")
    assert (root / safe).resolve().is_relative_to(root)
    assert safe_name(safe) == safe


def test_zip_tar_and_directory_give_the_same_files(tmp_path: Path) -> None:
    files = {"train/cat/1.png": b"one", "train/dog/2.png": b"two"}
    for name, data in files.items():
        target = tmp_path / "folder" / name
        target.parent.mkdir(parents=True)
        target.write_bytes(data)
    zipped = make_zip(tmp_path / "a.zip", files)
    tarred = make_tar(tmp_path / "a.tar.gz", [(tarfile.TarInfo(n), d) for n, d in files.items()])
    with pa.CompressedOutputStream(str(tmp_path / "a.tar.zst"), "zstd") as file:
        file.write(gzip.decompress(tarred.read_bytes()))
    assert read(tmp_path / "folder") == read(zipped) == read(tarred) == read(tmp_path / "a.tar.zst") == files


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_with_a_link_or_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("a/link.png")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(DataError, match="link or a device"):
        read(make_tar(tmp_path / "a.tar", [(info, b"")], "w"))


def test_a_zip_with_a_symlink_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("a/link.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        read(tmp_path / "a.zip")


def test_a_link_in_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.png").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        read(tmp_path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = make_zip(tmp_path / "a.zip", {f"a/{k}.png": bytes(40 * 2**20) for k in range(8)})
    assert bomb.stat().st_size < 2**20
    with pytest.raises(DataError, match="decompression bomb"):
        read(bomb)


def test_overlapping_zip_entries_are_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a/1.png": b"x" * 100, "a/2.png": b"y" * 100})
    raw = bytearray(path.read_bytes())
    second = raw.rfind(b"PK\x01\x02")
    raw[second + 42 : second + 46] = struct.pack("<I", 0)  # the second entry claims the first one's bytes
    path.write_bytes(raw)
    with pytest.raises(DataError, match="overlap"):
        read(path)


def test_names_in_code_page_437_do_not_seem_to_overlap(tmp_path: Path) -> None:
    """As old Windows tools write them: one byte for each letter, no UTF-8 flag, no extra fields."""
    path = make_zip(tmp_path / "a.zip", {f"a/{'x' * 8}{k}.png": b"data" for k in range(3)})
    path.write_bytes(path.read_bytes().replace(b"x" * 8, b"\x82" * 8))  # é
    assert list(read(path)) == [f"a/{'é' * 8}{k}.png" for k in range(3)]


def test_names_that_differ_only_by_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="twice"):
        read(make_zip(tmp_path / "a.zip", {"a/X.png": b"1", "a/x.png": b"2"}))


def test_too_many_entries_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 3)
    with pytest.raises(DataError, match="more than 3 files"):
        read(make_tar(tmp_path / "a.tar.gz", [(tarfile.TarInfo(f"a/{k}.png"), b"x") for k in range(4)]))


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"a/1.png": b"x" * 100})
    raw = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.find(signature) + offset] |= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="encrypted"):
        read(path)


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.95])
@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.zst"])
def test_a_truncated_archive_is_a_sentence_not_a_crash(tmp_path: Path, kind: str, cut: float) -> None:
    path = tmp_path / f"a.{kind}"
    files = {f"a/{k}.png": bytes(range(256)) * 8 for k in range(20)}
    if kind == "zip":
        make_zip(path, files)
    else:
        make_tar(path, [(tarfile.TarInfo(n), d) for n, d in files.items()])
    raw = path.read_bytes()
    if kind == "tar.zst":
        raw = pa.compress(gzip.decompress(raw), "zstd", asbytes=True)
    path.write_bytes(raw[: int(len(raw) * cut)])
    with pytest.raises(DataError):
        read(path)


def test_something_else_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(DataError, match="neither a zip nor a tar"):
        read(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "absent")
