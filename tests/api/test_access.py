"""Who may do what: every route, anonymous, foreign, viewer; sign-in, tokens, Origin, Host, headers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from orfila.app import create_app
from orfila.identity.service import sign_in_link
from orfila.migrations import migrate
from orfila.openapi import document
from orfila.pagination import encode_cursor
from orfila.settings import Settings
from orfila.webhooks.models import Webhook

PUBLIC = {
    ("GET", "/health"),
    ("GET", "/ready"),
    ("POST", "/api/v1/session"),
    ("POST", "/api/v1/session/password"),
    ("GET", "/api/v1/sign-in"),
    ("GET", "/api/v1/oidc/start"),
    ("GET", "/api/v1/oidc/callback"),
}


def operations(site):
    """(method, path with ids filled in) of every route of the API."""
    paths = site.app.openapi()["paths"]
    for path, methods in paths.items():
        for method in methods:
            filled = re.sub(r"\{(number|query|index|label)\}", "0", path)
            filled = filled.replace("{name}", "shift_histogram" if "figures" in path else "variance")
            yield method.upper(), re.sub(r"\{\w+\}", "0" * 32, filled), path


def test_every_route_but_the_public_ones_needs_a_session_or_a_token(site):
    anonymous, seen = site.browser(), 0
    for method, address, path in operations(site):
        if (method, path) in PUBLIC:
            continue
        answer = anonymous.request(method, address)
        assert answer.status_code == 401, (method, path)
        if method != "HEAD":
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "unauthenticated"
        seen += 1
    assert seen > 50


def test_the_openapi_document_names_every_route(site):
    def flat(routes):
        for route in routes:
            if isinstance(route, APIRoute):
                yield route

    described = {(m, p) for m, _, p in operations(site)}
    hidden = {r.path for r in flat(site.app.routes) if not r.include_in_schema}
    assert hidden <= {"/{path:path}", "/api/docs"}
    assert len(described) > 50


def test_the_committed_openapi_document_is_the_real_one():
    committed = Path(__file__).parents[2] / "backend" / "openapi.json"
    assert committed.read_text() == document(), "run: python -m orfila.openapi > backend/openapi.json"


def test_the_server_loads_no_torch():
    code = "import sys, orfila.app, orfila.cli; sys.exit(any(m in sys.modules for m in ('torch', 'orfila_engine')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_foreign_object_looks_absent(site):
    case = site.case()
    stranger = site.person("Stranger", None)
    for path in (
        f"/projects/{site.project}",
        f"/projects/{site.project}/cases",
        f"/datasets/{case['dataset_id']}",
        f"/models/{case['model_id']}",
        f"/cases/{case['id']}",
        f"/cases/{case['id']}/scores",
        f"/cases/{case['id']}/verdicts",
        f"/jobs/{case['job_id']}",
    ):
        foreign = stranger.get(f"/api/v1{path}")
        assert foreign.status_code == 404, path
        absent = stranger.get(f"/api/v1{path}".replace(case["id"], "f" * 32).replace(site.project, "f" * 32))
        if path.startswith(("/cases", "/projects")):
            assert absent.json()["detail"] == foreign.json()["detail"]
    assert stranger.get("/api/v1/projects").json() == []
    assert stranger.get("/api/v1/jobs").json()["items"] == []
    assert stranger.get("/api/v1/audit").json()["items"] == []


@pytest.mark.parametrize(
    ("role", "verdict", "rename"), [("viewer", 403, 403), ("reviewer", 200, 403), ("analyst", 200, 200)]
)
def test_roles(site, role, verdict, rename):
    case = site.case()
    person = site.person("Person", role)
    assert person.get(f"/api/v1/cases/{case['id']}").status_code == 200
    body = {"items": [{"index": 0, "verdict": "poison"}]}
    assert person.post(f"/api/v1/cases/{case['id']}/verdicts", json=body).status_code == verdict
    assert person.patch(f"/api/v1/cases/{case['id']}", json={"name": "x"}).status_code == rename


OWN = {
    ("OPTIONS", "/api/v1/projects/{project_id}/uploads"),
    ("POST", "/api/v1/session"),
    ("DELETE", "/api/v1/session"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/{token_id}"),
    ("POST", "/api/v1/projects"),
    ("POST", "/api/v1/session/password"),
    ("DELETE", "/api/v1/sessions"),
    ("DELETE", "/api/v1/sessions/{session_id}"),
    ("PUT", "/api/v1/account/password"),
    ("POST", "/api/v1/notifications/read"),
    ("PATCH", "/api/v1/comments/{comment_id}"),
    ("DELETE", "/api/v1/comments/{comment_id}"),
    ("DELETE", "/api/v1/views/{view_id}"),
}
"""Unsafe routes that concern the caller alone, or what the caller has written."""
REQUIRED = {"file": {"filename": "a", "purpose": "image"}, "thumbnails.webp": {"images": "0"}}
"""What the query must hold, by the last part of a path."""
READ_MORE = {
    ("GET", "/api/v1/users"): "administrate",
    ("GET", "/metrics"): "administrate",
    ("GET", "/api/v1/audit/export.jsonl"): "administrate",
    ("GET", "/api/v1/rounds/{round_id}/queue"): "review",
    ("GET", "/api/v1/projects/{project_id}/webhooks"): "manage",
    ("GET", "/api/v1/webhooks/{webhook_id}/deliveries"): "manage",
}
"""Safe routes that need more than reading."""
REFUSALS = {"forbidden", "administrators_only", "unauthenticated", "scope_missing", "blind"}
MAY = {
    "stranger": set(),
    "viewer": {"read"},
    "reviewer": {"read", "review"},
    "analyst": {"read", "review", "write"},
    "owner": {"read", "review", "write", "manage"},
    "administrator": {"read", "review", "write", "manage", "administrate"},
}


def changes(site):
    """Every unsafe operation on something of the project: what it needs, and a body that would do; and the ids."""
    case = site.case()
    dataset, model, job = case["dataset_id"], case["model_id"], case["job_id"]
    upload = site.post(f"/projects/{site.project}/uploads", {"filename": "a", "size": 5, "purpose": "image"})["id"]
    affected = [{"test_index": site.affected}]
    me = site.get("/session")["user"]["id"]
    team = {"name": "x", "reviewers": [me], "reviewers_per_image": 1, "blind": False}
    made = site.post(f"/cases/{case['id']}/rounds", team)["id"]
    with site.database.transaction() as session:
        hook = Webhook(project_id=site.project, url="https://example.org", secret="s", events=[], last_event_id=0)
        session.add(hook)
        session.flush()
        webhook = hook.id
    new_case = {"name": "x", "model_id": model, "affected": affected}
    found = {
        ("POST", "/api/v1/projects/{project_id}/uploads"): ("write", {"filename": "a", "size": 1, "purpose": "image"}),
        ("POST", "/api/v1/projects/{project_id}/uploads/file"): ("write", b"x"),
        ("PATCH", "/api/v1/uploads/{upload_id}"): ("write", b"x"),
        ("POST", "/api/v1/uploads/{upload_id}/conversion"): ("write", None),
        ("DELETE", "/api/v1/uploads/{upload_id}"): ("write", None),
        ("POST", "/api/v1/projects/{project_id}/datasets"): ("write", {"upload_id": upload, "name": "x"}),
        ("PATCH", "/api/v1/datasets/{dataset_id}"): ("write", {"preserved": True}),
        ("DELETE", "/api/v1/datasets/{dataset_id}"): ("write", None),
        ("PATCH", "/api/v1/models/{model_id}"): ("write", {"preserved": True}),
        ("DELETE", "/api/v1/models/{model_id}"): ("write", None),
        ("POST", "/api/v1/projects/{project_id}/models"): (
            "write",
            {"upload_id": upload, "name": "x", "dataset_id": dataset},
        ),
        ("POST", "/api/v1/projects/{project_id}/cases"): ("write", new_case),
        ("POST", "/api/v1/projects/{project_id}/cases/estimate"): ("write", new_case),
        ("PATCH", "/api/v1/cases/{case_id}"): ("write", {"name": "x"}),
        ("POST", "/api/v1/cases/{case_id}/verdicts"): ("review", {"items": [{"index": 0, "verdict": "poison"}]}),
        ("POST", "/api/v1/cases/{case_id}/verdicts/undo"): ("review", None),
        ("POST", "/api/v1/cases/{case_id}/verdicts/redo"): ("review", None),
        ("PUT", "/api/v1/cases/{case_id}/resolutions"): ("write", {"index": 0, "verdict": "poison"}),
        ("POST", "/api/v1/cases/{case_id}/rounds"): ("write", team),
        ("POST", "/api/v1/rounds/{round_id}/reassign"): ("write", {"reviewer": me, "to": [me]}),
        ("POST", "/api/v1/rounds/{round_id}/sign-off"): ("write", None),
        ("PATCH", "/api/v1/rounds/{round_id}"): ("write", {"state": "paused"}),
        ("POST", "/api/v1/cases/{case_id}/refit"): ("review", None),
        ("POST", "/api/v1/cases/{case_id}/comments"): ("review", {"text": "x"}),
        ("POST", "/api/v1/projects/{project_id}/views"): ("read", {"name": "x", "view": {"tab": "all"}}),
        ("PUT", "/api/v1/cases/{case_id}/presence"): ("read", None),
        ("DELETE", "/api/v1/cases/{case_id}/presence"): ("read", None),
        ("POST", "/api/v1/cases/{case_id}/remedies"): ("write", {"method": "eu", "remove": {"kind": "flagged"}}),
        ("POST", "/api/v1/models/{model_id}/checks"): ("write", {"case_ids": None}),
        ("POST", "/api/v1/cases/{case_id}/maps"): ("review", {"method": "pca"}),
        ("POST", "/api/v1/cases/{case_id}/comparisons"): ("write", {"detectors": None}),
        ("POST", "/api/v1/projects/{project_id}/drills"): (
            "write",
            {"name": "x", "dataset_id": dataset, "attack": "badnet"},
        ),
        ("POST", "/api/v1/projects/{project_id}/sweeps"): ("write", {"model_id": model}),
        ("POST", "/api/v1/jobs/{job_id}/cancel"): ("write", None),
        ("POST", "/api/v1/jobs/{job_id}/retry"): ("write", None),
        ("POST", "/api/v1/projects/{project_id}/members"): ("manage", {"name": "Administrator", "role": "viewer"}),
        ("PATCH", "/api/v1/projects/{project_id}/members/{user_id}"): ("manage", {"role": "viewer"}),
        ("DELETE", "/api/v1/projects/{project_id}/members/{user_id}"): ("manage", None),
        ("POST", "/api/v1/projects/{project_id}/webhooks"): ("manage", {"url": "https://example.org/hook"}),
        ("PATCH", "/api/v1/webhooks/{webhook_id}"): ("manage", {"active": False}),
        ("POST", "/api/v1/webhooks/{webhook_id}/ping"): ("manage", None),
        ("DELETE", "/api/v1/webhooks/{webhook_id}"): ("manage", None),
        ("POST", "/api/v1/users"): ("administrate", {"name": "Eve"}),
        ("PATCH", "/api/v1/users/{user_id}"): ("administrate", {"email": "a@example.org"}),
        ("POST", "/api/v1/users/{user_id}/link"): ("administrate", None),
    }
    unsafe = {(m, p) for m, _, p in operations(site) if m not in ("GET", "HEAD")}
    assert unsafe - OWN == set(found), "a new route needs a line above"
    ids = {"project_id": site.project, "upload_id": upload, "dataset_id": dataset, "case_id": case["id"], "job_id": job}
    return found, ids | {"model_id": model, "user_id": me, "round_id": made, "webhook_id": webhook}


@pytest.mark.parametrize("role", list(MAY))
def test_each_role_does_what_it_may_and_nothing_else(site, role):
    """Every route of the API, with ids of things that are there where the project has such things."""
    unsafe, ids = changes(site)
    reading = {
        (method, path): (READ_MORE.get((method, path), "read"), None)
        for method, _, path in operations(site)
        if method == "GET" and (method, path) not in PUBLIC and path != "/api/v1/events"
    }
    made = {"stranger": None, "administrator": None}.get(role, role)
    person = site.client if role == "administrator" else site.person("Person", made)
    headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    refused = 0
    for (method, path), (needs, body) in [*reading.items(), *unsafe.items()]:
        sent = {"content": body, "headers": headers} if isinstance(body, bytes) else {"json": body} if body else {}
        query = REQUIRED.get(path.rpartition("/")[2])
        filled = re.sub(r"\{(number|query|index|label)\}", "0", path)
        filled = filled.replace("{name}", "shift_histogram" if "figures" in path else "variance")
        filled = re.sub(r"\{(\w+)\}", lambda part: ids.get(part[1], "0" * 32), filled)
        answer = person.request(method, filled, params=query, **sent)
        said = (method, path, answer.status_code, answer.text[:300])
        if needs in MAY[role]:
            assert answer.status_code < 500, said
            assert answer.status_code not in (401, 403) or answer.json()["code"] not in REFUSALS, said
            continue
        refused += 1
        if role == "stranger" and needs != "administrate":
            # What is not of one project answers with what one may see of it: nothing.
            assert answer.status_code == 404 or "{" not in path or _is_common(path), said
        else:
            assert (answer.status_code, answer.json()["code"] in REFUSALS) == (403, True), said
    assert refused == 0 if role == "administrator" else refused > 2


def _is_common(path):
    """Routes with a parameter that are of no project."""
    return path.startswith(("/api/v1/architectures", "/api/v1/attacks", "/api/v1/detectors"))


def test_the_reference_page_names_every_operation_and_loads_nothing(site):
    page = site.browser().get("/api/docs").text
    for _, _, path in operations(site):
        assert f"<code>{path}</code>" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_bodies_have_a_limit(site):
    huge = b'{"name": "' + b"x" * (9 * 2**20) + b'"}'
    headers = {"Content-Type": "application/json"}
    answer = site.client.post("/api/v1/projects", content=huge, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    pieces = site.client.post("/api/v1/projects", content=iter([huge[:5_000_000], huge[5_000_000:]]), headers=headers)
    assert (pieces.status_code, pieces.json()["code"]) == (413, "too_large")


def test_a_sign_in_code_works_once(site):
    with site.database.transaction() as session:
        code = sign_in_link(session, site.settings).partition("code=")[2]
    first, second = site.browser(), site.browser()
    answer = first.post("/api/v1/session", json={"code": code})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("orfila_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    again = second.post("/api/v1/session", json={"code": code})
    assert (again.status_code, again.json()["code"]) == (401, "sign_in_code_invalid")
    assert first.delete("/api/v1/session").status_code == 204
    assert first.get("/api/v1/session").status_code == 401


def test_the_cookie_binds_to_the_host_behind_https(tmp_path):
    settings = Settings(data_dir=tmp_path, public_url="https://orfila.example", allowed_hosts=["orfila.example"])
    migrate(settings.resolved_database_url)
    app = create_app(settings)
    with app.state.database.transaction() as session:
        link = sign_in_link(session, settings)
    assert link.startswith("https://orfila.example/signin#code=")
    browser = TestClient(app, base_url="https://orfila.example")
    answer = browser.post("/api/v1/session", json={"code": link.partition("code=")[2]})
    assert answer.headers["set-cookie"].startswith("__Host-orfila=")
    assert "Secure" in answer.headers["set-cookie"]
    assert browser.get("/api/v1/session").status_code == 200


def test_sign_ins_are_limited(site):
    anonymous = site.browser()
    codes = [anonymous.post("/api/v1/session", json={"code": "x" * 32}).status_code for _ in range(11)]
    assert codes == [401] * 9 + [429] * 2  # the site's own sign-in was the first of ten


def test_tokens_are_scoped_and_can_be_revoked(site):
    made = site.post("/tokens", {"name": "ci", "scopes": ["read"]})
    headers = {"Authorization": f"Bearer {made['secret']}"}
    program = site.browser()
    assert program.get("/api/v1/projects", headers=headers).status_code == 200
    assert program.get("/api/v1/session", headers=headers).json()["via"] == "token"
    refused = program.post("/api/v1/projects", headers=headers, json={"name": "x"})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert "secret" not in site.get("/tokens")[0]
    assert site.get("/tokens")[0]["last_used_at"] is not None
    assert site.client.delete(f"/api/v1/tokens/{made['id']}").status_code == 204
    assert program.get("/api/v1/projects", headers=headers).status_code == 401
    assert made["secret"] not in (site.settings.data_dir / "orfila.db").read_bytes().decode("latin1")


def test_a_token_cannot_make_a_stronger_one(site):
    weak = site.post("/tokens", {"name": "ci", "scopes": ["write"]})["secret"]
    answer = site.browser().post(
        "/api/v1/tokens", headers={"Authorization": f"Bearer {weak}"}, json={"name": "x", "scopes": ["admin"]}
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("header", ["Basic abc", "Bearer", "Bearer short", "Bearer " + "x" * 43])
def test_bad_authorization_headers(site, header):
    assert site.client.get("/api/v1/projects", headers={"Authorization": header}).status_code == 401


def test_requests_from_other_pages_are_refused(site):
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = site.client.post("/api/v1/projects", json={"name": "x"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    own = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    assert site.client.post("/api/v1/projects", json={"name": "x"}, headers=own).status_code == 201
    assert [p["name"] for p in site.get("/projects")] == ["First project", "x"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil:8000"])
def test_foreign_host_names_are_refused(site, host):
    assert site.client.get("/health", headers={"Host": host}).status_code == 421
    assert site.client.get("/health", headers={"Host": "localhost:8000"}).status_code == 200


def test_security_headers_stand_on_every_answer(site):
    for path in ("/", "/health", "/api/v1/projects", "/api/v1/none"):
        headers = site.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert len(headers["x-request-id"]) == 32
    assert site.client.get("/api/v1/projects").headers["cache-control"] == "no-store"


def test_problems_say_what_to_do(site):
    answer = site.client.post("/api/v1/projects", json={"name": "", "colour": "red"})
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["code"]) == (422, "invalid_request")
    assert {e["field"] for e in problem["errors"]} == {"body.name", "body.colour"}
    assert problem["instance"] == answer.headers["x-request-id"]
    assert site.get("/datasets/none", 404)["detail"] == "There is no such data set."
    for cursor in (
        "zzz",
        "",
        encode_cursor([1, 2, 3]),
        encode_cursor([True, "x"]),
        encode_cursor(["now", "x"]),
        encode_cursor(["2026-01-01", "x"]),
    ):
        assert site.get("/jobs", 400, cursor=cursor)["code"] == "bad_cursor"
    assert site.get("/audit", 400, cursor=encode_cursor([2**63]))["code"] == "bad_cursor"
    assert site.get("/projects/x/nothing", 404)["code"] == "not_found"


def test_an_error_of_the_server_is_a_problem_too(site):
    (site.settings.data_dir / "orfila.db").rename(site.folder / "gone.db")
    site.database.dispose()
    answer = TestClient(site.app, base_url="http://127.0.0.1:8000", raise_server_exceptions=False).get("/ready")
    assert answer.status_code in (500, 503)
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_interface_is_served_for_every_other_address(site):
    assert "not built" in site.browser().get("/").text
    assets = site.folder / "ui" / "assets"
    assets.mkdir(parents=True)
    (site.folder / "ui" / "index.html").write_text("<!doctype html><title>Orfila</title>")
    (assets / "app-1a2b.js").write_text("1")
    (site.folder / "secret.txt").write_text("secret")
    anonymous = site.browser()
    for address in ("/", "/signin", "/c/abc/evidence"):
        answer = anonymous.get(address)
        assert "<title>Orfila" in answer.text
        assert answer.headers["cache-control"] == "no-cache"
    asset = anonymous.get("/assets/app-1a2b.js")
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-type"].startswith("text/javascript")
    assert anonymous.get("/assets/none.js").status_code == 404
    assert anonymous.get("/api/v1/none").json()["code"] == "not_found"
    for escape in ("/..%2fsecret.txt", "/assets/..%2f..%2fsecret.txt", "/%2e%2e/secret.txt"):
        assert "secret" not in anonymous.get(escape).text
