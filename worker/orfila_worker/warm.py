"""What a worker process keeps open between jobs: packs, models and indexes, so that a question is answered at once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from orfila.jobs.contracts import Tree
from orfila.models.schemas import ModelCard as CardSchema
from orfila.storage import BlobStore
from orfila_engine.architectures import ModelCard, load_model
from orfila_engine.data import PackedDataset
from orfila_engine.fingerprint import FingerprintIndex

KEPT = 6
"""Objects of all kinds; the least recently used goes first. Arrays are memory-mapped, so this bounds models mostly.
Rows are held in memory by one index at a time."""

Opened = TypeVar("Opened")


class Warm:
    """A bounded cache keyed by content, so an entry can never be stale."""

    def __init__(self, store: BlobStore, device: str, folder: Path) -> None:
        self._store, self._device = store, device
        self._open: OrderedDict[str, Any] = OrderedDict()
        for left in folder.glob("warm-*"):
            if not Path(f"/proc/{left.name.removeprefix('warm-')}").exists():  # its process is dead
                shutil.rmtree(left, ignore_errors=True)
        self._root = folder / f"warm-{os.getpid()}"

    def pack(self, tree: Tree) -> PackedDataset:
        """An opened data set."""
        return self._get(_key("pack", tree), lambda: PackedDataset.open(self._directory(tree)))

    def index(self, tree: Tree) -> FingerprintIndex:
        """An opened fingerprint index, with the rows that it keeps in memory; the others' are given back."""
        found = self._get(_key("index", tree), lambda: FingerprintIndex.open(self._directory(tree), self._device))
        for other in self._open.values():
            if isinstance(other, FingerprintIndex) and other is not found:
                other.forget()
        return found

    def model(self, weights: str, card: CardSchema | None) -> tuple[nn.Module, ModelCard]:
        """A model in evaluation mode on this worker's device. Raises ModelError for weights that do not fit."""

        def load() -> tuple[nn.Module, ModelCard]:
            given = None if card is None else ModelCard.from_mapping(card.model_dump())
            model, found = load_model(self._store.local_path(weights), given)
            return model.to(self._device), found

        return self._get(_key("model", [weights, None if card is None else card.model_dump(mode="json")]), load)

    def _get(self, key: str, make: Callable[[], Opened]) -> Opened:
        if key not in self._open:
            self._open[key] = make()
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(key)
        found: Opened = self._open[key]
        return found

    def _directory(self, tree: Tree) -> Path:
        target = self._root / _key("tree", tree)
        return target if target.is_dir() else self._store.materialise(tree, target)


def _key(kind: str, content: Any) -> str:
    return f"{kind}-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]}"
