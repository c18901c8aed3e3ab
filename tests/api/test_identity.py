"""Passwords, sessions, accounts and members, and signing in with a provider."""

import re

import httpx
import pytest
from conftest import Site
from joserfc.jwk import OctKey, RSAKey
from provider import CLIENT_ID, CLIENT_SECRET, Provider

from orfila.db import now
from orfila.identity import passwords
from orfila.identity.models import User

GOOD = "correct horse battery staple"


@pytest.fixture
def ada(site):
    """A person who was invited and has set a password."""
    invited = site.post("/users", {"name": "Ada", "email": "ada@example.org"})
    browser = site.browser()
    code = invited["link"].partition("code=")[2]
    assert browser.post("/api/v1/session", json={"code": code}).status_code == 200
    assert browser.put("/api/v1/account/password", json={"new": GOOD}).status_code == 204
    return invited["user"], browser


def sign_in(site, name, password):
    browser = site.browser()
    return browser, browser.post("/api/v1/session/password", json={"name": name, "password": password})


def test_an_invited_person_sets_a_password_and_signs_in_with_it(site, ada):
    user, _ = ada
    browser, answer = sign_in(site, "Ada", GOOD)
    assert answer.status_code == 200
    assert (answer.json()["user"]["name"], answer.json()["has_password"]) == ("Ada", True)
    assert browser.get("/api/v1/session").json()["user"]["id"] == user["id"]
    with site.database.reading() as session:
        kept = session.get_one(User, user["id"]).password_hash
    assert kept.startswith("$argon2id$")
    assert GOOD not in (site.settings.data_dir / "orfila.db").read_bytes().decode("latin1")


def test_wrong_name_and_wrong_password_look_alike(site, ada):
    answers = [sign_in(site, name, password)[1] for name, password in (("Ada", "x" * 20), ("Nobody", GOOD))]
    assert [(a.status_code, a.json()["code"], a.json()["detail"]) for a in answers] == [
        (401, "wrong_password", "Name and password do not belong together.")
    ] * 2
    assert not passwords.matches(None, "a password that nobody has")


