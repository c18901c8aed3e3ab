"""Webhooks: signed, retried, logged, private addresses refused, nothing followed."""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import Site
from sqlalchemy import update

from orfila.webhooks import delivery, service
from orfila.webhooks.models import Delivery


class Receiver:
    """A server that keeps what it is sent, and answers as told."""

    def __init__(self):
        self.received, self.answers = [], []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((dict(self.headers), body))
                status, headers = receiver.answers.pop(0) if receiver.answers else (204, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://localhost:{self.server.server_port}/hook?a=b"


@pytest.fixture
def receiver():
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def open_site(tmp_path):
    """An installation that sends webhooks, to this machine too."""
    made = Site(tmp_path, webhooks=True, webhooks_to_private=True)
    yield made
    made.database.dispose()


def hook(site, url, **fields):
    return site.post(f"/projects/{site.project}/webhooks", {"url": url, **fields})


def send(site):
    """One round of the sender."""
    with site.database.transaction() as session:
        service.collect(session)
    return delivery.send_due(site.database, site.settings)


def deliveries(site, made):
    return site.get(f"/webhooks/{made['id']}/deliveries")


def make_due(site):
    with site.database.transaction() as session:
        session.execute(update(Delivery).values(due_at=0.0))


def test_an_event_arrives_once_and_proves_who_sent_it(open_site, receiver):
    site = open_site
    made = hook(site, receiver.url, events=["case.opened", "case.scored"])
    case = site.case()
    assert send(site) == 2
    assert send(site) == 0
    assert [json.loads(body)["event"] for _, body in receiver.received] == ["case.opened", "case.scored"]
    headers, body = receiver.received[1]
    told = json.loads(body)
    assert (told["case_id"], told["project_id"]) == (case["id"], site.project)
    assert headers["X-Orfila-Event"] == "case.scored"
    seconds, _, digest = headers["X-Orfila-Signature"].partition(",v1=")
    signed = f"{seconds.removeprefix('t=')}.".encode() + body
    assert hmac.new(made["secret"].encode(), signed, hashlib.sha256).hexdigest() == digest
    assert headers["Host"] == receiver.url.split("/")[2]
    assert [(d["state"], d["status"], d["attempts"]) for d in deliveries(site, made)] == [("delivered", 204, 1)] * 2
    assert "secret" not in site.get(f"/projects/{site.project}/webhooks")[0]


def test_a_failure_is_tried_again_later_and_given_up_in_the_end(open_site, receiver):
    site = open_site
    made = hook(site, receiver.url)
    site.post(f"/webhooks/{made['id']}/ping", None)
    receiver.answers = [(500, {}), (302, {"Location": "http://localhost:1/"}), (200, {})]
    assert send(site) == 1
    [first] = deliveries(site, made)
    assert (first["state"], first["status"], first["error"]) == ("pending", 500, "answered 500")
    assert send(site) == 0, "not before its pause is over"
    make_due(site)
    send(site)
    assert deliveries(site, made)[0]["error"] == "answered 302", "nothing is followed"
    make_due(site)
    send(site)
    assert [(d["state"], d["attempts"]) for d in deliveries(site, made)] == [("delivered", 3)]
    receiver.answers = [(503, {})] * delivery.MAX_ATTEMPTS
    site.post(f"/webhooks/{made['id']}/ping", None)
    for _ in range(delivery.MAX_ATTEMPTS + 2):
        make_due(site)
        send(site)
    assert (deliveries(site, made)[0]["state"], deliveries(site, made)[0]["attempts"]) == ("failed", 8)


def test_nothing_is_sent_to_a_private_address(tmp_path, receiver):
    site = Site(tmp_path, webhooks=True)
    made = hook(site, receiver.url)
    site.post(f"/webhooks/{made['id']}/ping", None)
    assert send(site) == 1
    [tried] = deliveries(site, made)
    assert (tried["status"], tried["error"]) == (None, "'localhost' is an address of a private network")
    assert receiver.received == []
    site.database.dispose()


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "::1", "fe80::1%lo", "::ffff:10.0.0.1"],
)
def test_private_addresses_in_every_form(host):
    with pytest.raises(delivery.Refused):
        delivery.public_address(host, 80)


def test_a_public_address_is_used_as_it_was_looked_up(monkeypatch):
    def look_up(host, port, **_):
        return [(0, 0, 0, "", ("93.184.215.14", port)), (0, 0, 0, "", (second, port))]

    monkeypatch.setattr(delivery.socket, "getaddrinfo", look_up)
    second = "93.184.215.15"
    assert delivery.public_address("example.org", 443) == "93.184.215.14"
    second = "10.0.0.1"
    with pytest.raises(delivery.Refused):
        delivery.public_address("example.org", 443)


@pytest.mark.parametrize("url", ["ftp://h/x", "https://user:pass@h/", "https:///x", "file:///etc/passwd", "nothing"])
def test_other_addresses_are_refused_at_once(open_site, url):
    answer = open_site.client.post(f"/api/v1/projects/{open_site.project}/webhooks", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_an_installation_sends_none_unless_it_is_told_to(site):
    answer = site.client.post(f"/api/v1/projects/{site.project}/webhooks", json={"url": "https://example.org"})
    assert (answer.status_code, answer.json()["code"]) == (403, "off")


def test_a_webhook_that_is_stopped_misses_what_happens(open_site, receiver):
    site = open_site
    made = hook(site, receiver.url, events=["dataset.ready"])
    path = f"/api/v1/webhooks/{made['id']}"
    assert site.client.patch(path, json={"active": False}).json()["active"] is False
    site.dataset()
    send(site)
    assert site.client.patch(path, json={"active": True, "events": ["model.ready"]}).json()["events"] == ["model.ready"]
    assert send(site) == 0
    assert receiver.received == []
    assert site.client.delete(path).status_code == 204
    assert site.client.get(f"{path}/deliveries").status_code == 404


def test_two_senders_send_once(open_site, receiver):
    site = open_site
    made = hook(site, receiver.url)
    for _ in range(6):
        site.post(f"/webhooks/{made['id']}/ping", None)
    threads = [threading.Thread(target=delivery.send_due, args=(site.database, site.settings)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(receiver.received) == 6
    assert {d["state"] for d in deliveries(site, made)} == {"delivered"}
