"""A shared mark: what pictures that are called poison have in common, and clean pictures of the class have not.

The gradients are one view of the suspects. A poison that works only as a crowd (Witches' Brew) has members whose own
gradients say little, and they stay below any threshold. But whatever was done to the poison was mostly done to all of
it, and left a trace in the pictures. So the gradients' posteriors teach a linear discriminant (Fisher 1936) on the
pictures' spectra, the discriminant's scores get a mixture like the collapse scores' own, and the two posteriors are
joined as views that are independent given the side (co-training: Blum & Mitchell 1998). A few rounds later both agree.

Two precautions. Nobody, suspect or counterpart, is scored by a discriminant that has seen it (cross-fitting), so that
without poison both kinds score alike. And a mark that counterparts have nearly as often is none (decision 16).
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from orfila_engine.mixture import Floats, Mixture, fit
from orfila_engine.natural import MIN_COUNTERPARTS, p_natural
from orfila_engine.questions import counterpart_rows
from orfila_engine.suspects import Vector

if TYPE_CHECKING:
    from orfila_engine.data import PackedDataset
    from orfila_engine.engines import Store
    from orfila_engine.questions import Suspects

N_BANDS = 8
"""Of frequency, equally wide, up to the finest detail that the picture holds."""
CHANNELS = ("brightness", "red against green", "yellow against blue")
"""Opponent colours; a grey picture has the first alone."""
MIN_MARKED = 10
"""Fewer images called poison teach nothing."""
LEAST_SHARED = 0.5
"""Of those images, with the mark. A group elsewhere among the suspects is another matter."""
MAX_NATURAL = 0.01
"""A mark whose p-value is greater is none."""
MAX_PIXELS = 400_000_000
"""Suspects with more are not looked at: 390,000 of 32 x 32, or 8,000 of 224 x 224, take about a minute."""
N_ROUNDS = 8
_SETTLED = 1e-3
"""No posterior has moved by more: further rounds would not either."""
N_FOLDS = 10
_RIDGE = 0.01
"""Added to the variance of each standardised band, so that bands that move together can be told apart."""
_FLOOR = 1.0
"""Added to each band's mean energy, in squared grey levels: what rounding to whole levels adds is no detail."""
_VETO = math.log(1000)
"""What one view says against an image counts in full up to 1000 : 1, and hardly more beyond. Normal distributions have
no say in their far tails, and not every poison shows in both views; what one of them is sure to see must be able to
count. Never cut off: the order of the images stays, and with it a threshold that can be moved."""
_BEYOND = 0.25
"""Of the logarithm of what exceeds _VETO."""
_SURE = math.log(1e9)
"""The most that it says for it."""
_BLOCK = 1_024
_FORMAT = 1


@dataclass(frozen=True)
class Pictures:
    """Spectra of the suspects [S, B] and of their counterparts [T, B]; see `spectra`."""

    suspects: Vector
    counterparts: Vector


