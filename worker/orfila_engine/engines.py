"""What an investigation needs of an engine, and the fingerprint index as one.

An engine knows every training image's gradient g_i in the metric of an inverse Fisher F^-1. Two kinds of question are
put to it. Those of a case are answered as exactly as the engine can: influences, the suspects' unit gradients, the
products with a direction. Those of the evidence test and of other work that repeats a case many times go to its
`store`, where every gradient is one short row: for the fingerprint index that is the index itself, for EK-FAC a sketch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard
from orfila_engine.collapse import query_direction
from orfila_engine.evaluation import to_tensor
from orfila_engine.fingerprint import FingerprintIndex
from orfila_engine.progress import Progress, quiet
from orfila_engine.questions import Asked, distinct
from orfila_engine.suspects import FingerprintSuspects, SuspectGradients, Vector

Direction = TypeVar("Direction")
EngineName = Literal["fingerprint", "ekfac"]


class Store(Protocol):
    """Gradients of n training images as short rows, made once and kept in a directory."""

    @property
    def path(self) -> Path:
        """The directory; what is computed once for these rows may be kept there."""
        ...

    @property
    def n(self) -> int:
        """Number of training images."""
        ...

    @property
    def self_influence(self) -> Vector:
        """[n] g_i . F^-1 . g_i."""
        ...

    def query(self, model: nn.Module, card: ModelCard, images: Tensor, labels: Tensor) -> Vector:
        """Rows [Q, D] for the measurement at images [Q, C, H, W] in [0, 1] with labels [Q]."""
        ...

    def suspects(self, indices: NDArray[np.int64]) -> FingerprintSuspects:
        """Unit rows of some training images. indices: [S] ascending."""
        ...


class InfluenceEngine(Protocol[Direction]):
    """See the module."""

    @property
    def name(self) -> EngineName:
        """As the command line and the API call it."""
        ...

    @property
    def meta(self) -> dict[str, Any]:
        """`model` and `data`: the digests of what it was made from; data may be empty."""
        ...

    @property
    def n(self) -> int:
        """Number of training images."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a gradient as the engine sees it."""
        ...

    @property
    def self_influence(self) -> Vector:
        """[n] g_i . F^-1 . g_i."""
        ...

    @property
    def store(self) -> Store:
        """The training images' gradients as short rows."""
        ...

    def prepare(self, progress: Progress = quiet) -> None:
        """Make what `store` and `self_influence` need, where it is not made yet."""
        ...

    def direction(self, asked: Sequence[Asked]) -> Direction:
        """The collapse direction of one or several affected images, of unit length."""
        ...

    def suspects(self, indices: NDArray[np.int64], progress: Progress = quiet) -> SuspectGradients[Direction]:
        """Unit gradients of some training images. indices: [S] ascending."""
        ...

    def counterparts(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Callable[[Direction], Vector]:
        """What gives the cosines [T] of other images' gradients with a direction.

        pixels: uint8 [T, H, W, C]; labels: [T].
        """
        ...

    def scores(
        self, asked: Sequence[Asked], direction: Direction, progress: Progress = quiet
    ) -> tuple[NDArray[np.float32], Vector]:
        """Influence of every training image on every query [A, n, 1 + n_b], and g_i . F^-1 . v [n]."""
        ...


class FingerprintEngine:
    """A fingerprint index as an engine. A direction is a vector [D].

    Whoever needs the products of the projected gradients themselves, g_i . h_q with h_q that of each affected image,
    asks for them: the reading of the store that finds the scores finds these too, and leaves them in `own_products`.
    """

    name: Literal["fingerprint"] = "fingerprint"

    def __init__(
        self, index: FingerprintIndex, model: nn.Module, card: ModelCard, *, with_own_products: bool = False
    ) -> None:
        self._with_own_products = with_own_products
        self.own_products: Vector | None = None
        """[n, A]"""
        self.store, self._model, self._card = index, model, card
        self.meta, self.n, self.dimension = index.meta, index.n, index.dimension
        self.self_influence = index.self_influence

    def prepare(self, progress: Progress = quiet) -> None:
        """Nothing: an index is whole once it is built."""

    def direction(self, asked: Sequence[Asked]) -> Vector:
        """See `InfluenceEngine`."""
        return query_direction([a.fingerprints for a in asked])

    def suspects(self, indices: NDArray[np.int64], progress: Progress = quiet) -> FingerprintSuspects:
        """See `InfluenceEngine`; answered from memory, so there is no progress to report."""
        return self.store.suspects(indices)

    def counterparts(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Callable[[Vector], Vector]:
        """See `InfluenceEngine`."""
        rows = self.store.query(self._model, self._card, to_tensor(pixels), torch.from_numpy(np.array(labels)))
        lengths = np.linalg.norm(rows, axis=1)
        unit = np.divide(rows, lengths[:, None], out=np.zeros_like(rows), where=lengths[:, None] > 0)
        return lambda direction: np.asarray(unit @ direction)

    def scores(
        self, asked: Sequence[Asked], direction: Vector, progress: Progress = quiet
    ) -> tuple[NDArray[np.float32], Vector]:
        """See `InfluenceEngine`; one reading of the store."""
        rows = np.concatenate([a.fingerprints for a in asked])
        first, again = distinct([row.tobytes() for row in rows])
        vectors = self.store.adjoint(np.concatenate([rows[first], direction[None]]))
        if self._with_own_products:
            own = self.store.whitening.unwhiten(torch.from_numpy(np.stack([a.fingerprints[0] for a in asked])))
            vectors = np.concatenate([vectors, own.numpy()])
        products = self.store.products(vectors)
        if self._with_own_products:
            self.own_products = products[:, len(first) + 1 :].copy()
        influences = products[:, again].reshape(self.n, len(asked), -1).transpose(1, 0, 2)
        return influences, products[:, len(first)].copy()
