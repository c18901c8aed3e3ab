"""Saved views: one's own and shared ones, replaced by name."""

from orfila.views.service import MOST


def test_a_view_is_kept_replaced_and_forgotten(site):
    path = f"/projects/{site.project}/views"
    assert site.get(path) == []
    first = site.post(path, {"name": "doubtful", "view": {"tab": "all", "from": -0.5, "label": 3}}, 200)
    assert (first["view"], first["is_mine"], first["is_shared"]) == (
        {"tab": "all", "from": -0.5, "label": 3},
        True,
        False,
    )
    again = site.post(path, {"name": "doubtful", "view": {"sort": "informative"}, "is_shared": True}, 200)
    assert (again["id"], again["view"], again["is_shared"]) == (first["id"], {"sort": "informative"}, True)
    site.post(path, {"name": "another", "view": {}}, 200)
    assert [v["name"] for v in site.get(path)] == ["another", "doubtful"]
    assert site.client.delete(f"/api/v1/views/{first['id']}").status_code == 204
    assert [v["name"] for v in site.get(path)] == ["another"]
    assert site.client.delete(f"/api/v1/views/{first['id']}").status_code == 404


def test_members_see_what_is_shared_and_change_only_their_own(site):
    path = f"/projects/{site.project}/views"
    shared = site.post(path, {"name": "shared", "view": {"tab": "all"}, "is_shared": True}, 200)
    site.post(path, {"name": "private", "view": {}}, 200)
    viewer = site.person("Viewer", "viewer")
    [seen] = viewer.get(f"/api/v1{path}").json()
    assert (seen["name"], seen["is_mine"], seen["created_by"]) == ("shared", False, "Administrator")
    assert viewer.delete(f"/api/v1/views/{shared['id']}").status_code == 404
    own = viewer.post(f"/api/v1{path}", json={"name": "shared", "view": {"tab": "selected"}})
    assert own.json()["id"] != shared["id"], "a name is one's own"
    refused = viewer.post(f"/api/v1{path}", json={"name": "for all", "view": {}, "is_shared": True})
    assert refused.status_code == 403
    assert [v["name"] for v in site.get(path)] == ["private", "shared"]


def test_a_view_holds_a_short_address_and_nobody_keeps_too_many(site):
    path = f"/projects/{site.project}/views"
    for view in ({"x": "y" * 41}, {"k" * 21: 1}, {str(k): k for k in range(21)}, {"list": [1]}):
        site.post(path, {"name": "x", "view": view}, 422)
    for k in range(MOST):
        site.post(path, {"name": str(k), "view": {}}, 200)
    assert site.post(path, {"name": "one more", "view": {}}, 409)["code"] == "too_many_views"
    site.post(path, {"name": "7", "view": {"tab": "all"}}, 200)
