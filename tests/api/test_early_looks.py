"""Early looks through HTTP: what a case shows while it is being scored, and that nothing hangs on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import N_TRAIN, Site

from orfila.cases.schemas import EarlyLook, EarlySuspect
from orfila.jobs import leases, lifecycle
from orfila.jobs.contracts import (
    EarlyLookResult,
    EarlyLookSpec,
    IndexCalibrationResult,
    IndexFactorsResult,
    IndexResult,
    IndexShardResult,
)
from orfila.jobs.models import Job, Shard


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Two ranges of training images make an index here: 0 to 99, and 100 to 119."""
    made = Site(tmp_path, index_shard_images=100)
    yield made
    made.database.dispose()


def waiting_case(site, **changes):
    model = site.model(site.dataset()["id"])
    body = {"name": "dog seen as cat", "model_id": model["id"], "affected": [{"test_index": site.affected}]}
    return site.post(f"/projects/{site.project}/cases", body | changes)


def finish_next(site, queue, result):
    """A worker of a queue ends with its next shard. result: of the payload that it was given."""
    with site.database.transaction() as session:
        claim = leases.claim(session, [queue], "test", 60)
        shard = session.get_one(Shard, claim.shard_id)
        lifecycle.finish(session, site.store, claim, result(shard).model_dump(mode="json"))


def finish_range(site):
    """The next range of an index is projected."""
    finish_next(site, "gpu", lambda s: IndexShardResult(**s.payload, files={"gradients.npy": "a" * 64}, seconds=1.0))


def finish_look(site, look):
    """The next look has been taken."""
    finish_next(site, "cpu", lambda _: EarlyLookResult(look=look))


def finish_index(site, case):
    """The rest of an index whose first range is projected."""
    finish_range(site)
    whole = IndexResult(files={}, dimension=16, seconds=1.5)
    finish_next(site, "gpu", lambda _: IndexFactorsResult(index=whole, split=[{"labels": []}]))
    finish_next(site, "gpu", lambda _: IndexCalibrationResult(files={}, seconds=0.1, index=whole))
    finish_next(site, "gpu", lambda _: whole)


def looks(site, case):
    """The jobs that look at a case, the latest first."""
    jobs = site.get("/jobs", project_id=site.project)["items"]
    return [job for job in jobs if job["kind"] == "early_look" and job["subject"]["id"] == case["id"]]


def seen(n_images=100):
    return EarlyLook(
        n_images=n_images, n_train=N_TRAIN, n_suspects=40, edges=[-1.0, 0.0, 1.0], suspects=[10, 30], rest=[0, 60],
        leading=[EarlySuspect(index=3, collapse_score=0.9)],
    )  # fmt: skip


def test_a_case_shows_what_is_done_until_it_is_scored(site):
    case = waiting_case(site)
    path = f"/cases/{case['id']}/early"
    assert site.get(path) is None
    assert looks(site, case) == []
    finish_range(site)
    [job] = looks(site, case)
    assert (job["state"], job["subject"]["kind"]) == ("queued", "case")
    with site.database.reading() as session:
        spec = EarlyLookSpec.model_validate(session.get_one(Job, job["id"]).spec)
    assert [part.files for part in spec.parts] == [{"gradients.npy": "a" * 64}]
    assert (spec.n_queries, spec.seed, spec.suspects) == (50, 0, "label")
    finish_look(site, seen())
    found = site.get(path)
    assert (found["n_images"], found["n_train"], found["suspects"]) == (100, N_TRAIN, [10, 30])
    assert found["leading"] == [{"index": 3, "collapse_score": 0.9}]
    assert site.get(f"/cases/{case['id']}")["state"] == "scoring", "nobody is flagged before the end"
    finish_index(site, case)
    assert len(looks(site, case)) == 1, "the last range is followed by the finding"
    site.finish(case["job_id"], site.investigation(case))
    assert site.get(path) is None
    assert site.get(f"/cases/{case['id']}")["state"] == "in_review"


def test_a_look_that_comes_too_late_is_dropped(site):
    case = waiting_case(site)
    finish_range(site)
    [job] = looks(site, case)
    with site.database.transaction() as session:
        late = leases.claim(session, ["cpu"], "slow", 60)
    finish_index(site, case)
    site.finish(case["job_id"], site.investigation(case))
    with site.database.transaction() as session:
        lifecycle.finish(session, site.store, late, EarlyLookResult(look=seen()).model_dump(mode="json"))
    assert site.get(f"/jobs/{job['id']}")["state"] == "succeeded"
    assert site.get(f"/cases/{case['id']}/early") is None


def test_a_look_that_fails_is_no_matter(site):
    case = waiting_case(site)
    finish_range(site)
    with site.database.transaction() as session:
        claim = leases.claim(session, ["cpu"], "test", 60)
        lifecycle.fail(session, claim, "The model classifies the image right.", retry=False, max_attempts=1)
    assert looks(site, case)[0]["state"] == "failed"
    assert site.get(f"/cases/{case['id']}")["state"] == "scoring"
    finish_index(site, case)
    site.finish(case["job_id"], site.investigation(case))
    assert site.get(f"/cases/{case['id']}")["state"] == "in_review"


def test_a_part_that_is_gone_shows_nothing(site):
    case = waiting_case(site)
    finish_range(site)
    finish_look(site, None)
    assert site.get(f"/cases/{case['id']}/early") is None


def test_an_index_that_is_built_for_ekfac_is_looked_through(site):
    case = waiting_case(site, engine="ekfac")
    finish_range(site)
    finish_look(site, seen())
    finish_index(site, case)
    latest, _ = looks(site, case)
    with site.database.reading() as session:
        assert EarlyLookSpec.model_validate(session.get_one(Job, latest["id"]).spec).parts == []
    finish_look(site, seen(N_TRAIN))
    assert site.get(f"/cases/{case['id']}/early")["n_images"] == N_TRAIN


def test_while_ekfac_is_at_work_the_whole_index_shows_something(site):
    case = waiting_case(site, engine="ekfac")
    finish_range(site)
    [job] = looks(site, case)
    finish_index(site, case)
    assert [job["id"] for job in looks(site, case)] == [job["id"]], "one look at a time"
    finish_look(site, seen())
    assert site.get(f"/cases/{case['id']}/early")["n_images"] == 100
    # The index is there: the next case by EK-FAC need not wait for a look.
    body = {"name": "again", "model_id": case["model_id"], "affected": [{"test_index": site.affected}],
            "engine": "ekfac"}  # fmt: skip
    other = site.post(f"/projects/{site.project}/cases", body)
    [job] = looks(site, other)
    with site.database.reading() as session:
        assert EarlyLookSpec.model_validate(session.get_one(Job, job["id"]).spec).parts == []
    finish_look(site, seen(N_TRAIN))
    assert site.get(f"/cases/{other['id']}/early")["n_images"] == N_TRAIN
