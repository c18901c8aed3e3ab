"""Threads of one process that write to SQLite take turns, and a broken one gives its turn back."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import sqlalchemy as sa

from orfila import db
from orfila.db import Database

TABLE = sa.table("seen", sa.column("number"))


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.setattr(db, "SQLITE_BUSY_MS", 20)  # SQLite itself has no patience
    made = Database(f"sqlite:///{tmp_path}/turns.db")
    with made.transaction() as session:
        session.execute(sa.text("CREATE TABLE seen (number INTEGER)"))
    yield made
    made.dispose()


def numbers(database):
    with database.reading() as session:
        return sorted(session.scalars(sa.select(TABLE.c.number)))


def write(database, number, pause=0.0):
    with database.transaction() as session:
        session.execute(TABLE.insert().values(number=number))
        time.sleep(pause)


def test_who_comes_while_somebody_writes_waits(database):
    began = threading.Event()

    def long() -> None:
        with database.transaction() as session:
            session.execute(TABLE.insert().values(number=1))
            began.set()
            time.sleep(0.5)

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(long)
        began.wait(10)
        assert numbers(database) == [], "who reads does not wait"
        others = [pool.submit(write, database, number) for number in range(2, 8)]
        for each in (first, *others):
            each.result(30)
    assert numbers(database) == list(range(1, 8))


def test_a_turn_is_given_back_however_it_ends(database):
    def fail() -> None:
        with database.transaction() as session:
            session.execute(TABLE.insert().values(number=1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with pytest.raises(sa.exc.OperationalError), database.transaction() as session:
        session.execute(sa.text("INSERT INTO nowhere VALUES (1)"))
    connection = database.engine.connect()
    connection.begin()
    connection.invalidate()  # as when the file is gone
    connection.close()
    other = Database(str(database.engine.url))
    with other.transaction() as session:  # another process, as it were
        session.execute(TABLE.insert().values(number=2))
        with pytest.raises(sa.exc.OperationalError, match="locked"):
            write(database, 3)
    other.dispose()
    write(database, 4)
    assert numbers(database) == [2, 4]


def test_who_comes_back_while_somebody_writes_does_not_wait_to_be_noted(site):
    """The use of a token is noted by one request at a time; the others go on."""
    tokens = [site.post("/tokens", {"name": str(k)})["secret"] for k in range(6)]
    writing, times = threading.Event(), []

    def write_long() -> None:
        with site.database.transaction() as session:
            session.execute(sa.text("UPDATE users SET name = name"))
            writing.set()
            time.sleep(2)

    def read(secret: str) -> None:
        began = time.monotonic()
        answer = site.browser().get("/api/v1/projects", headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code == 200
        times.append(time.monotonic() - began)

    with ThreadPoolExecutor(8) as pool:
        long = pool.submit(write_long)
        assert writing.wait(10)
        for each in [pool.submit(read, secret) for secret in tokens]:
            each.result(30)
        long.result(30)
    assert sum(seconds < 1 for seconds in times) >= len(tokens) - 1, times


def test_sixty_people_who_judge_at_once_do_not_wait_for_each_other_for_ever(site):
    """Each request that writes needs a second thread before it commits; there are fewer threads than people."""
    case = site.case()
    secret = site.post("/tokens", {"name": "all"})["secret"]

    async def judge_all() -> list[int]:
        transport = httpx.ASGITransport(site.client.app)
        headers = {"Authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as http:
            path = f"/api/v1/cases/{case['id']}/verdicts"
            bodies = [{"items": [{"index": index, "verdict": "clean"}]} for index in range(60)]
            answers = await asyncio.wait_for(asyncio.gather(*(http.post(path, json=body) for body in bodies)), 40)
            return [answer.status_code for answer in answers]

    assert asyncio.run(judge_all()) == [200] * 60
    assert site.get(f"/cases/{case['id']}/review")["n_judged"] == 60