@dataclass(frozen=True)
class Mark:
    """What the marked suspects share."""

    score: Vector
    """[S] how far along the discriminant, in standard deviations of clean images from their mean."""
    separation: float
    """Distance of the two groups' means in the same unit."""
    share_suspects: float
    """Of the suspects, with the mark."""
    share_counterparts: float
    """Of the counterparts, with the mark."""
    n_counterparts: int
    p_value: float
    """That the mark is natural: see `p_natural`."""
    profile: tuple[float, ...]
    """[B] energy of the marked pictures in each band over that of the other suspects (ratio of geometric means)."""
    strongest: int
    """The band, 0 .. B - 1, that differs most from picture to picture's usual spread."""

    def described(self) -> dict[str, Any]:
        """For summary.json: all but the scores, and the mark in words."""
        told = asdict(self)
        del told["score"]
        return told | {"sentence": self.sentence(), "profile": list(self.profile)}

    def sentence(self) -> str:
        """The mark in words."""
        band, channel = self.strongest % N_BANDS, self.strongest // N_BANDS
        detail = ("coarse", "medium", "fine")[band * 3 // N_BANDS]
        ratio = self.profile[self.strongest]
        amount = f"{ratio:,.1f} times" if ratio >= 1 else f"{ratio:.0%} of"
        among = round(self.share_counterparts * self.n_counterparts)
        return (
            f"The flagged images share a mark: {amount} the energy of the other suspects in {detail} detail "
            f"({CHANNELS[channel]}). Marked and unmarked suspects lie {self.separation:.1f} standard deviations "
            f"apart, and {among} of {self.n_counterparts} clean test images have the mark."
        )


def spectra(pixels: NDArray[np.uint8]) -> Vector:
    """How much detail of each fineness pictures hold: log mean energy by band of frequency and channel.

    pixels: [N, H, W, C] with C 1 or 3 -> [N, B], B = 8 C. Energy: squared coefficients of the orthonormal cosine
    transform, in squared grey levels.
    """
    height, width, channels = pixels.shape[1:]
    across = np.maximum(np.arange(height)[:, None] / height, np.arange(width)[None, :] / width)
    band = np.minimum((across * N_BANDS).astype(np.int64), N_BANDS - 1).ravel()
    members = np.zeros((len(band), N_BANDS), dtype=np.float32)
    members[np.arange(len(band)), band] = 1
    members /= np.maximum(members.sum(0), 1)
    found = np.empty((len(pixels), (1 if channels == 1 else 3) * N_BANDS), dtype=np.float32)
    for start in range(0, len(pixels), _BLOCK):
        planes = _planes(pixels[start : start + _BLOCK].astype(np.float32))
        energy = np.square(dctn(planes, axes=(-2, -1), norm="ortho"))
        by_band = energy.reshape(*energy.shape[:2], -1) @ members
        found[start : start + _BLOCK] = np.log(by_band + _FLOOR).reshape(len(planes), -1)
    return found


def pictures_of(store: Store, packed: PackedDataset, label: int, suspects: Suspects) -> Pictures | None:
    """The spectra that belong to a label, made at the first question and kept beside the store.

    None where there are too few counterparts to tell a mark from a natural group, or too many suspects to look at.
    """
    pixels, labels = packed.train
    rows = np.arange(len(labels)) if suspects == "all" else np.flatnonzero(labels == label)
    same = counterpart_rows(packed.test[1], label, suspects)
    height, width = pixels.shape[1:3]
    if len(same) < MIN_COUNTERPARTS or not 0 < len(rows) * height * width <= MAX_PIXELS:
        return None
    path = store.path / f"spectra-{_FORMAT}-{suspects}-{label}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return Pictures(file["suspects"], file["counterparts"])
    made = Pictures(_of_rows(pixels, rows), _of_rows(packed.test[0], same))
    partial = path.with_name(f"{path.stem}.{os.getpid()}.part.npz")
    np.savez(partial, suspects=made.suspects, counterparts=made.counterparts)
    partial.replace(path)
    return made


@dataclass(frozen=True)
class Joined:
    """What both views say together."""

    mark: Mark
    posterior: Floats
    """[S] probability of being poison."""
    counterparts: Floats
    """[T] probability that each counterpart is of the poison's kind."""
    rule_posterior: Floats
    """[S] the posterior that each image would have without a verdict of its own."""


def join(
    rule_posterior: Floats, upper_weight: float, counterparts: Floats, pictures: Pictures, known: Floats
) -> Joined | None:
    """Join what the gradients say with what the pictures share; None where they share nothing.

    rule_posterior: [S] the suspects' by their gradients, formed with the prior `upper_weight`, whatever was judged.
    counterparts: [T] of theirs. known: [S] 1 and 0 for images that a reviewer judged, nan for the others.
    """
    posterior = np.where(np.isnan(known), rule_posterior, known)
    called = posterior > 0.5
    if called.sum() < MIN_MARKED:
        return None
    discriminant = _Discriminant(pictures)
    by_gradients = _ratio(rule_posterior, upper_weight)
    joined = posterior
    for _ in range(N_ROUNDS):
        scores, clean = discriminant.scores(joined)
        mixture = fit(scores, joined, known=known, clean=clean)
        if mixture.upper_mean <= mixture.lower_mean:
            return None
        marked = mixture.posterior(scores)
        prior = float(np.clip(joined.mean(), 1 / len(joined), 1 - 1 / len(joined)))
        unjudged = _side(by_gradients + _ratio(marked, mixture.upper_weight), prior)
        before, joined = joined, np.where(np.isnan(known), unjudged, known)
        if float(np.abs(joined - before).max()) < _SETTLED:
            break
    mark = _describe(scores, clean, marked, mixture, pictures)
    shared = float(marked[called].mean()) >= LEAST_SHARED
    if mark.p_value > MAX_NATURAL or not shared or (joined > 0.5).sum() < MIN_MARKED:
        return None
    theirs = _ratio(counterparts, upper_weight) + _ratio(mixture.posterior(clean), mixture.upper_weight)
    return Joined(mark, joined, _side(theirs, prior), unjudged)


class _Discriminant:
    """Fisher's discriminant on standardised bands, cross-fitted: a fold is scored by what the others taught."""

    def __init__(self, pictures: Pictures) -> None:
        rows = np.concatenate([pictures.suspects, pictures.counterparts]).astype(np.float64)
        self._rows = (rows - rows.mean(0)) / np.maximum(rows.std(0), 1e-6)
        self._n = len(pictures.suspects)
        rng = np.random.default_rng(0)
        sizes = self._n, len(pictures.counterparts)
        self._fold = np.concatenate([rng.permutation(size) % N_FOLDS for size in sizes])

    def scores(self, posterior: Floats) -> tuple[Floats, Floats]:
        """Of the suspects [S] and of the counterparts [T], from the suspects' probabilities of being poison [S].

        In standard deviations within the groups; 0 lies midway between the two means of those who taught.
        """
        poison = np.concatenate([posterior, np.zeros(len(self._rows) - self._n)])
        parts = [_Moments.of(self._rows[self._fold == k], poison[self._fold == k]) for k in range(N_FOLDS)]
        everyone = sum(parts[1:], parts[0])
        scores = np.empty(len(self._rows))
        for k, part in enumerate(parts):
            weights, middle = (everyone - part).discriminant()
            scores[self._fold == k] = self._rows[self._fold == k] @ weights - middle
        return scores[: self._n], scores[self._n :]


@dataclass(frozen=True)
class _Moments:
    """Sums over some images, poison (weight p) and clean (1 - p) apart."""

    mass: Floats
    """[2]"""
    total: Floats
    """[2, B]"""
    square: Floats
    """[B, B] over both."""

    @classmethod
    def of(cls, rows: Floats, posterior: Floats) -> _Moments:
        weights = np.stack([posterior, 1 - posterior])
        return cls(weights.sum(1), weights @ rows, rows.T @ rows)

    def __add__(self, other: _Moments) -> _Moments:
        return _Moments(self.mass + other.mass, self.total + other.total, self.square + other.square)

    def __sub__(self, other: _Moments) -> _Moments:
        return _Moments(self.mass - other.mass, self.total - other.total, self.square - other.square)

    def discriminant(self) -> tuple[Floats, float]:
        """Weights [B], and the point midway between the two means."""
        mass = np.maximum(self.mass, 1e-9)
        means = self.total / mass[:, None]
        within = (self.square - (means * mass[:, None]).T @ means) / mass.sum()
        weights = np.linalg.solve(within + _RIDGE * np.eye(len(within)), means[0] - means[1])
        weights /= max(math.sqrt(float(weights @ within @ weights)), 1e-12)
        return weights, float(means.mean(0) @ weights)


def _describe(scores: Floats, clean: Floats, marked: Floats, mixture: Mixture, pictures: Pictures) -> Mark:
    spread = max(float(clean.std()), 1e-9)
    among, share = mixture.posterior(clean) > 0.5, float((marked > 0.5).mean())
    poison, rest = marked, 1 - marked
    rows = pictures.suspects.astype(np.float64)
    means = [weights @ rows / max(float(weights.sum()), 1e-9) for weights in (poison, rest)]
    usual = np.sqrt(rest @ np.square(rows - means[1]) / max(float(rest.sum()), 1e-9))
    difference = means[0] - means[1]
    return Mark(
        score=((scores - clean.mean()) / spread).astype(np.float32),
        separation=(mixture.upper_mean - mixture.lower_mean) / spread,
        share_suspects=share,
        share_counterparts=float(among.mean()),
        n_counterparts=len(among),
        p_value=p_natural(share, among) if share > 0 else 1.0,
        profile=tuple(np.exp(difference).tolist()),
        strongest=int(np.argmax(np.abs(difference) / np.maximum(usual, 1e-6))),
    )


def _ratio(posterior: Floats, weight: float) -> Floats:
    """log of the likelihood ratio behind posteriors that were formed with a prior weight, see _VETO and _SURE."""
    odds = np.log(np.maximum(posterior, 1e-300)) - np.log(np.maximum(1 - posterior, 1e-300))
    prior = min(max(weight, 1e-9), 1 - 1e-9)
    ratio = np.minimum(odds - math.log(prior / (1 - prior)), _SURE)
    beyond = np.maximum(-ratio - _VETO, 0)
    return np.where(beyond > 0, -_VETO - _BEYOND * np.log1p(beyond), ratio)


def _side(ratio: Floats, prior: float) -> Floats:
    """Posteriors from log likelihood ratios and a prior."""
    return np.asarray(1 / (1 + np.exp(-(ratio + math.log(prior / (1 - prior))))))


def _of_rows(pixels: NDArray[np.uint8], rows: NDArray[np.int64]) -> Vector:
    """Spectra of some pictures, read in blocks."""
    return np.concatenate(
        [spectra(np.asarray(pixels[rows[start : start + _BLOCK]])) for start in range(0, len(rows), _BLOCK)]
    )


def _planes(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, H, W, C] in grey levels -> [N, 1 or 3, H, W] in CHANNELS."""
    if x.shape[-1] == 1:
        return x[..., 0][:, None]
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    return np.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], axis=1)
