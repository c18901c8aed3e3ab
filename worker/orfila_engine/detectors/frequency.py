"""Frequency detector (Zeng 2021, arXiv 2104.03413, section 4): triggers leave traces in the discrete cosine transform.

A small CNN learns to tell the DCT of clean pictures from that of the same pictures with synthetic marks: a white block,
a block of noise, Gaussian noise, a shadow, or another picture blended in. It needs pictures that are known to be clean
(the test images here) and never looks at the model. Marks, network and loss are those of the authors' code; they train
a network of twice this width on 50,000 clean pictures for 50 epochs with Adadelta, we on what there is with Adam, which
learns in fewer steps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from orfila_engine.detectors.base import Detected, DetectorInput, Need, detected
from orfila_engine.devices import select_device
from orfila_engine.evaluation import to_tensor

_BATCH = 64
_LEARNING_RATE = 1e-3
_BLEND = 0.3
_SHADE = 0.5
_MIN_SIDE = 8
"""The network halves its input three times."""


@dataclass(frozen=True)
class Frequency:
    """A CNN on the DCT of pictures, trained on clean ones and synthetically marked copies."""

    epochs: int = 10
    width: int = 16
    """Channels of the first two convolutions; the next pairs have 2 and 4 times as many."""
    seed: int = 0
    folder: Path | None = field(default=None, repr=False)
    """Where trained networks are kept, since many models may share their clean pictures; None keeps them in memory."""

    name: ClassVar[str] = "frequency"
    title: ClassVar[str] = "Frequency"
    source: ClassVar[str] = "Zeng 2021, arXiv 2104.03413"
    needs: ClassVar[tuple[Need, ...]] = ()

    _trained: dict[str, nn.Module] = field(default_factory=dict, repr=False, compare=False)

    def detect(self, evidence: DetectorInput) -> Detected:
        """Score = logit of "marked"; flagged where it is positive.

        Raises ValueError when there are no clean pictures, or they are smaller than 8 x 8.
        """
        network = self.network(evidence.clean, evidence.device)
        scores = score_pictures(network, evidence.packed.train[0], evidence.device)
        return detected(scores, scores > 0, note=f"Learned from {len(evidence.clean):,} clean pictures.")

    def network(self, clean: NDArray[np.uint8], device: str = "auto") -> nn.Module:
        """The trained network for clean pictures [M, H, W, C]; one that was trained before is used again."""
        if len(clean) < 2 or min(clean.shape[1:3]) < _MIN_SIDE:
            raise ValueError(
                f"the frequency detector needs at least two clean pictures of {_MIN_SIDE} x {_MIN_SIDE} or more"
            )
        key = hashlib.sha256(np.ascontiguousarray(clean).tobytes() + repr(self).encode()).hexdigest()[:16]
        if key in self._trained:
            return self._trained[key]
        path = None if self.folder is None else self.folder / f"frequency-{key}.safetensors"
        if path is not None and path.is_file():
            network = _network(clean.shape[1:], self.width).eval()
            network.load_state_dict(load_file(path))
        else:
            network = self._train(np.array(clean), device)
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
        self._trained[key] = network
        return network

    def _train(self, clean: NDArray[np.uint8], device: str) -> nn.Module:
        where = select_device(device)
        rng = np.random.default_rng(self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
            torch.manual_seed(self.seed)  # weights and dropout
            network = _network(clean.shape[1:], self.width).to(where).to(memory_format=torch.channels_last)
            optimiser = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-4)
            for _ in range(self.epochs):
                pictures = torch.cat([to_tensor(clean), to_tensor(mark(clean, rng))])
                marked = torch.arange(len(pictures)).ge(len(clean)).long()
                for rows in torch.split(torch.randperm(len(pictures), generator=generator), _BATCH):
                    if len(rows) < 2:
                        continue  # batch normalisation has nothing to normalise over
                    x = dct(pictures[rows].to(where).float() / 255).contiguous(memory_format=torch.channels_last)
                    loss = F.cross_entropy(network(x), marked[rows].to(where))
                    optimiser.zero_grad(set_to_none=True)
                    torch.autograd.backward(loss)
                    optimiser.step()
        # As a network from a file is, so that both give the same bits.
        trained: nn.Module = network.eval().to("cpu").to(memory_format=torch.contiguous_format)
        return trained


def score_pictures(network: nn.Module, pictures: NDArray[np.uint8], device: str = "auto") -> NDArray[np.float32]:
    """[N] logit of "marked" for pictures uint8 [N, H, W, C]."""
    where = select_device(device)
    network = network.to(where)
    out = np.empty(len(pictures), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(pictures), 512):
            x = dct(to_tensor(pictures[start : start + 512]).to(where).float() / 255)
            logits = network(x)
            out[start : start + 512] = (logits[:, 1] - logits[:, 0]).cpu().numpy()
    network.to("cpu")
    return out


def dct(x: Tensor) -> Tensor:
    """Two-dimensional orthonormal DCT-II of each channel, [N, C, H, W] -> the same."""
    return _basis(x.shape[-2], x.device) @ x @ _basis(x.shape[-1], x.device).T


def mark(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A copy of pictures [N, H, W, C], each with one of the five synthetic marks, drawn at random."""
    marked = np.array(pictures)
    for i, kind in enumerate(rng.integers(0, 5, len(pictures)).tolist()):
        if kind <= 1:
            _block(marked[i], rng, white=kind == 0)
        elif kind == 2:
            deviation = np.sqrt(rng.uniform(10, 70))
            marked[i] = _clipped(marked[i] + rng.normal(25, deviation, marked[i].shape))
        elif kind == 3:
            marked[i] = _shadow(marked[i], rng)
        else:
            other = pictures[int(rng.integers(len(pictures)))]
            marked[i] = _clipped(marked[i] + _BLEND * other.astype(np.float64))
    return marked


