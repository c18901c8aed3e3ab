"""The pass: forward and backward with hooks that turn activations and output gradients into projected gradients.

Speed comes from what is not done. Weights need no gradient, so autograd forms none; nothing is differentiated before
the first indexed layer; batch normalisation is folded away; a projected input P_A a_p is a convolution with P_A as its
weights, so no patches are unfolded, and it is made when the output gradient arrives, so that it is used while it is in
the cache; the order of each product is the one with fewer multiplications.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orfila_engine.devices import mixed_precision
from orfila_engine.gradients.attention import expose_attention
from orfila_engine.gradients.folding import fold_batchnorm
from orfila_engine.gradients.layers import (
    IndexedLayer,
    Layer,
    LeftOut,
    Trace,
    fan_in,
    fan_out,
    find_layers,
    left_out,
    trace,
)
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


class _NeedGradient(torch.autograd.Function):
    """Makes a layer's output part of the graph although no input and no weight of it needs a gradient.

    In place, so that it costs nothing and an in-place activation may follow.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, anchor: Tensor) -> Tensor:
        ctx.mark_dirty(output)
        return output

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, None]:
        return None, None


@dataclass
class _Hooked:
    """A layer with its projections in the model's precision."""

    info: IndexedLayer
    layer: Layer
    groups: int
    p_a: Tensor
    """Conv2d: [groups k_a, fan-in channels, kh, kw]. Linear: [k_a, fan-in]."""
    p_a_bias: Tensor | None
    """The column of P_A for the bias coordinate, [groups k_a]."""
    p_b: Tensor | None
    """[k_b, C] with the folded scale, or None for the identity."""

    def project_input(self, x: Tensor, n: int) -> Tensor:
        """Layer input -> P_A a: [N, groups k_a, P]."""
        if isinstance(self.layer, nn.Conv2d):
            # The layer's own code pads, strides and dilates as it does for its weights.
            projected: Tensor = self.layer._conv_forward(x, self.p_a, self.p_a_bias)
            return projected.flatten(2)
        return F.linear(x, self.p_a, self.p_a_bias).reshape(n, -1, self.info.k_a).transpose(1, 2)

    def output_positions(self, b: Tensor, n: int) -> Tensor:
        """Output gradient -> [N, C, P]."""
        if isinstance(self.layer, nn.Conv2d):
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
    """Projected per-example gradients of one model.

    model: in evaluation mode, which it stays; it is copied and not changed. Every example must pass through it
    independently of the others, as is so in evaluation mode.
    input_shape: (C, H, W) of one normalised input.

    Raises ValueError when no layer can be indexed.
    """

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
        self.device = torch.device(device)
        model = copy.deepcopy(model).eval().requires_grad_(False).to(self.device)
        self._dtype = next(model.parameters()).dtype
        expose_attention(model)
        # Fixed inputs, so that the same model always gives the same layers.
        generator = torch.Generator().manual_seed(0)
        example = torch.randn((3, *input_shape), generator=generator, dtype=self._dtype).to(self.device)
        with _no_fast_attention():
            two, pairs = trace(model, example[:2])
            three, _ = trace(model, example)
            names, reasons = find_layers(model, two, three)
            self._check_single_output(model(example[:2]))
            chosen = self._choose(names, two)
            reasons |= {n: f"only these layers were asked for: {self.spec.layers}" for n in names if n not in chosen}
            original = dict(model.named_modules())
            folded, scales = fold_batchnorm(model, pairs, example)
        self._model = folded.to(memory_format=torch.channels_last)
        self._anchor = torch.zeros((), device=self.device, dtype=self._dtype, requires_grad=True)
        self._gradients: dict[str, Tensor] | None = None
        self._n = 0
        self._hooked = self._hook(chosen, original, scales, two)
        # A layer whose output never reaches the logits (an auxiliary head) would be zero for every image.
        reached = self._layers_reached(example[:2])
        for name in [h.info.name for h in self._hooked if h.info.name not in reached]:
            reasons[name] = "its output has no effect on the logits"
        if len(reached) < len(self._hooked):
            self._hooked = self._hook([n for n in chosen if n in reached], original, scales, two)
        if not self._hooked:
            raise ValueError(
                "the model has no Conv2d or Linear layer that can be indexed; choose an architecture built of them"
            )
        self.layers = tuple(h.info for h in self._hooked)
        self.left_out = left_out(model, [layer.name for layer in self.layers], reasons)

    @property
    def dimension(self) -> int:
        """D, the number of coordinates."""
        return sum(layer.size for layer in self.layers)

    def __call__(self, x: Tensor, labels: Tensor, objective: Objective = cross_entropy) -> Tensor:
        """Gradients of `objective` at normalised inputs x [N, C, H, W] and labels [N] -> [N, D] on the device.

        float32 for models of float32; float64 for models of float64.
        """
        x = x.to(self.device, self._dtype).contiguous(memory_format=torch.channels_last)
        gradients = self._run(x, labels.to(self.device), objective)
        parts = [
            gradients[layer.name].reshape(len(x), layer.size)
            if layer.name in gradients
            else x.new_zeros(len(x), layer.size)
            for layer in self.layers
        ]
        return torch.cat(parts, dim=1)

    def logits(self, x: Tensor) -> Tensor:
        """The model's answer to normalised inputs [N, C, H, W] -> [N, K], on the device."""
        with torch.no_grad():
            logits: Tensor = self._model(x.to(self.device, self._dtype).contiguous(memory_format=torch.channels_last))
        return logits

    def _run(self, x: Tensor, labels: Tensor, objective: Objective) -> dict[str, Tensor]:
        self._gradients, self._n = {}, len(x)
        try:
            with torch.enable_grad(), _no_fast_attention():
                with mixed_precision(self.device):
                    logits = self._model(x)
                if logits.requires_grad:
                    torch.autograd.backward(objective(logits.to(self._dtype), labels).sum())
            return self._gradients
        finally:
            self._gradients = None

    def _layers_reached(self, x: Tensor) -> set[str]:
        return set(self._run(x, torch.zeros(len(x), dtype=torch.long, device=self.device), cross_entropy))

    def _choose(self, names: list[str], traces: dict[str, Trace]) -> list[str]:
        if self.spec.layers == "later-half":
            return names[len(names) // 2 :]
        if self.spec.layers == "classifier":
            vectors = [n for n in names if traces[n].one_vector]
            return (vectors or names)[-1:]
        return names

    def _hook(
        self, names: list[str], original: dict[str, nn.Module], scales: dict[str, Tensor], traces: dict[str, Trace]
    ) -> list[_Hooked]:
        """Register the hooks of `names` in the folded model, after removing those of an earlier choice.

        original: the modules before folding, whose biases say which layers have one.
        """
        for handle in getattr(self, "_handles", []):
            handle.remove()
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        hooked: list[_Hooked] = []
        offset = 0
        for name in names:
            before, layer = original[name], self._model.get_submodule(name)
            assert isinstance(before, Layer)
            assert isinstance(layer, Layer)
            is_conv = isinstance(layer, nn.Conv2d)
            k_in = self.spec.k_in if is_conv or not traces[name].one_vector else self.spec.k_in_vector
            info = IndexedLayer(
                name=name,
                kind="conv2d" if is_conv else "linear",
                k_a=min(k_in, fan_in(before)),
                k_b=min(self.spec.k_out, fan_out(before)),
                offset=offset,
                n_parameters=sum(p.numel() for p in before.parameters(recurse=False)),
            )
            offset += info.size
            hooked.append(self._with_projections(info, before, layer, scales.get(name)))
            hook = partial(self._on_forward, hooked[-1])
            self._handles.append(layer.register_forward_hook(hook, with_kwargs=True))
        return hooked

    def _with_projections(self, info: IndexedLayer, before: Layer, layer: Layer, scale: Tensor | None) -> _Hooked:
        p_a = projection(self.spec.seed, info.name, "input", info.k_a, fan_in(before))
        p_b: Tensor | None = None
        if scale is not None or info.k_b < fan_out(before):
            p_b = projection(self.spec.seed, info.name, "output", info.k_b, fan_out(before))
            p_b = p_b if scale is None else p_b * scale.to("cpu", torch.float64)
        bias = None
        if before.bias is not None:
            p_a, bias = p_a[:, :-1], p_a[:, -1]
        groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
        if groups > 1:
            p_a, bias = p_a.repeat(groups, 1), None if bias is None else bias.repeat(groups)
        if isinstance(layer, nn.Conv2d):
            p_a = p_a.reshape(-1, *layer.weight.shape[1:]).contiguous(memory_format=torch.channels_last)

        def place(t: Tensor | None) -> Tensor | None:
            return None if t is None else t.to(self.device, self._dtype)

        placed = place(p_a)
        assert placed is not None
        return _Hooked(info, layer, groups, placed, place(bias), place(p_b))

    def _on_forward(
        self, hooked: _Hooked, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        if self._gradients is None:
            return None
        x: Tensor = args[0] if args else kwargs["input"]
        if not output.requires_grad:
            output = _NeedGradient.apply(output, self._anchor)
        # On the tensor, not on the module: it sees the gradient before any in-place operation that follows.
        output.register_hook(partial(self._on_gradient, hooked, x.detach(), x._version))  # type: ignore[no-untyped-call]
        return output

    def _on_gradient(self, hooked: _Hooked, x: Tensor, version: int, b: Tensor) -> None:
        """x: the layer's input, `version` when the layer used it; b: the gradient at its output."""
        assert self._gradients is not None
        with torch.no_grad():
            # No model that was trained by autograd changes a layer's input in place afterwards.
            assert x._version == version
            with mixed_precision(self.device):
                a = hooked.project_input(x, self._n)
            b = hooked.output_positions(b, self._n)
            p_b = None if hooked.p_b is None else hooked.p_b.to(b.dtype)
            g = contract(b, a.to(b.dtype), p_b, hooked.groups).to(self._dtype)
            # A module that is called several times has the sum over its calls as its gradient.
            before = self._gradients.get(hooked.info.name)
            self._gradients[hooked.info.name] = g if before is None else before + g

    @staticmethod
    def _check_single_output(output: object) -> None:
        if not isinstance(output, Tensor) or output.dim() != 2:
            raise ValueError("the model must answer with one tensor of logits, [images, classes]")


@contextmanager
def _no_fast_attention() -> Iterator[None]:
    """Transformer layers skip their modules, and so the hooks, on PyTorch's fast path for inference."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
