"""Proof of a bundle: every file is what the bundle says, and the same investigation gives the same finding again."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orfila_engine.architectures import load_model
from orfila_engine.data import PackedDataset
from orfila_engine.ekfac import kept_engine
from orfila_engine.fingerprint import IndexSpec, build_index
from orfila_engine.investigation import Affected, affected_from_test, investigate, read_affected
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.refit import refit

FORMAT = "orfila-bundle/1"
NEEDED = ("data/pixels.npy", "model/model.safetensors", "investigation/scores.parquet")
"""Files without which there is nothing to run again."""
MAX_BYTES = 1 << 40
"""Of all files together."""
SAME_SCORE = 1e-2
"""Scores are cosines; machines and numbers of threads differ in their last digits."""
_BLOCK = 1 << 20


@dataclass(frozen=True)
class BundleCheck:
    """What was found."""

    n_files: int
    changed: tuple[str, ...]
    """Files that are not what bundle.json says, that are missing, or that it does not name."""
    n_flagged: int
    """As the bundle has it."""
    n_again: int | None
    """Flagged when it was run again; None when it was not."""
    n_common: int | None
    largest_difference: float | None
    """Of a suspect's collapse score."""

    @property
    def ok(self) -> bool:
        """Whether everything is as the bundle says."""
        same = self.n_again is None or self.n_flagged == self.n_again == self.n_common
        close = self.largest_difference is None or self.largest_difference <= SAME_SCORE
        return not self.changed and same and close

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.changed:
            yield f"CHANGED: {len(self.changed)} of {self.n_files} files are not what bundle.json says:"
            yield from (f"  {name}" for name in self.changed)
        else:
            yield f"ok: {self.n_files} files are what bundle.json says"
        if self.n_again is None:
            return
        same = self.n_flagged == self.n_again == self.n_common
        yield (
            f"{'ok' if same else 'DIFFERENT'}: run again, {self.n_again:,} images are flagged; the bundle has "
            f"{self.n_flagged:,}, and {self.n_common:,} are the same"
        )
        close = self.largest_difference is not None and self.largest_difference <= SAME_SCORE
        yield (
            f"{'ok' if close else 'DIFFERENT'}: the largest difference of a suspect's collapse score is "
            f"{self.largest_difference:.2g} (at most {SAME_SCORE:g} is called the same)"
        )


def verify_bundle(
    bundle: Path, work: Path, *, again: bool = True, device: str = "auto", progress: Progress = quiet
) -> BundleCheck:
    """Check the digests of a bundle's files and, where they are right, run its investigation again.

    work: an empty folder for what is unpacked and computed. again: also run it again.

    Raises ValueError for a file that is no bundle of this format.
    """
    contents = _unpack(bundle, work / "bundle", part(progress, 0, 0.1))
    folder = work / "bundle"
    changed = tuple(sorted(_changed(folder, contents["files"])))
    scores = _columns(folder / "investigation" / "scores.parquet") if not changed else None
    n_flagged = int(scores["flagged"].sum()) if scores else 0
    if changed or not again or scores is None:
        return BundleCheck(len(contents["files"]), changed, n_flagged, None, None, None)
    found = _columns(_again(folder, contents["investigation"], work, device, part(progress, 0.1, 1)))
    suspects = scores["suspect"]
    difference = np.abs(found["collapse_score"] - scores["collapse_score"])[suspects]
    return BundleCheck(
        len(contents["files"]),
        (),
        n_flagged,
        int(found["flagged"].sum()),
        int((found["flagged"] & scores["flagged"]).sum()),
        float(difference.max(initial=0.0)),
    )


def _unpack(bundle: Path, folder: Path, progress: Progress) -> dict[str, Any]:
    """Unpack into a folder; returns bundle.json."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            contents: dict[str, Any] = json.loads(archive.read("bundle.json"))
            if contents.get("format") != FORMAT:
                raise ValueError(f"'{bundle}' has format {contents.get('format')!r}; this version reads {FORMAT}")
            absent = [name for name in NEEDED if name not in contents["files"]]
            if absent:
                raise ValueError(f"'{bundle}' names no {absent[0]}; download the case's bundle again")
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > MAX_BYTES:
                raise ValueError(f"'{bundle}' would take more than {MAX_BYTES:,} bytes")
            for number, entry in enumerate(entries):
                progress("unpacking", number / len(entries))
                place = PurePosixPath(entry.filename)
                if place.is_absolute() or ".." in place.parts or "\\" in entry.filename:
                    raise ValueError(f"'{bundle}' names a file outside of itself: {entry.filename}")
                target = folder.joinpath(*place.parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file, _BLOCK)
    except (OSError, KeyError, zipfile.BadZipFile, json.JSONDecodeError) as error:
        raise ValueError(f"'{bundle}' is no bundle ({error}); give the bundle.zip of a case") from error
    return contents


def _changed(folder: Path, digests: dict[str, str]) -> Iterator[str]:
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"bundle.json"}
    yield from there ^ digests.keys()
    for name in there & digests.keys():
        with (folder / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != digests[name]:
                yield name


def _again(folder: Path, asked: dict[str, Any], work: Path, device: str, progress: Progress) -> Path:
    """Investigate as the bundle says; returns the scores."""
    model, card = load_model(folder / "model" / "model.safetensors")
    packed = PackedDataset.open(folder / "data")
    index = build_index(
        model, card, *packed.train, work / "index", IndexSpec(seed=asked["index_seed"]), device=device,
        data_digest=packed.digest, progress=part(progress, 0, 0.7),
    )  # fmt: skip
    exact = asked["engine"] == "ekfac"
    engine = kept_engine(work / "ekfac", model, card, packed, device=device, progress=progress) if exact else index
    affected: list[Affected] = []
    for image in asked["affected"]:
        if image["test_index"] is not None:
            affected.append(affected_from_test(packed, image["test_index"]))
        else:
            data = (folder / image["file"]).read_bytes()
            affected.append(read_affected(data, image["name"], card, image["true_label"]))
    found = investigate(
        engine, packed, model, card, affected, out_dir=work / "again", rule=asked["rule"], n_b=asked["n_queries"],
        seed=asked["seed"], suspects=asked["suspects"], progress=part(progress, 0.7, 0.95),
    )  # fmt: skip
    learned = folder / "investigation" / "verdicts.json"
    if learned.is_file():
        said = json.loads(learned.read_text())
        refit(
            found.path, engine, packed, model, card, affected, poison=said["poison"], clean=said["clean"],
            out_dir=found.path,
        )  # fmt: skip
    progress("run again", 1.0)
    return found.path / "scores.parquet"


def _columns(path: Path) -> dict[str, NDArray[Any]]:
    table = pq.read_table(path, columns=["index", "suspect", "flagged", "collapse_score"]).sort_by("index")
    return {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names}
