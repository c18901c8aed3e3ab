"""What is differentiated: the training loss for training images, the measurement for questions about a prediction."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Objective = Callable[[Tensor, Tensor], Tensor]
"""(logits [N, K], labels [N]) -> [N], one number for each example."""


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The per-example training loss, [N].

    Written as log(1 + exp(m)) with m the measurement, which is the same number with another gradient in floating point:
    torch's p_y - 1 keeps no digit once p_y is within 6e-8 of 1, as it is for most training images of a network that
    fits them, while sigmoid(m) keeps all. What remains of such a gradient is its direction, and that is what is asked.
    """
    return F.softplus(measurement(logits, labels))


def recording(out: Tensor) -> Objective:
    """The training loss, which leaves the measurements that it is made of in `out` [N] on its way."""

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        measured = measurement(logits, labels)
        out.copy_(measured.detach())
        return F.softplus(measured)

    return loss


def measurement(logits: Tensor, labels: Tensor) -> Tensor:
    """m(x, y) = -(logit_y - logsumexp of the other logits), [N].

    Unlike the loss its gradient does not vanish where the model is certain. Delta-Influence, arXiv 2411.13731.
    """
    chosen = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return torch.logsumexp(others, dim=1) - chosen.squeeze(1)
