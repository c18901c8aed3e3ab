"""The proof of a repair: the same questions to the model before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.evaluation import Evaluation, evaluate, margins
from orfila_engine.investigation import Affected
from orfila_engine.progress import Progress, part, quiet

HEALED_PSR = 0.01


@dataclass(frozen=True)
class AffectedOutcome:
    """An affected image before and after. Margins are of the label predicted before, see `evaluation.margins`."""

    number: int
    name: str
    true_label: int | None
    before_predicted: int
    after_predicted: int
    before_margin: float
    after_margin: float
    healed: bool
    """No longer predicted as before, and right where the true label is known."""
    predicted_margin: float | None = None
    """What the preview expected `after_margin` to be; None where there was none."""


@dataclass(frozen=True)
class Verification:
    """Before and after."""

    affected: tuple[AffectedOutcome, ...]
    before: Evaluation
    """Of the test images."""
    after: Evaluation
    changed: NDArray[np.int64]
    """`index` of the test images whose prediction changed."""
    psr_before: float | None
    """Poison success rate: share of the triggered images predicted as the target; None without triggered images."""
    psr_after: float | None
    n_triggered: int | None

    @property
    def healed(self) -> bool:
        """Every affected image is healed, and the poison success rate, where known, is at most 1 %."""
        return all(a.healed for a in self.affected) and (self.psr_after is None or self.psr_after <= HEALED_PSR)

    def sentence(self) -> str:
        """The proof in one sentence."""
        n_healed = sum(a.healed for a in self.affected)
        images = "affected image is" if len(self.affected) == 1 else "affected images are"
        parts = [f"{n_healed} of {len(self.affected)} {images} healed"]
        if self.psr_before is not None and self.psr_after is not None:
            parts.append(f"poison success rate {self.psr_before:.1%} → {self.psr_after:.1%}")
        parts.append(f"test accuracy {self.before.accuracy:.1%} → {self.after.accuracy:.1%}")
        parts.append(f"{len(self.changed):,} of {len(self.before.labels):,} test predictions changed")
        return "; ".join(parts) + "."


def verify(
    before: nn.Module,
    after: nn.Module,
    card: ModelCard,
    packed: PackedDataset,
    affected: Sequence[Affected],
    *,
    triggered: NDArray[np.uint8] | None = None,
    target: int | None = None,
    predicted_margins: Sequence[float] | None = None,
    device: str = "auto",
    progress: Progress = quiet,
) -> Verification:
    """Ask both models about the affected images, the test images and (where known) triggered images.

    triggered: uint8 [N, H, W, C] images with the trigger, none of which truly shows the target; target: the label that
    the poison aims at, by default what the first affected image receives from the model before. predicted_margins: what
    a preview expected of each affected image, to stand beside what became of it.
    """
    pixels, labels = packed.test
    pair = (before, after)
    tests = [
        evaluate(m, card, pixels, labels, device=device, progress=part(progress, i * 0.4, i * 0.4 + 0.4))
        for i, m in enumerate(pair)
    ]
    outcomes: tuple[AffectedOutcome, ...] = ()
    if affected:
        stack = np.stack([a.pixels for a in affected])
        unknown = np.full(len(stack), -1)
        was, now = (evaluate(m, card, stack, unknown, device=device) for m in pair)
        outcomes = _outcomes(affected, was, now, predicted_margins)
        target = outcomes[0].before_predicted if target is None else target
    rates: list[float] = []
    if triggered is not None and target is not None:
        aim = np.full(len(triggered), target)
        rates = [evaluate(m, card, triggered, aim, device=device).accuracy for m in pair]
    progress("verified", 1.0)
    return Verification(
        affected=outcomes,
        before=tests[0],
        after=tests[1],
        changed=packed.n_train + np.flatnonzero(tests[0].predicted != tests[1].predicted),
        psr_before=rates[0] if rates else None,
        psr_after=rates[1] if rates else None,
        n_triggered=len(triggered) if rates and triggered is not None else None,
    )


def is_healed(before: int, after: int, true_label: int | None) -> bool:
    """Whether an affected image is no longer predicted as before, and right where its true label is known."""
    return after != before and (true_label is None or after == true_label)


def _outcomes(
    affected: Sequence[Affected], before: Evaluation, after: Evaluation, predicted: Sequence[float] | None
) -> tuple[AffectedOutcome, ...]:
    was, now = before.predicted, after.predicted
    margin_before, margin_after = margins(before.logits, was), margins(after.logits, was)
    return tuple(
        AffectedOutcome(
            number=i,
            name=image.name,
            true_label=image.true_label,
            before_predicted=int(was[i]),
            after_predicted=int(now[i]),
            before_margin=float(margin_before[i]),
            after_margin=float(margin_after[i]),
            healed=is_healed(int(was[i]), int(now[i]), image.true_label),
            predicted_margin=None if predicted is None else float(predicted[i]),
        )
        for i, image in enumerate(affected)
    )
