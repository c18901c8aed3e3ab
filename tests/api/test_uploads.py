"""Uploads by tus, JSON and plain POST: resume, conflicts, checksums, kinds of files, limits, crashes at every step."""

import base64
import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import tarfile
import zipfile
from datetime import timedelta
from types import SimpleNamespace

import pytest
from anyio import to_thread
from conftest import Site, card, dataset_zip, picture, safetensors
from starlette.testclient import TestClient

from orfila.app import create_app
from orfila.db import now
from orfila.errors import Conflict, Locked
from orfila.identity.service import local_subject
from orfila.jobs.contracts import ConversionResult
from orfila.uploads import service, transfer
from orfila.uploads.models import Upload
from orfila.uploads.schemas import UploadCreate

TUS = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


def reserve(site, data, purpose="dataset", filename="animals.zip"):
    body = {"filename": filename, "size": len(data), "purpose": purpose}
    return site.post(f"/projects/{site.project}/uploads", body)


def patch(site, upload, offset, data, **headers):
    return site.client.patch(upload["location"], content=data, headers=TUS | {"Upload-Offset": str(offset)} | headers)


def offset_of(site, upload):
    answer = site.client.head(upload["location"])
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


def test_pieces_become_the_file(site):
    data = dataset_zip()
    upload = reserve(site, data)
    assert upload["location"].startswith("/api/v1/uploads/"), "relative, so that it is right behind any proxy"
    cut = len(data) // 3
    first = patch(site, upload, 0, data[:cut])
    assert (first.status_code, first.headers["upload-offset"]) == (204, str(cut))
    assert site.get(f"/uploads/{upload['id']}")["state"] == "receiving"
    assert patch(site, upload, cut, data[cut:]).status_code == 204
    finished = site.get(f"/uploads/{upload['id']}")
    assert finished["state"] == "finished"
    assert finished["sha256"] == hashlib.sha256(data).hexdigest()
    with site.store.open(finished["sha256"]) as file:
        assert file.read() == data
    assert not any((site.settings.data_dir / "uploads").iterdir()), "nothing is left beside the blob"


def test_tus_creation_headers(site):
    def encoded(text):
        return base64.b64encode(text.encode()).decode()

    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "100",
        "Upload-Metadata": f"filename {encoded('Bild ä.png')},purpose {encoded('image')}",
    }
    answer = site.client.post(f"/api/v1/projects/{site.project}/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == answer.json()["location"]
    assert answer.headers["tus-resumable"] == "1.0.0"
    assert (answer.json()["filename"], answer.json()["purpose"]) == ("Bild ä.png", "image")
    for wrong in ({"Upload-Length": "x"}, {"Upload-Metadata": "filename ***"}, {"Upload-Metadata": ""}):
        refused = site.client.post(f"/api/v1/projects/{site.project}/uploads", headers=headers | wrong)
        assert refused.status_code in (400, 422), wrong


def tus_creation(data, purpose="dataset", **headers):
    metadata = f"filename {base64.b64encode(b'a.zip').decode()},purpose {base64.b64encode(purpose.encode()).decode()}"
    return TUS | {"Upload-Length": str(len(data)), "Upload-Metadata": metadata} | headers


def test_creation_with_upload(site):
    data = dataset_zip()
    path = f"/api/v1/projects/{site.project}/uploads"
    whole = site.client.post(path, content=data, headers=tus_creation(data))
    assert (whole.status_code, whole.headers["upload-offset"]) == (201, str(len(data)))
    assert whole.json()["sha256"] == hashlib.sha256(data).hexdigest()

    begun = site.client.post(path, content=data[:1000], headers=tus_creation(data))
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, "1000")
    assert patch(site, begun.json(), 1000, data[1000:]).status_code == 204
    assert site.get(f"/uploads/{begun.json()['id']}")["state"] == "finished"

    digest = "sha256 " + base64.b64encode(hashlib.sha256(b"something else").digest()).decode()
    damaged = site.client.post(path, content=data[:1000], headers=tus_creation(data, **{"Upload-Checksum": digest}))
    assert damaged.status_code == 460
    model = site.client.post(path, content=pickle.dumps([1] * 1000), headers=tus_creation(bytes(4000), "model"))
    assert (model.status_code, model.json()["code"]) == (415, "unsafe_model")


