"""Readiness, workers and metrics: what supervisors, load balancers and Prometheus ask."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from orfila.jobs import leases, lifecycle, presence
from orfila.jobs.models import Shard, Worker
from orfila.jobs.service import QUEUES

ALL = sorted(set(QUEUES.values()))


def here(site, name="host:1", queues=ALL):
    with site.database.transaction() as session:
        presence.seen(session, name, queues, "cpu")


def silent(site, seconds):
    """As if every worker had last been heard of so long ago."""
    with site.database.transaction() as session:
        session.execute(update(Worker).values(seen_at=Worker.seen_at - seconds))


def samples(site):
    """(name, labels) -> value."""
    answer = site.client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}


def test_ready_means_that_every_queue_has_a_worker(site):
    refused = site.browser().get("/ready")
    assert (refused.status_code, refused.json()["code"]) == (503, "no_worker")
    here(site, queues=["cpu", "ingest", "interactive"])
    assert "serves gpu" in site.browser().get("/ready").json()["detail"]
    here(site, "host:2", ["gpu"])
    assert site.browser().get("/ready").json() == {"status": "ready"}
    silent(site, presence.ALIVE_SECONDS + 1)
    assert site.browser().get("/ready").status_code == 503
    here(site, "host:2", ["gpu"])
    assert "cpu, ingest, interactive" in site.browser().get("/ready").json()["detail"]


def test_workers_that_are_there_and_what_they_run(site):
    here(site)
    here(site, "host:2", ["gpu"])
    upload = site.upload(b"PK\x05\x06" + bytes(18), "empty.zip", "dataset")
    dataset = site.post(f"/projects/{site.project}/datasets", {"upload_id": upload, "name": "d"})
    with site.database.transaction() as session:
        assert leases.claim(session, ["ingest"], "host:1", 60) is not None
    first, second = site.get("/workers")
    assert (first["name"], first["queues"], first["job_id"]) == ("host:1", ALL, dataset["job_id"])
    assert (second["queues"], second["device"], second["job_id"]) == (["gpu"], "cpu", None)
    stranger = site.person("Stranger", None)
    assert [w["job_id"] for w in stranger.get("/api/v1/workers").json()] == [None, None]
    with site.database.transaction() as session:
        presence.gone(session, "host:2")
    assert len(site.get("/workers")) == 1
    silent(site, 2 * 24 * 3600)
    with site.database.transaction() as session:
        presence.prune(session)
        assert session.get(Worker, "host:1") is None


def test_a_job_tells_what_it_has_cost(site):
    upload = site.upload(b"PK\x05\x06" + bytes(18), "empty.zip", "dataset")
    job = site.post(f"/projects/{site.project}/datasets", {"upload_id": upload, "name": "d"})["job_id"]

    def attempt(seconds):
        with site.database.transaction() as session:
            claim = leases.claim(session, ["ingest"], "w", 60)
            session.execute(update(Shard).values(claimed_at=Shard.claimed_at - seconds))
        return claim

    attempt(30)
    with site.database.transaction() as session:
        session.execute(update(Shard).values(lease_until=0.0))
    with site.database.transaction() as session:
        assert lifecycle.take_back_lost(session, 3, 900) == 1
        session.execute(update(Shard).values(queued_at=0.0))
    told = site.get(f"/jobs/{job}")
    assert (told["leases_lost"], told["state"]) == (1, "running")
    assert told["compute_seconds"] == pytest.approx(30, abs=5)
    claim = attempt(12)
    with site.database.transaction() as session:
        lifecycle.fail(session, claim, "No.", retry=False, max_attempts=3)
    assert site.get(f"/jobs/{job}")["compute_seconds"] == pytest.approx(42, abs=10)


def test_metrics_are_for_administrators_and_tell_of_queues_jobs_workers_uploads_and_answers(site):
    assert site.browser().get("/metrics").status_code == 401
    assert site.person("Analyst", "analyst").get("/metrics").status_code == 403
    before = samples(site)
    upload = site.upload(b"PK\x05\x06" + bytes(18), "empty.zip", "dataset")
    site.post(f"/projects/{site.project}/datasets", {"upload_id": upload, "name": "d"})
    here(site)
    with site.database.transaction() as session:
        session.execute(update(Shard).values(queued_at=Shard.queued_at - 50))
    found = samples(site)
    assert found["orfila_queue_shards", (("queue", "ingest"), ("state", "queued"))] == 1
    assert found["orfila_queue_oldest_seconds", (("queue", "ingest"),)] >= 50
    assert found["orfila_queue_oldest_seconds", (("queue", "gpu"),)] == 0
    assert found["orfila_jobs", (("kind", "ingest"), ("state", "queued"))] == 1
    assert found["orfila_workers", (("queue", "gpu"),)] == 1
    assert found["orfila_uploads", (("state", "finished"),)] == 1
    route = (("method", "POST"), ("route", "/api/v1/projects/{project_id}/datasets"), ("status", "201"))
    assert found["orfila_http_requests_total", route] == before.get(("orfila_http_requests_total", route), 0) + 1
    site.client.get("/api/v1/an/invention/of/somebody")
    assert not any("invention" in str(labels) for _, labels in samples(site))


def test_the_dashboard_asks_for_metrics_that_there_are(site):
    here(site)
    site.dataset()
    names = {name for name, _ in samples(site)}
    board = json.loads((Path(__file__).parents[2] / "docs" / "grafana-dashboard.json").read_text())
    asked = {word for panel in board["panels"] for target in panel["targets"] for word in _words(target["expr"])}
    assert len(asked) >= 8
    assert asked <= names


def _words(expression):
    return set(re.findall(r"orfila_\w+", expression))
