"""Deletion of what nothing needs, evidence that is preserved, and the collection of files that nobody refers to."""

import os
import time

import pytest
from conftest import card, dataset_zip, safetensors
from typer.testing import CliRunner

from orfila.cli import app
from orfila.garbage import collect
from orfila.settings import get_settings

DAY = 24 * 3600.0


def age(site, seconds=2 * DAY):
    """Make every stored file older."""
    for path in site.store.root.glob("??/*"):
        os.utime(path, (time.time() - seconds,) * 2)


def files(site):
    return {blob.sha256 for blob in site.store.stored()}


def delete(site, path, status=204):
    answer = site.client.delete(f"/api/v1{path}")
    assert answer.status_code == status, answer.text
    return answer.json() if answer.content else None


def test_a_preserved_version_cannot_be_deleted_until_it_is_lifted(site):
    dataset = site.dataset()
    model = site.model(dataset["id"])
    path, of_model = f"/datasets/{dataset['id']}", f"/models/{model['id']}"
    for where in (path, of_model):
        assert site.client.patch(f"/api/v1{where}", json={"preserved": True, "name": "evidence"}).json()["preserved"]
    assert delete(site, of_model, 409)["code"] == "preserved"
    site.client.patch(f"/api/v1{of_model}", json={"preserved": False})
    delete(site, of_model)
    assert site.get(of_model, 404)
    assert delete(site, path, 409)["code"] == "preserved"
    assert site.get(path)["name"] == "evidence"
    site.client.patch(f"/api/v1{path}", json={"preserved": False})
    delete(site, path)
    actions = [e["action"] for e in site.get("/audit", project_id=site.project)["items"]]
    for what in ("dataset", "model"):
        told = [a for a in reversed(actions) if a.startswith(what) and a.partition(".")[2] not in ("created", "ready")]
        assert told == [f"{what}.{a}" for a in ("renamed", "preserved", "released", "deleted")]


def test_a_model_that_is_the_ground_of_a_case_stays(site):
    case = site.case()
    refused = delete(site, f"/models/{case['model_id']}", 409)
    assert refused["code"] == "model_in_use"
    assert "the case 'dog seen as cat'" in refused["detail"]


def test_a_model_that_a_job_works_on_is_not_deleted(site):
    dataset = site.dataset()
    upload = site.upload(safetensors(card()), "model.safetensors", "model")
    body = {"upload_id": upload, "name": "classifier", "dataset_id": dataset["id"]}
    model = site.post(f"/projects/{site.project}/models", body)
    assert delete(site, f"/models/{model['id']}", 409)["code"] == "model_not_ready"


def test_collection_removes_what_nothing_refers_to_and_nothing_else(site):
    case = site.case()
    age(site)
    before = files(site)
    assert collect(site.database, site.store, grace_seconds=DAY).n_removed == 0, "all of a case is needed"
    stray = site.store.put_bytes(b"nobody needs this")
    assert collect(site.database, site.store, grace_seconds=DAY).n_removed == 0, "it is young"
    age(site)
    counted = collect(site.database, site.store, grace_seconds=DAY, dry_run=True)
    assert (counted.n_removed, counted.bytes_removed) == (1, len(b"nobody needs this"))
    assert files(site) == before | {stray}
    assert collect(site.database, site.store, grace_seconds=DAY).n_removed == 1
    assert files(site) == before
    assert site.get(f"/cases/{case['id']}/columns")["n"] > 0


def test_the_files_of_a_deleted_data_set_go_but_shared_ones_stay(site):
    one, other = site.dataset(), site.dataset()
    path = f"/datasets/{one['id']}"
    delete(site, path)
    age(site)
    collect(site.database, site.store, grace_seconds=DAY)
    assert site.get(f"/datasets/{other['id']}/columns")["n"] == other["n_train"] + other["n_test"]
    delete(site, f"/datasets/{other['id']}")
    assert len(files(site)) > 1
    collect(site.database, site.store, grace_seconds=DAY)
    # What is left are the uploads (two, where the clock moved between), which can be made into data sets again.
    assert 1 <= len(files(site)) <= 2
    assert {site.store.size(upload) for upload in files(site)} == {len(dataset_zip())}


@pytest.mark.parametrize("when", ["before", "after"])
def test_content_that_is_stored_again_meanwhile_is_not_lost(site, when):
    sha256 = site.store.put_bytes(b"here again")
    age(site)
    began = time.time() - DAY
    if when == "before":
        site.store.put_bytes(b"here again")
        assert not site.store.discard(sha256, began)
    else:
        assert site.store.discard(sha256, began)
        assert not site.store.discard(sha256, began), "it is gone already"
        assert site.store.put_bytes(b"here again") == sha256
    with site.store.open(sha256) as file:
        assert file.read() == b"here again"


def test_the_command_says_what_it_did(site, monkeypatch):
    site.store.put_bytes(b"nobody needs this")
    age(site)
    monkeypatch.setenv("ORFILA_DATA_DIR", str(site.settings.data_dir))
    get_settings.cache_clear()
    run = CliRunner().invoke
    assert run(app, ["gc", "--dry-run"]).output.startswith("1 files (0.0 MB) would be removed, 0 kept")
    assert run(app, ["gc", "--older-than", "72"]).output.startswith("0 files")
    assert run(app, ["gc"]).output.startswith("1 files (0.0 MB) removed")
    get_settings.cache_clear()
