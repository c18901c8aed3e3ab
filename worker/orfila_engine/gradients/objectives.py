"""What is differentiated: the training loss for training images, the measurement for questions about a prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits [N, K], labels [N]) -> [N], one number for each example."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The per-example training loss, [N]."""
    return F.cross_entropy(logits, labels, reduction="none")


def measurement(logits: Tensor, labels: Tensor) -> Tensor:
    """m(x, y) = -(logit_y - logsumexp of the other logits), [N].

    Unlike the loss its gradient does not vanish where the model is certain. Delta-Influence, arXiv 2411.13731.
    """
    chosen = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return torch.logsumexp(others, dim=1) - chosen.squeeze(1)
