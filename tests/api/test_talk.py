"""Comments, mentions, notifications."""

import email
import smtplib
import socketserver
import threading
from datetime import timedelta

import pytest
from conftest import Site

from orfila.events.models import Event
from orfila.identity.models import User
from orfila.talk import mail
from orfila.talk.service import LATER, mentioned


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("@Ann look", ["Ann"]),
        ("see @ann, and @Ann Lee.", ["Ann", "Ann Lee"]),
        ("mail ann@Ann.example or me@Ben", []),
        ("@Annabel is somebody else", []),
        ("@Nobody", []),
        ("(@Ben)", ["Ben"]),
        ("@[x] a name with signs", ["[x]"]),
    ],
)
def test_mentions_are_whole_names_of_members(text, names):
    assert mentioned(text, ["Ann", "Ann Lee", "Ben", "[x]"]) == names


@pytest.fixture
def team(site):
    case = site.case()
    people = {name: site.person(name, role) for name, role in (("Ann", "reviewer"), ("Vic", "viewer"))}
    return case, people


def test_a_comment_reaches_whom_it_mentions(site, team):
    case, people = team
    ann = people["Ann"]
    path = f"/cases/{case['id']}/comments"
    made = site.post(path, {"text": "@Ann and @Administrator: the white corner?", "index": 3})
    assert (made["author"], made["index"], made["mentions"], made["is_mine"]) == (
        "Administrator", 3, ["Administrator", "Ann"], True,
    )  # fmt: skip
    site.post(path, {"text": "as a whole"})
    told = ann.get("/api/v1/notifications").json()
    assert told["n_unread"] == 1
    [note] = told["items"]
    assert (note["kind"], note["actor"], note["read"]) == ("mention", "Administrator", False)
    assert note["path"] == f"/c/{case['id']}/evidence?tab=all&i=3"
    assert site.get("/notifications")["items"] == [], "nobody is told of their own words"
    assert [c["text"] for c in ann.get(f"/api/v1{path}").json()] == [made["text"], "as a whole"]
    assert [c["index"] for c in ann.get(f"/api/v1{path}", params={"index": 3}).json()] == [3]
    assert not ann.get(f"/api/v1{path}").json()[0]["is_mine"]
    read = ann.post("/api/v1/notifications/read", json={"up_to": note["id"]}).json()
    assert (read["n_unread"], read["items"][0]["read"]) == (0, True)


def test_only_the_author_changes_a_comment(site, team):
    case, people = team
    path = f"/cases/{case['id']}/comments"
    made = site.post(path, {"text": "hm", "index": 0})
    own = f"/api/v1/comments/{made['id']}"
    assert people["Ann"].patch(own, json={"text": "x"}).status_code == 403
    assert people["Ann"].delete(own).status_code == 403
    changed = site.client.patch(own, json={"text": "@Ann better"}).json()
    assert (changed["text"], changed["mentions"]) == ("@Ann better", ["Ann"])
    assert changed["edited_at"] is not None
    site.client.patch(own, json={"text": "@Ann better still"})
    assert people["Ann"].get("/api/v1/notifications").json()["n_unread"] == 1, "told once"
    assert site.client.delete(own).status_code == 204
    assert site.get(path) == []
    actions = [e["action"] for e in site.get("/audit", case_id=case["id"])["items"]][:4]
    assert actions == ["comment.deleted", "comment.changed", "comment.changed", "comment.added"]


def test_who_and_what_may_be_spoken_of(site, team):
    case, people = team
    path = f"/cases/{case['id']}/comments"
    assert people["Vic"].post(f"/api/v1{path}", json={"text": "x"}).status_code == 403
    assert people["Vic"].get(f"/api/v1{path}").status_code == 200
    missing = site.client.post(f"/api/v1{path}", json={"text": "x", "index": 10**6})
    assert (missing.status_code, missing.json()["detail"]) == (422, "There is no training image 1000000 in this case.")
    assert site.client.patch(f"/api/v1/comments/{'f' * 32}", json={"text": "x"}).status_code == 404
    assert site.client.post(f"/api/v1{path}", json={"text": ""}).status_code == 422


