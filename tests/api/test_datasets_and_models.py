"""Data sets and models through HTTP: from uploads to images, predictions and downloads, and what is refused."""

import base64
import csv
import io
import zipfile

import numpy as np
import pytest
from conftest import CLASSES, N_TEST_PER_CLASS, N_TRAIN, N_TRAIN_PER_CLASS, card, dataset_zip, picture, safetensors
from PIL import Image

from orfila.datasets.schemas import MAX_EDGE
from orfila.jobs.models import Job
from orfila.models.architectures import offered
from orfila_engine.data.pack import MAX_EDGE as ENGINE_MAX_EDGE


def decoded(column):
    kinds = {"int32": "<i4", "float32": "<f4", "uint16": "<u2", "uint8": "u1"}
    return np.frombuffer(base64.b64decode(column["data"]), kinds[column["dtype"]])


def test_a_data_set_from_upload_to_pixels(site):
    dataset = site.dataset()
    assert (dataset["state"], dataset["classes"], dataset["n_train"]) == ("ready", CLASSES, N_TRAIN)
    assert dataset["counts"]["test"] == [N_TEST_PER_CLASS] * 3
    assert dataset["intake"]["split"] == "given"
    path = f"/datasets/{dataset['id']}"

    detail = site.get(f"{path}/images/3")
    assert (detail["name"], detail["label_name"], detail["split"]) == ("train/cat/003.png", "cat", "train")
    shown = site.client.get(f"/api/v1{path}/images/3/pixels.png")
    assert shown.headers["content-type"] == "image/png"
    assert "immutable" in shown.headers["cache-control"]
    original = picture(3, triggered=True)
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(shown.content))), np.asarray(Image.open(io.BytesIO(original)))
    )
    saved = site.client.get(f"/api/v1{path}/images/3/original")
    assert saved.content == original
    assert saved.headers["content-disposition"].startswith('attachment; filename="003.png"')

    sheet = Image.open(io.BytesIO(site.client.get(f"/api/v1{path}/atlases/0.webp").content))
    tile = dataset["atlas"]["tile"]
    left = (3 % dataset["atlas"]["columns"]) * tile
    assert np.array_equal(
        np.asarray(sheet.convert("RGB"))[:tile, left : left + tile], np.asarray(Image.open(io.BytesIO(original)))
    ), "thumbnails are lossless"
    assert site.client.get(f"/api/v1{path}/atlases/1.webp").status_code == 404
    atlas = np.asarray(sheet.convert("RGB"))

    wanted = [3, N_TRAIN + 2, *range(20, 36), 0]
    answer = site.client.get(f"/api/v1{path}/thumbnails.webp", params={"images": ",".join(map(str, wanted))})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/webp")
    assert "immutable" in answer.headers["cache-control"]
    some = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))
    assert some.shape == (2 * tile, 16 * tile, 3)
    for place, index in enumerate(wanted):
        assert np.array_equal(_tile(some, place, 16, tile), _tile(atlas, index, 32, tile)), index
    too_many = ",".join(["1"] * 257)
    for asked, status, told in (
        ("", 422, "images"), ("3,", 422, "images"), (too_many, 422, "256 at a time"), ("3,9999", 404, "images 0 to"),
    ):  # fmt: skip
        refused = site.client.get(f"/api/v1{path}/thumbnails.webp", params={"images": asked})
        assert refused.status_code == status, asked
        assert told in refused.text
    assert site.get(f"{path}/images/{N_TRAIN + 18}", 404)["detail"].startswith("The data set has the images 0 to")


def _tile(sheet, place, columns, tile):
    top, left = place // columns * tile, place % columns * tile
    return sheet[top : top + tile, left : left + tile]


