"""All that a finding rests on in one zip, for `orfila verify-bundle`: digests, and what is needed to run it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orfila.cases.models import Case
from orfila.datasets.models import Dataset
from orfila.indexes.models import FingerprintIndex
from orfila.jobs.contracts import AffectedSpec
from orfila.models.models import ClassifierModel
from orfila.reports.schemas import Report
from orfila.storage import BlobStore
from orfila.zips import ZipStream

FORMAT = "orfila-bundle/1"
_PACK = ("meta.json", "manifest.parquet", "pixels.npy")
"""Of a pack, what an investigation reads. Thumbnails can be made of it, and the manifest has the originals' digests."""


@dataclass(frozen=True)
class Parts:
    """What goes into a bundle."""

    case: Case
    dataset: Dataset
    model: ClassifierModel
    index: FingerprintIndex
    report: Report
    page: str
    events: str
    """The case's events of the audit trail, a line of JSON each."""


def written(store: BlobStore, parts: Parts) -> Iterator[bytes]:
    """The zip. `bundle.json` comes last, since it names the digest of every other file."""
    case = parts.case
    affected = [AffectedSpec.model_validate(source) for source in case.sources]
    stored = {f"data/{name}": parts.dataset.files[name] for name in _PACK}
    stored["model/model.safetensors"] = parts.model.sha256
    stored |= {f"investigation/{name}": digest for name, digest in case.files.items()}
    stored |= {f"affected/{spec.number}": spec.image for spec in affected if spec.image is not None}
    made = {
        "model/model.json": json.dumps(_card(parts.report), indent=1),
        "report.json": parts.report.model_dump_json(indent=1),
        "report.html": parts.page,
        "audit.jsonl": parts.events,
    }
    with ZipStream() as archive:
        for name, digest in sorted(stored.items()):
            with store.open(digest) as file:
                yield from archive.copy(name, file)
        for name, text in made.items():
            archive.add(name, text)
        digests = stored | {name: hashlib.sha256(text.encode()).hexdigest() for name, text in made.items()}
        archive.add("bundle.json", json.dumps(_contents(parts, affected, digests), indent=1))
        yield archive.taken()
    yield archive.taken()


def _contents(parts: Parts, affected: list[AffectedSpec], digests: dict[str, str]) -> dict[str, Any]:
    case = parts.case
    return {
        "format": FORMAT,
        "case": {"id": case.id, "name": case.name},
        "made_at": parts.report.made_at.isoformat(),
        "version": parts.report.version,
        "files": dict(sorted(digests.items())),
        "investigation": {
            "engine": case.engine,
            "rule": case.rule,
            "suspects": case.suspects,
            "n_queries": case.n_queries,
            "seed": case.seed,
            "index_seed": parts.index.seed,
            "affected": [
                {
                    "number": spec.number,
                    "name": spec.name,
                    "true_label": spec.true_label,
                    "test_index": spec.test_index,
                    "file": None if spec.image is None else f"affected/{spec.number}",
                }
                for spec in affected
            ],
        },
        "audit_head": parts.report.audit.head,
    }


def _card(report: Report) -> dict[str, Any]:
    return report.model.card.model_dump(mode="json")
