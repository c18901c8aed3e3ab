"""Drills through HTTP: what can be planted, what comes of it, a case on it; and that the lists are the engine's."""

import io

import numpy as np
import pytest
from conftest import CLASSES, N_TRAIN, POISON, dataset_zip

from orfila.drills.attacks import offered
from orfila.drills.schemas import Curve, Detection, DrillAffected, DrillOutcome
from orfila.jobs.contracts import DrillResult, DrillSpec, IndexResult, IngestResult
from orfila.jobs.models import Job, Shard
from orfila_engine.data import pack


def body_of(dataset, **changes):
    fields = {
        "name": "badnet",
        "dataset_id": dataset["id"],
        "attack": "badnet",
        "rate": 0.08,
        "architecture": "resnet-nano",
    }
    return fields | changes


def npy(indices):
    out = io.BytesIO()
    np.save(out, np.array(indices, dtype=np.int32))
    return out.getvalue()


def drill_result(site, name="drill"):
    """What a drill gives back: the sample pictures with their poison; a model that errs on the first triggered one."""
    source = site.folder / f"{name}.zip"
    source.write_bytes(dataset_zip())

    def packed(what, **options):
        made = pack(source, site.folder / f"{name}-{what}", atlases=True, **options)
        return IngestResult(files=site.store.put_tree(made.path), meta=made.meta, n_duplicates=0, seconds=0.0)

    found = Detection(n_flagged=12, precision=10 / 12, recall=1.0)
    curve = Curve(average_precision=0.97, recall=[1.0, 0.5, 0.0], precision=[0.8, 1.0, 1.0])
    return DrillResult(
        poisoned=packed("poisoned"),
        triggered=packed("triggered"),
        truth=site.store.put_bytes(npy(POISON)),
        weights=site.store.put_bytes(f"weights of {name}".encode()),
        check=site.check_result(wrong=site.affected),
        index=IndexResult(files={}, dimension=16, seconds=1.0),
        outcome=DrillOutcome(
            sentence="12 of 120 training images explain this prediction.",
            evidence="poisoning found",
            p_value=0.01,
            predicted=0,
            source=1,
            target=0,
            n_poison=len(POISON),
            n_train=N_TRAIN,
            poison_success_rate=0.95,
            n_victims=20,
            has_trigger=True,
            took_hold=True,
            accuracy=0.9,
            collapse_rule=found,
            paper_rule=Detection(n_flagged=0, precision=None, recall=0.0),
            collapse_curve=curve,
            paper_curve=curve,
            affected=[DrillAffected(test_index=None, triggered_index=41)],
            seconds=3.0,
        ),
    )


def finished(site):
    """A drill that has ended."""
    dataset = site.dataset()
    drill = site.post(f"/projects/{site.project}/drills", body_of(dataset))
    site.finish(drill["job_id"], drill_result(site))
    return site.get(f"/drills/{drill['id']}")


def test_a_drill_becomes_a_data_set_a_model_and_a_case(site):
    drill = finished(site)
    assert (drill["state"], drill["outcome"]["poison_success_rate"]) == ("finished", 0.95)
    poisoned = site.get(f"/datasets/{drill['poisoned_dataset_id']}")
    model = site.get(f"/models/{drill['model_id']}")
    assert (poisoned["state"], poisoned["drill_id"]) == ("ready", drill["id"])
    assert (model["state"], model["drill_id"], model["dataset_id"]) == ("ready", drill["id"], poisoned["id"])
    assert site.client.get(f"/api/v1/datasets/{poisoned['id']}/atlases/0.webp").status_code == 200

    source = {"triggered_index": drill["outcome"]["affected"][0]["triggered_index"]}
    body = {"name": "on a drill", "model_id": model["id"], "affected": [source]}
    refused = site.post(f"/projects/{site.project}/cases", body, 422)
    assert "triggered_dataset_id" in refused["detail"]
    body["triggered_dataset_id"] = drill["triggered_dataset_id"]
    case = site.post(f"/projects/{site.project}/cases", body)
    assert site.get(f"/jobs/{case['job_id']}")["state"] == "queued", "the drill's index is there already"
    assert (case["drill_id"], case["affected"][0]["true_label"]) == (drill["id"], CLASSES.index("dog"))
    shown = site.client.get(f"/api/v1/cases/{case['id']}/affected/0.png").content
    path = f"/api/v1/datasets/{drill['triggered_dataset_id']}/images/41/pixels.png"
    assert shown == site.client.get(path).content

    again = {"name": "again", "model_id": model["id"], "affected": [{"of_case": {"case_id": case["id"], "number": 0}}]}
    second = site.post(f"/projects/{site.project}/cases", again | {"engine": "ekfac", "rule": "paper"})
    assert (second["engine"], second["rule"]) == ("ekfac", "paper")
    assert second["affected"] == case["affected"]
    with site.database.reading() as session:
        queues = [s.queue for s in session.query(Shard).where(Shard.job_id == second["job_id"])]
    assert queues == ["gpu"] * 6, "it takes minutes, and quick questions must not wait for it"
    again["affected"][0]["of_case"]["number"] = 1
    assert "1 affected images" in site.post(f"/projects/{site.project}/cases", again, 422)["detail"]


