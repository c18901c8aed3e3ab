"""Comparisons through HTTP: detectors on a case, measured on verdicts or on the planted truth."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import N_TRAIN, POISON
from test_cases import vote
from test_drills import finished

from orfila.comparisons.detectors import offered
from orfila.jobs.contracts import CompareResult, CompareSpec
from orfila.jobs.models import Job


def compare_result(site, flagged):
    """What a comparison gives back: what each detector flags; `frequency` gives no answer."""
    folder = site.folder / "comparison"
    folder.mkdir(exist_ok=True)
    flags = {f"{name}:flagged": np.isin(np.arange(N_TRAIN), indices) for name, indices in flagged.items()}
    pq.write_table(pa.table({"index": np.arange(N_TRAIN, dtype=np.int32)} | flags), folder / "comparison.parquet")
    rows = [
        {"detector": name, "title": name.title(), "source": "a paper", "seconds": 0.5, "note": "", "error": ""}
        for name in flagged
    ]
    rows.append(rows[0] | {"detector": "frequency", "error": "the images are too small"})
    summary = {"predicted": 0, "rows": rows, "shared_seconds": {"influences": 1.0}}
    (folder / "comparison.json").write_text(json.dumps(summary))
    return CompareResult(files=site.store.put_tree(folder), summary=summary)


def test_detectors_are_measured_on_the_verdicts_that_there_are(site):
    case = site.case()
    path = f"/cases/{case['id']}/comparisons"
    started = site.post(path, {"detectors": ["frequency", "trak", "collapse"]})
    assert (started["state"], started["detectors"]) == ("running", ["collapse", "trak", "frequency"])
    assert site.post(path, {}, 409)["code"] == "comparison_busy"
    with site.database.reading() as session:
        spec = CompareSpec.model_validate(session.get_one(Job, started["job_id"]).spec)
    assert (spec.predicted, spec.affected[0].test_index) == (0, site.affected)
    # Ours flags 0 to 11; TRAK five of the poisons, and five dogs.
    site.finish(started["job_id"], compare_result(site, {"collapse": range(12), "trak": [*range(5), *range(50, 55)]}))
    done = site.get(f"/comparisons/{started['id']}")
    assert (done["state"], done["basis"], done["n_known"]) == ("finished", "none", 0)
    ours, trak, frequency = done["rows"]
    assert (ours["all_classes"]["n_flagged"], ours["all_classes"]["n_shared"]) == (12, 12)
    assert (trak["all_classes"]["n_flagged"], trak["label"]["n_flagged"], trak["label"]["n_shared"]) == (10, 5, 5)
    assert trak["label"]["precision"]["value"] is None
    assert (frequency["label"], frequency["error"]) == (None, "the images are too small")

    vote(site, case, {0: "poison", 8: "poison", 9: "poison", 50: "clean", 51: "unsure"})
    done = site.get(path)[0]
    assert (done["basis"], done["n_known"]) == ("verdicts", 4)
    trak = done["rows"][1]["all_classes"]
    assert (trak["precision"]["value"], trak["recall"]["value"]) == (0.5, pytest.approx(1 / 3))
    assert trak["precision"]["low"] < 0.5 < trak["precision"]["high"]
    file = site.client.get(f"/api/v1/comparisons/{started['id']}/comparison.parquet")
    assert pq.read_table(pa.BufferReader(file.content)).num_rows == N_TRAIN


def test_on_a_drill_detectors_are_measured_on_the_truth(site):
    drill = finished(site)
    body = {"name": "on a drill", "model_id": drill["model_id"], "affected": [{"test_index": site.affected}]}
    case = site.post(f"/projects/{site.project}/cases", body)
    assert site.post(f"/cases/{case['id']}/comparisons", {}, 409)["code"] == "case_not_scored"
    site.finish(case["job_id"], site.investigation(case))
    started = site.post(f"/cases/{case['id']}/comparisons", {})
    assert started["detectors"] == [d.name for d in offered()]
    site.finish(started["job_id"], compare_result(site, {"collapse": range(12), "trak": [0, 1]}))
    done = site.get(f"/comparisons/{started['id']}")
    assert (done["basis"], done["n_known"]) == ("truth", len(POISON))
    ours, trak = done["rows"][0]["label"], done["rows"][1]["label"]
    assert (ours["precision"]["value"], ours["recall"]["value"]) == (pytest.approx(10 / 12), 1.0)
    assert (trak["precision"]["value"], trak["recall"]["value"]) == (1.0, 0.2)


def test_a_comparison_that_does_not_end_well_says_why(site):
    case = site.case()
    path = f"/cases/{case['id']}/comparisons"
    assert site.post(path, {"detectors": ["tea leaves"]}, 422)["code"] == "unknown_detector"
    started = site.post(path, {})
    assert site.client.get(f"/api/v1/comparisons/{started['id']}/comparison.parquet").status_code == 409
    site.fail(started["job_id"], "The device ran out of memory.")
    assert site.get(f"/comparisons/{started['id']}")["error"] == "The device ran out of memory."
    site.post(f"/jobs/{started['job_id']}/retry", None, 200)
    assert site.get(f"/comparisons/{started['id']}")["state"] == "running"
    site.post(f"/jobs/{started['job_id']}/cancel", None, 200)
    assert [c["state"] for c in site.get(path)] == ["cancelled"]


def test_the_offered_detectors_are_the_engine_s():
    detectors = pytest.importorskip("orfila_engine.detectors", reason="the engine needs torch")
    made = [detectors.make(name) for name in detectors.names()]
    assert [(d.name, d.title, d.source) for d in offered()] == [(d.name, d.title, d.source) for d in made]
