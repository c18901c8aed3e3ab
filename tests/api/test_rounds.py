"""Review rounds: who is asked about what, blindness, queues, conflicts, the final word, undo on the server."""

from collections import Counter

import numpy as np
import pytest
from conftest import POISON

from orfila.identity.models import User
from orfila.projects.service import add_member
from orfila.rounds.sampling import images_of, split
from orfila.rounds.schemas import RoundCreate

N = 400


def scored(n_certain=30, n_borderline=10, n_possible=20):
    """Posteriors, flags and suspects of n images: certain ones first, then borderline, then possible, then clean."""
    posterior = np.full(N, 0.001, dtype=np.float32)
    posterior[:n_certain] = 0.999
    posterior[n_certain : n_certain + n_borderline] = 0.95
    flagged = posterior > 0.9
    posterior[n_certain + n_borderline : n_certain + n_borderline + n_possible] = 0.4
    suspect = np.arange(N) < 300
    return posterior, flagged, suspect


def body(**fields):
    return RoundCreate(**{"name": "r", "reviewers": ["a", "b", "c"], **fields})


def test_a_round_over_the_flagged_holds_each_of_them_and_unseen_controls():
    posterior, flagged, suspect = scored()
    found = images_of(body(n_controls=12), posterior, flagged, suspect, np.random.default_rng(0))
    strata = Counter(found.values())
    assert strata == {"certain": 30, "borderline": 10, "control": 12}
    assert {i for i, s in found.items() if s != "control"} == set(range(40))
    controls = [i for i, s in found.items() if s == "control"]
    assert all(60 <= i < 300 for i in controls), "suspects of the same class with a low posterior"
    posterior[60:180] = 0.05
    found = images_of(body(n_controls=50), posterior, flagged, suspect, np.random.default_rng(0))
    assert all(180 <= i < 300 for i, s in found.items() if s == "control"), "the less suspicious half"
    none = images_of(body(), posterior, flagged, flagged, np.random.default_rng(0))
    assert "control" not in none.values()


def test_a_sample_is_stratified():
    found = images_of(
        body(images="sample", n_certain=5, n_borderline=25, n_controls=1_000), *scored(), np.random.default_rng(0)
    )
    assert Counter(found.values()) == {"certain": 5, "borderline": 25, "control": 240}
    assert any(40 <= i < 60 for i, s in found.items() if s == "borderline"), "possible ones that are not flagged too"


@pytest.mark.parametrize(("n_reviewers", "each"), [(1, 1), (2, 2), (3, 2), (5, 3)])
def test_every_image_has_its_reviewers_and_the_loads_are_even(n_reviewers, each):
    reviewers = [f"r{k}" for k in range(n_reviewers)]
    asked = split(range(101), reviewers, each, {}, np.random.default_rng(3))
    times = Counter(image for mine in asked.values() for image in mine)
    assert set(times) == set(range(101))
    assert set(times.values()) == {each}
    assert all(len(set(mine)) == len(mine) for mine in asked.values())
    loads = [len(mine) for mine in asked.values()]
    assert max(loads) - min(loads) <= 1
    assert any(mine != sorted(mine) for mine in asked.values()), "the order says nothing"


def test_who_has_judged_an_image_is_asked_only_where_nobody_else_is_left():
    judged = {"a": set(range(50))}
    asked = split(range(60), ["a", "b"], 1, judged, np.random.default_rng(0))
    assert not set(asked["a"]) & judged["a"]
    both = split(range(60), ["a", "b"], 2, judged, np.random.default_rng(0))
    assert len(both["a"]) == len(both["b"]) == 60


@pytest.fixture
def team(site):
    """A scored case, two reviewers, an adjudicator, and the ids of all."""
    case = site.case()
    people = {name: site.person(name, "reviewer") for name in ("Ann", "Ben", "Cat")}
    with site.database.reading() as session:
        ids = {user.name: user.id for user in session.query(User)}
    return case, people, ids


def open_round(site, case, ids, status=201, **fields):
    given = {"name": "first", "reviewers": [ids["Ann"], ids["Ben"]], "n_controls": 5, "adjudicator": ids["Cat"]}
    return site.post(f"/cases/{case['id']}/rounds", {**given, **fields}, status)


def mine(person, made):
    queue = person.get(f"/api/v1/rounds/{made['id']}/queue").json()
    return [image["index"] for image in queue["images"]]


def judge(person, case, said):
    items = [{"index": i, "verdict": v} for i, v in said.items()]
    answer = person.post(f"/api/v1/cases/{case['id']}/verdicts", json={"items": items})
    assert answer.status_code == 200, answer.text


