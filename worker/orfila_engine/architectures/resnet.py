"""Small residual networks for pictures of 8 to 64 pixels (He 2016, the CIFAR form: 3x3 stem, no pooling before it)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Projection(nn.Sequential):
    """The shortcut of a block that changes width or size: a 1x1 convolution of every `stride`-th pixel, normalised.

    The same function as a convolution with that stride. oneDNN's weight gradient of a strided 1x1 convolution with 8
    input channels in channels_last writes past its buffer on two threads or more (torch 2.14.1, x86: memory corruption,
    found by a worker that died in SCRUB and in EK-FAC), so no such convolution is made here.
    """

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(nn.Conv2d(c_in, c_out, 1, bias=False), nn.BatchNorm2d(c_out))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] -> [N, c_out, H / stride, W / stride]."""
        out: Tensor = super().forward(x[:, :, :: self.stride, :: self.stride])  # type: ignore[no-untyped-call]
        return out


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = Projection(c_in, c_out, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[N, c_in, H, W] -> [N, c_out, H / stride, W / stride]."""
        out: Tensor = self.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.shortcut(x), inplace=True)


class SmallResNet(nn.Module):
    """A stem, stages of basic blocks that halve the size and double the width, average pooling, one linear layer."""

    def __init__(self, channels: int, n_classes: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True)
        )
        stages: list[nn.Module] = []
        c_in = widths[0]
        for number, width in enumerate(widths):
            for block in range(blocks):
                stages.append(BasicBlock(c_in, width, stride=2 if number > 0 and block == 0 else 1))
                c_in = width
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(c_in, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels, H, W] -> logits [N, n_classes]."""
        out: Tensor = self.classifier(self.pool(self.stages(self.stem(x))).flatten(1))
        return out
