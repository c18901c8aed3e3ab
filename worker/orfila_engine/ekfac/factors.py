"""The factors: eigenvectors of each layer's Kronecker factors and the corrected eigenvalues, from two passes.

With A = E[sum_p a_p a_p^T] = U D_A U^T and B = E[sum_p b_p b_p^T] = V D_B V^T, the Fisher of a layer is approximated by
(V x U) diag(Lambda) (V x U)^T with Lambda_jk = E[(V^T G U)_jk^2], the second moments of the gradients in the Kronecker
eigenbasis (George 2018, arXiv 1806.03884, equation 10). The first pass over the images gives A and B, the second
Lambda. Expectations are over images and over labels drawn from the model's own prediction, as the Fisher asks for; the
true labels would give the empirical Fisher, another matrix. Layers are independent of each other, and so are the groups
of a grouped convolution.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard
from orfila_engine.devices import select_device
from orfila_engine.ekfac.contraction import Contraction
from orfila_engine.ekfac.passes import Images, batch_size_for, collect, scaled_basis
from orfila_engine.fingerprint.digest import model_digest
from orfila_engine.gradients.hooked import HookedLayer, HookedModel
from orfila_engine.gradients.layers import LeftOut, Trace
from orfila_engine.gradients.objectives import Objective, cross_entropy
from orfila_engine.progress import Progress, part, quiet

MAX_FAN = 16_384
"""A layer with more inputs or outputs is left out: its Kronecker factor alone would take gigabytes."""
PART_IMAGES = 2_048
"""Drawn images whose sums are taken by themselves."""
Moments = dict[str, Tensor]
"""See `second_moments`."""
Bases = dict[str, tuple[Tensor, Tensor]]
"""Layer name -> (U [g, I, I], V [g, O, O])."""
Sums = dict[str, Tensor]
"""See `eigenvalue_sums`."""
_STORED = ("input_basis", "output_basis", "eigenvalues")


@dataclass(frozen=True)
class EkfacSpec:
    """Everything, beside model and data, that decides the factors."""

    damping: float = 0.1
    """Added to each layer's eigenvalues, as a share of their mean (Kronfluence's heuristic, Grosse 2023)."""
    labels: Literal["weighted", "sampled", "all"] = "weighted"
    """How the expectation over the model's own labels is taken. "sampled": one label for each image, drawn from its
    prediction, as is usual; "weighted": one label, drawn where its gradient matters and weighted accordingly, which has
    the same expectation and less variance (see `_weighted_label`); "all": every label with its probability, the exact
    expectation, at as many backward passes as there are classes."""
    n_images: int = 10_000
    """At most so many images, drawn at random, estimate the factors; influence is computed for all of them."""
    seed: int = 0
    """Of the drawn labels and images."""

    def __post_init__(self) -> None:
        if not self.damping > 0:
            raise ValueError(f"damping is {self.damping}; it must be positive (0.1 is usual)")
        if self.labels not in ("weighted", "sampled", "all"):
            raise ValueError(f"labels is '{self.labels}'; use weighted, sampled or all")
        if self.n_images < 1:
            raise ValueError(f"n_images is {self.n_images}; the factors need at least one image")


@dataclass(frozen=True)
class LayerFactors:
    """The factors of one layer. g groups, O outputs and I input coordinates of a group (see `contraction`)."""

    input_basis: Tensor
    """U [g, I, I], eigenvectors in columns."""
    output_basis: Tensor
    """V [g, O, O]"""
    eigenvalues: Tensor
    """Lambda [g, O, I], corrected."""

    def damped(self, damping: float) -> Tensor:
        """Lambda + damping times its mean, [g, O, I]; 1 for a layer that no image has a gradient in."""
        level = float(self.eigenvalues.mean())
        return self.eigenvalues + damping * level if level > 0 else torch.ones_like(self.eigenvalues)

    def rotate(self, gradients: Tensor) -> Tensor:
        """[..., g, O, I] into the eigenbasis."""
        return self.output_basis.mT @ gradients @ self.input_basis

    def rotate_back(self, rotated: Tensor) -> Tensor:
        """[..., g, O, I] from the eigenbasis."""
        return self.output_basis @ rotated @ self.input_basis.mT


@dataclass(frozen=True)
class EkfacFactors:
    """The factors of a model, and the hooked copy of it that gradients are taken from."""

    spec: EkfacSpec
    hooked: HookedModel = field(repr=False)
    layers: dict[str, LayerFactors] = field(repr=False)
    """By layer name, in the order of execution."""

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Parameters that have no part (normalisation and the like), and why."""
        return self.hooked.left_out

    def contraction(self, layer: HookedLayer) -> Contraction:
        """The sums over positions of a layer."""
        return Contraction(layer, self.hooked.dtype)

    def inverse_product(self, gradient: Mapping[str, Tensor], damping: float | None = None) -> dict[str, Tensor]:
        """F^-1 g in parameter space.

        gradient: by the names of `model.named_parameters()`, each of its parameter's shape. Parameters that the factors
        do not cover (normalisation and the like) come back as they are. damping: see `EkfacSpec`; the spec's by
        default.

        Raises ValueError when a layer's weight is given without its bias.
        """
        damping = self.spec.damping if damping is None else damping
        out = dict(gradient)
        for layer in self.hooked.layers:
            if layer.weight not in gradient:
                continue
            factors, contraction = self.layers[layer.name], self.contraction(layer)
            weight = gradient[layer.weight]
            bias = None if layer.bias is None else gradient.get(layer.bias)
            packed = contraction.pack(weight, bias).to(factors.eigenvalues)
            solved = factors.rotate_back(factors.rotate(packed) / factors.damped(damping))
            weight_, bias_ = contraction.unpack(solved)
            out[layer.weight] = weight_.to(weight)
            if layer.bias is not None and bias_ is not None:
                out[layer.bias] = bias_.to(weight)
        return out

    def save(self, folder: Path, model: str) -> None:
        """Write factors.safetensors and factors.json. model: its digest."""
        tensors = {}
        for name, layer in self.layers.items():
            for key in _STORED:
                tensors[f"{name}/{key}"] = getattr(layer, key).cpu().contiguous()
        save_file(tensors, folder / "factors.safetensors")
        (folder / "factors.json").write_text(json.dumps({"model": model, "spec": asdict(self.spec)}, indent=1))

    @classmethod
    def open(cls, folder: Path, model: nn.Module, card: ModelCard, device: str = "auto") -> EkfacFactors:
        """Read what `save` wrote, for the same model. Raises ValueError when the files are not those of this model."""
        try:
            about = json.loads((folder / "factors.json").read_text())
            if about["model"] != model_digest(model, card):
                raise ValueError(f"the EK-FAC factors in {folder} are of another model; make them for this one")
            spec = EkfacSpec(**about["spec"])
            tensors = load_file(folder / "factors.safetensors")
            hooked = hook(model, card, device)
            layers = {
                layer.name: LayerFactors(**{k: tensors[f"{layer.name}/{k}"].to(hooked.device) for k in _STORED})
                for layer in hooked.layers
            }
        except (OSError, KeyError, TypeError) as error:
            raise ValueError(f"{folder} holds no EK-FAC factors of this model ({error}); make them again") from error
        return cls(spec, hooked, layers)


