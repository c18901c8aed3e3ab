"""The projected gradients of the fingerprint index, formed while the backward pass runs.

A projected input P_A a_p is a convolution with P_A as its weights, so no patches are unfolded, and it is made when the
output gradient arrives, so that it is used while it is in the cache; the order of each product is the one with fewer
multiplications.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orfila_engine.devices import mixed_precision
from orfila_engine.gradients.hooked import HookedLayer, HookedModel
from orfila_engine.gradients.layers import IndexedLayer, LeftOut, Trace
from orfila_engine.gradients.objectives import Objective, cross_entropy
from orfila_engine.gradients.random import projection


@dataclass(frozen=True)
class ProjectionSpec:
    """Everything, beside the model, that decides the projected gradients."""

    k_in: int = 16
    """Coordinates kept of each layer's input; all of them when it has no more."""
    k_out: int = 16
    """Coordinates kept of each layer's output gradient."""
    k_in_vector: int = 64
    """Coordinates kept of the input of a Linear layer that sees one vector for each image, as a classifier does."""
    layers: Literal["all", "later-half", "classifier"] = "all"
    """Which layers; the later half (by order of execution) needs no backward pass into the early ones."""
    seed: int = 0
    """Seed of the random projections."""

    def __post_init__(self) -> None:
        if min(self.k_in, self.k_out, self.k_in_vector) < 1:
            raise ValueError("k_in, k_out and k_in_vector must be at least 1; 16, 16 and 64 are usual")
        if self.layers not in ("all", "later-half", "classifier"):
            raise ValueError(f"layers is '{self.layers}'; use all, later-half or classifier")


@dataclass
class _Projections:
    """A hooked layer with its projections in the model's precision."""

    info: IndexedLayer
    hooked: HookedLayer
    p_a: Tensor
    """Conv2d: [groups k_a, fan-in channels, kh, kw]. Linear: [k_a, fan-in]."""
    p_a_bias: Tensor | None
    """The column of P_A for the bias coordinate, [groups k_a]."""
    p_b: Tensor | None
    """[k_b, C] with the folded scale, or None for the identity."""

    def project_input(self, x: Tensor, n: int) -> Tensor:
        """Layer input -> P_A a: [N, groups k_a, P]."""
        layer = self.hooked.layer
        if isinstance(layer, nn.Conv2d):
            # The layer's own code pads, strides and dilates as it does for its weights.
            projected: Tensor = layer._conv_forward(x, self.p_a, self.p_a_bias)
            return projected.flatten(2)
        return F.linear(x, self.p_a, self.p_a_bias).reshape(n, -1, self.info.k_a).transpose(1, 2)

    def output_positions(self, b: Tensor, n: int) -> Tensor:
        """Output gradient -> [N, C, P]."""
        if self.hooked.kind == "conv2d":
            return b.flatten(2)
        return b.reshape(n, -1, b.shape[-1]).transpose(1, 2)