def test_who_judges_blind_neither_reads_nor_writes_comments(site, team):
    case, people = team
    with site.database.reading() as session:
        ids = {user.name: user.id for user in session.query(User)}
    site.post(f"/cases/{case['id']}/comments", {"text": "poison, all of them", "index": 1})
    body = {"name": "r", "reviewers": [ids["Ann"]], "reviewers_per_image": 1, "due_at": "2026-12-24T12:00:00Z"}
    made = site.post(f"/cases/{case['id']}/rounds", body)
    path = f"/api/v1/cases/{case['id']}/comments"
    assert people["Ann"].get(path).json()["code"] == "blind"
    assert people["Ann"].post(path, json={"text": "x"}).json()["code"] == "blind"
    site.post(f"/cases/{case['id']}/comments", {"text": "@Ann surely poison", "index": 1})
    later, note = people["Ann"].get("/api/v1/notifications").json()["items"]
    assert (later["kind"], later["text"]) == ("mention", LATER), "a mention tells no more than that there is one"
    assert (note["kind"], note["path"]) == ("assignment", f"/c/{case['id']}/rounds/{made['id']}")
    assert note["text"] == f"{made['n_images']} images of 'dog seen as cat' to judge in 'r', due 24 December 2026."


def test_who_looks_at_a_case_is_seen_by_the_others(site, team, monkeypatch):
    case, people = team
    path = f"/api/v1/cases/{case['id']}/presence"
    assert site.client.put(path).json() == {"others": [], "again_in_seconds": 10.0}
    assert people["Ann"].put(path).json()["others"] == ["Administrator"]
    assert people["Vic"].put(path).json()["others"] == ["Administrator", "Ann"]
    assert people["Ann"].delete(path).status_code == 204
    assert site.client.put(path).json()["others"] == ["Vic"]
    monkeypatch.setattr("orfila.presence.service.GONE_AFTER", timedelta(0))
    assert site.client.put(path).json()["others"] == [], "who falls silent is gone"
    with site.database.reading() as session:
        told = [e.topic for e in session.query(Event) if e.topic == "presence"]
    assert len(told) == 5, "three came, one left, one fell silent; who says again that they are there tells nobody"
    assert site.person("Stranger", None).put(path).status_code == 404


class MailServer(socketserver.ThreadingTCPServer):
    """Takes messages as SMTP servers do; `refuse` answers the next one with a failure."""

    allow_reuse_address = True

    def __init__(self):
        self.messages, self.refuse = [], False
        server = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, line):
                self.wfile.write(line.encode() + b"\r\n")

            def handle(self):
                self.say("220 test")
                while line := self.rfile.readline().decode().strip():
                    if line.upper() == "DATA" and server.refuse:
                        self.say("451 not now")
                    elif line.upper() == "DATA":
                        self.say("354 go on")
                        lines = iter(self.rfile.readline, b".\r\n")
                        server.messages.append(email.message_from_bytes(b"".join(lines)))
                        self.say("250 taken")
                    elif line.upper() == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 well")

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def mail_server():
    made = MailServer()
    yield made
    made.shutdown()
    made.server_close()


def test_notifications_go_out_by_mail_once_and_again_after_a_failure(tmp_path, mail_server):
    url = f"smtp://127.0.0.1:{mail_server.server_address[1]}"
    site = Site(tmp_path, smtp_url=url, mail_from="orfila@example.org")
    case = site.case()
    site.person("Ann", "reviewer")
    site.person("Ben", "reviewer")
    with site.database.transaction() as session:
        session.query(User).filter_by(name="Ann").one().email = "ann@example.org"
    site.post(f"/cases/{case['id']}/comments", {"text": "@Ann @Ben: the corner?", "index": 3})
    mail_server.refuse = True
    with pytest.raises(smtplib.SMTPException):
        mail.send_due(site.database, site.settings)
    mail_server.refuse = False
    assert mail.send_due(site.database, site.settings) == 1
    assert mail.send_due(site.database, site.settings) == 0
    [message] = mail_server.messages
    assert (message["To"], message["From"]) == ("ann@example.org", "orfila@example.org")
    assert message["Subject"] == "Orfila: Administrator mentions you"
    text = message.get_payload()
    assert "@Ann @Ben: the corner?" in text
    assert f"http://127.0.0.1:8000/c/{case['id']}/evidence?tab=all&i=3" in text
    site.database.dispose()