def hook(model: nn.Module, card: ModelCard, device: str = "auto") -> HookedModel:
    """A model prepared for EK-FAC: every Conv2d and Linear layer that is not too wide."""
    return HookedModel(model, (card.channels, *card.input_size), select_device(device), _narrow)


def _narrow(names: Sequence[str], _traces: dict[str, Trace], model: nn.Module) -> tuple[list[str], str]:
    weights = {name: model.get_parameter(f"{name}.weight") for name in names}
    why = f"EK-FAC takes layers of at most {MAX_FAN:,} inputs and outputs"
    return [name for name, w in weights.items() if max(len(w), w[0].numel()) <= MAX_FAN], why


def fit_factors(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    spec: EkfacSpec | None = None,
    *,
    device: str = "auto",
    batch_size: int | None = None,
    progress: Progress = quiet,
) -> EkfacFactors:
    """Estimate the factors of a model from training images, uint8 [n, H, W, C] of the card's size.

    The labels drawn do not depend on the batch size. Raises ValueError when a layer's second moments are not finite;
    whatever `progress` raises passes through.
    """
    spec = spec or EkfacSpec()
    hooked = hook(model, card, device)
    images = drawn_images(hooked, card, pixels, spec, batch_size)
    parts = [replace(images, rows=images.rows[start:stop]) for start, stop in drawn_parts(len(pixels), spec)]

    def reported(first: float, last: float, number: int) -> Progress:
        share = (last - first) / len(parts)
        return part(progress, first + number * share, first + (number + 1) * share)

    moments = added(second_moments(each, spec, reported(0, 0.45, k)) for k, each in enumerate(parts))
    bases = bases_of(moments, hooked)
    sums = added(eigenvalue_sums(each, spec, bases, reported(0.5, 1, k)) for k, each in enumerate(parts))
    return factors_of(sums, bases, hooked, spec, len(images.rows))


