"""How far reviewers agree beyond chance: Cohen's and Fleiss' kappa, Krippendorff's alpha.

Cohen, Educational and Psychological Measurement 20 (1960); Fleiss, Psychological Bulletin 76 (1971); Krippendorff,
Content Analysis (2004), whose alpha also takes images that only some reviewers have judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import combinations, pairwise
from statistics import median
from typing import get_args

import krippendorff
import numpy as np
from numpy.typing import NDArray

from orfila.review import schemas
from orfila.review.models import Verdict
from orfila.review.schemas import VerdictValue

VALUES: tuple[VerdictValue, ...] = get_args(VerdictValue)
LISTED_CONFLICTS = 1_000
PAUSE_SECONDS = 120.0
"""A longer gap between two verdicts of a reviewer is a pause, and says nothing of the time for an image."""
LEAST_GAPS = 5


def agreement(verdicts: Iterable[tuple[Verdict, str]]) -> schemas.Agreement:
    """Agreement of current verdicts, given with their reviewers' names."""
    said: dict[str, dict[int, Verdict]] = {}
    for verdict, name in verdicts:
        said.setdefault(name, {})[verdict.image_index] = verdict
    names = sorted(said)
    codes = {
        name: {image: VALUES.index(v.verdict) for image, v in said[name].items() if v.verdict is not None}
        for name in names
    }
    votes: dict[int, Counter[int]] = {}
    for of_one in codes.values():
        for image, code in of_one.items():
            votes.setdefault(image, Counter())[code] += 1
    shared = {image: count for image, count in votes.items() if count.total() > 1}
    poison, clean = VALUES.index("poison"), VALUES.index("clean")
    conflicts = sorted(image for image, count in shared.items() if count[poison] and count[clean])
    fleiss, n_raters, n_fleiss = fleiss_kappa(list(shared.values()))
    return schemas.Agreement(
        reviewers=[_reviewer(name, said[name].values()) for name in names],
        pairs=[_pair(one, other, codes) for one, other in combinations(names, 2)],
        n_shared=len(shared),
        n_unanimous=sum(len(count) == 1 for count in shared.values()),
        n_conflicts=len(conflicts),
        conflicts=conflicts[:LISTED_CONFLICTS],
        krippendorff_alpha=krippendorff_alpha(codes),
        fleiss_kappa=fleiss,
        fleiss_raters=n_raters,
        n_fleiss=n_fleiss,
    )


def cohen_kappa(confusion: NDArray[np.int64]) -> float | None:
    """Cohen's kappa of a confusion matrix [K, K]; None where chance alone would agree always, or nothing is shared."""
    n = int(confusion.sum())
    if n == 0:
        return None
    expected = float(confusion.sum(0) @ confusion.sum(1)) / n**2
    return None if expected == 1 else (float(np.trace(confusion)) / n - expected) / (1 - expected)


def fleiss_kappa(votes: list[Counter[int]]) -> tuple[float | None, int, int]:
    """Fleiss' kappa, and over how many reviewers an image, and how many images.

    It asks for as many reviewers for each image; those with the most frequent number of them count.
    """
    sizes = Counter(count.total() for count in votes)
    if not sizes:
        return None, 0, 0
    raters = min(sizes, key=lambda size: (-sizes[size], -size))
    counts = np.array([[c[code] for code in range(len(VALUES))] for c in votes if c.total() == raters], dtype=float)
    by_image = (np.square(counts).sum(1) - raters) / (raters * (raters - 1))
    expected = float(np.square(counts.sum(0) / counts.sum()).sum())
    kappa = None if expected == 1 else (float(by_image.mean()) - expected) / (1 - expected)
    return kappa, raters, len(counts)


def krippendorff_alpha(codes: Mapping[str, Mapping[int, int]]) -> float | None:
    """Krippendorff's alpha for nominal data; None where no image is shared, or all verdicts are the same."""
    images = sorted({image for of_one in codes.values() for image in of_one})
    column = {image: k for k, image in enumerate(images)}
    table = np.full((len(codes), len(images)), np.nan)
    for row, of_one in enumerate(codes.values()):
        table[row, [column[image] for image in of_one]] = list(of_one.values())
    paired = table[:, (~np.isnan(table)).sum(0) > 1]
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=table, level_of_measurement="nominal"))


def _pair(one: str, other: str, codes: Mapping[str, Mapping[int, int]]) -> schemas.PairAgreement:
    confusion = np.zeros((len(VALUES), len(VALUES)), dtype=np.int64)
    for image in codes[one].keys() & codes[other].keys():
        confusion[codes[one][image], codes[other][image]] += 1
    return schemas.PairAgreement(
        first=one,
        second=other,
        n_shared=int(confusion.sum()),
        n_agreed=int(np.trace(confusion)),
        cohen_kappa=cohen_kappa(confusion),
        confusion=confusion.tolist(),
    )


def _reviewer(name: str, verdicts: Iterable[Verdict]) -> schemas.ReviewerShare:
    rows = list(verdicts)
    counts = Counter(v.verdict for v in rows)
    return schemas.ReviewerShare(
        reviewer=name,
        n_judged=len(rows),
        n_poison=counts["poison"],
        n_clean=counts["clean"],
        n_unsure=counts["unsure"],
        seconds_per_image=_seconds_per_image([v.at for v in rows]),
    )


def _seconds_per_image(times: list[datetime]) -> float | None:
    """The median gap between verdicts. Those of one moment, as a bulk verdict makes them, say nothing."""
    single = sorted(at for at, count in Counter(times).items() if count == 1)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(single)]
    worked = [gap for gap in gaps if gap <= PAUSE_SECONDS]
    return median(worked) if len(worked) >= LEAST_GAPS else None
