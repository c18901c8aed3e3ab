"""A sweep: every class of the training data is searched for poison, without any affected image.

For each label the collapse rule starts from several directions instead of an affected image's: the mean gradient of the
training images minus that of the test images with the label, and the principal components of the training images. Each
start ends in a group; the evidence test asks whether the group is one of the training data alone, and its p-value is
multiplied by the number of different groups (Bonferroni).

The search needs every pair of suspects' products, so it looks at SEARCHED of them; the group it finds is then scored
among all, and the pictures are looked at for a shared mark.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.collapse import MIN_SUSPECTS, collapse
from orfila_engine.data import PackedDataset
from orfila_engine.engines import Store
from orfila_engine.evidence import Calibration, Evidence, Reference, answer, judge, p_group
from orfila_engine.mark import Pictures, pictures_of
from orfila_engine.natural import MIN_COUNTERPARTS
from orfila_engine.progress import Progress, quiet
from orfila_engine.suspects import FingerprintSuspects, Vector, unit

FORMAT = "orfila-sweep/1"
SEARCHED = 2_000
MAX_PIXELS = 4_000_000_000
"""With more of them in all training images the pictures are not looked at for a shared mark: a sweep asks of all."""
N_COMPONENTS = 5
"""Principal components to start from, each in both directions."""
_SAME_GROUP = 0.5
"""Two groups that share more than this part of their union are one."""


@dataclass(frozen=True)
class ClassFinding:
    """What the sweep says of one label."""

    label: int
    name: str
    n_images: int
    """Training images that carry the label."""
    evidence: Evidence
    """Its p-value is corrected for the number of groups that were looked at."""
    flagged: NDArray[np.int64]
    """[F] `index` of the group's images, the most suspicious first; empty unless the class is accused."""
    posterior: Vector
    """[F] of each."""
    score: Vector
    """[F] collapse score of each."""

    @property
    def accused(self) -> bool:
        """Whether the class is called poisoned, which takes the strict level: nobody has pointed at a symptom."""
        return self.evidence.level == "strict"


@dataclass(frozen=True)
class SweepResult:
    """What the sweep says of every class."""

    n_train: int
    classes: tuple[ClassFinding, ...]
    seconds: float
    digests: dict[str, str]

    @property
    def accused(self) -> tuple[ClassFinding, ...]:
        """The classes that are called poisoned."""
        return tuple(c for c in self.classes if c.accused)

    @property
    def sentence(self) -> str:
        """The finding in one sentence."""
        if not self.accused:
            return f"No class stands out: {len(self.classes)} classes, {self.n_train:,} training images."
        found = "; ".join(
            f"{len(c.flagged):,} of {c.n_images:,} images of '{c.name}' ({_p(c.evidence.p_value)})"
            for c in self.accused
        )
        return f"Poisoning found: {found}."


def sweep(
    store: Store,
    packed: PackedDataset,
    model: nn.Module,
    card: ModelCard,
    *,
    progress: Progress = quiet,
) -> SweepResult:
    """Search every class. store: of this model and these training images, such as a fingerprint index.

    Raises ValueError when store and data do not belong together, or the data set has fewer than 30 test images.
    """
    if store.n != packed.n_train:
        raise ValueError(f"the index holds {store.n} training images, the data set {packed.n_train}; build it again")
    began = time.perf_counter()
    calibration = Calibration(store, packed, model, card)
    pixels, labels = packed.train
    looks = pixels[..., 0].size <= MAX_PIXELS
    classes = []
    for label, name in enumerate(card.classes):
        progress(f"searching '{name}'", label / len(card.classes))
        pictures = pictures_of(store, packed, label, "label") if looks else None
        rows = np.flatnonzero(labels == label)
        classes.append(_search(store, calibration.of(label), rows, label, name, pictures))
    progress("swept", 1.0)
    digests = {"data": packed.digest}
    return SweepResult(packed.n_train, tuple(classes), round(time.perf_counter() - began, 2), digests)


