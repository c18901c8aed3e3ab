"""Checks through HTTP: a closed case holds every later model to its mistake, and regresses when it is made again."""

import pytest
from conftest import CLASSES
from test_cases import remedy_result

from orfila.checks.schemas import CheckedCase, CheckedImage, CheckOutcome
from orfila.jobs.contracts import CheckResult, CheckSpec
from orfila.jobs.models import Job


@pytest.fixture
def closed(site):
    """A case that was repaired and verified."""
    case = site.case()
    remedy = site.post(f"/cases/{case['id']}/remedies", {"method": "cf", "remove": {"kind": "flagged"}})
    site.finish(remedy["job_id"], remedy_result(site, case, remedy))
    found = site.get(f"/cases/{case['id']}")
    assert found["state"] == "verified"
    return found


def answer(case, *, passed):
    image = CheckedImage(
        number=0, name="test/dog/000.png", true_label=1, predicted=1 if passed else 0, confidence=0.9, passed=passed
    )
    checked = CheckedCase(
        case_id=case["id"], name=case["name"], passed=passed, affected=[image], psr=None, psr_limit=None,
        n_triggered=None,
    )  # fmt: skip
    return CheckResult(outcome=CheckOutcome(passed=passed, sentence="said", cases=[checked], skipped=[], seconds=0.1))


def test_a_case_regresses_and_holds_again(site, closed):
    path = f"/models/{closed['model_id']}/checks"
    asked = site.post(path, {})
    assert (asked["state"], asked["outcome"]) == ("running", None)
    with site.database.reading() as session:
        [spec] = CheckSpec.model_validate(session.get_one(Job, asked["job_id"]).spec).cases
    assert (spec.case_id, spec.predicted, spec.classes) == (closed["id"], 0, list(CLASSES))
    assert spec.affected[0].test_index == site.affected
    site.finish(asked["job_id"], answer(closed, passed=False))
    done = site.get(f"/checks/{asked['id']}")
    assert (done["state"], done["outcome"]["passed"]) == ("finished", False)
    assert site.get(f"/cases/{closed['id']}")["state"] == "regressed"
    told = site.get("/notifications")["items"][0]
    assert (told["kind"], told["case_id"]) == ("regression", closed["id"])

    again = site.post(path, {"case_ids": [closed["id"]]})
    site.finish(again["job_id"], answer(closed, passed=True))
    assert site.get(f"/cases/{closed['id']}")["state"] == "verified"
    assert [c["id"] for c in site.get(path)] == [again["id"], asked["id"]]
    actions = [e["action"] for e in site.get("/audit", case_id=closed["id"])["items"]]
    assert actions[:2] == ["case.held", "case.regressed"]


def test_a_case_that_was_archived_meanwhile_stays_as_it_is(site, closed):
    asked = site.post(f"/models/{closed['model_id']}/checks", {})
    site.client.patch(f"/api/v1/cases/{closed['id']}", json={"archived": True})
    site.finish(asked["job_id"], answer(closed, passed=False))
    assert site.get(f"/cases/{closed['id']}")["state"] == "archived"


def test_what_is_not_closed_is_not_checked(site):
    case = site.case()
    path = f"/models/{case['model_id']}/checks"
    assert site.post(path, {}, 409)["code"] == "no_closed_case"
    assert site.post(path, {"case_ids": [case["id"]]}, 409)["code"] == "case_not_closed"
    assert site.post(path, {"case_ids": ["0" * 32]}, 404)
    assert site.post(path, {"case_ids": []}, 422)
    assert site.get(path) == []


def test_a_check_that_failed_says_why(site, closed):
    asked = site.post(f"/models/{closed['model_id']}/checks", {})
    site.fail(asked["job_id"], "The device ran out of memory.")
    assert site.get(f"/checks/{asked['id']}")["error"] == "The device ran out of memory."
    assert site.get(f"/cases/{closed['id']}")["state"] == "verified"
