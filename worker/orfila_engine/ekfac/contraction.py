"""Sums over positions of one Conv2d or Linear layer: second moments, per-example gradients, rotated gradients.

Layout, obeyed in this package (N examples, g groups, P positions, O outputs and I input coordinates of a group):

- the gradient of one example: [g, O, I]; input coordinates in the order (kernel row, kernel column, channel), then one
  for the bias. g is 1 for Linear and for ungrouped convolutions
- what is received from a backward pass: x, the layer's input, and b, the gradient at its output, in the module's shapes

Nothing is unfolded by both kernel axes. A convolution's input is unfolded along the width at most; a row of the kernel
is then a slice of that array. Where a product can be a convolution with other weights, it is one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

from orfila_engine.ekfac.moments import input_moment, input_sum, unfold_width
from orfila_engine.gradients.hooked import HookedLayer


class Contraction:
    """The sums of one layer."""

    def __init__(self, hooked: HookedLayer, dtype: torch.dtype) -> None:
        """dtype: of all results; what comes from a backward pass in another one is converted."""
        self._layer = hooked.layer
        self._dtype = dtype
        self.groups = hooked.groups
        self.outputs = hooked.fan_out // hooked.groups
        self.inputs = hooked.fan_in
        self.has_bias = hooked.bias is not None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(g, O, I)."""
        return self.groups, self.outputs, self.inputs

    # Parameters <-> [g, O, I]

    def pack(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """A weight and a bias (or gradients of theirs) as [g, O, I]."""
        if weight.dim() == 4:
            weight = weight.permute(0, 2, 3, 1)
        rows = weight.reshape(self.groups, self.outputs, -1)
        if not self.has_bias:
            return rows.contiguous()
        if bias is None:
            raise ValueError("a layer with a bias needs the gradient of its bias too")
        return torch.cat([rows, bias.view(self.groups, self.outputs, 1)], dim=2)

    def unpack(self, matrix: Tensor) -> tuple[Tensor, Tensor | None]:
        """The inverse of `pack`: [g, O, I] -> weight in the layer's shape, and bias [g O]."""
        weight, bias = self._split(matrix)
        return weight.contiguous(), bias

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        """Any [g, R, I] as weights of a layer with g R outputs, [g R, C, kh, kw] or [R, C], and biases [g R]."""
        bias = rows[..., -1].flatten() if self.has_bias else None
        rows = (rows[..., :-1] if self.has_bias else rows).flatten(0, 1)
        if isinstance(self._layer, nn.Conv2d):
            _, channels, kh, kw = self._layer.weight.shape
            # As [g R, C, kh, kw] this is channels last in memory, which is what the convolution wants.
            return rows.reshape(-1, kh, kw, channels).permute(0, 3, 1, 2), bias
        return rows, bias

    # What a backward pass hands over

    def input_moment(self, x: Tensor) -> Tensor:
        """sum_np a_np a_np^T over examples and positions, [g, I, I]."""
        x = x.to(self._dtype)
        if not isinstance(self._layer, nn.Conv2d):
            a = x.reshape(-1, x.shape[-1])
            return self._with_bias((a.T @ a)[None], a.sum(0)[None], len(a))
        padded = self._pad(x)
        return self._with_bias(input_moment(self._layer, padded), *input_sum(self._layer, padded))

    def output_moment(self, b: Tensor) -> Tensor:
        """sum_np b_np b_np^T over examples and positions, [g, O, O]."""
        b = b.to(self._dtype)
        rows = b.permute(0, 2, 3, 1) if isinstance(self._layer, nn.Conv2d) else b
        rows = rows.reshape(-1, self.groups, self.outputs).transpose(0, 1)
        return rows.mT @ rows

    def gradients(self, x: Tensor, b: Tensor, n: int) -> Tensor:
        """Per-example gradients sum_p b_p a_p^T of n examples, [N, g, O, I]."""
        m = self._calls(x, n)
        return _by_example(self._gradients(x, self._positions(b.to(self._dtype), m), m), n)

    def rotated(
        self,
        x: Tensor,
        b: Tensor,
        n: int,
        input_basis: Tensor,
        output_basis: Tensor,
        *,
        input_first: bool | None = None,
        output_first: bool | None = None,
    ) -> Tensor:
        """Per-example gradients in other bases, V^T (sum_p b_p a_p^T) U, [N, g, O, I].

        input_basis: U [g, I, I], output_basis: V [g, O, O], basis vectors in columns. Each side is rotated before or
        after the sum over positions, whichever multiplies less: P I I before, O I I after for the inputs; P O O before,
        I O O after for the outputs. The sum itself costs P I O in every order. input_first and output_first force one
        (for tests); all give the same result.
        """
        m = self._calls(x, n)
        rows = self._positions(b.to(self._dtype), m)  # [N g, O, P]
        positions = rows.shape[2]
        # Where both orders multiply the same, a convolution is the faster one.
        input_first = positions <= self.outputs if input_first is None else input_first
        output_first = positions < self.inputs if output_first is None else output_first
        turned = output_basis.mT
        if output_first:
            # [g, O, O] [N, g, O, P]
            rows = (turned @ torch.unflatten(rows, 0, (m, self.groups))).flatten(0, 1)
        if input_first:
            weight, bias = self._split(input_basis.mT)
            a = self._apply(x.to(self._dtype), weight, bias)
            product = torch.unflatten(torch.bmm(rows, self._input_rows(a, m)), 0, (m, self.groups))
        else:
            product = self._gradients(x, rows, m)
            if self.groups == 1:  # one product of matrices for the whole batch
                product = torch.matmul(product.view(m * self.outputs, self.inputs), input_basis[0]).view_as(product)
            else:
                product = product @ input_basis
        return _by_example(product if output_first else turned @ product, n)

    def along(self, x: Tensor, b: Tensor, n: int, direction: Tensor) -> Tensor:
        """Inner products [N] of the per-example gradients with a direction [g, O, I], without forming the former."""
        weight, bias = self._split(direction)
        moved = self._apply(x.to(self._dtype), weight, bias)
        return (moved * b.to(self._dtype)).reshape(n, -1).sum(1)

    def total(self, x: Tensor, b: Tensor) -> Tensor:
        """The sum over the examples of their gradients, [g, O, I]."""
        x, b = x.to(self._dtype), b.to(self._dtype)
        layer = self._layer
        if not isinstance(layer, nn.Conv2d):
            a, rows = x.reshape(-1, x.shape[-1]), b.reshape(-1, b.shape[-1])
            return self.pack(rows.T @ a, rows.sum(0))
        padded, stride = self._pad(x), layer.stride
        if layer.kernel_size == (1, 1):
            # oneDNN's weight gradient of a strided 1x1 convolution corrupts memory (see `resnet.Projection`).
            padded, stride = padded[:, :, :: stride[0], :: stride[1]], (1, 1)
        weight = conv2d_weight(  # type: ignore[no-untyped-call]
            padded, layer.weight.shape, b, stride, (0, 0), layer.dilation, layer.groups
        )
        return self.pack(weight, b.sum((0, 2, 3)))

    # Pieces

    def _calls(self, x: Tensor, n: int) -> int:
        """Number of separate sums over positions: an example that is cut into windows has one for each of them."""
        return x.shape[0] if isinstance(self._layer, nn.Conv2d) else n

    def _apply(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The layer with other weights and as many times more outputs; it pads, strides and dilates as it always does.

        A bias coordinate adds its weight at every position.
        """
        if isinstance(self._layer, nn.Conv2d):
            moved: Tensor = self._layer._conv_forward(x, weight, bias)
            return moved
        return F.linear(x, weight, bias)

    def _positions(self, b: Tensor, m: int) -> Tensor:
        """Output gradients as [N g, O, P]."""
        if isinstance(self._layer, nn.Conv2d):
            return b.reshape(m * self.groups, self.outputs, -1)
        return b.reshape(m, -1, self.outputs).mT

    def _input_rows(self, a: Tensor, m: int) -> Tensor:
        """Outputs of `_apply` with I outputs for each group as [N g, P, I]."""
        if isinstance(self._layer, nn.Conv2d):
            return a.reshape(m * self.groups, self.inputs, -1).mT
        return a.reshape(m, -1, self.inputs)

    def _gradients(self, x: Tensor, rows: Tensor, m: int) -> Tensor:
        """rows: [N g, O, P] -> [N, g, O, I]."""
        x = x.to(self._dtype)
        out = rows.new_empty(m * self.groups, self.outputs, self.inputs)
        if isinstance(self._layer, nn.Conv2d):
            unfolded = unfold_width(self._layer, self._pad(x), examples_first=True)  # [N, g, H, W', K]
            k = unfolded.shape[-1]
            height = self._output_height(unfolded.shape[2])
            for top in range(self._layer.kernel_size[0]):
                a = self._kernel_row(unfolded.flatten(0, 1), top, height).reshape(m * self.groups, -1, k)
                out[..., top * k : (top + 1) * k] = torch.bmm(rows, a)
        else:
            a = x.reshape(m, -1, x.shape[-1])
            out[..., : a.shape[-1]] = torch.bmm(rows, a)
        if self.has_bias:
            out[..., -1] = rows.sum(2)
        return torch.unflatten(out, 0, (m, self.groups))

    def _pad(self, x: Tensor) -> Tensor:
        assert isinstance(self._layer, nn.Conv2d)
        layer = self._layer
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        around = layer._reversed_padding_repeated_twice
        return F.pad(x, around, mode=mode) if any(around) else x

    def _output_height(self, padded_height: int) -> int:
        assert isinstance(self._layer, nn.Conv2d)
        span = (self._layer.kernel_size[0] - 1) * self._layer.dilation[0] + 1
        return (padded_height - span) // self._layer.stride[0] + 1

    def _kernel_row(self, rows: Tensor, row: int, height: int) -> Tensor:
        """The inputs under one row of the kernel at every output position; the second axis of `rows` is the height."""
        assert isinstance(self._layer, nn.Conv2d)
        step, first = self._layer.stride[0], row * self._layer.dilation[0]
        return rows[:, first : first + (height - 1) * step + 1 : step]

    def _with_bias(self, moment: Tensor, sums: Tensor, count: int) -> Tensor:
        """Append the coordinate that is 1 at every position: moment [g, I', I'], sums [g, I'] -> [g, I, I]."""
        if not self.has_bias:
            return moment
        g, size, _ = moment.shape
        out = moment.new_empty(g, size + 1, size + 1)
        out[:, :size, :size] = moment
        out[:, :size, size] = out[:, size, :size] = sums
        out[:, size, size] = count
        return out


def _by_example(sums: Tensor, n: int) -> Tensor:
    """[m, ...] with m / n sums for each example -> [n, ...]."""
    return sums if len(sums) == n else torch.unflatten(sums, 0, (n, -1)).sum(1)
