"""Server-sent events with replay, over a real server; the audit chain and what breaks it."""

import json
import socket
import threading
import time
from contextlib import contextmanager
from itertools import pairwise

import httpx
import pytest
import uvicorn
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from orfila.audit.service import GENESIS, check
from orfila.events import publish


@contextmanager
def served(site):
    """The site's application behind a real server; gives its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(site.app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Stream:
    """An open event stream."""

    def __init__(self, address, token, last_id=None):
        headers = {"Authorization": f"Bearer {token}"} | (
            {"Last-Event-ID": str(last_id)} if last_id is not None else {}
        )
        self.client = httpx.Client(timeout=10, trust_env=False)
        self._request = self.client.stream("GET", f"{address}/api/v1/events", headers=headers)
        self.answer = self._request.__enter__()
        assert self.answer.headers["content-type"].startswith("text/event-stream")
        self._lines = self.answer.iter_lines()
        opening = self.next()
        assert opening["event"] == "open"
        self.position = int(opening["id"])

    def next(self):
        """The next event as its fields."""
        fields = {}
        for line in self._lines:
            if not line and fields:
                return fields
            name, _, value = line.partition(": ")
            if name in ("id", "event", "data"):
                fields[name] = value
        raise AssertionError("the stream ended")

    def close(self):
        self._request.__exit__(None, None, None)
        self.client.close()


def tell(site, number, project=None):
    with site.database.transaction() as session:
        publish(session, "job", {"kind": "job", "id": str(number)}, project or site.project)


def test_events_arrive_and_are_replayed_after_a_cut(site):
    token = site.post("/tokens", {"name": "x"})["secret"]
    with site.database.transaction() as session:
        session.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('foreign', 'f', '2026-01-01')"))
    with served(site) as address:
        stream = Stream(address, token)
        began = time.monotonic()
        tell(site, 1)
        event = stream.next()
        assert time.monotonic() - began < 1.0, "a colleague's screen follows within a second"
        assert (event["event"], json.loads(event["data"])) == (
            "job", {"kind": "job", "id": "1", "project_id": site.project},
        )  # fmt: skip
        stream.close()
        for number in range(2, 600):
            tell(site, number)
        again = Stream(address, token, last_id=int(event["id"]))
        assert [json.loads(again.next()["data"])["id"] for _ in range(2, 600)] == [str(n) for n in range(2, 600)]
        again.close()
        fresh = Stream(address, token)
        tell(site, 600)
        assert json.loads(fresh.next()["data"])["id"] == "600", "without Last-Event-ID nothing old comes"
        fresh.close()


def test_foreign_projects_are_silent(site):
    outsider = site.person("Outsider", None)
    token = outsider.post("/api/v1/tokens", json={"name": "x"}).json()["secret"]
    own = outsider.post("/api/v1/projects", json={"name": "own"}).json()["id"]
    with served(site) as address:
        stream = Stream(address, token)
        tell(site, 1)
        tell(site, 2, own)
        assert json.loads(stream.next()["data"])["id"] == "2"
        stream.close()
        assert httpx.get(f"{address}/api/v1/events", trust_env=False).status_code == 401


def test_reviewers_at_once_lose_nothing(site):
    case = site.case()
    people = []
    for number in range(6):
        person = site.person(f"Reviewer {number}", "reviewer")
        people.append(person.post("/api/v1/tokens", json={"name": "x"}).json()["secret"])
    failures = []

    def review(address, token, number):
        with httpx.Client(base_url=address, trust_env=False, headers={"Authorization": f"Bearer {token}"}) as client:
            for index in range(15):
                verdict = ("poison", "clean")[(index + number) % 2]
                body = {"items": [{"index": index, "verdict": verdict}]}
                answers = [
                    client.post(f"/api/v1/cases/{case['id']}/verdicts", json=body, timeout=60),
                    client.get(f"/api/v1/cases/{case['id']}/review", timeout=60),
                ]
                failures.extend(a.text for a in answers if a.status_code != 200)

    with served(site) as address:
        threads = [threading.Thread(target=review, args=(address, t, n)) for n, t in enumerate(people)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(site.get(f"/cases/{case['id']}/verdicts")) == 6 * 15
    assert site.get("/audit/check")["ok"]


def test_what_people_do_is_in_the_chain(site):
    case = site.case()
    site.post(f"/cases/{case['id']}/verdicts", {"items": [{"index": 0, "verdict": "poison"}]}, 200)
    events = site.get("/audit", case_id=case["id"])["items"]
    assert [e["action"] for e in events] == ["verdicts.recorded", "case.scored", "case.opened"]
    assert (events[0]["actor"], events[0]["detail"]["indices"]) == ("Administrator", [0])
    everything, cursor = [], None
    while True:
        page = site.get("/audit", limit=3, **({"cursor": cursor} if cursor else {}))
        everything += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert everything[-1]["previous_hash"] == GENESIS
    for later, earlier in pairwise(everything):
        assert later["previous_hash"] == earlier["hash"]
    found = site.get("/audit/check")
    assert found == {"ok": True, "n_events": len(everything), "first_broken_id": None, "head": everything[0]["hash"]}


@pytest.mark.parametrize("statement", ["UPDATE audit_events SET actor = 'x'", "DELETE FROM audit_events"])
def test_the_trail_is_append_only(site, statement):
    with pytest.raises(DatabaseError, match="append-only"), site.database.transaction() as session:
        session.execute(text(statement))


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_events SET actor = 'somebody else' WHERE id = 2",
        "UPDATE audit_events SET detail = '{}' WHERE id = 2",
        "UPDATE audit_events SET at = '2020-01-01 00:00:00' WHERE id = 2",
        "DELETE FROM audit_events WHERE id = 2",
    ],
)
def test_tampering_is_found(site, tampering):
    site.post("/projects", {"name": "second"})
    with site.database.transaction() as session:
        for trigger in ("audit_events_no_update", "audit_events_no_delete"):
            session.execute(text(f"DROP TRIGGER {trigger}"))
        session.execute(text(tampering))
    with site.database.reading() as session:
        found = check(session)
    assert not found.ok
    assert found.first_broken_id == (3 if tampering.startswith("DELETE") else 2)
    assert site.get("/audit/check")["ok"] is False
