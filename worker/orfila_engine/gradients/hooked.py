"""A copy of a model whose Conv2d and Linear layers hand over their inputs and output gradients during a backward pass.

Every method of this package that needs per-example gradients builds on it. Speed comes from what is not done: weights
need no gradient, so autograd forms none; nothing is differentiated before the first chosen layer; batch normalisation
is folded away.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from orfila_engine.devices import mixed_precision
from orfila_engine.gradients.attention import expose_attention, without_fast_path
from orfila_engine.gradients.folding import fold_batchnorm
from orfila_engine.gradients.layers import Layer, LeftOut, Trace, fan_in, fan_out, find_layers, left_out, trace
from orfila_engine.gradients.objectives import Objective, cross_entropy


@dataclass(frozen=True)
class HookedLayer:
    """A layer of the copy, and what it was before batch normalisation was folded into it."""

    name: str
    kind: Literal["conv2d", "linear"]
    layer: Layer
    """Its weight is the folded one; its bias too, and a folded convolution has one even if it had none before."""
    weight: str
    """Name of the weight among `named_parameters()` of the original model."""
    bias: str | None
    """Name of the bias there; None for a layer without one."""
    fan_in: int
    """Length of an unfolded input, one more with a bias."""
    fan_out: int
    scale: Tensor | None
    """[C] factor from the gradient at the folded output to that at the layer's own output; None where nothing was
    folded."""
    one_vector: bool
    """Whether its input is one vector for each image, as a classifier's is."""
    n_calls: int
    """How often the model calls it for one input."""
    n_parameters: int

    @property
    def groups(self) -> int:
        """Of the convolution; 1 for Linear."""
        return self.layer.groups if isinstance(self.layer, nn.Conv2d) else 1


Choose = Callable[[Sequence[str], dict[str, Trace], nn.Module], tuple[list[str], str]]
"""(usable layers in the order of execution, their traces, the model) -> (those to hook, why not the others)."""
Receive = Callable[[HookedLayer, Tensor, Tensor], None]
"""Called as receive(layer, input, gradient at the folded output) during the backward pass, last layer first.

Both have the shapes that the module saw. A module that is called several times is received several times, and its
gradient is the sum.
"""


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


def every_layer(names: Sequence[str], _traces: dict[str, Trace], _model: nn.Module) -> tuple[list[str], str]:
    """The choice that leaves out none."""
    return list(names), ""


