"""Second moments of a convolution's unfolded inputs, sum_np a_np a_np^T, without unfolding them.

Unfolded inputs repeat each pixel once for every kernel element, so most of their second moment is an autocorrelation of
the picture: the product of the elements (i, j) and (i', j') depends on i' - i and j' - j alone, but for the borders.
With stride 1 the autocorrelation is computed at (2 kw - 1) kh shifts, as the weight gradient of a convolution of the
picture with itself, and borders are corrected; that is 15 C C P multiplications for a 3 x 3 kernel where the product of
unfolded inputs takes 81 C C P. With other strides the unfolded rows are multiplied.

Letters: N examples, g groups, C channels of a group, kh x kw the kernel, K = kw C. The layer's padding is done before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight


def input_moment(layer: nn.Conv2d, padded: Tensor) -> Tensor:
    """[g, kh K, kh K] from padded inputs [N, g C, H, W]; order of coordinates: kernel row, kernel column, channel."""
    kh, apart = layer.kernel_size[0], layer.dilation[0]
    height = (padded.shape[2] - (kh - 1) * apart - 1) // layer.stride[0] + 1
    if layer.stride == (1, 1) and layer.kernel_size != (1, 1) and apart < height:
        blocks = _by_autocorrelation(layer, padded, height)
    else:
        rows = unfold_width(layer, padded, examples_first=False)
        blocks = {
            (top, gap): _row_product(rows, top * apart, gap * apart, height, layer.stride[0])
            for gap in range(kh)
            for top in range(kh - gap)
        }
    k = blocks[0, 0].shape[-1]
    moment = padded.new_empty(layer.groups, kh, k, kh, k)
    for (top, gap), block in blocks.items():
        moment[:, top, :, top + gap] = block
        moment[:, top + gap, :, top] = block.mT
    return moment.reshape(layer.groups, kh * k, kh * k)


def input_sum(layer: nn.Conv2d, padded: Tensor) -> tuple[Tensor, int]:
    """sum_np a_np [g, kh K] from padded inputs [N, g C, H, W], and the number of its terms."""
    total = padded.sum(0)
    spans = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation, strict=True)]
    height, width = ((size - span) // s + 1 for size, span, s in zip(total.shape[1:], spans, layer.stride, strict=True))
    down, across = layer.stride
    sums = [
        total[:, i : i + (height - 1) * down + 1 : down, j : j + (width - 1) * across + 1 : across].sum((1, 2))
        for i in range(0, spans[0], layer.dilation[0])
        for j in range(0, spans[1], layer.dilation[1])
    ]
    # [kh kw, g C] -> [g, kh kw C]
    by_group = torch.stack(sums).view(len(sums), layer.groups, -1).transpose(0, 1)
    return by_group.flatten(1), len(padded) * height * width


def unfold_width(layer: nn.Conv2d, padded: Tensor, *, examples_first: bool) -> Tensor:
    """Padded inputs [N, g C, H, W] with the kernel's columns side by side; W' output columns.

    [N, g, H, W', K] with examples first, [g, H, N, W', K] otherwise: a kernel row of all examples is then one slice.
    """
    kw, step, apart = layer.kernel_size[1], layer.stride[1], layer.dilation[1]
    windows = padded.permute(0, 2, 3, 1).unfold(2, (kw - 1) * apart + 1, step)[..., ::apart]  # [N, H, W', g C, kw]
    windows = torch.unflatten(windows, 3, (layer.groups, -1))  # [N, H, W', g, C, kw]
    order = (0, 3, 1, 2, 5, 4) if examples_first else (3, 1, 0, 2, 5, 4)
    unfolded: Tensor = windows.permute(order).flatten(4).contiguous()
    return unfolded


def _row_product(rows: Tensor, first: int, lag: int, height: int, step: int = 1) -> Tensor:
    """sum of z z'^T [g, K, K] over `height` rows from `first` on, z' `lag` rows below z. rows: [g, H, N, W', K]."""
    last = first + (height - 1) * step + 1
    one = rows[:, first:last:step].flatten(1, 3)
    other = rows[:, first + lag : last + lag : step].flatten(1, 3)
    return one.mT @ other


def _by_autocorrelation(layer: nn.Conv2d, padded: Tensor, height: int) -> dict[tuple[int, int], Tensor]:
    """(top, gap) -> sum of z z'^T [g, K, K] over positions, z under kernel row `top`, z' under `top + gap`.

    The sum for `top` is that for `top - 1` and the rows that enter the window less those that leave it.
    """
    kh, apart = layer.kernel_size[0], layer.dilation[0]
    blocks = dict(enumerate(_top_blocks(layer, padded, height)))
    leaving = unfold_width(layer, padded[:, :, : (kh - 1) * apart], examples_first=False)
    entering = unfold_width(layer, padded[:, :, height:], examples_first=False)
    found = {}
    for gap, block in blocks.items():
        found[0, gap] = block
        for top in range(1, kh - gap):
            first = (top - 1) * apart
            block = block + _row_product(entering, first, gap * apart, apart)
            block = block - _row_product(leaving, first, gap * apart, apart)
            found[top, gap] = block
    return found


def _top_blocks(layer: nn.Conv2d, padded: Tensor, height: int) -> list[Tensor]:
    """By gap, the sum of z z'^T with z under the kernel's top row."""
    (kh, kw), (down, across), groups = layer.kernel_size, layer.dilation, layer.groups
    n_channels = padded.shape[1]
    reach = (kw - 1) * across
    wide = F.pad(padded, (reach, reach, 0, 0))
    # correlation[c, c', gap, s] = sum_p padded[c, p] wide[c', p + (gap, s)], s = reach being no shift
    shape = (n_channels, n_channels // groups, kh, 2 * kw - 1)
    correlation = conv2d_weight(  # type: ignore[no-untyped-call]
        wide, shape, padded[:, :, :height], (1, 1), (0, 0), (down, across), groups
    )
    columns = torch.arange(kw, device=padded.device)
    shifts = columns[None, :] - columns[:, None] + kw - 1  # [kw, kw']
    blocks = torch.unflatten(correlation, 0, (groups, -1))[..., shifts]  # [g, C, C', gap, kw, kw']
    blocks = blocks.permute(3, 0, 4, 1, 5, 2).reshape(kh, groups, kw * n_channels // groups, -1)
    # The correlation also counts windows that lie partly outside the picture, which the layer does not see.
    edges = _outside_windows(layer, wide, reach)
    if edges is None:
        return list(blocks)
    return [block - _row_product(edges, 0, gap * down, height) for gap, block in enumerate(blocks)]


def _outside_windows(layer: nn.Conv2d, wide: Tensor, reach: int) -> Tensor | None:
    """Windows of the widened input that begin left of the padded picture or end right of it, [g, H, N, B, K].

    Those that see nothing but zero padding are left out; None when none remain.
    """
    left, right = layer._reversed_padding_repeated_twice[:2] if layer.padding_mode == "zeros" else (0, 0)
    width = wide.shape[3]
    # Each side has `reach` windows, less those that are skipped, and a window spans reach + 1 columns.
    sides = [(left, slice(left, 2 * reach)), (right, slice(width - 2 * reach, width - right))]
    kept = [unfold_width(layer, wide[..., columns], examples_first=False) for skip, columns in sides if skip < reach]
    return torch.cat(kept, dim=3) if kept else None
