"""Sums over positions against autograd, in float64, for every kind of layer that users have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from test_gradients import MODELS, N_CLASSES, autograd_gradient, conv, prepared
from torch import Tensor, nn

from orfila_engine.ekfac.contraction import Contraction
from orfila_engine.gradients.hooked import HookedLayer, HookedModel
from orfila_engine.gradients.objectives import cross_entropy

N = 3
Received = dict[str, list[tuple[Tensor, Tensor]]]


class Windows(nn.Module):
    """A Linear and a convolution that see every image as four windows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(4, 5)
        self.classifier = nn.Linear(5, N_CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        n = len(x)
        windows = x[:, :, :8, :8].unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(4 * n, 3, 4, 4)
        h = self.linear(torch.tanh(self.conv(windows)).flatten(2).transpose(1, 2))
        out: Tensor = self.classifier(torch.tanh(h).mean(1).view(n, 4, 5).mean(1))
        return out


KINDS: dict[str, Callable[[], nn.Module]] = MODELS | {
    "windows": Windows,
    "tall kernel": conv(6, 7, (3, 1)),  # type: ignore[arg-type]
    "tall kernel, padded": conv(6, 6, (4, 2), padding=(1, 2), dilation=(2, 1), groups=2),  # type: ignore[arg-type]
    "one by one, strided": conv(6, 7, 1, stride=2),
    "one by one, strided unevenly, grouped": conv(6, 6, 1, stride=(3, 2), padding=1, groups=2),  # type: ignore[arg-type]
    "wide padding": conv(6, 7, (3, 2), padding=(4, 3)),  # type: ignore[arg-type]
}


def received(kind: str) -> tuple[nn.Module, HookedModel, Received, Tensor, Tensor]:
    model = prepared(KINDS[kind])
    x, labels = torch.randn(N, 3, 9, 9, dtype=torch.float64), torch.tensor([0, 3, 1])
    hooked = HookedModel(model, (3, 9, 9))
    seen: Received = {}
    hooked.run(x, labels, cross_entropy, lambda layer, a, b: seen.setdefault(layer.name, []).append((a, b)))
    return model, hooked, seen, x, labels


def in_our_order(gradient: Tensor, layer: HookedLayer, contraction: Contraction) -> Tensor:
    """[O g, fan-in] in the order of `weight.flatten(1)` -> [g, O, I]."""
    bias = gradient[:, -1] if layer.bias is not None else None
    weight = gradient if bias is None else gradient[:, :-1]
    return contraction.pack(weight.reshape(layer.layer.weight.shape), bias)


def unfolded(layer: HookedLayer, x: Tensor) -> Tensor:
    """Patches by torch's own unfolding of one example: [g, positions, I], in our order."""
    module = layer.layer
    if isinstance(module, nn.Conv2d):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        padded = torch.nn.functional.pad(x, module._reversed_padding_repeated_twice, mode=mode)
        columns = torch.nn.functional.unfold(padded, module.kernel_size, module.dilation, 0, module.stride)
        g, (kh, kw) = module.groups, module.kernel_size
        patches = (
            columns.view(len(x), g, -1, kh * kw, columns.shape[-1]).permute(1, 0, 4, 3, 2).flatten(3).flatten(1, 2)
        )
    else:
        patches = x.reshape(1, -1, x.shape[-1])
    if layer.bias is not None:
        patches = torch.cat([patches, patches.new_ones(*patches.shape[:2], 1)], dim=2)
    return patches


pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_their_sum_are_those_of_autograd(kind: str) -> None:
    model, hooked, seen, x, labels = received(kind)
    for layer in hooked.layers:
        contraction = Contraction(layer, torch.float64)
        scale = 1 if layer.scale is None else layer.scale.view(contraction.groups, -1, 1)
        each = scale * torch.stack([contraction.gradients(a, b, N) for a, b in seen[layer.name]]).sum(0)
        total = scale * torch.stack([contraction.total(a, b) for a, b in seen[layer.name]]).sum(0)
        for i in range(N):
            expected = autograd_gradient(model, layer.name, x[i], labels[i], cross_entropy)
            assert expected.abs().max() > 0
            torch.testing.assert_close(each[i], in_our_order(expected, layer, contraction), rtol=1e-8, atol=1e-12)
        torch.testing.assert_close(total, each.sum(0), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_products_with_a_direction_and_rotations(kind: str) -> None:
    _, hooked, seen, _, _ = received(kind)
    for layer in hooked.layers:
        contraction = Contraction(layer, torch.float64)
        a, b = seen[layer.name][0]
        g, o, i = contraction.shape
        each = contraction.gradients(a, b, N)
        direction = torch.randn(g, o, i, dtype=torch.float64)
        expected = (each * direction).flatten(1).sum(1)
        torch.testing.assert_close(contraction.along(a, b, N, direction), expected, rtol=1e-8, atol=1e-12)
        inputs, outputs = torch.randn(g, i, i, dtype=torch.float64), torch.randn(g, o, o, dtype=torch.float64)
        turned = outputs.mT @ each @ inputs
        for input_first in (True, False, None):
            for output_first in (True, False, None):
                got = contraction.rotated(a, b, N, inputs, outputs, input_first=input_first, output_first=output_first)
                torch.testing.assert_close(got, turned, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_moments_are_sums_over_unfolded_positions(kind: str) -> None:
    _, hooked, seen, _, _ = received(kind)
    for layer in hooked.layers:
        contraction = Contraction(layer, torch.float64)
        a, b = seen[layer.name][0]
        patches = unfolded(layer, a)
        torch.testing.assert_close(contraction.input_moment(a), patches.mT @ patches, rtol=1e-8, atol=1e-11)
        rows = b.movedim(1, -1) if b.dim() == 4 else b
        rows = rows.reshape(-1, contraction.groups, contraction.outputs).transpose(0, 1)
        torch.testing.assert_close(contraction.output_moment(b), rows.mT @ rows, rtol=1e-8, atol=1e-14)


def test_a_tall_dilated_kernel_on_a_low_picture() -> None:
    """The sliding window of the second moments, where it does not overlap itself and where it does."""
    for height, dilation in ((9, 1), (9, 2), (9, 3), (13, 3)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Conv2d(2, 3, (4, 2), dilation=dilation), nn.Flatten(1), nn.LazyLinear(2)).double()
        x = torch.randn(2, 2, height + 1, 6, dtype=torch.float64)
        model(x)
        layer = HookedModel(model, (2, height + 1, 6)).layers[0]
        patches = unfolded(layer, x)
        torch.testing.assert_close(Contraction(layer, torch.float64).input_moment(x), patches.mT @ patches)


@pytest.mark.parametrize("kind", ["plain", "grouped", "tokens", "no bias"])
def test_packing_is_undone(kind: str) -> None:
    model, hooked, *_ = received(kind)
    parameters = dict(model.named_parameters())
    for layer in hooked.layers:
        contraction = Contraction(layer, torch.float64)
        bias = None if layer.bias is None else parameters[layer.bias]
        weight, back = contraction.unpack(contraction.pack(parameters[layer.weight], bias))
        assert torch.equal(weight, parameters[layer.weight])
        assert back is None if bias is None else torch.equal(back, bias)
        if bias is not None:
            with pytest.raises(ValueError, match="gradient of its bias"):
                contraction.pack(parameters[layer.weight], None)