def _block(picture: NDArray[np.uint8], rng: np.random.Generator, white: bool) -> None:
    """Put a block of 1/16 to 1/4 of the side near one of the corners of a picture [H, W, C], in place."""
    height, width, channels = picture.shape
    h, w = (int(rng.integers(max(1, side // 16), max(2, side // 4))) for side in (height, width))
    margin = int(rng.integers(0, max(1, min(height, width) * 6 // 32)))
    top = margin if rng.random() < 0.5 else height - margin - h
    left = margin if rng.random() < 0.5 else width - margin - w
    noise = rng.integers(0, 256, (h, w, channels))
    picture[top : top + h, left : left + w] = 255 if white else noise


def _shadow(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """One or two five-cornered shadows of half the brightness on the lower half of a picture [H, W, C]."""
    height, width, _ = picture.shape
    shade = Image.new("1", (width, height))
    for _ in range(int(rng.integers(1, 3))):
        corners = [(rng.uniform(0, width), rng.uniform(height / 2, height)) for _ in range(5)]
        ImageDraw.Draw(shade).polygon(corners, fill=1)
    factor = np.where(np.asarray(shade), _SHADE, 1.0)
    return _clipped(picture * factor[:, :, None])


def _clipped(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)


def _basis(n: int, device: torch.device) -> Tensor:
    """Rows are the orthonormal cosines of DCT-II, [n, n]."""
    frequency = torch.arange(n, dtype=torch.float64)[:, None]
    position = torch.arange(n, dtype=torch.float64)[None]
    basis = torch.cos(torch.pi * (2 * position + 1) * frequency / (2 * n)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    placed: Tensor = basis.to(device, torch.float32)
    return placed


def _network(shape: tuple[int, ...], width: int) -> nn.Module:
    """Three pairs of convolutions with ELU and batch normalisation, each halved and followed by dropout; 2 logits."""
    height, picture_width, channels = shape
    layers: list[nn.Module] = []
    for factor, dropout in ((1, 0.2), (2, 0.3), (4, 0.4)):
        for _ in range(2):
            layers += [nn.Conv2d(channels, width * factor, 3, padding=1), nn.ELU(), nn.BatchNorm2d(width * factor)]
            channels = width * factor
        layers += [nn.MaxPool2d(2), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * (height // 8) * (picture_width // 8), 2))
