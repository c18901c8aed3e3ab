"""Which layers of a model can be indexed, found by running it once, and why the others cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

Layer = nn.Conv2d | nn.Linear


@dataclass(frozen=True)
class IndexedLayer:
    """One layer of the fingerprint: coordinates offset .. offset + k_a k_b of the D."""

    name: str
    kind: Literal["conv2d", "linear"]
    k_a: int
    """Coordinates of the projected input, at most the fan-in (one more with a bias)."""
    k_b: int
    """Coordinates of the projected output gradient, at most the fan-out."""
    offset: int
    n_parameters: int

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return self.k_a * self.k_b

    @property
    def columns(self) -> slice:
        """Where the layer lies among the D coordinates."""
        return slice(self.offset, self.offset + self.size)


@dataclass(frozen=True)
class LeftOut:
    """A module whose own parameters have no part in the fingerprint."""

    name: str
    kind: str
    n_parameters: int
    reason: str


@dataclass
class Trace:
    """What one run of a model showed about a module."""

    leading: list[int] = field(default_factory=list)
    """First dimension of the input at each call."""
    one_vector: bool = True
    """Whether every input was [N, features]: one vector for each example."""


def fan_in(layer: Layer) -> int:
    """Length of an unfolded input, one more with a bias."""
    return layer.weight[0].numel() + (layer.bias is not None)


def fan_out(layer: Layer) -> int:
    """Number of output channels or features."""
    return layer.weight.shape[0]


def trace(model: nn.Module, example: Tensor) -> tuple[dict[str, Trace], list[tuple[str, str]]]:
    """Run a model on `example` [N, C, H, W]; say what each Conv2d and Linear was given, in the order of first calls.

    Returns the traces by module name, and the pairs (convolution, batch normalisation) where each was called once and
    the second was given the very output of the first.
    """
    traces: dict[str, Trace] = {}
    names = {module: name for name, module in model.named_modules()}
    outputs: list[tuple[str, Tensor]] = []  # held, so that no address is used twice
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def seen(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        x: Tensor = args[0] if args else kwargs["input"]
        name = names[module]
        calls[name] = calls.get(name, 0) + 1
        if isinstance(module, nn.BatchNorm2d):
            pairs.extend((conv, name) for conv, made in outputs if made is x and isinstance(by_name[conv], nn.Conv2d))
            return
        record = traces.setdefault(name, Trace())
        record.leading.append(x.shape[0])
        record.one_vector &= x.dim() == 2
        outputs.append((name, output))

    by_name = {name: module for module, name in names.items()}
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    handles = [m.register_forward_hook(seen, with_kwargs=True) for m in names if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
    return traces, [(conv, norm) for conv, norm in pairs if calls[conv] == 1 and calls[norm] == 1]


def find_layers(model: nn.Module, two: dict[str, Trace], three: dict[str, Trace]) -> tuple[list[str], dict[str, str]]:
    """Names of the layers to index in the order of execution, and the reason for each layer that is not.

    two, three: traces of runs on 2 and on 3 examples. The first dimension of an input must follow the number of
    examples, or positions of different examples would be mixed up.
    """
    usable: list[str] = []
    reasons: dict[str, str] = {}
    modules = dict(model.named_modules())
    uses: dict[int, list[str]] = {}
    for name in two:
        layer = modules[name]
        assert isinstance(layer, Layer)
        uses.setdefault(_weight_identity(layer), []).append(name)
    for name in two:
        layer = modules[name]
        assert isinstance(layer, Layer)
        others = [n for n in uses[_weight_identity(layer)] if n != name]
        if not _is_plain(layer):
            reasons[name] = "its class changes the weights or the input before it multiplies them"
        elif [n * 3 for n in two[name].leading] != [n * 2 for n in three[name].leading] or two[name].leading[0] % 2:
            reasons[name] = "the first dimension of its input is not the example"
        elif others:
            reasons[name] = f"it shares its weight with {others[0]}"
        else:
            usable.append(name)
    return usable, reasons


def _is_plain(layer: Layer) -> bool:
    """Whether the layer multiplies exactly its input with exactly its weight."""
    kind = type(layer)
    # timm's Linear is nn.Linear with a branch for TorchScript.
    known = kind.forward in (nn.Conv2d.forward, nn.Linear.forward) or (kind.__module__, kind.__name__) == (
        "timm.layers.linear",
        "Linear",
    )
    return known and not parametrize.is_parametrized(layer)


def left_out(model: nn.Module, covered: Sequence[str], reasons: dict[str, str]) -> tuple[LeftOut, ...]:
    """Every module with own parameters that no covered layer holds."""
    modules = dict(model.named_modules())
    held = {id(p) for name in covered for p in modules[name].parameters(recurse=False)}
    found: list[LeftOut] = []
    for name, module in modules.items():
        own = {id(p): p.numel() for p in module.parameters(recurse=False) if id(p) not in held}
        if not own:
            continue
        held |= own.keys()
        if isinstance(module, Layer):
            reason = reasons.get(name, "it is never called: its owner uses the weight itself, or not at all")
        else:
            reason = "only Conv2d and Linear layers are indexed"
        found.append(LeftOut(name or "(the model itself)", type(module).__name__, sum(own.values()), reason))
    return tuple(found)


def _weight_identity(layer: Layer) -> int:
    """Equal for layers that share a weight. A computed one (weight norm) is new at each look, so it shares none."""
    held = dict(layer.named_parameters(recurse=False)).get("weight")
    return id(layer if held is None else held)
