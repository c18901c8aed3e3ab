"""Activation Clustering (Chen 2018, arXiv 1811.03728): poison forms a cluster of its own among a class's activations.

For each class: the activations of the last hidden layer, reduced to 10 components, 2-means, and a test on the
silhouette of the two clusters; where it passes, the smaller cluster is poison. The authors' own implementation (IBM's
Adversarial Robustness Toolbox, `ActivationDefence`) reduces by PCA, their paper by ICA. Silhouettes of .10 to .15 are
the paper's border between clean and poisoned classes; .15 is taken for CIFAR-10.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import silhouette_score

from orfila_engine.detectors.base import Detected, DetectorInput, Need, by_class, detected

_SILHOUETTE_IMAGES = 2000
"""The silhouette compares every pair of images; of a larger class a sample is taken."""


@dataclass(frozen=True)
class ActivationClustering:
    """2-means on the penultimate features of each class."""

    n_components: int = 10
    silhouette: float = 0.15
    """A class whose two clusters have at least this silhouette holds poison."""
    reduction: Literal["pca", "ica"] = "pca"
    seed: int = 0

    name: ClassVar[str] = "activation-clustering"
    title: ClassVar[str] = "Activation Clustering"
    source: ClassVar[str] = "Chen 2018, arXiv 1811.03728"
    needs: ClassVar[tuple[Need, ...]] = ("features",)

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = silhouette of the class times the position between the two centres.

        The position is 0 half way between them and 1/2 at the centre of the smaller cluster, so that a class orders its
        images as the clustering does, and clearly split classes come first.
        """
        scores = np.zeros(evidence.n, dtype=np.float32)
        flags = np.zeros(evidence.n, dtype=bool)
        for rows in by_class(evidence.labels, len(evidence.card.classes)):
            if len(rows) <= self.n_components:
                continue  # nothing to cluster
            split = self.split(evidence.features[rows])
            scores[rows] = split.silhouette * split.position
            flags[rows] = (split.position > 0) & (split.silhouette >= self.silhouette)
        return detected(scores, flags)

    def split(self, features: NDArray[np.float32]) -> Split:
        """Two clusters of the features [m, F] of one class, m > n_components."""
        reduced = self._reduce(features.astype(np.float64))
        clusters = KMeans(2, n_init=10, random_state=self.seed).fit(reduced)
        assigned = clusters.labels_
        if len(np.unique(assigned)) < 2:
            return Split(np.full(len(features), -1.0), 0.0)
        small = int(np.bincount(assigned, minlength=2).argmin())
        near, far = clusters.cluster_centers_[small], clusters.cluster_centers_[1 - small]
        distance = near - far
        position = (reduced - (near + far) / 2) @ distance / float(distance @ distance)
        size = min(_SILHOUETTE_IMAGES, len(features))
        value = silhouette_score(reduced, assigned, sample_size=size, random_state=self.seed)
        return Split(position, float(value))

    def _reduce(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        n_components = min(self.n_components, features.shape[1])
        if self.reduction == "pca":
            return np.asarray(PCA(n_components, random_state=self.seed).fit_transform(features))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last iterate is as good as published
            ica = FastICA(n_components, whiten="unit-variance", random_state=self.seed, max_iter=1000, tol=0.005)
            return np.asarray(ica.fit_transform(features))


@dataclass(frozen=True)
class ActivationClusteringIca(ActivationClustering):
    """The same on independent components, as the paper words it."""

    reduction: Literal["pca", "ica"] = "ica"

    name: ClassVar[str] = "activation-clustering-ica"
    title: ClassVar[str] = "Activation Clustering, ICA"


@dataclass(frozen=True)
class Split:
    """Two clusters of a class of m images."""

    position: NDArray[np.float64]
    """[m] along the line of the centres: above 0 nearer to that of the smaller cluster."""
    silhouette: float
