"""EK-FAC influence on any number of questions, from passes over the training set in memory that does not grow with it.

The factors are made once and kept in a directory. The first question's pass also finds every image's self-influence
and a sketch of its gradient (see `sketch`); further questions cost one pass each. Refinement of a direction needs
passes over the suspects only. What is computed where:

    influence         a pass over the training set; per-example gradients of one layer at a time times all questions
    cosines           a pass over some images; g_i . v is one convolution more in each layer, and no gradient is formed
    contrast          a pass over some images; one weight gradient of a weighted loss
    evidence test     the sketch
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.ekfac import sketch
from orfila_engine.ekfac.factors import EkfacFactors
from orfila_engine.ekfac.passes import Images, batch_size_for, collect, scaled_basis
from orfila_engine.evaluation import to_tensor
from orfila_engine.gradients.hooked import HookedLayer
from orfila_engine.gradients.objectives import Objective, cross_entropy, measurement
from orfila_engine.progress import Progress, part, quiet
from orfila_engine.suspects import FingerprintSuspects, Vector

if TYPE_CHECKING:
    from orfila_engine.questions import Asked

QUERY_BYTES = 2_500_000_000
"""Memory for the questions of one pass: 51 of a ResNet-18. More questions take more passes."""

ByLayer = dict[str, Tensor]
"""[..., g, O, I] by layer name, in the eigenbasis."""


@dataclass(frozen=True)
class EkfacDirection:
    """A direction of unit length in the metric of F^-1, as a gradient in the eigenbasis."""

    gradient: ByLayer


class EkfacStore:
    """The sketches of an engine's training images, for many small questions: the same for `evidence` as an index."""

    def __init__(self, engine: EkfacEngine) -> None:
        self.path, self.meta, self.n, self._engine = engine.path, engine.meta, engine.n, engine
        self._rows, self._scales, self.self_influence = sketch.read(engine.path)
        if len(self._rows) != engine.n:
            raise ValueError(
                f"{engine.path} holds sketches of {len(self._rows)} images, not of {engine.n}; make it again"
            )

    def query(self, model: nn.Module, card: ModelCard, images: Tensor, labels: Tensor) -> Vector:
        """Sketches [Q, D] of the gradients of the measurement. images: [Q, C, H, W] in [0, 1]; labels: [Q].

        model and card are the engine's own; they are asked for because an index asks for them.
        """
        return self._engine.query(model, card, images, labels)

    def suspects(self, indices: NDArray[np.int64]) -> FingerprintSuspects:
        """Unit sketches of some training images. indices: [S] ascending."""
        of_rows = (self.self_influence / np.square(self._scales)).astype(np.float32)
        return FingerprintSuspects(self._rows, of_rows, indices)