class HookedModel:
    """See the module. The original model is not changed.

    model: in evaluation mode, which the copy stays in; every example must pass through it independently of the others,
    as is so in evaluation mode. input_shape: (C, H, W) of one normalised input.

    Raises ValueError when no layer can be hooked.
    """

    layers: tuple[HookedLayer, ...]
    """In the order of execution."""
    left_out: tuple[LeftOut, ...]
    """What has no part, and why."""

    def __init__(
        self,
        model: nn.Module,
        input_shape: tuple[int, int, int],
        device: torch.device | str = "cpu",
        choose: Choose = every_layer,
    ) -> None:
        self.device = torch.device(device)
        model = copy.deepcopy(model).eval().requires_grad_(False).to(self.device)
        self.dtype = next(model.parameters()).dtype
        expose_attention(model)
        # Fixed inputs, so that the same model always gives the same layers.
        generator = torch.Generator().manual_seed(0)
        example = torch.randn((3, *input_shape), generator=generator, dtype=self.dtype).to(self.device)
        with without_fast_path():
            two, pairs = trace(model, example[:2])
            three, _ = trace(model, example)
            names, reasons = find_layers(model, two, three)
            _check_single_output(model(example[:2]))
            chosen, why = choose(names, two, model)
            reasons |= {name: why for name in names if name not in chosen}
            described = {name: _describe(model, name, two[name]) for name in chosen}
            folded, scales = fold_batchnorm(model, pairs, example)
        self._model = folded.to(memory_format=torch.channels_last)
        self._anchor = torch.zeros((), device=self.device, dtype=self.dtype, requires_grad=True)
        # Of this thread: passes may run side by side.
        self._now = threading.local()
        layers = [self._hook(described[name], scales.get(name)) for name in chosen]
        # A layer whose output never reaches the logits (an auxiliary head) would be zero for every image.
        reached: set[str] = set()
        labels = torch.zeros(2, dtype=torch.long)
        self.run(example[:2], labels, cross_entropy, lambda layer, _x, _b: reached.add(layer.name))
        for layer in layers:
            if layer.name not in reached:
                reasons[layer.name] = "its output has no effect on the logits"
        self.layers = tuple(layer for layer in layers if layer.name in reached)
        if not self.layers:
            raise ValueError(
                "the model has no Conv2d or Linear layer that can be indexed; choose an architecture built of them"
            )
        self.left_out = left_out(model, [layer.name for layer in self.layers], reasons)

    def prepare(self, x: Tensor) -> Tensor:
        """Normalised inputs [N, C, H, W] in the model's precision, on its device, channels last."""
        return x.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)

    def logits(self, x: Tensor) -> Tensor:
        """The model's answer to normalised inputs [N, C, H, W] -> [N, K], on the device."""
        with torch.no_grad():
            logits: Tensor = self._model(self.prepare(x))
        return logits

    def run(self, x: Tensor, labels: Tensor, objective: Objective, receive: Receive) -> None:
        """One forward and backward pass of the sum of `objective` over normalised inputs x [N, C, H, W], labels [N].

        Layers that the objective does not reach for these inputs are not received.
        """
        self._now.receive = receive
        try:
            with torch.enable_grad(), without_fast_path():
                with mixed_precision(self.device):
                    logits = self._model(self.prepare(x))
                if logits.requires_grad:
                    torch.autograd.backward(objective(logits.to(self.dtype), labels.to(self.device)).sum())
        finally:
            self._now.receive = None

    def _hook(self, described: dict[str, Any], scale: Tensor | None) -> HookedLayer:
        layer = self._model.get_submodule(described["name"])
        assert isinstance(layer, Layer)
        hooked = HookedLayer(layer=layer, scale=scale, **described)
        layer.register_forward_hook(partial(self._on_forward, hooked), with_kwargs=True)
        return hooked

    def _on_forward(
        self, hooked: HookedLayer, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor | None:
        receive: Receive | None = getattr(self._now, "receive", None)
        if receive is None:
            return None
        x: Tensor = args[0] if args else kwargs["input"]
        if not output.requires_grad:
            output = _NeedGradient.apply(output, self._anchor)
        # On the tensor, not on the module: it sees the gradient before any in-place operation that follows.
        output.register_hook(partial(self._on_gradient, receive, hooked, x.detach(), x._version))  # type: ignore[no-untyped-call]
        return output

    @staticmethod
    def _on_gradient(receive: Receive, hooked: HookedLayer, x: Tensor, version: int, b: Tensor) -> None:
        """x: the layer's input, `version` when the layer used it; b: the gradient at its output."""
        # No model that was trained by autograd changes a layer's input in place afterwards.
        assert x._version == version
        with torch.no_grad():
            receive(hooked, x, b)


def _describe(model: nn.Module, name: str, seen: Trace) -> dict[str, Any]:
    """What `HookedLayer` keeps of a layer before folding."""
    layer = model.get_submodule(name)
    assert isinstance(layer, Layer)
    # The rewritten attention holds its parameters twice; `named_parameters` gives the original name first.
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        "name": name,
        "kind": "conv2d" if isinstance(layer, nn.Conv2d) else "linear",
        "weight": names[id(layer.weight)],
        "bias": None if layer.bias is None else names[id(layer.bias)],
        "fan_in": fan_in(layer),
        "fan_out": fan_out(layer),
        "one_vector": seen.one_vector,
        "n_calls": len(seen.leading),
        "n_parameters": sum(p.numel() for p in layer.parameters(recurse=False)),
    }


def _check_single_output(output: object) -> None:
    if not isinstance(output, Tensor) or output.dim() != 2:
        raise ValueError("the model must answer with one tensor of logits, [images, classes]")