def test_a_blind_double_review_from_the_first_image_to_the_signature(site, team):
    case, people, ids = team
    ann, ben, cat = people["Ann"], people["Ben"], people["Cat"]
    made = open_round(site, case, ids)
    n = made["n_images"]
    assert (n, made["n_controls"], made["state"], made["reviewers_per_image"]) == (12 + 5, 5, "open", 2)
    assert [r["n_assigned"] for r in made["reviewers"]] == [n, n]
    asked = mine(ann, made)
    assert sorted(asked) == sorted(mine(ben, made))
    assert set(POISON) < set(asked)
    controls = [i for i in asked if i not in POISON and i not in (10, 11)]

    judge(ann, case, {i: "clean" if i in controls else "poison" for i in asked})
    assert mine(ann, made) == []
    assert ann.get(f"/api/v1/rounds/{made['id']}").json()["n_mine"] == 0
    judge(ben, case, {i: "poison" for i in asked[:-1] if i not in controls} | dict.fromkeys(controls[:4], "clean"))
    judge(ben, case, {POISON[0]: "clean", controls[4]: "poison"})
    for left in mine(ben, made):
        judge(ben, case, {left: "poison"})
    now = site.get(f"/rounds/{made['id']}")
    assert (now["n_answered"], now["n_conflicts"]) == (n, 2)
    shares = {r["name"]: (r["n_controls_right"], r["n_controls_answered"]) for r in now["reviewers"]}
    assert shares == {"Ann": (5, 5), "Ben": (4, 5)}
    for person, told in ((cat, shares), (site.client, shares), (ann, {"Ann": (None, None), "Ben": (None, None)})):
        agreement = person.get(f"/api/v1/cases/{case['id']}/agreement").json()
        right = {r["reviewer"]: (r["n_controls_right"], r["n_controls_answered"]) for r in agreement["reviewers"]}
        assert right == told, "who is asked about images does not learn which of them were controls"

    refused = site.client.post(f"/api/v1/rounds/{made['id']}/sign-off")
    assert (refused.status_code, refused.json()["code"]) == (409, "round_in_conflict")
    queue = cat.get(f"/api/v1/rounds/{made['id']}/queue", params={"kind": "conflicts"}).json()
    assert {image["index"] for image in queue["images"]} == {POISON[0], controls[4]}
    assert queue["images"][0]["verdicts"] == {"poison": 1, "clean": 1}
    path = f"/api/v1/cases/{case['id']}/resolutions"
    final = {"index": POISON[0], "verdict": "poison", "reason": "the corner"}
    assert cat.put(path, json=final).json()["adjudicator"] == "Cat"
    assert cat.put(path, json={"index": controls[4], "verdict": "clean"}).status_code == 200
    assert [r["index"] for r in site.get(f"/cases/{case['id']}/resolutions")] == sorted([POISON[0], controls[4]])
    signed = site.post(f"/rounds/{made['id']}/sign-off", None, 200)
    assert (signed["state"], signed["n_conflicts"]) == ("signed_off", 0)
    review = site.get(f"/cases/{case['id']}/review")
    assert review["n_unsure"] == 0, "the final word counts, not the tie"
    actions = [e["action"] for e in site.get("/audit", case_id=case["id"])["items"]]
    assert actions[0] == "round.signed_off"
    assert {"round.opened", "conflict.decided", "verdicts.recorded"} <= set(actions)
    for change in ({"state": "open"}, {"name": "x"}):
        assert site.client.patch(f"/api/v1/rounds/{made['id']}", json=change).json()["code"] == "signed_off"


def test_who_judges_blind_sees_nothing_that_tells(site, team):
    case, people, ids = team
    ann, ben = people["Ann"], people["Ben"]
    judge(ben, case, {POISON[0]: "poison"})
    made = open_round(site, case, ids)
    hidden = [
        path
        for path in site.app.openapi()["paths"]
        if path.startswith("/api/v1/cases/{case_id}/") and "get" in site.app.openapi()["paths"][path]
    ]
    shown = {"/rounds", "/verdicts", "/affected/{number}.png", "/queries/{query}.png"}
    refused = 0
    for path in hidden:
        filled = path.replace("{case_id}", case["id"]).replace("{index}", "0").replace("{name}", "mean")
        filled = filled.replace("{number}", "0").replace("{query}", "0").replace("{other_id}", "0" * 32)
        answer = ann.get(filled)
        if any(path.endswith(end) for end in shown):
            assert answer.status_code == 200, (path, answer.text)
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "blind"), path
            refused += 1
    assert refused >= 10
    assert ann.get(f"/api/v1/cases/{'0' * 32}/beside/{case['id']}").json()["code"] == "blind", "not from the other side"
    assert ann.get(f"/api/v1/cases/{case['id']}").status_code == 200
    assert ann.get(f"/api/v1/cases/{case['id']}/verdicts").json() == [], "others' verdicts are not there"
    told = ann.get("/api/v1/audit", params={"case_id": case["id"]}).json()["items"]
    assert [e["actor"] for e in told if e["action"] == "verdicts.recorded"] == []
    round_ = ann.get(f"/api/v1/rounds/{made['id']}").json()
    assert (round_["n_controls"], round_["n_conflicts"]) == (None, None)
    assert {r["n_controls_right"] for r in round_["reviewers"]} == {None}
    for kind in ("conflicts", "controls"):
        answer = ann.get(f"/api/v1/rounds/{made['id']}/queue", params={"kind": kind})
        assert (answer.status_code, answer.json()["code"]) == (403, "blind")
    own = dict.fromkeys(mine(ann, made), "poison")
    judge(ann, case, own)
    assert ann.get(f"/api/v1/cases/{case['id']}/scores").status_code == 200, "after the last one everything is there"
    assert len(ann.get(f"/api/v1/cases/{case['id']}/verdicts").json()) == len(own) + 1
    answer = ann.get(f"/api/v1/rounds/{made['id']}/queue", params={"kind": "controls"})
    assert answer.status_code == 403, "controls stay unknown to reviewers"
    judge(ann, case, dict.fromkeys(list(own)[:1]))
    assert ann.get(f"/api/v1/cases/{case['id']}/scores").status_code == 403, "a verdict taken back is to be given again"


