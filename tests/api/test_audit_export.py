"""The audit trail filtered, exported, and verified anywhere; tampering is found and located."""

import json
import sqlite3

from typer.testing import CliRunner

from orfila.audit.service import check_events, read_exported
from orfila.cli import app


def run(site, monkeypatch, *arguments):
    from orfila.settings import get_settings

    monkeypatch.setenv("ORFILA_DATA_DIR", str(site.settings.data_dir))
    get_settings.cache_clear()
    try:
        return CliRunner().invoke(app, ["audit", *arguments])
    finally:
        get_settings.cache_clear()


def test_the_feed_of_a_person_and_of_a_kind(site):
    case = site.case()
    ann = site.person("Ann", "reviewer")
    ann.post(f"/api/v1/cases/{case['id']}/verdicts", json={"items": [{"index": 0, "verdict": "poison"}]})
    assert {e["actor"] for e in site.get("/audit", actor="Ann")["items"]} == {"Ann"}
    kinds = {e["action"] for e in site.get("/audit", kind="verdicts")["items"]}
    assert kinds == {"verdicts.recorded"}
    assert site.get("/audit", kind="verdicts", actor="Administrator")["items"] == []
    assert site.get("/audit", kind="case")["items"], "cases, not comparisons"
    assert site.get("/audit", 422, kind="%")["code"] == "invalid_request"


def test_an_export_is_verified_without_the_installation(site, tmp_path, monkeypatch):
    site.dataset()
    answer = site.client.get("/api/v1/audit/export.jsonl")
    assert answer.headers["content-disposition"].endswith('"orfila-audit.jsonl"')
    lines = answer.text.splitlines()
    check = site.get("/audit/check")
    assert (check["ok"], check["n_events"]) == (True, len(lines))
    file = tmp_path / "audit.jsonl"
    file.write_text(answer.text)
    found = run(site, monkeypatch, "verify", str(file))
    assert (found.exit_code, found.output) == (0, f"whole: {len(lines)} events, head {check['head']}\n")
    assert run(site, monkeypatch, "verify").output == found.output
    written = tmp_path / "written.jsonl"
    assert run(site, monkeypatch, "export", str(written)).exit_code == 0
    assert written.read_text() == answer.text
    assert run(site, monkeypatch, "export", str(written)).exception.detail.endswith("choose another name.")

    changed = [json.loads(line) for line in lines]
    changed[3]["actor"] = "somebody else"
    broken = tmp_path / "broken.jsonl"
    broken.write_text("".join(json.dumps(event) + "\n" for event in changed))
    found = run(site, monkeypatch, "verify", str(broken))
    assert (found.exit_code, found.output.split(":")[0]) == (1, f"broken at event {changed[3]['id']}")
    without = check_events(read_exported(lines[:2] + lines[3:]))
    assert (without.ok, without.first_broken_id) == (False, json.loads(lines[3])["id"])
    nothing = run(site, monkeypatch, "verify", str(tmp_path / "no.jsonl"))
    assert "cannot be read" in nothing.exception.detail


def test_a_row_that_was_tampered_with_is_located(site, monkeypatch):
    site.dataset()
    connection = sqlite3.connect(site.settings.data_dir / "orfila.db")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE audit_events SET actor = 'nobody' WHERE id = 2")
    connection.commit()
    connection.close()
    assert site.get("/audit/check")["first_broken_id"] == 2
    found = run(site, monkeypatch, "verify")
    assert (found.exit_code, found.output.split(":")[0]) == (1, "broken at event 2")
