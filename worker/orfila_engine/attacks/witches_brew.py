"""Witches' Brew (Geiping 2021, arXiv 2009.02276): faint noise on pictures with right labels turns one test image.

The attacker has models of his own (surrogates), trained on clean data. He changes pictures of the target class, each by
at most eps, so that the gradient of their training loss points where the gradient of the wanted mistake points: whoever
trains on them takes steps towards the mistake. There is no trigger; the victim is one test image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from orfila_engine.architectures import ModelCard, normalise
from orfila_engine.attacks.base import Images, Labels, Planted, PoisonSettings, no_trigger
from orfila_engine.devices import select_device
from orfila_engine.progress import Progress, quiet
from orfila_engine.training import augment

STEP = 0.4
"""First step of signed Adam as a share of eps (.1 in the units of normalised CIFAR-10, as the authors have it)."""
_BATCH_VALUES = 512 * 32 * 32 * 3
"""Pixel values in one batch; each batch of poisons is matched by itself, as the authors do with 512 pictures."""


@dataclass(frozen=True)
class Brew:
    """A crafted poison and how well it matches."""

    planted: Planted
    loss: float
    """1 - cosine of the poison's and the wanted gradient, mean over surrogates and batches: 0 is a perfect match."""


@dataclass(frozen=True)
class WitchesBrew(PoisonSettings):
    """Gradient matching with signed Adam. Pure function of images, labels, seed, surrogates and victim.

    source: class of the victim. target: the label that it shall receive; the poisons are pictures of that class.
    """

    eps: float = 16.0
    """The most that a pixel may change, in grey levels of 255."""
    steps: int = 40
    """Steps of each restart. The authors take 250; on small CIFAR-10 networks the match hardly improves after 40."""
    restarts: int = 1
    """Random starts; the best match is kept."""
    ensemble: int = 3
    """Surrogates that are matched together; the mean of their losses counts. A match to one carries over badly."""
    victim: int | None = None
    """Row of the victim among the test images; None chooses by seed one that the first surrogate gets right."""

    name: ClassVar[str] = "witches-brew"
    augmented: ClassVar[bool] = True
    """A network that knows its images by heart has no gradient left at them for a poison to match (decision 14)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.eps <= 255:
            raise ValueError(f"eps is {self.eps}; it is a change of 1 to 255 grey levels")
        for name, value in (("steps", self.steps), ("restarts", self.restarts), ("ensemble", self.ensemble)):
            if value < 1:
                raise ValueError(f"{name} is {value}; at least 1 is needed")

    @property
    def one_class(self) -> bool:
        """The victim has one class."""
        return True

    def choose_victim(self, labels: Labels, predicted: Labels, n_classes: int, seed: int) -> tuple[int, int]:
        """Row of the victim among the test images with true labels [N], and the target label.

        predicted: [N] what a clean model says: whoever is wrong already would be no success.
        Raises ValueError when there is no such test image.
        """
        rng = self.generator(seed)
        source, target = self.classes(labels, n_classes, rng)
        if self.victim is not None:
            return self._given_victim(labels, predicted, target, n_classes)
        right = np.flatnonzero((labels == source) & (predicted == source))
        if len(right) == 0:
            raise ValueError(
                f"the surrogate gets no test image of class {source} right; train it longer, or choose another source"
            )
        return int(rng.choice(right)), target

    def _given_victim(self, labels: Labels, predicted: Labels, target: int, n_classes: int) -> tuple[int, int]:
        assert self.victim is not None
        if not 0 <= self.victim < len(labels):
            raise ValueError(f"the victim is test image {self.victim}; they are numbered 0..{len(labels) - 1}")
        true = int(labels[self.victim])
        if predicted[self.victim] != true:
            raise ValueError("a clean model gets the victim wrong already; choose a test image that it gets right")
        if self.source is not None and true != self.source:
            raise ValueError("the victim is not of the source class; leave out one of the two")
        if true == target and self.target is not None:
            raise ValueError("the victim has the target label already; choose another target")
        return self.victim, target if true != target else (target + 1) % n_classes

    def craft(
        self,
        surrogates: Sequence[nn.Module],
        card: ModelCard,
        images: Images,
        labels: Labels,
        victim: NDArray[np.uint8],
        *,
        victim_row: int,
        source: int,
        target: int,
        seed: int,
        augmented: bool = False,
        device: str = "auto",
        progress: Progress = quiet,
    ) -> Brew:
        """Choose and change training images [N, H, W, C] with labels [N], for one victim [H, W, C].

        augmented: match under random shifts and flips, for a training that has them.
        Raises ValueError when the target class holds too few images, or a surrogate has no gradient to match.
        """
        if len(surrogates) != self.ensemble:
            raise ValueError(f"an ensemble of {self.ensemble} needs as many surrogates; there are {len(surrogates)}")
        rng = self.generator(seed)
        indices = self.choose(labels, np.flatnonzero(labels == target), rng)
        where = select_device(device)
        models = [_Surrogate(m.to(where).eval(), card, victim, target, where) for m in surrogates]
        base = torch.from_numpy(np.array(images[indices])).permute(0, 3, 1, 2).to(where).float()
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        size = max(1, _BATCH_VALUES // base[0].numel())
        best = torch.zeros_like(base)
        batches = torch.split(base, size)
        least = [float("inf")] * len(batches)
        work = self.restarts * len(least)
        done = 0
        for _restart in range(self.restarts):
            for number, batch in enumerate(batches):

                def report(share: float, start: int = done) -> None:
                    progress("brewing the poison", (start + share) / work)

                noise, loss = self._match(models, batch, target, generator, augmented, report)
                if loss < least[number]:
                    least[number] = loss
                    best[number * size : number * size + len(batch)] = noise
                done += 1
        for model in surrogates:
            model.to("cpu")
        poisoned = (base + best).permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
        planted = Planted(
            attack=self.name,
            indices=indices,
            images=np.ascontiguousarray(poisoned),
            labels=np.full(len(indices), target, dtype=np.int64),
            source=source,
            target=target,
            trigger=no_trigger,
            victim_row=victim_row,
        )
        return Brew(planted, float(np.mean(least)))

    def _match(
        self,
        models: Sequence[_Surrogate],
        base: Tensor,
        target: int,
        generator: torch.Generator,
        augmented: bool,
        report: Callable[[float], None],
    ) -> tuple[Tensor, float]:
        """One batch of pictures [P, C, H, W] in grey levels from one random start: whole-number noise, and its loss."""
        noise = (torch.rand(base.shape, generator=generator) * 2 - 1).to(base.device) * self.eps
        noise = _within(noise, base, self.eps).requires_grad_(True)
        optimiser = torch.optim.Adam([noise], lr=STEP * self.eps)
        decay = torch.optim.lr_scheduler.MultiStepLR(
            optimiser, milestones=[self.steps * k // 8 for k in (3, 5, 7)], gamma=0.1
        )
        for step in range(self.steps):
            x = base + noise
            if augmented:
                x = augment(x, generator)
            loss = torch.stack([m.mismatch(x, target) for m in models]).mean()
            (slope,) = torch.autograd.grad(loss, [noise])
            noise.grad = slope.sign()
            optimiser.step()
            decay.step()
            with torch.no_grad():
                noise.copy_(_within(noise, base, self.eps))
            report((step + 1) / self.steps)
        whole = _within(noise.detach().round(), base, math.floor(self.eps))
        final = torch.stack([m.mismatch(base + whole, target) for m in models]).mean()
        return whole, float(final)


class _Surrogate:
    """A model of the attacker, with the gradient that he wants: that of the victim under the target label."""

    def __init__(
        self, model: nn.Module, card: ModelCard, victim: NDArray[np.uint8], target: int, device: torch.device
    ) -> None:
        self._model = model
        self._card = card
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        x = torch.from_numpy(np.array(victim)).permute(2, 0, 1)[None].to(device).float()
        self._wanted = self._gradient(x, target, create_graph=False)
        self._norm = _norm(self._wanted)
        if not bool(torch.isfinite(self._norm)) or float(self._norm) == 0:
            raise ValueError("a surrogate's gradient at the victim is zero or not a number; train another surrogate")

    def mismatch(self, x: Tensor, label: int) -> Tensor:
        """1 - cos(gradient of the mean loss of pictures [P, C, H, W] in grey levels, wanted gradient): equation 3."""
        gradient = self._gradient(x, label, create_graph=x.requires_grad)
        product = torch.stack([(g * w).sum() for g, w in zip(gradient, self._wanted, strict=True)]).sum()
        return 1 - product / (_norm(gradient) * self._norm).clamp_min(1e-20)

    def _gradient(self, x: Tensor, label: int, *, create_graph: bool) -> tuple[Tensor, ...]:
        logits = self._model(normalise(x / 255, self._card))
        loss = F.cross_entropy(logits, torch.full((len(x),), label, device=x.device))
        return torch.autograd.grad(loss, self._parameters, create_graph=create_graph)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([t.square().sum() for t in tensors]).sum().sqrt()


def _within(noise: Tensor, base: Tensor, eps: float) -> Tensor:
    """Noise of at most eps that keeps base + noise in 0..255."""
    return torch.minimum(torch.maximum(noise.clamp(-eps, eps), -base), 255 - base)
