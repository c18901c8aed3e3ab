"""Batch normalisation folded into the convolution before it: the same function with two passes over memory fewer.

In evaluation mode y = s * conv(x) + shift, with s = gamma / sqrt(variance + epsilon) for each channel. The gradient at
the convolution's own output is then s times the gradient at the folded output, which the projector puts into P_B.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_TOLERANCE = 1e-3


def fold_batchnorm(
    model: nn.Module, pairs: list[tuple[str, str]], example: Tensor
) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy of `model` with each (convolution, batch normalisation) pair folded, and the scale s [C] by convolution.

    A convolution's output may be used elsewhere too, where folding would be wrong; the logits of `example` show it, and
    then the model is returned as it is, with no scales.
    """
    folded = copy.deepcopy(model)
    modules = dict(folded.named_modules())
    scales: dict[str, Tensor] = {}
    for conv_name, norm_name in pairs:
        conv, norm = modules[conv_name], modules[norm_name]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        if type(norm) is not nn.BatchNorm2d or norm.running_mean is None or norm.running_var is None:
            continue
        with torch.no_grad():
            scale = torch.rsqrt(norm.running_var + norm.eps)
            shift = -norm.running_mean * scale
            if norm.affine:
                scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
            if conv.bias is not None:
                shift = shift + conv.bias * scale
            conv.weight = nn.Parameter(conv.weight * scale[:, None, None, None], requires_grad=False)
            conv.bias = nn.Parameter(shift, requires_grad=False)
        scales[conv_name] = scale
        parent, _, child = norm_name.rpartition(".")
        setattr(folded.get_submodule(parent), child, nn.Identity())
    with torch.no_grad():
        before, after = model(example), folded(example)
    if bool((before - after).abs().max() <= _TOLERANCE * before.abs().max()):
        return folded, scales
    return model, {}
