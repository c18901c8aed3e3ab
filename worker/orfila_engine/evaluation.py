"""What a model says of many pictures: predictions, margins, accuracy, confusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.devices import select_device
from orfila_engine.progress import Progress, quiet


@dataclass(frozen=True)
class Evaluation:
    """Predictions for N labelled pictures of K classes."""

    labels: NDArray[np.int64]
    """[N]"""
    logits: NDArray[np.float32]
    """[N, K]"""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """[N] predicted labels."""
        return np.asarray(self.logits.argmax(1), dtype=np.int64)

    @property
    def confidence(self) -> NDArray[np.float32]:
        """[N] softmax probability of the predicted label."""
        shifted = np.exp(self.logits - self.logits.max(1, keepdims=True))
        return np.asarray(shifted.max(1) / shifted.sum(1), dtype=np.float32)

    @property
    def margin(self) -> NDArray[np.float32]:
        """[N] margin of the predicted label, see `margins`."""
        return margins(self.logits, self.predicted)

    @property
    def accuracy(self) -> float:
        """Share predicted right; nan when there are no pictures."""
        return float((self.predicted == self.labels).mean()) if len(self.labels) else float("nan")

    @property
    def confusion(self) -> NDArray[np.int64]:
        """[K, K] counts, true label by predicted label."""
        n_classes = self.logits.shape[1]
        pairs = self.labels * n_classes + self.predicted
        return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)

    @property
    def class_accuracy(self) -> NDArray[np.float64]:
        """[K] share of each class predicted right; nan for a class without pictures."""
        confusion = self.confusion
        totals = confusion.sum(1)
        unknown = np.full(len(totals), np.nan)
        return np.asarray(np.divide(confusion.diagonal(), totals, out=unknown, where=totals > 0))


def margins(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Logit of a label minus logsumexp of the other logits: the measurement with the sign of certainty.

    logits [N, K], labels [N] -> [N]. Positive exactly when the label's softmax probability exceeds 1/2.
    """
    rows = np.arange(len(logits))
    others = logits.astype(np.float64)
    chosen = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    peak = others.max(1)
    rest = peak + np.log(np.exp(others - peak[:, None]).sum(1))
    return np.asarray(chosen - rest, dtype=np.float32)


def evaluate(
    model: nn.Module,
    card: ModelCard,
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    *,
    batch_size: int = 512,
    device: str = "auto",
    progress: Progress = quiet,
) -> Evaluation:
    """Predict pictures in evaluation mode; the model is back on the CPU afterwards.

    pixels: uint8 [N, H, W, C], memory-mapped or not, of the card's size. labels: [N] true labels.
    """
    where = select_device(device)
    model = model.to(where).eval()
    logits = np.empty((len(pixels), len(card.classes)), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(pixels), batch_size):
            block = to_tensor(pixels[start : start + batch_size]).to(where)
            logits[start : start + batch_size] = model(normalise(block, card)).float().cpu().numpy()
            progress("predicting", min(1.0, (start + batch_size) / len(pixels)))
    model.to("cpu")
    return Evaluation(np.asarray(labels, dtype=np.int64), logits)


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, H, W, C] -> [N, C, H, W], channels last in memory."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)  # a copy: torch wants writable memory