def write_sweep(result: SweepResult, packed: PackedDataset, out_dir: Path) -> None:
    """Write sweep.json (every class), flagged.csv and flagged.json (images of the accused classes) to `out_dir`."""
    out_dir.mkdir(parents=True, exist_ok=True)
    described: dict[str, Any] = {
        "format": FORMAT,
        "sentence": result.sentence,
        "n_train": result.n_train,
        "classes": [
            {
                "label": c.label,
                "name": c.name,
                "n_images": c.n_images,
                "n_flagged": len(c.flagged),
                "accused": c.accused,
            }
            | {"evidence": asdict(c.evidence)}
            for c in result.classes
        ],
        "seconds": result.seconds,
        "digests": result.digests,
        "versions": {"orfila": version("orfila"), "torch": torch.__version__, "numpy": np.__version__},
    }
    (out_dir / "sweep.json").write_text(json.dumps(described, indent=1))
    flagged = {str(c.label): c.flagged.tolist() for c in result.accused}
    (out_dir / "flagged.json").write_text(json.dumps(flagged))
    with (out_dir / "flagged.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "index", "label", "score", "posterior"])
        for c in result.accused:
            for index, score, posterior in zip(c.flagged.tolist(), c.score, c.posterior, strict=True):
                writer.writerow([packed.names[index], index, c.name, f"{score:.6f}", f"{posterior:.6f}"])


def _search(
    store: Store,
    reference: Reference,
    rows: NDArray[np.int64],
    label: int,
    name: str,
    pictures: Pictures | None = None,
) -> ClassFinding:
    nothing = ClassFinding(label, name, len(rows), _NO_EVIDENCE, np.empty(0, np.int64), *(np.empty(0, np.float32),) * 2)
    n_counterparts = len(reference.counterparts)
    if len(rows) < MIN_SUSPECTS or n_counterparts < MIN_COUNTERPARTS:
        return replace(nothing, evidence=replace(_NO_EVIDENCE, n_counterparts=n_counterparts))
    direction, n_groups = _suspicious_direction(store, rows, reference)
    if direction is None:
        return nothing
    result = collapse(store.suspects(rows), direction, counterparts=reference.cosines, pictures=pictures)
    evidence = _corrected(judge(result, reference), n_groups)
    finding = replace(nothing, evidence=evidence)
    if not finding.accused:
        return finding
    members = np.flatnonzero(result.flagged)
    members = members[np.lexsort((-result.score[members], -result.posterior[members]))]
    return replace(
        finding,
        flagged=result.suspects[members],
        posterior=result.posterior[members],
        score=result.score[members],
    )


def _suspicious_direction(store: Store, rows: NDArray[np.int64], reference: Reference) -> tuple[Vector | None, int]:
    """The direction [D] of the least natural group among SEARCHED of the suspects, and how many groups there are."""
    if len(rows) > SEARCHED:
        rows = np.sort(np.random.default_rng(len(rows)).choice(rows, SEARCHED, replace=False))
    searched = _Searched(store.suspects(rows), reference)
    groups: list[NDArray[np.bool_]] = []
    best: tuple[float, _Direction] | None = None
    for start in searched.starts():
        result = collapse(searched, start, counterparts=lambda direction: direction.counterparts)
        group = result.posterior > 0.5
        if not group.any() or any((group & g).sum() > _SAME_GROUP * (group | g).sum() for g in groups):
            continue
        groups.append(group)
        p, _ = p_group(result)
        if best is None or p < best[0]:
            best = p, result.direction
    return (searched.vector(best[1]) if best is not None else None), len(groups)


@dataclass(frozen=True)
class _Direction:
    """A direction in the span of m suspects' unit gradients, known by its products."""

    weights: Vector
    """[m] of each unit gradient in it; zeros for a start, which is not refined from them."""
    cosines: Vector
    """[m] with the suspects."""
    counterparts: Vector
    """[T] with the counterparts."""


class _Searched:
    """m suspects by their products alone, so that a refinement costs m^2 instead of m D (see `SuspectGradients`)."""

    def __init__(self, suspects: FingerprintSuspects, reference: Reference) -> None:
        self.indices = suspects.indices
        self._unit = suspects.combine(np.eye(len(self.indices), dtype=np.float32))
        self._products = suspects.products(self._unit)  # [m, m]
        counterparts = reference.counterparts
        self._counterparts = counterparts @ self._unit.T  # [T, m]
        self._among_counterparts = counterparts @ counterparts.mean(0)  # [T]

    def cosines(self, direction: _Direction) -> Vector:
        """See `SuspectGradients`."""
        return direction.cosines

    def contrast(self, weights: Vector) -> _Direction:
        """See `SuspectGradients`."""
        cosines = self._products @ weights
        scale = np.float32(1 / np.sqrt(max(float(weights @ cosines), 1e-30)))
        scaled = np.asarray(weights * scale, dtype=np.float32)
        return _Direction(
            scaled,
            np.asarray(cosines * scale, dtype=np.float32),
            np.asarray(self._counterparts @ scaled, dtype=np.float32),
        )

    def inner(self, one: _Direction, other: _Direction) -> float:
        """See `SuspectGradients`."""
        return float(one.cosines @ other.weights)

    def vector(self, direction: _Direction) -> Vector:
        """[D], of unit length."""
        return unit((direction.weights @ self._unit).astype(np.float64))

    def starts(self) -> Iterator[_Direction]:
        """Training minus test mean, then the principal components in both directions."""
        m, n_counterparts = self._counterparts.T.shape
        # Nobody's own part in a mean counts in its cosine with it.
        cosines = (self._products.sum(1) - 1) / (m - 1) - self._counterparts.mean(0)
        there = self._counterparts.mean(1) - (self._among_counterparts * n_counterparts - 1) / (n_counterparts - 1)
        scale = max(float(np.abs(cosines).max()), 1e-12)
        yield _Direction(np.zeros(m, dtype=np.float32), cosines / scale, there / scale)
        centred = self._products - self._products.mean(0)
        centred -= centred.mean(1, keepdims=True)
        count = min(N_COMPONENTS, m - 1)
        _, components = eigh(centred, subset_by_index=(m - count, m - 1))
        for component in components.T[::-1].astype(np.float32):
            for sign in (1, -1):
                yield self.contrast(sign * (component - component.mean()))


def _corrected(evidence: Evidence, n_groups: int) -> Evidence:
    """The evidence with its p-value multiplied by the number of groups that were looked at."""
    p = min(1.0, evidence.p_value * n_groups)
    verdict, level = answer(p)
    return replace(evidence, p_value=p, verdict=verdict, level=level)


_NO_EVIDENCE = Evidence(
    verdict="no evidence of poisoning",
    level="none",
    p_value=1.0,
    p_group=1.0,
    p_image=None,
    statistic=0.0,
    share_suspects=0.0,
    share_counterparts=None,
    n_counterparts=0,
    n_reference=0,
)


def _p(value: float) -> str:
    return f"p = {value:.3f}" if value >= 0.001 else f"p = {value:.0e}"