def test_a_name_is_tried_ten_times_and_then_waits(site, ada):
    site.app.state.limits.sign_ins._count = 100
    statuses = [sign_in(site, "ada", "x" * 20)[1].status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    assert sign_in(site, "Ada", GOOD)[1].status_code == 429


@pytest.mark.parametrize("weak", ["short", "aaaaaaaaaaaaaaaa", "Ada is my name!!", ""])
def test_weak_passwords_are_refused(site, ada, weak):
    _, browser = ada
    answer = browser.put("/api/v1/account/password", json={"new": weak})
    assert (answer.status_code, answer.json()["code"]) == (422, "weak_password")


def test_a_new_password_needs_the_old_one_and_ends_other_sessions(site, ada):
    _, other = ada
    browser, _ = sign_in(site, "Ada", GOOD)
    for body in ({"new": "another long sentence"}, {"new": "another long sentence", "current": "wrong"}):
        answer = browser.put("/api/v1/account/password", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "wrong_password")
    right = {"new": "another long sentence", "current": GOOD}
    assert browser.put("/api/v1/account/password", json=right).status_code == 204
    assert browser.get("/api/v1/session").status_code == 200
    assert other.get("/api/v1/session").status_code == 401
    assert sign_in(site, "Ada", GOOD)[1].status_code == 401
    assert sign_in(site, "Ada", "another long sentence")[1].status_code == 200


def test_a_token_cannot_set_a_password(site):
    token = site.post("/tokens", {"name": "ci", "scopes": ["admin"]})["secret"]
    headers = {"Authorization": f"Bearer {token}"}
    assert site.browser().put("/api/v1/account/password", json={"new": GOOD}, headers=headers).status_code == 403


def test_a_reset_link_sets_a_new_password_without_the_old_one(site, ada):
    user, _ = ada
    link = site.post(f"/users/{user['id']}/link", None)["link"]
    browser = site.browser()
    assert browser.post("/api/v1/session", json={"code": link.partition("code=")[2]}).status_code == 200
    assert browser.put("/api/v1/account/password", json={"new": "another long sentence"}).status_code == 204
    assert sign_in(site, "Ada", "another long sentence")[1].status_code == 200


def test_sessions_are_listed_and_ended(site, ada):
    _, first = ada
    second, _ = sign_in(site, "Ada", GOOD)
    third, _ = sign_in(site, "Ada", GOOD)
    listed = third.get("/api/v1/sessions").json()
    assert sorted(s["method"] for s in listed) == ["link", "password", "password"]
    assert [s["is_current"] for s in listed].count(True) == 1
    assert {s["browser"] for s in listed} == {"testclient"}
    of_second = next(s for s in second.get("/api/v1/sessions").json() if s["is_current"])
    assert site.client.delete(f"/api/v1/sessions/{of_second['id']}").status_code == 404, "somebody else's"
    assert third.delete(f"/api/v1/sessions/{of_second['id']}").status_code == 204
    assert second.get("/api/v1/session").status_code == 401
    assert third.delete("/api/v1/sessions").status_code == 204
    assert first.get("/api/v1/session").status_code == 401
    assert third.get("/api/v1/session").status_code == 200


def test_a_disabled_account_does_nothing_and_comes_back(site, ada):
    user, browser = ada
    token = browser.post("/api/v1/tokens", json={"name": "ci"}).json()["secret"]
    headers = {"Authorization": f"Bearer {token}"}
    link = site.post(f"/users/{user['id']}/link", None)["link"]
    changed = site.client.patch(f"/api/v1/users/{user['id']}", json={"disabled": True}).json()
    assert (changed["disabled"], changed["last_seen_at"]) == (True, None)
    assert browser.get("/api/v1/session").status_code == 401
    assert site.browser().get("/api/v1/projects", headers=headers).status_code == 401
    assert sign_in(site, "Ada", GOOD)[1].status_code == 401
    code = link.partition("code=")[2]
    assert site.browser().post("/api/v1/session", json={"code": code}).status_code == 401
    assert site.client.post(f"/api/v1/users/{user['id']}/link").json()["code"] == "disabled"
    site.client.patch(f"/api/v1/users/{user['id']}", json={"disabled": False})
    assert sign_in(site, "Ada", GOOD)[1].status_code == 200
    assert site.browser().get("/api/v1/projects", headers=headers).status_code == 200


def test_a_session_of_a_disabled_account_is_none(site, ada):
    """Also one that began while the account was being disabled."""
    user, browser = ada
    with site.database.transaction() as session:
        session.get_one(User, user["id"]).disabled_at = now()
    assert browser.get("/api/v1/session").status_code == 401


def test_somebody_can_always_administer(site):
    me = site.get("/session")["user"]["id"]
    for body in ({"disabled": True}, {"is_administrator": False}):
        answer = site.client.patch(f"/api/v1/users/{me}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (409, "last_one")
    other = site.post("/users", {"name": "Zoe", "is_administrator": True})["user"]
    assert other["is_administrator"]
    assert site.client.patch(f"/api/v1/users/{me}", json={"is_administrator": False}).status_code == 200
    assert site.get("/users", 403)["code"] == "administrators_only"


def test_accounts_are_for_administrators(site, ada):
    user, browser = ada
    assert [u["name"] for u in site.get("/users")] == ["Ada", "Administrator"]
    for method, path, body in (
        ("GET", "/users", None),
        ("POST", "/users", {"name": "Eve"}),
        ("PATCH", f"/users/{user['id']}", {"is_administrator": True}),
        ("POST", f"/users/{user['id']}/link", None),
    ):
        assert browser.request(method, f"/api/v1{path}", json=body).status_code == 403, path
    assert site.client.post("/api/v1/users", json={"name": "Ada"}).status_code == 422
    assert site.post("/users", {"name": " Bob "})["user"]["name"] == "Bob"
    assert site.client.patch(f"/api/v1/users/{'f' * 32}", json={}).status_code == 404


def test_an_owner_decides_who_belongs_to_a_project(site, ada):
    user, browser = ada
    members = f"/projects/{site.project}/members"
    assert browser.get(f"/api/v1{members}").status_code == 404
    added = site.post(members, {"name": "Ada", "role": "reviewer"})
    assert (added["name"], added["role"], added["email"]) == ("Ada", "reviewer", "ada@example.org")
    assert site.client.post(f"/api/v1{members}", json={"name": "Ada", "role": "viewer"}).json()["code"] == (
        "member_already"
    )
    missing = site.client.post(f"/api/v1{members}", json={"name": "Nobody", "role": "viewer"})
    assert (missing.status_code, missing.json()["detail"]) == (
        404,
        "Nobody here is called 'Nobody'; an administrator can invite them.",
    )
    assert [m["name"] for m in browser.get(f"/api/v1{members}").json()] == ["Ada", "Administrator"]
    assert browser.get(f"/api/v1/projects/{site.project}").json()["role"] == "reviewer"
    for method, path, body in (
        ("POST", members, {"name": "Administrator", "role": "viewer"}),
        ("PATCH", f"{members}/{user['id']}", {"role": "owner"}),
        ("DELETE", f"{members}/{user['id']}", None),
    ):
        assert browser.request(method, f"/api/v1{path}", json=body).status_code == 403
    me = site.get("/session")["user"]["id"]
    assert site.client.patch(f"/api/v1{members}/{me}", json={"role": "viewer"}).json()["code"] == "last_one"
    assert site.client.delete(f"/api/v1{members}/{me}").json()["code"] == "last_one"
    assert site.client.patch(f"/api/v1{members}/{user['id']}", json={"role": "owner"}).json()["role"] == "owner"
    assert browser.delete(f"/api/v1{members}/{me}").status_code == 204
    assert [m["name"] for m in browser.get(f"/api/v1{members}").json()] == ["Ada"]
    actions = [e["action"] for e in site.get("/audit", project_id=site.project)["items"]]
    assert actions[:3] == ["member.removed", "member.changed", "member.added"]


@pytest.fixture
def provider():
    with Provider() as made:
        yield made


def with_provider(provider, folder, **settings):
    """An installation that knows the provider."""
    return Site(
        folder,
        oidc_issuer=provider.address,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_name="Example ID",
        **settings,
    )


def go(browser, where="/p/1"):
    """Sign in with the provider, as a browser does; where it ends, and the provider's answer."""
    started = browser.get("/api/v1/oidc/start", params={"next": where}, follow_redirects=False)
    assert started.status_code == 303, started.text
    approved = httpx.get(started.headers["location"], trust_env=False)
    answer = approved.headers["location"]
    return browser.get(answer, follow_redirects=False).headers["location"], answer


def test_a_person_of_the_provider_signs_in_and_is_the_same_the_next_time(provider, tmp_path):
    site = with_provider(provider, tmp_path)
    assert site.get("/sign-in") == {"provider": "Example ID"}
    provider.person |= {"email": "ada@example.org"}
    browser = site.browser()
    assert go(browser)[0] == "/p/1"
    me = browser.get("/api/v1/session").json()
    assert (me["user"]["name"], me["user"]["email"], me["has_password"]) == ("Ada", "ada@example.org", False)
    assert not me["user"]["is_administrator"]
    assert browser.get("/api/v1/projects").json() == []
    assert browser.get("/api/v1/sessions").json()[0]["method"] == "oidc"
    provider.person["name"] = "Ada Lovelace"
    again = site.browser()
    go(again)
    assert again.get("/api/v1/session").json()["user"]["id"] == me["user"]["id"]


def test_a_name_that_somebody_has_joins_nobody(provider, tmp_path):
    site = with_provider(provider, tmp_path)
    provider.person["name"] = "Administrator"
    browser = site.browser()
    go(browser)
    me = browser.get("/api/v1/session").json()["user"]
    assert (me["name"], me["is_administrator"]) == ("Administrator (127.0.0.1)", False)


def test_groups_decide_what_a_person_may_do(provider, tmp_path):
    plain = Site(tmp_path)
    other = plain.post("/projects", {"name": "other"})["id"]
    plain.database.dispose()
    groups = {
        "security": "administrator",
        "labellers": f"{plain.project}:reviewer",
        "leads": f"{plain.project}:owner",
        "others": f"{other}:viewer",
        "gone": f"{'f' * 32}:viewer",
    }
    site = with_provider(provider, tmp_path, oidc_groups=groups)
    provider.person["groups"] = ["labellers", "leads", "others", "gone", "unknown"]
    browser = site.browser()
    go(browser)
    roles = {p["id"]: p["role"] for p in browser.get("/api/v1/projects").json()}
    assert roles == {plain.project: "owner", other: "viewer"}, "the strongest role counts"
    provider.person["groups"] = ["labellers", "security"]
    go(browser)
    assert browser.get("/api/v1/session").json()["user"]["is_administrator"]
    roles = {p["id"]: p["role"] for p in browser.get("/api/v1/projects").json()}
    assert roles == {plain.project: "reviewer", other: None}
    provider.person["groups"] = ["unknown"]
    assert go(site.browser())[0] == "/signin?problem=provider_groups"


@pytest.mark.parametrize(
    "lie",
    [
        {"issuer_says": "https://evil.example"},
        {"audience": "another-client"},
        {"audience": "another-client", "person": {"sub": "1", "name": "Ada", "azp": CLIENT_ID}},
        {"nonce": "of another sign-in"},
        {"expires_in": -3600},
        {"shown_key": RSAKey.generate_key(2048, {"kid": "1"})},
        {"algorithm": "HS256", "key": OctKey.import_key(CLIENT_SECRET * 2, {"kid": "1"})},
    ],
    ids=["issuer", "audience", "audience of a friend", "nonce", "expired", "signature", "shared secret"],
)
def test_a_token_that_proves_nothing_signs_nobody_in(provider, tmp_path, lie):
    site = with_provider(provider, tmp_path)
    for name, value in lie.items():
        setattr(provider, name, value)
    browser = site.browser()
    assert go(browser)[0] == "/signin?problem=provider_failed"
    assert browser.get("/api/v1/session").status_code == 401


def test_an_answer_counts_once_and_for_its_own_browser_only(provider, tmp_path):
    site = with_provider(provider, tmp_path)
    browser = site.browser()
    started = browser.get("/api/v1/oidc/start", follow_redirects=False)
    cookie = started.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "Path=/api/v1/oidc/callback" in cookie
    answer = httpx.get(started.headers["location"], trust_env=False).headers["location"]
    victim = site.browser()
    assert victim.get(answer, follow_redirects=False).headers["location"] == "/signin?problem=provider_state"
    assert victim.get("/api/v1/session").status_code == 401
    state = re.search(r"state=([^&]+)", answer)[1]
    assert browser.get(answer, follow_redirects=False).headers["location"] == "/"
    browser.cookies.set("orfila_oidc", state, path="/api/v1/oidc/callback")
    assert browser.get(answer, follow_redirects=False).headers["location"] == "/signin?problem=provider_state"


@pytest.mark.parametrize("where", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)"])
def test_signing_in_leads_to_no_other_site(provider, tmp_path, where):
    assert go(with_provider(provider, tmp_path).browser(), where)[0] == "/"


def test_a_provider_that_is_away_or_somebody_else_is_a_sentence(provider, tmp_path):
    site = with_provider(provider, tmp_path)
    provider.metadata = lambda: {"issuer": "https://evil.example"}
    answer = site.browser().get("/api/v1/oidc/start", follow_redirects=False)
    assert answer.headers["location"] == "/signin?problem=provider_failed"


def test_without_a_provider_there_is_none(site):
    assert site.get("/sign-in") == {"provider": None}
    answer = site.browser().get("/api/v1/oidc/start", follow_redirects=False)
    assert answer.headers["location"] == "/signin?problem=not_found"


def test_a_disabled_person_of_the_provider_stays_out(provider, tmp_path):
    site = with_provider(provider, tmp_path)
    go(site.browser())
    user = next(u for u in site.get("/users") if u["name"] == "Ada")
    site.client.patch(f"/api/v1/users/{user['id']}", json={"disabled": True})
    assert go(site.browser())[0] == "/signin?problem=provider_disabled"
