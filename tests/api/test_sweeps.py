"""Sweeps through HTTP: starting one, what every class shows, what is flagged, and how it ends."""

import json

import pytest
from conftest import N_TRAIN, N_TRAIN_PER_CLASS

from orfila.figures.sweeps import STRICT_P
from orfila.jobs.contracts import IndexResult, SweepResult, SweepSpec
from orfila.jobs.models import Job
from orfila.sweeps.schemas import SweepClass, SweepOutcome


def sweep_result(site):
    """What a sweep gives back: poison among the cats, nothing among dogs and frogs."""
    folder = site.folder / "sweep"
    folder.mkdir(exist_ok=True)
    (folder / "flagged.json").write_text(json.dumps({"0": [9, 0, 1], "2": []}))
    levels = ("poisoning found", "weak evidence", "no evidence of poisoning")
    classes = [
        SweepClass(
            label=label, n_images=N_TRAIN_PER_CLASS, accused=label == 0, evidence=level,
            level="strict" if label == 0 else "none", p_value=0.01 + label / 3, statistic=2.0 - label,
            share_suspects=0.25, share_counterparts=None, n_counterparts=6, n_flagged=3 if label == 0 else 0,
        )
        for label, level in enumerate(levels)
    ]  # fmt: skip
    outcome = SweepOutcome(sentence="Poison in the class 'cat'.", n_train=N_TRAIN, classes=classes, seconds=2.0)
    return SweepResult(files=site.store.put_tree(folder), outcome=outcome)


def started(site):
    """A sweep whose index is built."""
    model = site.model(site.dataset()["id"])
    sweep = site.post(f"/projects/{site.project}/sweeps", {"model_id": model["id"]})
    (need,) = site.get(f"/jobs/{sweep['job_id']}")["depends_on"]
    site.finish(need, IndexResult(files={}, dimension=16, seconds=1.5))
    return sweep


def test_a_sweep_says_what_every_class_shows(site):
    sweep = started(site)
    assert (sweep["state"], sweep["outcome"]) == ("running", None)
    assert site.get(f"/sweeps/{sweep['id']}/classes/0/flagged", 409)["code"] == "sweep_not_finished"
    with site.database.reading() as session:
        spec = SweepSpec.model_validate(session.get_one(Job, sweep["job_id"]).spec)
    assert spec.sweep_id == sweep["id"]
    site.finish(sweep["job_id"], sweep_result(site))
    done = site.get(f"/sweeps/{sweep['id']}")
    assert (done["state"], done["outcome"]["classes"][0]["evidence"]) == ("finished", "poisoning found")
    assert site.get(f"/sweeps/{sweep['id']}/classes/0/flagged")["indices"] == [9, 0, 1], "most suspicious first"
    assert site.get(f"/sweeps/{sweep['id']}/classes/1/flagged")["indices"] == []
    assert "3" in site.get(f"/sweeps/{sweep['id']}/classes/3/flagged", 404)["detail"]
    assert [s["id"] for s in site.get(f"/projects/{site.project}/sweeps")["items"]] == [sweep["id"]]
    ended = [e for e in site.get("/audit", subject_id=sweep["id"])["items"] if e["action"] == "sweep.ended"]
    assert ended[0]["detail"]["accused"] == [0]


def test_the_figure_of_a_sweep_has_a_bar_for_each_class(site):
    sweep = started(site)
    site.finish(sweep["job_id"], sweep_result(site))
    figure = site.get(f"/sweeps/{sweep['id']}/figures/classes")
    assert [(t["name"], t["x"]) for t in figure["data"]] == [
        ("poisoning found", ["cat"]),
        ("weak evidence", ["dog"]),
        ("no evidence of poisoning", ["frog"]),
    ]
    assert figure["data"][0]["y"] == [pytest.approx(2.0)], "p = .01"
    assert figure["layout"]["shapes"][0]["y0"] == pytest.approx(2.0), "the line of the strict level"


def test_a_second_sweep_waits_for_no_index(site):
    sweep = started(site)
    again = site.post(f"/projects/{site.project}/sweeps", {"model_id": sweep["model_id"]})
    assert site.get(f"/jobs/{again['job_id']}")["depends_on"] == []


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_a_sweep_that_does_not_end_well_can_run_again(site, how):
    sweep = started(site)
    if how == "cancel":
        site.post(f"/jobs/{sweep['job_id']}/cancel", None, 200)
    else:
        site.fail(sweep["job_id"], "The device ran out of memory.")
    ended = site.get(f"/sweeps/{sweep['id']}")
    assert (ended["state"], ended["error"]) == (
        ("cancelled", None) if how == "cancel" else ("failed", "The device ran out of memory.")
    )
    site.post(f"/jobs/{sweep['job_id']}/retry", None, 200)
    assert site.get(f"/sweeps/{sweep['id']}")["state"] == "running"


def test_the_line_of_the_figure_is_the_engine_s_strict_level():
    evidence = pytest.importorskip("orfila_engine.evidence", reason="the engine needs torch")
    assert evidence.STRICT_P == STRICT_P
