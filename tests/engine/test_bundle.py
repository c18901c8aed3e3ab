"""What verify-bundle refuses; that a real bundle gives its finding again is in tests/integration/test_drill_jobs.py."""

import json
import zipfile
from pathlib import Path

import pytest

from orfila_engine.bundle import FORMAT, NEEDED, verify_bundle


def zipped(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def contents(**changes: object) -> str:
    return json.dumps({"format": FORMAT, "files": dict.fromkeys(NEEDED, "0" * 64), "investigation": {}} | changes)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"other.json": "{}"}, "is no bundle"),
        ({"bundle.json": "not json"}, "is no bundle"),
        ({"bundle.json": contents(format="orfila-bundle/9")}, "this version reads orfila-bundle/1"),
        ({"bundle.json": contents(files={})}, "names no data/pixels.npy; download"),
        ({"bundle.json": contents(), "../outside": "x"}, "a file outside of itself"),
        ({"bundle.json": contents(), "/outside": "x"}, "a file outside of itself"),
    ],
)
def test_what_is_no_bundle_is_refused_in_a_sentence(tmp_path: Path, files: dict[str, str], sentence: str) -> None:
    bundle = zipped(tmp_path / "bundle.zip", files)
    with pytest.raises(ValueError, match=sentence):
        verify_bundle(bundle, tmp_path / "in" / "work")
    assert not list(tmp_path.rglob("outside"))


def test_a_file_that_is_no_zip_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle.zip").write_text("no zip")
    with pytest.raises(ValueError, match=r"give the bundle\.zip of a case"):
        verify_bundle(tmp_path / "bundle.zip", tmp_path / "work")


def test_files_that_are_missing_or_others_are_named_and_nothing_is_run(tmp_path: Path) -> None:
    bundle = zipped(tmp_path / "bundle.zip", {"bundle.json": contents(), NEEDED[0]: "other"})
    found = verify_bundle(bundle, tmp_path / "work")
    assert not found.ok
    assert found.changed == tuple(sorted(NEEDED))
    assert next(found.lines()).startswith("CHANGED: 3 of 3 files")