def test_what_of_tus_is_spoken(site):
    answer = site.client.options(f"/api/v1/projects/{site.project}/uploads")
    assert answer.status_code == 204
    assert answer.headers["tus-version"] == "1.0.0"
    spoken = set(answer.headers["tus-extension"].split(","))
    assert spoken == {"creation", "creation-with-upload", "checksum", "expiration", "termination"}
    assert int(answer.headers["tus-max-size"]) == site.settings.max_upload_bytes


def test_a_wrong_offset_is_refused_and_changes_nothing(site):
    data = dataset_zip()
    upload = reserve(site, data)
    patch(site, upload, 0, data[:1000])
    for wrong in (0, 999, 1001, len(data)):
        answer = patch(site, upload, wrong, data[wrong:])
        assert (answer.status_code, answer.json()["code"]) == (409, "upload_offset_mismatch")
    assert offset_of(site, upload) == 1000
    assert patch(site, upload, 1000, data[1000:]).status_code == 204
    assert patch(site, upload, len(data), b"x").status_code == 409


def test_checksums(site):
    data = dataset_zip()
    upload = reserve(site, data)
    right = base64.b64encode(hashlib.sha256(data[:1000]).digest()).decode()
    wrong = patch(site, upload, 0, data[1:1001], **{"Upload-Checksum": f"sha256 {right}"})
    assert wrong.status_code in (415, 460)
    upload = reserve(site, data)
    mixed = data[:999] + b"\0"
    assert patch(site, upload, 0, mixed, **{"Upload-Checksum": f"sha256 {right}"}).status_code == 460
    assert offset_of(site, upload) == 0
    assert patch(site, upload, 0, data[:1000], **{"Upload-Checksum": f"sha256 {right}"}).status_code == 204
    assert patch(site, upload, 1000, data[1000:], **{"Upload-Checksum": "md5 aaaa"}).status_code == 400


def test_the_digest_of_the_whole_is_right_after_pieces_that_were_refused(site):
    data = dataset_zip()
    upload = reserve(site, data)
    assert patch(site, upload, 0, data[:1000]).status_code == 204
    right = base64.b64encode(hashlib.sha256(data[1000:2000]).digest()).decode()
    damaged = b"\0" * 1000
    assert patch(site, upload, 1000, damaged, **{"Upload-Checksum": f"sha256 {right}"}).status_code == 460
    assert patch(site, upload, 1000, data[1000:2000], **{"Upload-Checksum": f"sha256 {right}"}).status_code == 204
    assert patch(site, upload, 2000, data[2000:] + b"more").status_code == 413
    assert patch(site, upload, offset_of(site, upload), data[offset_of(site, upload) :]).status_code == 204
    finished = site.client.get(upload["location"]).json()
    assert finished["sha256"] == hashlib.sha256(data).hexdigest()
    with site.store.open(finished["sha256"]) as file:
        assert file.read() == data


def test_more_bytes_than_declared_are_not_kept(site):
    data = dataset_zip()
    upload = reserve(site, data)
    answer = patch(site, upload, 0, data + b"more")
    assert answer.status_code == 413
    assert offset_of(site, upload) == 0


def test_another_version_of_tus_or_content_type(site):
    upload = reserve(site, dataset_zip())
    assert site.client.head(upload["location"], headers={"Tus-Resumable": "0.2.2"}).status_code == 412
    assert patch(site, upload, 0, b"x", **{"Content-Type": "text/plain"}).status_code == 415


def test_termination(site):
    data = dataset_zip()
    upload = reserve(site, data)
    patch(site, upload, 0, data[:1000])
    assert site.client.delete(upload["location"]).status_code == 204
    assert site.client.head(upload["location"]).status_code == 404
    assert not any((site.settings.data_dir / "uploads").iterdir())