def test_an_open_round_hides_nothing(site, team):
    case, people, ids = team
    open_round(site, case, ids, blind=False)
    assert people["Ann"].get(f"/api/v1/cases/{case['id']}/scores").status_code == 200


def test_a_closed_or_paused_round(site, team):
    case, people, ids = team
    made = open_round(site, case, ids)
    path = f"/api/v1/rounds/{made['id']}"
    assert site.client.patch(path, json={"state": "paused"}).json()["state"] == "paused"
    assert mine(people["Ann"], made) == []
    assert people["Ann"].get(f"/api/v1/cases/{case['id']}/scores").status_code == 403, "a pause is no peep-hole"
    assert site.client.patch(path, json={"state": "open"}).json()["ended_at"] is None
    assert len(mine(people["Ann"], made)) == made["n_images"]
    assert site.client.patch(path, json={"state": "closed"}).json()["ended_at"] is not None
    assert people["Ann"].get(f"/api/v1/cases/{case['id']}/scores").status_code == 200
    due = site.client.patch(path, json={"due_at": "2026-12-24T12:00:00Z"}).json()["due_at"]
    assert due.startswith("2026-12-24")
    refused = site.client.post(f"{path}/sign-off")
    assert (refused.status_code, refused.json()["code"]) == (409, "round_not_answered")


def test_what_is_left_is_given_to_others(site, team):
    case, people, ids = team
    made = open_round(site, case, ids, reviewers_per_image=1)
    ann, cat = people["Ann"], people["Cat"]
    before = mine(ann, made)
    judge(ann, case, {before[0]: "poison"})
    path = f"/rounds/{made['id']}/reassign"
    site.post(path, {"reviewer": ids["Ann"], "to": [ids["Cat"]]}, 200)
    assert mine(ann, made) == []
    assert sorted(mine(cat, made)) == sorted(before[1:])
    nothing = site.client.post(f"/api/v1{path}", json={"reviewer": ids["Ann"], "to": [ids["Cat"]]})
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_left")
    double = open_round(site, case, ids, name="second")
    taken = site.client.post(
        f"/api/v1/rounds/{double['id']}/reassign", json={"reviewer": ids["Ann"], "to": [ids["Ben"]]}
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "no_reviewer"), "Ben is asked about them already"


def test_the_queue_of_second_opinions(site, team):
    case, people, ids = team
    made = open_round(site, case, ids)
    first = mine(people["Ann"], made)[0]
    second = f"/api/v1/rounds/{made['id']}/queue"
    assert people["Cat"].get(second, params={"kind": "second"}).json()["n"] == 0
    judge(people["Ann"], case, {first: "poison"})
    waiting = people["Cat"].get(second, params={"kind": "second"}).json()
    assert [image["index"] for image in waiting["images"]] == [first]
    assert people["Ben"].get(second, params={"kind": "second"}).json()["n"] == 0, "it is in Ben's own queue"
    judge(people["Cat"], case, {first: "clean"})
    assert people["Cat"].get(second, params={"kind": "second"}).json()["n"] == 0


