"""What each phase costs, in epochs of training the same model on the same data. Runs alone, with all threads."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

from benchmarks.cases import Case
from benchmarks.sweeps import sweep_case
from orfila_engine import detectors
from orfila_engine.comparison import compare
from orfila_engine.evidence import calibration_of
from orfila_engine.fingerprint import FingerprintIndex, build_index
from orfila_engine.investigation import investigate
from orfila_engine.training import train

_TRAINING_EPOCHS = 2


def run(case: Case) -> dict[str, Any]:
    """Seconds of one epoch as `train` runs it, and of everything that follows."""
    model, card = case.loaded
    packed, timed = case.packed, {}

    def measure(name: str, step: Callable[[], object]) -> None:
        began = time.perf_counter()
        step()
        timed[name] = round(time.perf_counter() - began, 2)

    trained = train(card, packed, epochs=_TRAINING_EPOCHS, augment=False)
    epoch = min(e.seconds for e in trained.history)
    folder = case.work / "phases"
    shutil.rmtree(folder, ignore_errors=True)
    measure("index", lambda: build_index(model, card, *packed.train, folder / "index", data_digest=packed.digest))
    index = FingerprintIndex.open(folder / "index")  # a fresh one: what is kept beside the case's would cost nothing
    measure("calibration of the evidence test", lambda: calibration_of(index, packed, model, card))
    calibration = calibration_of(index, packed, model, card)

    def question() -> None:
        investigate(index, packed, model, card, [case.affected], out_dir=folder / "found", calibration=calibration)

    measure("first affected image", question)
    measure("further affected image", question)
    measure("sweep of all classes", lambda: sweep_case(case))
    result = compare(case.evidence(), [detectors.make(name) for name in detectors.names()])
    shutil.rmtree(folder)
    return {
        "images": packed.n_train,
        "epoch": round(epoch, 2),
        "seconds": timed,
        "detectors": {row.detector: row.seconds for row in result.rows},
        "shared by detectors": result.shared_seconds,
    }
