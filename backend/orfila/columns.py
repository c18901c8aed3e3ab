"""Columns of stored files: manifests, pixels, predictions, scores. Memory-mapped or read once, and kept by digest.

Blobs never change, so a small cache by digest needs no invalidation. Nothing here is a row for each image in SQL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orfila.storage import BlobStore


@dataclass(frozen=True)
class Manifest:
    """A pack's manifest: row i is image `index` i; training images come first."""

    table: pa.Table
    labels: NDArray[np.int32]
    """[N]"""
    is_test: NDArray[np.bool_]
    """[N]"""
    has_note: NDArray[np.bool_]
    """[N]"""
    width: NDArray[np.uint16]
    """[N] of the original file, pixels; longer edges count as the longest that fits."""
    height: NDArray[np.uint16]
    """[N]"""

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def content(self) -> NDArray[np.int32]:
        """[N] a number for each image's original bytes: the same bytes, the same number."""
        encoded = self.table.column("sha256").combine_chunks().dictionary_encode()
        return np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int32)

    def duplicates(self, kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """[N] 0: no other kept image has the same bytes; 1: one has, with the same label; 2: with another label."""
        content, labels = self.content[kept], self.labels[kept]
        n = int(self.content.max(initial=-1)) + 1
        lowest, highest = np.full(n, np.iinfo(np.int32).max, dtype=np.int32), np.full(n, -1, dtype=np.int32)
        np.minimum.at(lowest, content, labels)
        np.maximum.at(highest, content, labels)
        kind = np.where(lowest == highest, 1, 2) * (np.bincount(content, minlength=n) > 1)
        return np.asarray(kind[self.content] * kept, dtype=np.uint8)

    def row(self, index: int) -> dict[str, Any]:
        """One row as a dict."""
        row: dict[str, Any] = self.table.slice(index, 1).to_pylist()[0]
        return row

    def rows(self, indices: NDArray[np.integer[Any]]) -> list[dict[str, Any]]:
        """Some rows as dicts, in this order."""
        taken: list[dict[str, Any]] = self.table.take(pa.array(indices)).to_pylist()
        return taken

    def name_contains(self, text: str) -> NDArray[np.bool_]:
        """[N] whether the name contains the text, without regard to case."""
        hits = pc.match_substring(self.table.column("name"), text, ignore_case=True)
        result: NDArray[np.bool_] = hits.to_numpy(zero_copy_only=False)
        return result


@lru_cache(maxsize=8)
def manifest(store: BlobStore, sha256: str) -> Manifest:
    """The manifest stored under a digest."""
    table = pq.read_table(store.local_path(sha256), memory_map=True).combine_chunks()
    return Manifest(
        table=table,
        labels=table.column("label").to_numpy().astype(np.int32),
        is_test=pc.equal(table.column("split"), "test").to_numpy(zero_copy_only=False),
        has_note=pc.not_equal(table.column("note"), "").to_numpy(zero_copy_only=False),
        width=_edges(table.column("width")),
        height=_edges(table.column("height")),
    )


def _edges(column: pa.ChunkedArray) -> NDArray[np.uint16]:
    return np.asarray(np.minimum(column.to_numpy(), np.iinfo(np.uint16).max), dtype=np.uint16)


@lru_cache(maxsize=16)
def array(store: BlobStore, sha256: str) -> NDArray[Any]:
    """A .npy blob, memory-mapped, read-only."""
    result: NDArray[Any] = np.load(store.local_path(sha256), mmap_mode="r", allow_pickle=False)
    return result


@dataclass(frozen=True)
class Predictions:
    """What a model says of the test split, in test order. All arrays are [n_test]."""

    index: NDArray[np.int32]
    label: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float32]
    margin: NDArray[np.float32]

    def at(self, index: int) -> int | None:
        """Row of a test image, by its `index`."""
        rows = np.flatnonzero(self.index == index)
        return int(rows[0]) if len(rows) else None


