"""Maps of fingerprints through HTTP: one for each case and method, made when somebody asks."""

import base64
import json

import numpy as np
from conftest import N_TRAIN

from orfila.jobs.contracts import MapResult, MapSpec
from orfila.jobs.models import Job


def map_result(site, points, explained=(0.4, 0.1), coordinates=None):
    folder = site.folder / "map"
    folder.mkdir(exist_ok=True)
    np.save(folder / "points.npy", points.astype(np.float32))
    if coordinates is not None:
        np.save(folder / "coordinates.npy", coordinates.astype(np.float32))
    (folder / "map.json").write_text(json.dumps({"method": "pca", "explained": explained}))
    return MapResult(files=site.store.put_tree(folder))


def test_a_map_is_made_once_and_read_as_columns(site):
    case = site.case()
    path = f"/cases/{case['id']}/maps"
    assert site.get(path) == []
    asked = site.post(path, {}, 202)
    assert (asked["method"], asked["state"]) == ("pca", "running")
    assert site.post(path, {"method": "pca"}, 202)["id"] == asked["id"], "it is on its way"
    assert site.client.get(f"/api/v1/maps/{asked['id']}/columns").json()["code"] == "map_not_finished"
    with site.database.reading() as session:
        job = session.get_one(Job, asked["job_id"])
        spec = MapSpec.model_validate(job.spec)
    assert spec.scores == site.files_of(case)["scores.parquet"]
    points = np.random.default_rng(0).normal(size=(N_TRAIN, 2)).astype(np.float32)
    points[5] = np.nan
    site.finish(asked["job_id"], map_result(site, points, coordinates=np.zeros((40, 2))))
    [made] = site.get(path)
    assert made["state"] == "finished"
    assert site.post(path, {}, 202)["job_id"] == asked["job_id"], "it is there"
    found = site.get(f"/maps/{made['id']}/columns")
    assert (found["n"], found["shown"], found["explained"]) == (N_TRAIN, N_TRAIN - 1, [0.4, 0.1])
    for axis, name in enumerate("xy"):
        values = np.frombuffer(base64.b64decode(found[name]["data"]), "<f4")
        assert np.array_equal(values, points[:, axis], equal_nan=True)
    other = site.post(path, {"method": "umap"}, 202)
    assert other["id"] != made["id"]
    assert [m["method"] for m in site.get(path)] == ["pca", "umap"]


def test_a_map_that_failed_can_be_asked_for_again(site):
    case = site.case()
    path = f"/cases/{case['id']}/maps"
    asked = site.post(path, {"method": "umap"}, 202)
    site.fail(asked["job_id"], "There are 4 suspects; a map needs at least 10.")
    failed = site.get(f"/maps/{asked['id']}")
    assert (failed["state"], failed["error"]) == ("failed", "There are 4 suspects; a map needs at least 10.")
    again = site.post(path, {"method": "umap"}, 202)
    assert (again["id"], again["state"], again["error"]) == (asked["id"], "running", None)
    assert again["job_id"] != asked["job_id"]
    site.finish(again["job_id"], map_result(site, np.zeros((N_TRAIN, 2)), None))
    assert site.get(f"/maps/{asked['id']}/columns")["explained"] is None


def test_a_case_that_is_not_scored_has_no_map(site):
    body = {
        "name": "x",
        "model_id": site.model(site.dataset()["id"])["id"],
        "affected": [{"test_index": site.affected}],
    }
    case = site.post(f"/projects/{site.project}/cases", body)
    assert site.post(f"/cases/{case['id']}/maps", {}, 409)["code"] == "case_not_scored"


def test_the_nearest_suspects_are_read_from_the_map(site):
    case = site.case()  # the images 0 to 39 are its suspects
    path = f"/cases/{case['id']}/nearest/7"
    assert site.get(path, 409)["code"] == "map_not_finished"
    points, coordinates = np.zeros((N_TRAIN, 2)), np.zeros((40, 3))
    coordinates[:, 0] = np.arange(40) ** 2
    old = site.post(f"/cases/{case['id']}/maps", {}, 202)
    site.finish(old["job_id"], map_result(site, points))  # as version 0.8 made it
    assert site.get(path, 409)["code"] == "map_not_finished"
    again = site.post(f"/cases/{case['id']}/maps", {}, 202)
    assert (again["id"], again["state"]) == (old["id"], "running"), "it is made once more, with what neighbours need"
    site.finish(again["job_id"], map_result(site, points, coordinates=coordinates))
    found = site.client.get(f"/api/v1{path}", params={"limit": 3}).json()
    assert found == {
        "is_suspect": True,
        "items": [{"index": 6, "distance": 13.0}, {"index": 8, "distance": 15.0}, {"index": 5, "distance": 24.0}],
    }
    assert len(site.client.get(f"/api/v1{path}", params={"limit": 100}).json()["items"]) == 39
    assert site.get(f"/cases/{case['id']}/nearest/100") == {"is_suspect": False, "items": []}
    assert site.get(f"/cases/{case['id']}/nearest/{N_TRAIN}", 404)
