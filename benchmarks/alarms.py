"""Is clean data accused? The evidence test on ordinary misclassified test images."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.cases import Case
from orfila_engine.evaluation import evaluate
from orfila_engine.investigation import affected_from_test, investigate


def run(case: Case, n_images: int) -> dict[str, Any]:
    """Investigate ordinary test images that the model gets wrong, drawn at random.

    None of them carries a trigger, so each "poisoning found" is a false alarm, also those of a poisoned model.
    """
    result = evaluate(*case.loaded, *case.packed.test)
    wrong = np.flatnonzero(result.predicted != result.labels)
    drawn = np.sort(np.random.default_rng(0).permutation(wrong)[:n_images])
    answers = []
    for number in drawn.tolist():
        image = affected_from_test(case.packed, case.packed.n_train + number)
        found = investigate(
            case.index, case.packed, *case.loaded, [image], out_dir=case.work / "ordinary",
            calibration=case.calibration,
        )  # fmt: skip
        answers.append(
            found.summary["evidence"]
            | {"predicted": found.summary["predicted"], "n_flagged": found.summary["n_flagged"]}
        )
    return {"n_misclassified": len(wrong), "accuracy": result.accuracy, "answers": answers}