def test_expired_uploads_are_gone(site):
    data = dataset_zip()
    upload = reserve(site, data)
    patch(site, upload, 0, data[:1000])
    with site.database.transaction() as session:
        session.get_one(Upload, upload["id"]).expires_at = now() - timedelta(seconds=1)
    with site.database.transaction() as session:
        assert service.expire(session, site.settings) == 1
    answer = patch(site, upload, 1000, data[1000:])
    assert (answer.status_code, answer.json()["code"]) == (404, "upload_expired")
    assert not any((site.settings.data_dir / "uploads").iterdir())


def test_limits_are_checked_before_the_first_byte(tmp_path):
    site = Site(tmp_path, max_upload_bytes=1000, project_quota_bytes=1500)
    path = f"/projects/{site.project}/uploads"
    body = {"filename": "a.zip", "size": 1001, "purpose": "dataset"}
    assert site.post(path, body, 413)["code"] == "too_large"
    site.post(path, body | {"size": 900})
    assert site.post(path, body | {"size": 601}, 413)["code"] == "quota_exceeded"
    site.post(path, body | {"size": 600})
    full = Site(tmp_path / "full", min_free_bytes=2**60)
    answer = full.post(f"/projects/{full.project}/uploads", body, 507)
    assert "room for 0" in answer["detail"]


def test_a_list_of_uploads_and_what_they_take(tmp_path):
    site = Site(tmp_path, max_upload_bytes=3000, project_quota_bytes=5000)
    path = f"/projects/{site.project}/uploads"
    made = [
        site.post(path, {"filename": f"{n}.zip", "size": size, "purpose": "dataset"})
        for n, size in enumerate((1000, 2000))
    ]
    listed = site.get(path)
    assert [u["id"] for u in listed["items"]] == [u["id"] for u in reversed(made)]
    first = site.get(path, limit=1)
    assert [u["id"] for u in site.get(path, limit=1, cursor=first["next_cursor"])["items"]] == [made[0]["id"]]
    assert site.get(f"{path}/storage") == {"used_bytes": 3000, "quota_bytes": 5000, "free_bytes": 2000}
    assert site.client.delete(made[1]["location"]).status_code == 204
    assert site.get(f"{path}/storage") == {"used_bytes": 1000, "quota_bytes": 5000, "free_bytes": 3000}
    assert [u["id"] for u in site.get(path)["items"]] == [made[0]["id"]]


def torch_zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1]))
    return out.getvalue()


UNSAFE_MODELS = {
    "pickle protocol 2": pickle.dumps({"w": 1}, protocol=2),
    "pickle protocol 5": pickle.dumps({"w": 1}, protocol=5),
    "pth zip": torch_zip(),
    "onnx": b"\x08\x08\x12\x07pytorch\x1a\x052.1.0" + bytes(600),
    "joblib": b"\x78\x9c" + os.urandom(600),
    "hdf5": b"\x89HDF\r\n\x1a\n" + bytes(600),
}


@pytest.mark.parametrize("kind", UNSAFE_MODELS)
def test_unsafe_models_are_refused_with_the_way_out(site, kind):
    data = UNSAFE_MODELS[kind]
    upload = reserve(site, data, "model", "model.safetensors")
    answer = patch(site, upload, 0, data)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsafe_model")
    assert "save_file(model.state_dict()" in answer.json()["detail"]
    assert site.client.head(upload["location"]).status_code == 404, "nothing of it is kept"
    assert not any((site.settings.data_dir / "uploads").iterdir())