def drawn_parts(n: int, spec: EkfacSpec) -> list[tuple[int, int]]:
    """Ranges (start, stop) of the drawn ones among n images whose sums are taken by themselves and then added.

    So the factors do not depend on who takes which sum.
    """
    n = min(n, spec.n_images)
    return [(start, min(start + PART_IMAGES, n)) for start in range(0, n, PART_IMAGES)]


def drawn_images(
    hooked: HookedModel,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    spec: EkfacSpec,
    batch_size: int | None = None,
) -> Images:
    """The images that estimate the factors."""
    rows = _drawn_rows(len(pixels), spec)
    return Images(hooked, card, pixels, rows, batch_size or batch_size_for(hooked))


def added(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The sum of several parts' sums, one part at least; the first one is used up."""
    remaining = iter(parts)
    total = next(remaining)
    for more in remaining:
        for name, each in more.items():
            total[name] += each
    return total


def second_moments(images: Images, spec: EkfacSpec, progress: Progress) -> Moments:
    """Sums over images of a a^T and b b^T, by `NAME/inputs` [g, I, I] and `NAME/outputs` [g, O, O]."""
    hooked = images.hooked
    contractions = {layer.name: Contraction(layer, hooked.dtype) for layer in hooked.layers}
    moments: Moments = {
        f"{name}/{side}": torch.zeros(c.groups, size, size, dtype=hooked.dtype, device=hooked.device)
        for name, c in contractions.items()
        for side, size in (("inputs", c.inputs), ("outputs", c.outputs))
    }
    drawn, done = uniforms(spec.seed, "bases", len(images.pixels)), 0
    for rows, x in images:
        for number, (objective, labels) in enumerate(_drawn_objectives(images, spec, drawn, rows)):

            def receive(layer: HookedLayer, a: Tensor, b: Tensor, first: bool = number == 0) -> None:
                contraction = contractions[layer.name]
                if first:  # the inputs do not depend on the label
                    moments[f"{layer.name}/inputs"] += contraction.input_moment(a)
                moments[f"{layer.name}/outputs"] += contraction.output_moment(b)

            hooked.run(x, labels, objective, receive)
        done += len(rows)
        progress("second moments of activations and gradients", done / len(images.rows))
    return moments


def bases_of(moments: Moments, hooked: HookedModel) -> Bases:
    """The Kronecker eigenbases. Raises ValueError when a layer's second moments are not finite."""
    return {
        layer.name: _bases(moments[f"{layer.name}/inputs"], moments[f"{layer.name}/outputs"], layer.scale, layer.name)
        for layer in hooked.layers
    }


def _bases(inputs: Tensor, outputs: Tensor, scale: Tensor | None, name: str) -> tuple[Tensor, Tensor]:
    """Eigenvectors of both second moments, in float64 and then in the moments' dtype.

    scale: from the gradient at the folded output, which was summed, to the gradient at the layer's own output.
    """
    if scale is not None:
        by_group = scale.view(outputs.shape[0], -1)
        outputs = outputs * by_group[:, :, None] * by_group[:, None, :]
    bases = []
    for moment in (inputs, outputs):
        if not bool(torch.isfinite(moment).all()):
            raise ValueError(
                f"the second moments of layer '{name}' are not finite: the model overflows on some image; "
                "use a checkpoint from before the training diverged"
            )
        bases.append(torch.linalg.eigh(moment.double()).eigenvectors.to(moment.dtype))
    return bases[0], bases[1]


def eigenvalue_sums(images: Images, spec: EkfacSpec, bases: Bases, progress: Progress) -> Sums:
    """Sums over images of the squared gradients in the eigenbasis, [g, O, I] by layer."""
    hooked = images.hooked
    contractions = {layer.name: Contraction(layer, hooked.dtype) for layer in hooked.layers}
    scaled = {layer.name: scaled_basis(layer, bases[layer.name][1]) for layer in hooked.layers}
    sums = {n: torch.zeros(c.shape, dtype=hooked.dtype, device=hooked.device) for n, c in contractions.items()}
    drawn, done = uniforms(spec.seed, "eigenvalues", len(images.pixels)), 0
    for rows, x in images:
        for objective, labels in _drawn_objectives(images, spec, drawn, rows):

            def rotated(layer: HookedLayer, a: Tensor, b: Tensor, n: int = len(rows)) -> Tensor:
                return contractions[layer.name].rotated(a, b, n, bases[layer.name][0], scaled[layer.name])

            def add(layer: HookedLayer, each: Tensor) -> None:
                sums[layer.name] += each.square().sum(0)

            collect(hooked, x, labels, objective, rotated, add)
        done += len(rows)
        progress("corrected eigenvalues", done / len(images.rows))
    return sums


def factors_of(sums: Sums, bases: Bases, hooked: HookedModel, spec: EkfacSpec, n: int) -> EkfacFactors:
    """The factors from sums over n images."""
    return EkfacFactors(spec, hooked, {name: LayerFactors(*bases[name], total / n) for name, total in sums.items()})


def _drawn_rows(n: int, spec: EkfacSpec) -> NDArray[np.int64]:
    if n <= spec.n_images:
        return np.arange(n)
    generator = np.random.Generator(np.random.Philox(key=_key(spec.seed, "images")))
    return np.sort(generator.choice(n, spec.n_images, replace=False))


def _drawn_objectives(
    images: Images, spec: EkfacSpec, drawn: NDArray[np.float64], rows: NDArray[np.int64]
) -> Iterator[tuple[Objective, Tensor]]:
    """The losses of one batch whose gradients' second moments are the Fisher, each with its `labels`.

    drawn: [n] a number in [0, 1) for each image, that draws its label.
    """
    if spec.labels == "all":
        for label in range(len(images.card.classes)):
            yield _weighted_by_probability, torch.full((len(rows),), label)
    else:
        yield _sampled_label if spec.labels == "sampled" else _weighted_label, torch.from_numpy(drawn[rows])


def uniforms(seed: int, purpose: str, n: int) -> NDArray[np.float64]:
    """n numbers in [0, 1), the i-th always the same whatever n is: raw bits of Philox (Salmon 2011)."""
    words = np.random.Philox(key=_key(seed, purpose)).random_raw(n)
    return np.asarray((words >> np.uint64(11)) * 2.0**-53)


def _key(seed: int, purpose: str) -> int:
    return int.from_bytes(hashlib.sha256(f"ekfac\0{seed}\0{purpose}".encode()).digest()[:16], "little")


def _sampled_label(logits: Tensor, uniform: Tensor) -> Tensor:
    """Cross-entropy [N] with labels drawn from the prediction."""
    return cross_entropy(logits, _draw(logits.detach().double().softmax(1), uniform))


def _weighted_label(logits: Tensor, uniform: Tensor) -> Tensor:
    """Cross-entropy [N] with labels drawn by importance, times the root of p_k / q_k, which second moments square.

    A network that fits its images is all but sure of each, and a label drawn from its prediction is the top one, whose
    gradient is nearly zero; the Fisher then hangs on the few images where another label happens to be drawn. With
    q_k proportional to p_k |p - e_k|^2, the share of label k in the trace at the logits, every image counts with its
    own whole trace, and the expectation is the same.
    """
    p = logits.detach().double().softmax(1)
    top = p.argmax(1, keepdim=True)
    rest = p.scatter(1, top, 0)
    lengths = 1 - 2 * p + p.square().sum(1, keepdim=True)
    # For the top label these terms cancel, and the sums over the rest keep all digits.
    lengths.scatter_(1, top, rest.sum(1, keepdim=True).square() + rest.square().sum(1, keepdim=True))
    shares = p * lengths
    labels = _draw(shares, uniform)
    chosen = labels[:, None]
    weight = shares.sum(1) / lengths.gather(1, chosen).squeeze(1).clamp_min(torch.finfo(p.dtype).tiny)
    return weight.sqrt().to(logits.dtype) * cross_entropy(logits, labels)


def _draw(shares: Tensor, uniform: Tensor) -> Tensor:
    """Labels [N] with probabilities proportional to shares [N, K], from numbers [N] in [0, 1)."""
    reached = shares.cumsum(1)
    return (reached <= uniform.to(shares)[:, None] * reached[:, -1:]).sum(1).clamp_max(shares.shape[1] - 1)


def _weighted_by_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """sqrt(p_y) times cross-entropy, so that second moments are weighted with p_y."""
    weight = logits.detach().softmax(1).gather(1, labels[:, None]).squeeze(1).sqrt()
    return weight * cross_entropy(logits, labels)