def test_the_figure_of_a_drill_has_both_curves_and_the_sets_that_are_flagged(site):
    drill = finished(site)
    figure = site.get(f"/drills/{drill['id']}/figures/precision_recall")
    names = [t.get("name") for t in figure["data"] if t["mode"] == "lines"]
    assert names == ["collapse rule, average precision 0.97", "paper rule, average precision 0.97"]
    marks = [(t["x"], t["y"]) for t in figure["data"] if t["mode"] == "markers"]
    assert marks == [([1.0], [pytest.approx(10 / 12)])], "nothing was flagged by the paper rule, so it has no mark"


def test_a_drill_hands_its_settings_to_the_worker(site):
    dataset = site.dataset()
    drill = site.post(
        f"/projects/{site.project}/drills",
        body_of(dataset, attack="warp", options={"strength": 2.5}, source=1, target=2, n_affected=3),
    )
    with site.database.reading() as session:
        spec = DrillSpec.model_validate(session.get_one(Job, drill["job_id"]).spec)
    assert (spec.attack, spec.options, spec.source, spec.target, spec.n_affected) == (
        "warp",
        {"strength": 2.5},
        1,
        2,
        3,
    )
    assert site.get(f"/drills/{drill['id']}/figures/precision_recall", 409)["code"] == "drill_not_finished"
    assert [d["id"] for d in site.get(f"/projects/{site.project}/drills")["items"]] == [drill["id"]]


def test_a_drill_that_is_cancelled_or_fails_can_run_again(site):
    dataset = site.dataset()
    path = f"/projects/{site.project}/drills"
    drill = site.post(path, body_of(dataset))
    site.post(f"/jobs/{drill['job_id']}/cancel", None, 200)
    assert site.get(f"/drills/{drill['id']}")["state"] == "cancelled"
    site.post(f"/jobs/{drill['job_id']}/retry", None, 200)
    assert site.get(f"/drills/{drill['id']}")["state"] == "running"
    site.fail(drill["job_id"], "The planted poison fools the model on no test image; train longer.")
    failed = site.get(f"/drills/{drill['id']}")
    assert (failed["state"], failed["error"][:18]) == ("failed", "The planted poison")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"attack": "magic"}, "unknown_attack"),
        ({"options": {"strength": 2}}, "unknown_option"),
        ({"attack": "warp", "options": {"strength": 99}}, "bad_option"),
        ({"attack": "warp", "options": {"strength": True}}, "bad_option"),
        ({"options": {"all_to_one": 1}}, "bad_option"),
        ({"architecture": "my.module:Net"}, "unknown_architecture"),
        ({"target": 3}, "unknown_class"),
        ({"source": 1, "target": 1}, "same_class"),
        ({"rate": 0.001}, "nothing_to_plant"),
        ({"rate": 1.5}, "invalid_request"),
    ],
)
def test_what_cannot_be_planted_is_refused_before_anything_runs(site, changes, code):
    dataset = site.dataset()
    assert site.post(f"/projects/{site.project}/drills", body_of(dataset, **changes), 422)["code"] == code


def test_what_a_drill_made_stays_as_evidence(site):
    drill = finished(site)
    for dataset_id in (drill["dataset_id"], drill["poisoned_dataset_id"], drill["triggered_dataset_id"]):
        answer = site.client.delete(f"/api/v1/datasets/{dataset_id}")
        assert answer.json()["code"] == "dataset_in_use"


def test_the_offered_attacks_are_the_engine_s():
    attacks = pytest.importorskip("orfila_engine.attacks", reason="the engine needs torch")
    assert {a.name: [o.name for o in a.options] for a in offered()} == {n: attacks.options(n) for n in attacks.names()}
    for attack in offered():
        settings = attacks.make(attack.name, rate=0.1).settings()
        assert {o.name: o.default for o in attack.options} == {o.name: settings[o.name] for o in attack.options}