def test_who_may_not(site, team):
    case, people, ids = team
    viewer = site.person("Vic", "viewer")
    stranger = site.person("Stranger", None)
    with site.database.reading() as session:
        ids |= {user.name: user.id for user in session.query(User)}
    assert open_round(site, case, ids, 422, reviewers=[ids["Ann"], ids["Vic"]])["code"] == "no_reviewer"
    assert open_round(site, case, ids, 422, reviewers=[ids["Ann"], "f" * 32])["code"] == "no_reviewer"
    assert open_round(site, case, ids, 422, reviewers=[ids["Ann"]])["code"] == "invalid_request"
    empty = open_round(site, case, ids, 422, images="sample", n_certain=0, n_borderline=0)
    assert empty["code"] == "empty_round"
    made = open_round(site, case, ids)
    given = {"name": "x", "reviewers": [ids["Ann"]], "reviewers_per_image": 1}
    assert people["Ann"].post(f"/api/v1/cases/{case['id']}/rounds", json=given).status_code == 403
    assert people["Ann"].patch(f"/api/v1/rounds/{made['id']}", json={"state": "closed"}).status_code == 403
    assert viewer.get(f"/api/v1/rounds/{made['id']}/queue").status_code == 403
    assert stranger.get(f"/api/v1/rounds/{made['id']}").json()["detail"] == "There is no such round."
    path = f"/api/v1/cases/{case['id']}/resolutions"
    assert people["Cat"].put(path, json={"index": 0, "verdict": "clean"}).json()["code"] == "not_judged"
    judge(people["Cat"], case, {0: "clean"})
    other = site.person("Dan", "reviewer")
    assert other.put(path, json={"index": 0, "verdict": "clean"}).status_code == 403
    assert people["Cat"].put(path, json={"index": 0, "verdict": "poison"}).status_code == 200
    assert people["Cat"].put(path, json={"index": 0, "verdict": None}).json() is None
    assert site.get(f"/cases/{case['id']}/resolutions") == []


def test_undo_and_redo_of_what_was_given_at_once(site, team):
    case, people, _ = team
    ann = people["Ann"]
    path = f"/api/v1/cases/{case['id']}/verdicts"

    def verdicts():
        return {v["index"]: v["verdict"] for v in ann.get(path).json() if v["reviewer"] == "Ann"}

    judge(ann, case, dict.fromkeys(range(50), "poison"))
    judge(ann, case, {3: "clean", 60: "unsure"})
    judge(people["Ben"], case, {3: "poison"})
    undone = ann.post(f"{path}/undo").json()["items"]
    assert {i["index"]: i["verdict"] for i in undone} == {3: "poison", 60: None}
    assert verdicts() == dict.fromkeys(range(50), "poison")
    assert ann.post(f"{path}/undo").status_code == 200
    assert verdicts() == {}
    nothing = ann.post(f"{path}/undo")
    assert (nothing.status_code, nothing.json()["code"]) == (409, "nothing_to_restore")
    assert ann.post(f"{path}/redo").status_code == 200
    assert len(verdicts()) == 50
    assert ann.post(f"{path}/redo").status_code == 200
    assert (verdicts()[3], verdicts()[60]) == ("clean", "unsure")
    assert ann.post(f"{path}/undo").status_code == 200
    judge(ann, case, {7: "clean"})
    assert ann.post(f"{path}/redo").json()["code"] == "nothing_to_restore", "not after a new verdict"
    assert people["Ben"].get(path).json()[0]["verdict"] == "poison", "nobody else's"


def test_a_double_undo_under_one_key_is_one(site, team):
    case, people, _ = team
    ann, path = people["Ann"], f"/api/v1/cases/{case['id']}/verdicts"
    judge(ann, case, {1: "poison"})
    judge(ann, case, {2: "poison"})
    headers = {"Idempotency-Key": "k" * 20}
    first, second = (ann.post(f"{path}/undo", headers=headers).json() for _ in range(2))
    assert first == second
    assert [v["index"] for v in ann.get(path).json()] == [1]


def test_a_member_who_joins_later_is_not_blind(site, team):
    case, _, ids = team
    open_round(site, case, ids)
    late = site.person("Late", None)
    with site.database.transaction() as session:
        user = session.query(User).filter_by(name="Late").one()
        add_member(session, site.project, user.id, "reviewer")
    assert late.get(f"/api/v1/cases/{case['id']}/scores").status_code == 200


def test_what_to_judge_next(site, team):
    case, people, ids = team
    path = f"/cases/{case['id']}/review/next"
    first = site.get(path)
    assert first["n"] == len(first["images"]) == 40, "the suspects"
    assert set(first["images"][:12]) == {*POISON, 10, 11}, "what is flagged tells the most"
    assert site.get(path) == first
    assert site.get(path, limit=3)["images"] == first["images"][:3]
    judge(people["Ben"], case, {first["images"][0]: "poison", first["images"][1]: "unsure"})
    then = site.get(path)
    assert then["n"] == 38
    assert not {*first["images"][:2]} & {*then["images"]}
    open_round(site, case, ids)
    refused = people["Ann"].get(f"/api/v1{path}")
    assert (refused.status_code, refused.json()["code"]) == (403, "blind")
