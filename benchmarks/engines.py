"""The same two rules on our EK-FAC instead of the fingerprint index: is it the rule or the approximation?"""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.cases import Case
from orfila_engine.comparison import measure
from orfila_engine.detectors.base import detected
from orfila_engine.ekfac import kept_engine
from orfila_engine.investigation import investigate


def run(case: Case) -> dict[str, Any]:
    """Investigate the affected image on both engines; flagged sets and scores against the truth."""
    if not case.about["n_fooled"]:
        return {"skipped": "the poison fools the model on no test image"}
    poison = np.zeros(case.packed.n_train, dtype=bool)
    poison[case.truth] = True
    everywhere = np.ones(len(poison), dtype=bool)
    rows = []
    for name in ("fingerprint", "ekfac"):
        began = time.perf_counter()
        engine = case.index if name == "fingerprint" else kept_engine(case.work / "ekfac", *case.loaded, case.packed)
        found = investigate(engine, case.packed, *case.loaded, [case.affected], out_dir=case.work / f"found-{name}")
        table = pq.read_table(found.path / "scores.parquet")
        suspect = table["suspect"].to_numpy()
        collapse = np.where(suspect, table["collapse_score"].to_numpy(), -2.0)
        for rule, scores, flags in (
            ("collapse", collapse, table["flagged"].to_numpy()),
            ("delta-influence", table["n_collapsed"].to_numpy(), table["flagged_paper"].to_numpy()),
        ):
            measured = measure(detected(scores, flags), poison, everywhere)
            rows.append({"engine": name, "rule": rule} | asdict(measured))
        rows[-1]["seconds"] = rows[-2]["seconds"] = round(time.perf_counter() - began, 1)
    return {"rows": rows}