@dataclass(frozen=True)
class EkfacEngine:
    """An engine of one model and its training images; see `build` and `open`."""

    path: Path
    meta: dict[str, Any]
    factors: EkfacFactors = field(repr=False)
    card: ModelCard = field(repr=False)
    pixels: NDArray[np.uint8] = field(repr=False)
    """[n, H, W, C] training images."""
    labels: NDArray[np.int64] = field(repr=False)
    """[n] their labels."""
    query_bytes: int = field(default=QUERY_BYTES, repr=False)
    answers: NDArray[np.float32] | None = field(default=None, repr=False)
    """[n, A (1 + n_b)] influences of the questions that `scores` will be asked, where parts were answered before."""
    half_batch: bool = field(default=False, repr=False)
    """Whether passes take half as many images at a time, see `batch_size_for`."""

    name: Literal["ekfac"] = field(default="ekfac", init=False)

    @property
    def n(self) -> int:
        """Number of training images."""
        return len(self.pixels)

    @property
    def dimension(self) -> int:
        """Number of parameters that take part."""
        return sum(f.eigenvalues.numel() for f in self.factors.layers.values())

    @property
    def has_store(self) -> bool:
        """Whether self-influences and sketches are made."""
        return sketch.is_written(self.path)

    def prepare(self, progress: Progress = quiet) -> None:
        """Make self-influences and sketches, where no question made them before: a pass over the training set."""
        if not self.has_store:
            self._influence({}, np.arange(self.n), sketch.SketchWriter(self.path, self.n), progress)

    @cached_property
    def store(self) -> EkfacStore:
        """Self-influences and sketches; see `prepare`, which this calls."""
        self.prepare()
        return EkfacStore(self)

    @property
    def self_influence(self) -> Vector:
        """[n] g_i . F^-1 . g_i."""
        return self.store.self_influence

    def influence(self, asked: Sequence[Asked], progress: Progress = quiet) -> NDArray[np.float32]:
        """Influence of every training image on every query, [A, n, 1 + n_b].

        One pass for as many queries as fit in `query_bytes`. Where `store` is not made yet, the first pass makes it.
        """
        return self._split(self._answer(asked, None, progress, *self._everything()), asked)

    def scores(
        self, asked: Sequence[Asked], direction: EkfacDirection, progress: Progress = quiet
    ) -> tuple[NDArray[np.float32], Vector]:
        """`influence` and `products` of a direction with all images in the same passes: [A, n, 1 + n_b] and [n]."""
        if self.answers is not None:
            return self._split(self.answers, asked), self.products(direction, progress=progress)
        found = self._answer(asked, direction, progress, *self._everything())
        return self._split(found[:, :-1], asked), np.ascontiguousarray(found[:, -1])

    def answer_part(
        self, asked: Sequence[Asked], start: int, stop: int, store: tuple[Path, int] | None, progress: Progress = quiet
    ) -> NDArray[np.float32]:
        """Influences of the training images start .. stop - 1 on every query, [stop - start, A (1 + n_b)].

        store: folder and number of a part of the store that is to be made in the same pass.
        """
        writer = None if store is None else sketch.SketchWriter(store[0], stop - start, store[1])
        return self._answer(asked, None, progress, np.arange(start, stop), writer)

    def direction(self, asked: Sequence[Asked]) -> EkfacDirection:
        """The collapse direction of one or several affected images, see `collapse.query_direction`."""
        total = self._zero()
        for question in asked:
            weights = torch.full((len(question.labels),), -1 / (len(question.labels) - 1))
            weights[0] = 1
            x = normalise(question.inputs.to(self.factors.hooked.device), self.card)
            shift = self._zero()
            self._add_total(shift, x, torch.from_numpy(question.labels), _weighted(measurement, weights))
            length = self._length(shift)
            for name in total:
                total[name] += shift[name] / max(length, 1e-30)
        return self._unit(total)

    def products(
        self, direction: EkfacDirection, indices: NDArray[np.int64] | None = None, progress: Progress = quiet
    ) -> Vector:
        """g_i . F^-1 . v of the training images `indices` (all by default), [S]."""
        rows = np.arange(self.n) if indices is None else indices
        return self._along(direction, self._images(rows), torch.from_numpy(self.labels), cross_entropy, progress)

    def suspects(self, indices: NDArray[np.int64], progress: Progress = quiet) -> EkfacSuspects:
        """Unit gradients of some training images, for `collapse`. indices: [S] ascending."""
        return EkfacSuspects(self, indices, progress)

    def combine(
        self, indices: NDArray[np.int64], weights: NDArray[np.float32], progress: Progress = quiet
    ) -> EkfacDirection:
        """The direction sum_i weights_i g_i of training images, of unit length. indices, weights: [S]."""
        total, done = self._zero(), 0
        for at, x in self._images(indices):
            own = torch.from_numpy(weights[done : done + len(at)])
            self._add_total(total, x, self._labels(at), _weighted(cross_entropy, own))
            done += len(at)
            progress("gradient of the contrast", done / len(indices))
        return self._unit(total)

    def inner(self, one: EkfacDirection, other: EkfacDirection) -> float:
        """Cosine of two directions."""
        solved = self._solved(other.gradient)
        return sum(float((g.double() * solved[name]).sum()) for name, g in one.gradient.items())

    def counterparts(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Callable[[EkfacDirection], Vector]:
        """What gives the cosines [T] of other images' gradients with a direction.

        pixels: uint8 [T, H, W, C]; labels: [T]. Their lengths are found now, in a pass that rotates; each question is
        a pass that does not.
        """
        inputs, targets = to_tensor(pixels).float() / 255, torch.from_numpy(np.array(labels))
        _, lengths = self._sketched(inputs, targets)
        inverse = lengths.clamp_min(1e-30).rsqrt().numpy() * (lengths > 0).numpy()
        rows = np.arange(len(pixels))

        def cosines(direction: EkfacDirection) -> Vector:
            images = replace(self._images(rows), pixels=pixels)
            return np.asarray(self._along(direction, images, targets, measurement, quiet) * inverse, dtype=np.float32)

        return cosines

    def query(self, model: nn.Module, card: ModelCard, images: Tensor, labels: Tensor) -> Vector:
        """See `EkfacStore`; for those who ask before there is a store."""
        return self._sketched(images, labels)[0].numpy()

    # In the eigenbasis

    @cached_property
    def _damped(self) -> ByLayer:
        return {name: f.damped(self.factors.spec.damping) for name, f in self.factors.layers.items()}

    @cached_property
    def _sketch(self) -> sketch.Sketch:
        return sketch.Sketch({name: d.rsqrt().float() for name, d in self._damped.items()}, self.factors.spec.seed)

    @cached_property
    def _bases(self) -> dict[str, tuple[Tensor, Tensor]]:
        """By layer: U, and V with the folded scale."""
        return {
            layer.name: (
                self.factors.layers[layer.name].input_basis,
                scaled_basis(layer, self.factors.layers[layer.name].output_basis),
            )
            for layer in self.factors.hooked.layers
        }

    def _zero(self) -> ByLayer:
        return {name: torch.zeros_like(f.eigenvalues) for name, f in self.factors.layers.items()}

    def _solved(self, gradients: ByLayer) -> ByLayer:
        """F^-1 of gradients."""
        return {name: g / self._damped[name] for name, g in gradients.items()}

    def _length(self, gradient: ByLayer) -> float:
        return math.sqrt(sum(float((g.double().square() / self._damped[n]).sum()) for n, g in gradient.items()))

    def _unit(self, gradient: ByLayer) -> EkfacDirection:
        length = max(self._length(gradient), 1e-30)
        return EkfacDirection({name: g / length for name, g in gradient.items()})

    def _to_parameters(self, rotated: ByLayer) -> ByLayer:
        """Vectors [Q, g, O, I] whose products with gradients as a pass gives them are those in the eigenbasis."""
        return {
            name: self._bases[name][1] @ each.reshape(-1, *each.shape[-3:]) @ self._bases[name][0].mT
            for name, each in rotated.items()
        }

    def _rotated(self, layer: HookedLayer, a: Tensor, b: Tensor, n: int) -> Tensor:
        return self.factors.contraction(layer).rotated(a, b, n, *self._bases[layer.name])

    def _gradients(self, images: Tensor, labels: Tensor) -> ByLayer:
        """Gradients of the measurement, [Q, g, O, I] by layer. Raises ValueError when one is not finite."""
        hooked, size = self.factors.hooked, self._batch_size
        out = {
            name: f.eigenvalues.new_zeros(len(labels), *f.eigenvalues.shape) for name, f in self.factors.layers.items()
        }
        for start in range(0, len(labels), size):
            x = normalise(images[start : start + size].to(hooked.device), self.card)
            at = slice(start, start + len(x))

            def keep(layer: HookedLayer, each: Tensor, at: slice = at) -> None:
                out[layer.name][at] = each

            collect(hooked, x, labels[at], measurement, partial(self._rotated, n=len(x)), keep)
        for each in out.values():
            _refuse_unfinite_query(each)
        return out

    def _add_total(self, total: ByLayer, x: Tensor, labels: Tensor, objective: Objective) -> None:
        """Add the gradient of the summed objective to `total`."""

        def receive(layer: HookedLayer, a: Tensor, b: Tensor) -> None:
            inputs, outputs = self._bases[layer.name]
            total[layer.name] += outputs.mT @ self.factors.contraction(layer).total(a, b) @ inputs

        self.factors.hooked.run(x, labels, objective, receive)

    def _sketched(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Sketches [Q, D] and squared lengths [Q] of the measurement's gradients, on the CPU."""
        hooked, size = self.factors.hooked, self._batch_size
        rows = torch.zeros(len(labels), sketch.LENGTH, device=hooked.device)
        squares = torch.zeros(len(labels), device=hooked.device)
        for start in range(0, len(labels), size):
            x = normalise(images[start : start + size].to(hooked.device), self.card)
            at = slice(start, start + len(x))

            def add(layer: HookedLayer, each: Tensor, at: slice = at) -> None:
                squares[at] += self._sketch.add(rows[at], layer.name, each.float())

            collect(hooked, x, labels[at], measurement, partial(self._rotated, n=len(x)), add)
        _refuse_unfinite_query(squares)
        return rows.cpu(), squares.cpu()

    # Over many images

    def _along(
        self, direction: EkfacDirection, images: Images, labels: Tensor, objective: Objective, progress: Progress
    ) -> Vector:
        """g_i . F^-1 . v of images [S]; labels are those of all that `images` takes its rows from."""
        vectors = {name: v[0] for name, v in self._to_parameters(self._solved(direction.gradient)).items()}
        contractions = {layer.name: self.factors.contraction(layer) for layer in self.factors.hooked.layers}
        found: list[Tensor] = []
        for number, (at, x) in enumerate(images):
            sums = torch.zeros(len(at), dtype=self.factors.hooked.dtype, device=x.device)

            def receive(layer: HookedLayer, a: Tensor, b: Tensor, sums: Tensor = sums) -> None:
                sums += contractions[layer.name].along(a, b, len(sums), vectors[layer.name])

            self.factors.hooked.run(x, labels[torch.from_numpy(at)], objective, receive)
            found.append(sums.float().cpu())
            progress("gradients along a direction", min(1.0, (number + 1) * images.batch_size / len(images.rows)))
        return torch.cat(found).numpy()

    def _answer(
        self,
        asked: Sequence[Asked],
        direction: EkfacDirection | None,
        progress: Progress,
        rows: NDArray[np.int64],
        writer: sketch.SketchWriter | None,
    ) -> NDArray[np.float32]:
        """[rows, A (1 + n_b)] influences, and a last column for the direction if there is one.

        writer: of the store, for the same rows; the first pass makes it.
        """
        inputs = torch.cat([a.inputs for a in asked])
        labels = torch.from_numpy(np.concatenate([a.labels for a in asked]))
        size = max(1, self.query_bytes // (self.dimension * self.factors.hooked.dtype.itemsize) - 1)
        columns: list[NDArray[np.float32]] = []
        for start in range(0, len(labels), size):
            stop = min(start + size, len(labels))
            gradients = self._gradients(inputs[start:stop], labels[start:stop])
            if direction is not None and stop == len(labels):
                gradients = {name: torch.cat([g, direction.gradient[name][None]]) for name, g in gradients.items()}
            reported = part(progress, start / len(labels), stop / len(labels))
            columns.append(self._influence(self._solved(gradients), rows, writer, reported))
            writer = None
        return np.concatenate(columns, axis=1)

    def _split(self, found: NDArray[np.float32], asked: Sequence[Asked]) -> NDArray[np.float32]:
        return np.ascontiguousarray(found.reshape(self.n, len(asked), -1).transpose(1, 0, 2))

    def _everything(self) -> tuple[NDArray[np.int64], sketch.SketchWriter | None]:
        """All training images, and the writer of their store where there is none."""
        writer = None if self.has_store else sketch.SketchWriter(self.path, self.n)
        return np.arange(self.n), writer

    def _images(self, rows: NDArray[np.int64]) -> Images:
        return Images(self.factors.hooked, self.card, self.pixels, rows, self._batch_size)

    @property
    def _batch_size(self) -> int:
        return batch_size_for(self.factors.hooked, half=self.half_batch)

    def _labels(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(self.labels[rows])

    def _influence(
        self, solved: ByLayer, chosen: NDArray[np.int64], writer: sketch.SketchWriter | None, progress: Progress
    ) -> NDArray[np.float32]:
        """Products of the gradients of some training images with F^-1 h for Q questions, [chosen, Q].

        writer: of self-influences and sketches, which are found too, and for which the gradients are rotated; without
        it, only the questions are.
        """
        with_store = writer is not None
        vectors = solved if with_store else self._to_parameters(solved)
        columns = {name: v.flatten(1).mT for name, v in vectors.items()}
        n_queries = next((c.shape[1] for c in columns.values()), 0)
        out, done = np.empty((len(chosen), n_queries), dtype=np.float32), 0
        for at, x in self._images(chosen):
            n = len(at)
            scores = torch.zeros(n, n_queries, dtype=self.factors.hooked.dtype, device=x.device)
            own = torch.zeros(n, device=x.device)
            rows = torch.zeros(n if with_store else 0, sketch.LENGTH, device=x.device)

            def form(layer: HookedLayer, a: Tensor, b: Tensor, n: int = n) -> Tensor:
                if with_store:
                    return self._rotated(layer, a, b, n)
                return self.factors.contraction(layer).gradients(a, b, n)

            def use(
                layer: HookedLayer, each: Tensor, scores: Tensor = scores, own: Tensor = own, rows: Tensor = rows
            ) -> None:
                if columns:
                    scores.addmm_(each.flatten(1), columns[layer.name])
                if with_store:
                    own += self._sketch.add(rows, layer.name, each.float())

            collect(self.factors.hooked, x, self._labels(at), cross_entropy, form, use)
            out[done : done + n] = scores.float().cpu().numpy()
            done += n
            if writer is not None:
                _refuse_unfinite(own, at)
                writer.write(rows, own)
            progress("influences", done / len(chosen))
        if writer is not None:
            writer.close()
        return out


class EkfacSuspects:
    """Suspects of an EK-FAC engine: see `SuspectGradients`. Each question is a pass over the suspects."""

    def __init__(self, engine: EkfacEngine, indices: NDArray[np.int64], progress: Progress = quiet) -> None:
        self.indices = indices
        self._engine, self._progress = engine, progress
        lengths = np.sqrt(engine.self_influence[indices])
        self._factors = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)

    def cosines(self, direction: EkfacDirection) -> Vector:
        """[S]"""
        found = self._engine.products(direction, self.indices, self._progress) * self._factors
        return np.asarray(found, dtype=np.float32)

    def contrast(self, weights: Vector) -> EkfacDirection:
        """sum_i weights_i u_i, of unit length. weights: [S]."""
        return self._engine.combine(self.indices, weights * self._factors, self._progress)

    def inner(self, one: EkfacDirection, other: EkfacDirection) -> float:
        """Cosine of two directions."""
        return self._engine.inner(one, other)


def _weighted(objective: Objective, weights: Tensor) -> Objective:
    return lambda logits, labels: objective(logits, labels) * weights.to(logits)


def _refuse_unfinite_query(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise ValueError("the gradient at a queried image is not finite; the model overflows on it")


def _refuse_unfinite(values: Tensor, rows: NDArray[np.int64]) -> None:
    finite = torch.isfinite(values)
    if not bool(finite.all()):
        bad = int(rows[int((~finite).nonzero()[0])])
        raise ValueError(
            f"the gradient of training image {bad} is not finite: the model overflows on it; "
            "use a checkpoint from before the training diverged"
        )
