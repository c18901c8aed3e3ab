"""Check: does a model make the mistakes of closed cases again?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from orfila.checks.schemas import CheckedCase, CheckedImage, CheckOutcome, SkippedCase
from orfila.jobs.contracts import CaseCheckSpec, CheckResult, CheckSpec
from orfila_engine.architectures import ModelCard
from orfila_engine.data import PackedDataset
from orfila_engine.evaluation import evaluate
from orfila_engine.unlearning.verification import is_healed
from orfila_worker.tasks.affected import affected_images, triggered_images

if TYPE_CHECKING:
    from orfila_worker.runner import Work


def check_cases(work: Work) -> CheckResult:
    """Ask the model about the affected and triggered images of every case that it can be held against."""
    began = time.monotonic()
    spec = CheckSpec.model_validate(work.spec)
    model, card = work.warm.model(spec.weights, spec.card)
    checked: list[CheckedCase] = []
    skipped: list[SkippedCase] = []
    for number, case in enumerate(spec.cases):
        work.progress(f"checking '{case.name}'", number / len(spec.cases))
        packed = work.warm.pack(case.pack)
        reason = _unfit(card, case, packed)
        if reason is None:
            checked.append(_check(work, model, card, case, packed))
        else:
            skipped.append(SkippedCase(case_id=case.case_id, name=case.name, reason=reason))
    passed = bool(checked) and all(case.passed for case in checked)
    seconds = round(time.monotonic() - began, 3)
    return CheckResult(
        outcome=CheckOutcome(
            passed=passed, sentence=_sentence(checked, skipped), cases=checked, skipped=skipped, seconds=seconds
        )
    )


def _check(work: Work, model: nn.Module, card: ModelCard, case: CaseCheckSpec, packed: PackedDataset) -> CheckedCase:
    affected = affected_images(work, case.affected, packed, card)
    pixels = np.stack([image.pixels for image in affected])
    said = evaluate(model, card, pixels, np.full(len(pixels), -1), device=work.device)
    images = []
    for spec, image, predicted, confidence in zip(
        case.affected, affected, said.predicted.tolist(), said.confidence.tolist(), strict=True
    ):
        passed = is_healed(case.predicted, predicted, image.true_label)
        images.append(
            CheckedImage(
                number=spec.number,
                name=image.name,
                true_label=image.true_label,
                predicted=predicted,
                confidence=confidence,
                passed=passed,
            )
        )
    rate, n_triggered = None, None
    if case.triggered_pack is not None:
        triggered = triggered_images(work, case.triggered_pack, card, case.predicted)
        aim = np.full(len(triggered), case.predicted)
        rate, n_triggered = evaluate(model, card, triggered, aim, device=work.device).accuracy, len(triggered)
    within = rate is None or case.psr_limit is None or rate <= case.psr_limit
    return CheckedCase(
        case_id=case.case_id,
        name=case.name,
        passed=within and all(image.passed for image in images),
        affected=images,
        psr=rate,
        psr_limit=case.psr_limit,
        n_triggered=n_triggered,
    )


def _unfit(card: ModelCard, case: CaseCheckSpec, packed: PackedDataset) -> str | None:
    """Why a case says nothing about a model; None where it does."""
    if list(card.classes) != case.classes:
        return "The model has other classes than the case."
    shape = (*card.input_size, card.channels)
    if packed.pixels.shape[1:] != shape:
        return f"The model takes images of {shape}, the case has {tuple(packed.pixels.shape[1:])}."
    return None


def _sentence(checked: list[CheckedCase], skipped: list[SkippedCase]) -> str:
    failing = [case for case in checked if not case.passed]
    left_out = f"; {len(skipped)} could not be asked" if skipped else ""
    if not checked:
        return f"No case can be held against this model{left_out}."
    if failing:
        names = ", ".join(f"'{case.name}'" for case in failing[:3]) + (" and others" if len(failing) > 3 else "")
        return f"{len(failing)} of {len(checked)} closed cases regressed: {names}{left_out}."
    return f"None of the {len(checked)} closed cases' mistakes is made again{left_out}."
