"""The engine that a case asks for: the fingerprint index, or EK-FAC, whose factors are kept beside the index."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from orfila.indexes.models import FingerprintIndex as IndexRow
from orfila.jobs.contracts import Tree
from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.ekfac import EkfacEngine, kept_engine, open_engine
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.progress import Progress

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def index_of(work: Work, index_id: str) -> FingerprintIndex:
    """The opened index of a row."""
    with work.database.reading() as session:
        files = dict(session.get_one(IndexRow, index_id).files)
    return work.warm.index(files)


def ekfac_of(
    work: Work, index_id: str, model: nn.Module, card: ModelCard, packed: PackedDataset, progress: Progress
) -> EkfacEngine:
    """The EK-FAC engine of the same model and data, as a case has made it; made anew where it is of another version."""
    folder = work.store.materialise(kept_files(work, index_id), work.folder / "ekfac")
    kept = kept_engine(folder, model, card, packed, device=work.device, progress=progress)
    return replace(kept, half_batch=work.half_batch)


def kept_files(work: Work, index_id: str) -> Tree:
    """The files of the EK-FAC engine that are kept beside an index."""
    with work.database.reading() as session:
        return dict(session.get_one(IndexRow, index_id).ekfac)


def open_ekfac(work: Work, files: Tree, model: nn.Module, card: ModelCard, packed: PackedDataset) -> EkfacEngine:
    """An engine of stored files."""
    folder = work.store.materialise(files, work.folder / "ekfac")
    return replace(open_engine(folder, model, card, *packed.train, device=work.device), half_batch=work.half_batch)