def test_a_pytorch_file_becomes_another_upload_where_that_is_allowed(tmp_path):
    site = Site(tmp_path, convert_torch_files=True)
    archive = torch_zip()  # it holds the time of its making
    source = site.upload(archive, "net.pt", "model")
    assert site.get(f"/uploads/{source}/card", 422)["code"] == "torch_file"
    made = site.post(f"/uploads/{source}/conversion", None)
    assert (made["state"], made["filename"]) == ("converting", "net.safetensors")
    assert made["converted_from"] == hashlib.sha256(archive).hexdigest()
    assert site.post(f"/uploads/{source}/conversion", None) == made, "asked twice, made once"
    assert site.get(f"/uploads/{made['id']}/card", 422)["code"] == "upload_unconverted"
    assert site.client.delete(made["location"]).status_code == 409
    site.fail(made["job_id"], "It holds something else.")
    failed = site.get(f"/uploads/{made['id']}")
    assert (failed["state"], failed["error"]) == ("failed", "It holds something else.")
    assert "It holds something else." in site.get(f"/uploads/{made['id']}/card", 422)["detail"]
    site.post(f"/jobs/{made['job_id']}/retry", None, 200)
    assert site.get(f"/uploads/{made['id']}")["state"] == "converting"
    weights = safetensors(card())
    result = ConversionResult(weights=site.store.put_bytes(weights), size=len(weights))
    site.finish(made["job_id"], result)
    finished = site.get(f"/uploads/{made['id']}")
    assert (finished["state"], finished["sha256"], finished["size"]) == ("finished", result.weights, len(weights))
    assert site.get(f"/uploads/{made['id']}/card")["card"]["architecture"] == "resnet-nano"
    site.post(f"/uploads/{made['id']}/conversion", None, 422)


def test_no_pytorch_file_is_converted_unless_somebody_switched_it_on(site, tmp_path):
    upload = reserve(site, torch_zip(), "model", "net.pt")
    refused = patch(site, upload, 0, torch_zip())
    assert refused.status_code == 415
    assert "ORFILA_CONVERT_TORCH_FILES" in refused.json()["detail"]
    other = site.upload(safetensors(card()), "net.safetensors", "model")
    assert site.post(f"/uploads/{other}/conversion", None, 403)["code"] == "conversion_off"


def test_a_refusal_comes_with_the_first_bytes(site):
    data = pickle.dumps(b"x" * 100_000)
    upload = reserve(site, data + bytes(10_000_000), "model", "model.pt")
    assert patch(site, upload, 0, data[:600]).status_code == 415


def test_a_refusal_comes_at_the_end_when_the_first_bytes_were_split(site):
    data = pickle.dumps({"w": list(range(1000))})
    upload = reserve(site, data, "model", "model.pt")
    assert patch(site, upload, 0, data[:1]).status_code == 204
    assert patch(site, upload, 1, data[1:]).status_code == 415
    assert site.client.head(upload["location"]).status_code == 404


