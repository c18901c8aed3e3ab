"""Remedies through HTTP: the preview of a removal, and what each method may be asked."""

import typing

import pytest

from orfila.jobs.contracts import RemedySpec
from orfila.jobs.models import Job
from orfila.remedies.schemas import TRAINING, Method

METHODS = typing.get_args(Method)


def spec_of(site, remedy):
    with site.database.reading() as session:
        return RemedySpec.model_validate(session.get_one(Job, remedy["job_id"]).spec)


def test_a_preview_reads_the_sum_of_the_removed_images_off_the_curve(site):
    case = site.case()
    path = f"/cases/{case['id']}/remedies/preview"
    margin = case["affected"][0]["margin"]
    whole = site.get(path)
    assert whole["n_removed"] == 12
    assert whole["affected"] == [{"number": 0, "margin": margin, "predicted_margin": -2.0, "expected_to_flip": True}]
    # The reviewers' verdicts count, as they do for the repair itself.
    verdicts = {"items": [{"index": i, "verdict": "clean"} for i in range(8)]}
    site.post(f"/cases/{case['id']}/verdicts", verdicts, 200)
    rest = site.get(path)
    assert (rest["n_removed"], rest["affected"][0]["predicted_margin"]) == (4, pytest.approx(margin - 2 / 3))
    assert not rest["affected"][0]["expected_to_flip"]
    assert site.get(path, kind="threshold", threshold=0.97)["n_removed"] == 2


def test_a_preview_refuses_what_the_repair_would_refuse(site):
    case = site.case()
    path = f"/cases/{case['id']}/remedies/preview"
    assert site.get(path, 422, kind="poison_verdicts")["code"] == "nothing_to_remove"
    assert site.get(path, 422, kind="threshold", threshold=0.001)["code"] == "class_emptied"
    site.get(path, 422, kind="threshold")
    site.get(path, 422, kind="everything")
    assert site.person("Viewer", "viewer").get(f"/api/v1{path}").status_code == 200
    assert site.person("Stranger", None).get(f"/api/v1{path}").status_code == 404


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_given_the_index_and_the_prediction(site, method):
    case = site.case()
    remedy = site.post(f"/cases/{case['id']}/remedies", {"method": method, "remove": {"kind": "flagged"}})
    spec = spec_of(site, remedy)
    assert (remedy["method"], spec.method) == (method, method)
    assert spec.index_id
    preview = site.get(f"/cases/{case['id']}/remedies/preview")
    assert spec.predicted_margins == [a["predicted_margin"] for a in preview["affected"]]


@pytest.mark.parametrize("method", METHODS)
def test_only_methods_that_train_take_epochs_and_a_learning_rate(site, method):
    case = site.case()
    path = f"/cases/{case['id']}/remedies"
    for option in ({"epochs": 3}, {"learning_rate": 0.05}):
        body = {"method": method, "remove": {"kind": "flagged"}} | option
        if method in TRAINING:
            remedy = site.post(path, body)
            assert remedy["epochs"] == option.get("epochs")
            site.post(f"/jobs/{remedy['job_id']}/cancel", None, 200)
        else:
            assert site.post(path, body, 422)["code"] == "nothing_is_trained"