def contract(b: Tensor, a: Tensor, p_b: Tensor | None, groups: int, project_first: bool | None = None) -> Tensor:
    """G = P_B (sum_p b_p a_p^T), with b [N, C, P], a [N, groups k_a, P], p_b [k_b, C] or None -> [N, k_b, k_a].

    With groups, channel c of b meets the coordinates of its own group, as in `weight.flatten(1)`.
    project_first forces one of the two orders (for tests); both give the same result.
    """
    n, c, p = b.shape
    k_a = a.shape[1] // groups
    if groups > 1:
        # [N g, C/g, P] [N g, P, k_a] -> [N, C, k_a], then [k_b, C] [N, C, k_a]
        product = torch.bmm(b.reshape(n * groups, c // groups, p), a.reshape(n * groups, k_a, p).transpose(1, 2))
        product = product.view(n, c, k_a)
        return product if p_b is None else torch.matmul(p_b, product)
    if p_b is None:
        return torch.bmm(b, a.transpose(1, 2))
    k_b = p_b.shape[0]
    # Multiplications: P_B first C k_b P + k_b k_a P, P_B last C k_a P + C k_b k_a.
    if project_first is None:
        project_first = k_b * p * (c + k_a) < c * k_a * (p + k_b)
    if project_first:
        # [N, P, C] [C, k_b] -> [N, P, k_b]: one product of matrices for the whole batch, b being channels last.
        return torch.bmm(F.linear(b.transpose(1, 2), p_b).transpose(1, 2), a.transpose(1, 2))
    return torch.matmul(p_b, torch.bmm(b, a.transpose(1, 2)))


class GradientProjector:
    """Projected per-example gradients of one model; see `HookedModel` for what is asked of it and refused."""

    layers: tuple[IndexedLayer, ...]
    """In the order of execution; together they make the D coordinates."""
    left_out: tuple[LeftOut, ...]
    """What has no part in the fingerprint, and why."""

    def __init__(
        self,
        model: nn.Module,
        input_shape: tuple[int, int, int],
        spec: ProjectionSpec | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.spec = spec or ProjectionSpec()
        self._hooked = HookedModel(model, input_shape, device, self._choose)
        self.device = self._hooked.device
        self.left_out = self._hooked.left_out
        self._projections: dict[str, _Projections] = {}
        offset = 0
        for layer in self._hooked.layers:
            self._projections[layer.name] = self._with_projections(layer, offset)
            offset += self._projections[layer.name].info.size
        self.layers = tuple(p.info for p in self._projections.values())

    @property
    def dimension(self) -> int:
        """D, the number of coordinates."""
        return sum(layer.size for layer in self.layers)

    def __call__(self, x: Tensor, labels: Tensor, objective: Objective = cross_entropy) -> Tensor:
        """Gradients of `objective` at normalised inputs x [N, C, H, W] and labels [N] -> [N, D] on the device.

        float32 for models of float32; float64 for models of float64.
        """
        n, dtype = len(x), self._hooked.dtype
        gradients: dict[str, Tensor] = {}

        def receive(hooked: HookedLayer, inputs: Tensor, b: Tensor) -> None:
            by = self._projections[hooked.name]
            with mixed_precision(self.device):
                a = by.project_input(inputs, n)
            b = by.output_positions(b, n)
            p_b = None if by.p_b is None else by.p_b.to(b.dtype)
            g = contract(b, a.to(b.dtype), p_b, hooked.groups).to(dtype)
            # A module that is called several times has the sum over its calls as its gradient.
            before = gradients.get(hooked.name)
            gradients[hooked.name] = g if before is None else before + g

        self._hooked.run(x, labels, objective, receive)
        parts = [
            gradients[layer.name].reshape(n, layer.size)
            if layer.name in gradients
            else torch.zeros(n, layer.size, device=self.device, dtype=dtype)
            for layer in self.layers
        ]
        return torch.cat(parts, dim=1)

    def logits(self, x: Tensor) -> Tensor:
        """The model's answer to normalised inputs [N, C, H, W] -> [N, K], on the device."""
        return self._hooked.logits(x)

    def _choose(self, names: Sequence[str], traces: dict[str, Trace], _model: nn.Module) -> tuple[list[str], str]:
        why = f"only these layers were asked for: {self.spec.layers}"
        if self.spec.layers == "later-half":
            return list(names[len(names) // 2 :]), why
        if self.spec.layers == "classifier":
            vectors = [n for n in names if traces[n].one_vector]
            return list((vectors or names)[-1:]), why
        return list(names), why

    def _with_projections(self, hooked: HookedLayer, offset: int) -> _Projections:
        spec, groups = self.spec, hooked.groups
        info = IndexedLayer(
            name=hooked.name,
            kind=hooked.kind,
            k_a=min(spec.k_in_vector if hooked.one_vector else spec.k_in, hooked.fan_in),
            k_b=min(spec.k_out, hooked.fan_out),
            offset=offset,
            n_parameters=hooked.n_parameters,
        )
        p_a = projection(spec.seed, info.name, "input", info.k_a, hooked.fan_in)
        p_b: Tensor | None = None
        if hooked.scale is not None or info.k_b < hooked.fan_out:
            p_b = projection(spec.seed, info.name, "output", info.k_b, hooked.fan_out)
            p_b = p_b if hooked.scale is None else p_b * hooked.scale.to("cpu", torch.float64)
        bias = None
        if hooked.bias is not None:
            p_a, bias = p_a[:, :-1], p_a[:, -1]
        if groups > 1:
            p_a, bias = p_a.repeat(groups, 1), None if bias is None else bias.repeat(groups)
        if hooked.kind == "conv2d":
            p_a = p_a.reshape(-1, *hooked.layer.weight.shape[1:]).contiguous(memory_format=torch.channels_last)

        def place(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.to(self.device, self._hooked.dtype)

        placed = place(p_a)
        assert placed is not None
        return _Projections(info, hooked, placed, place(bias), place(p_b))