def tar_bytes(mode):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        archive.addfile(tarfile.TarInfo("a/1.png"), io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize(
    ("purpose", "data", "status"),
    [
        ("dataset", b"not a zip at all" * 50, 415),
        ("dataset", safetensors(card()), 415),
        ("dataset", tar_bytes("w"), 201),
        ("dataset", tar_bytes("w:gz"), 201),
        ("model", safetensors(card()), 201),
        ("model", b"{}", 415),
        ("model", b"\xff" * 600, 415),
        ("image", picture(1), 201),
        ("image", b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        ("image", b"GIF", 415),
    ],
)
def test_kinds_by_first_bytes(site, purpose, data, status):
    answer = site.client.post(
        f"/api/v1/projects/{site.project}/uploads/file",
        params={"filename": "x.zip", "purpose": purpose},
        content=data,
    )
    assert answer.status_code == status, answer.text
    if status == 201:
        assert answer.json()["sha256"] == hashlib.sha256(data).hexdigest()


def test_file_names_are_shown_never_used(site):
    data = picture(1)
    upload = reserve(site, data, "image", "../../etc/\u202epass\u0000wd.png")
    assert upload["filename"] == "passwd.png"
    assert patch(site, upload, 0, data).status_code == 204


async def _pieces(*pieces, error=None):
    for piece in pieces:
        yield piece
    if error is not None:
        raise error


async def _append(site, subject, upload, offset, stream):
    return await transfer.append(site.database, site.settings, subject, upload.id, offset, None, stream)


def _reserved(site, data):
    with site.database.transaction() as session:
        subject = local_subject(session)
        body = UploadCreate(filename="a.zip", size=len(data), purpose="dataset")
        return subject, service.create(session, subject, site.settings, site.project, body)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_came_before_the_client_left_is_kept(site, anyio_backend):
    from starlette.requests import ClientDisconnect

    data = dataset_zip()
    subject, upload = await to_thread.run_sync(_reserved, site, data)
    with pytest.raises(ClientDisconnect):
        await _append(site, subject, upload, 0, _pieces(data[:3000], data[3000:7000], error=ClientDisconnect()))
    assert await _append(site, subject, upload, 7000, _pieces(data[7000:])) == len(data)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_one_writer_at_a_time_and_a_zombie_cannot_corrupt(site, anyio_backend, monkeypatch):
    monkeypatch.setattr(transfer, "WRITE_BYTES", 1)  # every piece reaches the file at once
    data = dataset_zip()
    subject, upload = await to_thread.run_sync(_reserved, site, data)
    await _append(site, subject, upload, 0, _pieces(data[:2000]))
    other = SimpleNamespace()

    async def stalling():
        yield b"\0" * 1000
        with pytest.raises(Locked):
            await _append(site, subject, upload, 2000, _pieces(data[2000:]))
        with site.database.transaction() as session:
            session.get_one(Upload, upload.id).writer_until = now() - timedelta(seconds=1)
        other.offset = await _append(site, subject, upload, 2000, _pieces(data[2000:]))
        yield b"\0" * 1000

    with pytest.raises(Conflict):
        await _append(site, subject, upload, 2000, stalling())
    assert other.offset == len(data)
    with site.database.reading() as session:
        row = session.get_one(Upload, upload.id)
        assert (row.state, row.sha256) == ("finished", hashlib.sha256(data).hexdigest())
    with site.store.open(row.sha256) as file:
        assert file.read() == data, "the zombie wrote into a file of its own"


CRASHING = """
import sys
from pathlib import Path
from starlette.testclient import TestClient
from orfila.app import create_app
from orfila.settings import Settings
folder, token, location, data = Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]).read_bytes()
client = TestClient(create_app(Settings(data_dir=folder)), base_url="http://127.0.0.1:8000")
client.patch(location, content=data[500:], headers={"Authorization": "Bearer " + token, "Upload-Offset": "500",
    "Content-Type": "application/offset+octet-stream"})
"""


@pytest.mark.parametrize("point", ["written", "synced", "committed", "stored", "finished"])
def test_a_killed_server_loses_nothing_that_was_committed(site, point):
    data = dataset_zip()
    upload = reserve(site, data)
    assert patch(site, upload, 0, data[:500]).status_code == 204
    token = site.post("/tokens", {"name": "x"})["secret"]
    source = site.folder / "data.zip"
    source.write_bytes(data)
    command = [sys.executable, "-c", CRASHING, str(site.settings.data_dir), token, upload["location"], str(source)]
    killed = subprocess.run(command, env=os.environ | {"ORFILA_CRASH_POINT": f"upload.{point}"}, check=False)
    assert killed.returncode == -signal.SIGKILL
    # A new process, after the dead writer's lease ran out.
    with site.database.transaction() as session:
        row = session.get_one(Upload, upload["id"])
        assert row.offset == (len(data) if point in ("committed", "stored", "finished") else 500)
        if row.writer_until is not None:
            row.writer_until = now() - timedelta(seconds=1)
    restarted = TestClient(create_app(site.settings), base_url="http://127.0.0.1:8000")
    restarted.headers["Authorization"] = f"Bearer {token}"
    offset = int(restarted.head(upload["location"]).headers["upload-offset"])
    if offset < len(data):
        headers = TUS | {"Upload-Offset": str(offset)}
        assert restarted.patch(upload["location"], content=data[offset:], headers=headers).status_code == 204
    finished = restarted.get(upload["location"]).json()
    assert (finished["state"], finished["sha256"]) == ("finished", hashlib.sha256(data).hexdigest())
    with site.store.open(finished["sha256"]) as file:
        assert file.read() == data