def test_images_are_filtered_and_paged_without_gaps(site):
    path = f"/datasets/{site.dataset()['id']}/images"
    seen, cursor = [], None
    while True:
        page = site.get(path, split="train", label=1, limit=7, **({"cursor": cursor} if cursor else {}))
        assert page["total"] == N_TRAIN_PER_CLASS
        seen += [i["index"] for i in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == list(range(N_TRAIN_PER_CLASS, 2 * N_TRAIN_PER_CLASS))
    assert [i["name"] for i in site.get(path, q="FROG/00", split="test")["items"]] == [
        f"test/frog/00{i}.png" for i in range(6)
    ]
    assert site.get(path, note=True)["items"] == []
    assert site.get(path, limit=501, status=422)["code"] == "invalid_request"


def test_duplicates_are_found_by_bytes_and_those_with_another_label_are_told_apart(site, tmp_path):
    dataset = site.dataset()
    path = f"/datasets/{dataset['id']}"
    assert site.get(f"{path}/images", duplicate="any")["total"] == 0
    assert site.get(f"{path}/images/3")["twins"] == []
    assert not decoded(site.get(f"{path}/columns")["columns"]["duplicate"]).any()

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, seed in {"cat/0": 1, "cat/1": 2, "cat/2": 1, "cat/3": 3, "dog/0": 4, "dog/1": 3, "dog/2": 5}.items():
            file.writestr(f"train/{name}.png", picture(seed))
        for name, seed in {"cat/0": 8, "dog/0": 9}.items():
            file.writestr(f"test/{name}.png", picture(seed))
    dataset = site.dataset(archive.getvalue())
    path = f"/datasets/{dataset['id']}"
    assert dataset["intake"]["n_duplicates"] == 2
    assert dataset["intake"]["examples"] == {"duplicate": 2}
    kind = {"cat/0": 1, "cat/2": 1, "cat/3": 2, "dog/1": 2}
    names = [f"train/{name}.png" for name in kind]
    assert [i["name"] for i in site.get(f"{path}/images", duplicate="any")["items"]] == names
    assert [i["name"] for i in site.get(f"{path}/images", duplicate="other_label")["items"]] == names[2:]
    assert decoded(site.get(f"{path}/columns")["columns"]["duplicate"]).tolist() == [1, 0, 1, 2, 0, 2, 0, 0, 0]
    assert site.get(f"{path}/images/0")["twins"] == [2]


def test_images_are_found_by_the_size_of_their_originals(site):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for number, name in enumerate(["cat/0", "cat/1", "dog/0", "dog/1"]):
            file.writestr(f"train/{name}.png", picture(number))
            file.writestr(f"test/{name}.png", picture(10 + number))
        large = io.BytesIO()
        Image.fromarray(np.zeros((12, 20, 3), dtype=np.uint8)).save(large, "PNG")
        file.writestr("train/dog/large.png", large.getvalue())
    path = f"/datasets/{site.dataset(archive.getvalue())['id']}"
    found = site.get(f"{path}/images", width=20, height=12)
    assert [i["name"] for i in found["items"]] == ["train/dog/large.png"]
    assert site.get(f"{path}/images", width=8)["total"] == 8
    assert site.get(f"{path}/images", width=20, height=8)["total"] == 0
    columns = site.get(f"{path}/columns")["columns"]
    wide = decoded(columns["index"])[decoded(columns["width"]) == 20]
    assert wide.tolist() == [found["items"][0]["index"]]
    assert decoded(columns["height"])[wide].tolist() == [12]


def test_an_uploaded_model_says_what_it_is_before_anything_is_made_of_it(site):
    upload = site.upload(safetensors(card()), "model.safetensors", "model")
    found = site.get(f"/uploads/{upload}/card")
    assert found["card"]["architecture"] == "resnet-nano"
    assert found["card"]["classes"] == card()["classes"]
    picture_upload = site.upload(picture(0), "a.png", "image")
    assert "not as model" in site.get(f"/uploads/{picture_upload}/card", 422)["detail"]


def test_columns_and_index_list(site):
    dataset = site.dataset()
    columns = site.get(f"/datasets/{dataset['id']}/columns")
    assert columns["n"] == N_TRAIN + 18
    label = decoded(columns["columns"]["label"])
    assert label[:N_TRAIN].tolist() == sorted([0, 1, 2] * N_TRAIN_PER_CLASS)
    assert decoded(columns["columns"]["split"]).sum() == 18
    rows = list(csv.DictReader(io.StringIO(site.client.get(f"/api/v1/datasets/{dataset['id']}/index.csv").text)))
    assert rows[0] == {"index": "0", "name": "train/cat/000.png", "label": "cat", "split": "train"}
    assert len(rows) == N_TRAIN + 18


def test_a_data_set_that_cannot_be_read_says_why(site):
    upload = site.upload(dataset_zip(), "animals.zip", "dataset")
    dataset = site.post(f"/projects/{site.project}/datasets", {"upload_id": upload, "name": "animals"})
    assert site.get(f"/datasets/{dataset['id']}/images", 409)["code"] == "dataset_not_ready"
    site.fail(dataset["job_id"], "train/cat/001.png cannot be decoded; remove or replace it.")
    failed = site.get(f"/datasets/{dataset['id']}")
    assert (failed["state"], failed["error"]) == (
        "failed",
        "train/cat/001.png cannot be decoded; remove or replace it.",
    )
    assert "cannot be decoded" in site.get(f"/datasets/{dataset['id']}/columns", 409)["detail"]
    retried = site.post(f"/jobs/{dataset['job_id']}/retry", None, 200)
    assert retried["state"] == "queued"
    assert site.get(f"/datasets/{dataset['id']}")["state"] == "ingesting"
    site.post(f"/jobs/{dataset['job_id']}/cancel", None, 200)
    assert site.get(f"/datasets/{dataset['id']}")["state"] == "failed"
    assert site.client.delete(f"/api/v1/datasets/{dataset['id']}").status_code == 204
    assert site.get(f"/datasets/{dataset['id']}", 404)


def test_what_is_in_use_is_not_deleted(site):
    dataset = site.dataset()
    site.model(dataset["id"])
    answer = site.client.delete(f"/api/v1/datasets/{dataset['id']}")
    assert (answer.status_code, answer.json()["code"]) == (409, "dataset_in_use")
    assert "the model 'classifier'" in answer.json()["detail"]


def test_an_unfinished_or_wrong_upload_makes_nothing(site):
    body = {"filename": "a.zip", "size": 10, "purpose": "dataset"}
    upload = site.post(f"/projects/{site.project}/uploads", body)
    path = f"/projects/{site.project}/datasets"
    assert site.post(path, {"upload_id": upload["id"], "name": "x"}, 422)["code"] == "upload_unfinished"
    image = site.upload(picture(1), "a.png", "image")
    assert "not as dataset" in site.post(path, {"upload_id": image, "name": "x"}, 422)["detail"]
    assert site.get(path)["items"] == []


def test_a_size_and_the_labels_of_cifar100_reach_the_worker(site):
    upload = site.upload(dataset_zip(), "animals.zip", "dataset")
    path = f"/projects/{site.project}/datasets"
    for wrong in ({"size": {"width": 5000, "height": 32}}, {"size": {"width": 32}}, {"labels": "superfine"}):
        assert site.post(path, {"upload_id": upload, "name": "x"} | wrong, 422)["errors"]
    assert MAX_EDGE == ENGINE_MAX_EDGE
    asked = {"size": {"width": 48, "height": 32}, "labels": "coarse"}
    dataset = site.post(path, {"upload_id": upload, "name": "animals"} | asked)
    with site.database.reading() as session:
        spec = session.get_one(Job, dataset["job_id"]).spec
    assert (spec["size"], spec["labels"]) == ({"width": 48, "height": 32}, "coarse")


def test_the_same_key_makes_one_data_set(site):
    upload = site.upload(dataset_zip(), "animals.zip", "dataset")
    path, headers = f"/api/v1/projects/{site.project}/datasets", {"Idempotency-Key": "once"}
    body = {"upload_id": upload, "name": "animals"}
    first = site.client.post(path, json=body, headers=headers)
    second = site.client.post(path, json=body, headers=headers)
    assert first.status_code == second.status_code == 201
    assert first.json() == second.json()
    assert len(site.get(f"/projects/{site.project}/datasets")["items"]) == 1
    other = site.client.post(path, json=body | {"name": "other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def test_a_model_from_upload_to_predictions(site):
    model = site.model(site.dataset()["id"])
    assert (model["state"], model["card"]["architecture"]) == ("ready", "resnet-nano")
    path = f"/models/{model['id']}"
    confusion = site.get(f"{path}/confusion")
    assert confusion["matrix"] == [[6, 0, 0], [1, 5, 0], [0, 0, 6]]
    wrong = site.get(f"{path}/predictions", misclassified=True)
    assert [(p["index"], p["label"], p["predicted"]) for p in wrong["items"]] == [(site.affected, 1, 0)]
    seen, cursor = [], None
    while True:
        page = site.get(f"{path}/predictions", limit=4, **({"cursor": cursor} if cursor else {}))
        seen += [p["confidence"] for p in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == 18
    assert seen == sorted(seen, reverse=True)
    columns = {n: decoded(c) for n, c in site.get(f"{path}/predictions/columns")["columns"].items()}
    assert columns["index"][columns["predicted"] != columns["label"]].tolist() == [site.affected]
    assert sorted(columns["confidence"].tolist(), reverse=True) == seen
    assert site.client.get(f"/api/v1{path}/model.safetensors").content == safetensors(card())


@pytest.mark.parametrize(
    ("metadata", "given", "code"),
    [
        (None, None, "model_card_missing"),
        (card(classes=["a", "b"]), None, "class_count_differs"),
        (card(classes=["dog", "cat", "frog"]), None, "class_order_differs"),
        (card(mean=[0.5]), None, "bad_model_card"),
        (card(architecture="my.module:Net"), None, "unknown_architecture"),
        (card(classes="not json ["), None, "bad_model_card"),
        (card(), card(classes=["a", "b", "c", "d"]), "class_count_differs"),
    ],
)
def test_models_that_do_not_fit_are_refused(site, metadata, given, code):
    dataset = site.dataset()
    upload = site.upload(safetensors(metadata), "model.safetensors", "model")
    body = {"upload_id": upload, "name": "x", "dataset_id": dataset["id"]} | ({"card": given} if given else {})
    assert site.post(f"/projects/{site.project}/models", body, 422)["code"] == code


def test_a_card_can_be_given_with_the_request(site):
    dataset = site.dataset()
    upload = site.upload(safetensors(None), "model.safetensors", "model")
    body = {"upload_id": upload, "name": "x", "dataset_id": dataset["id"], "card": card()}
    assert site.post(f"/projects/{site.project}/models", body)["state"] == "checking"


@pytest.mark.parametrize("header", [b'{"a":1,"a":2}', b"[1]", b'{"__metadata__":{"a":1}}', b"{" * 5000])
def test_unsound_safetensors_headers_are_refused(site, header):
    dataset = site.dataset()
    data = len(header).to_bytes(8, "little") + header + bytes(8)
    answer = site.client.post(
        f"/api/v1/projects/{site.project}/uploads/file",
        params={"filename": "m.safetensors", "purpose": "model"},
        content=data,
    )
    if answer.status_code == 415:
        return
    body = {"upload_id": answer.json()["id"], "name": "x", "dataset_id": dataset["id"], "card": card()}
    assert site.post(f"/projects/{site.project}/models", body, 422)["code"] == "bad_safetensors"


def test_the_offered_architectures_are_the_engine_s():
    registry = pytest.importorskip("orfila_engine.architectures.registry", reason="the engine needs torch")
    assert {a.name: a.description for a in offered()} == {n: registry.describe(n) for n in registry.names()}