@lru_cache(maxsize=16)
def predictions(store: BlobStore, sha256: str) -> Predictions:
    """The predictions.npz of a model check."""
    with np.load(store.local_path(sha256), allow_pickle=False) as file:
        return Predictions(
            index=file["test_index"].astype(np.int32),
            label=file["label"].astype(np.int32),
            predicted=file["predicted"].astype(np.int32),
            confidence=file["confidence"].astype(np.float32),
            margin=file["margin"].astype(np.float32),
        )


FLOAT_SCORES = (
    "influence",
    "shift_mean",
    "self_influence",
    "relative_influence",
    "collapse_score",
    "posterior",
    "rule_posterior",
    "mark_score",
)
FLAG_SCORES = ("suspect", "flagged", "flagged_rule", "flagged_paper")
_EARLIER = {"rule_posterior": "posterior", "flagged_rule": "flagged"}
"""What stands for a column in findings of before it was written. For `mark_score` nothing does: there were no marks."""


@dataclass(frozen=True)
class Scores:
    """scores.parquet of an investigation: every training image; row i is `index` i. Arrays are [n_train]."""

    names: pa.ChunkedArray
    label: NDArray[np.int32]
    n_collapsed: NDArray[np.int32]
    numbers: dict[str, NDArray[np.float32]]
    """FLOAT_SCORES -> column."""
    flags: dict[str, NDArray[np.bool_]]
    """FLAG_SCORES -> column."""

    def __len__(self) -> int:
        return len(self.label)

    @property
    def index(self) -> NDArray[np.int32]:
        """[n_train] 0 .. n_train - 1."""
        return np.arange(len(self), dtype=np.int32)

    @property
    def posterior(self) -> NDArray[np.float32]:
        """Probability of being poison."""
        return self.numbers["posterior"]

    def surest_first(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Rows by posterior; by collapse score where posteriors are equal, as many are; then by index."""
        return rows[np.lexsort((rows, -self.numbers["collapse_score"][rows], -self.posterior[rows]))]

    def column(self, name: str) -> NDArray[Any]:
        """A column to sort by."""
        if name == "index":
            return self.index
        return self.n_collapsed if name == "n_collapsed" else self.numbers[name]


@lru_cache(maxsize=8)
def scores(store: BlobStore, sha256: str) -> Scores:
    """The scores stored under a digest."""
    table = pq.read_table(store.local_path(sha256)).sort_by("index").combine_chunks()
    written = {c: c if c in table.column_names else _EARLIER.get(c) for c in (*FLOAT_SCORES, *FLAG_SCORES)}
    return Scores(
        names=table.column("name"),
        label=table.column("label").to_numpy().astype(np.int32),
        n_collapsed=table.column("n_collapsed").to_numpy().astype(np.int32),
        # An image outside the suspects has no posterior in the mixture: it counts as 0.
        numbers={
            c: np.nan_to_num(table.column(name).to_numpy().astype(np.float32))
            if (name := written[c]) is not None
            else np.zeros(len(table), dtype=np.float32)
            for c in FLOAT_SCORES
        },
        flags={c: table.column(written[c]).to_numpy(zero_copy_only=False).astype(bool) for c in FLAG_SCORES},
    )


@lru_cache(maxsize=256)
def flagged_indices(store: BlobStore, sha256: str) -> NDArray[np.int32]:
    """`index` of the images that a scores.parquet flags, ascending."""
    table = pq.read_table(store.local_path(sha256), columns=["index", "flagged"])
    index = table["index"].to_numpy().astype(np.int32)
    return np.sort(index[table["flagged"].to_numpy(zero_copy_only=False).astype(bool)])


@lru_cache(maxsize=16)
def json_file(store: BlobStore, sha256: str) -> Any:
    """A JSON blob."""
    return json.loads(store.local_path(sha256).read_bytes())


@lru_cache(maxsize=4)
def comparison_flags(store: BlobStore, sha256: str) -> dict[str, NDArray[np.bool_]]:
    """Detector -> [n] whether it flags each training image, of a comparison.parquet."""
    path = store.local_path(sha256)
    names = [n for n in pq.read_schema(path).names if n.endswith(":flagged")]
    table = pq.read_table(path, columns=names)
    return {n.removesuffix(":flagged"): table.column(n).to_numpy(zero_copy_only=False).astype(bool) for n in names}
