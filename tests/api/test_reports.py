"""Reports, exports for other tools, and the bundle, through HTTP."""

import csv
import hashlib
import io
import json
import re
import shutil
import zipfile

import pytest
from conftest import CLASSES, N_TRAIN, POISON
from test_cases import vote

SHOWN = re.compile(r"(?:src|href)\s*=\s*\"(?!data:)|url\(|@import|<script|https?://", re.I)


def test_a_report_says_what_the_api_says(site):
    case = site.case()
    vote(site, case, dict.fromkeys(POISON[:4], "poison") | {10: "clean"})
    report = site.get(f"/cases/{case['id']}/report")
    assert report["case"] == site.get(f"/cases/{case['id']}")
    assert report["review"] == site.get(f"/cases/{case['id']}/review")
    assert report["agreement"] == site.get(f"/cases/{case['id']}/agreement")
    assert [image["index"] for image in report["flagged"]][:10] != list(range(10)), "the surest first"
    assert {image["index"] for image in report["flagged"]} == {*POISON, 10, 11}
    assert {i["index"]: i["verdict"] for i in report["flagged"]}[10] == "clean"
    assert report["dataset"]["digest"] == site.get(f"/datasets/{case['dataset_id']}")["digest"]
    assert report["model"]["sha256"] == site.get(f"/models/{case['model_id']}")["sha256"]
    check = site.get("/audit/check")
    assert (report["audit"]["head"], report["audit"]["n_events"]) == (check["head"], check["n_events"])
    assert 0 < report["audit"]["n_of_case"] < report["audit"]["n_events"]
    assert report["files"] == site.files_of(case)


def test_the_page_is_one_file_that_asks_for_nothing(site):
    case = site.case()
    site.client.patch(f"/api/v1/cases/{case['id']}", json={"name": "<script>alert(1)</script> & 'co'"})
    vote(site, case, {0: "poison", 10: "clean"})
    answer = site.client.get(f"/api/v1/cases/{case['id']}/report.html")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = answer.text
    assert SHOWN.search(page) is None, SHOWN.search(page)
    finding = site.get(f"/cases/{case['id']}")["finding"]
    for words in (finding["sentence"], finding["precision"]["method"], "12 of 12 shown", "&lt;script&gt;"):
        assert words.replace("'", "&#x27;") in page, words
    assert page.count("data:image/png;base64,") == 1 + 4 + 12, "affected, portraits, flagged"
    assert page.count("<rect") > 3
    saved = site.client.get(f"/api/v1/cases/{case['id']}/report.html", params={"download": True})
    assert "attachment" in saved.headers["content-disposition"]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium to print with")
def test_the_page_is_printed(site):
    case = site.case()
    answer = site.client.get(f"/api/v1/cases/{case['id']}/report.pdf")
    assert answer.status_code == 200, answer.text
    assert answer.content.startswith(b"%PDF-")
    assert answer.headers["content-type"] == "application/pdf"


def test_without_a_printer_the_answer_says_what_to_do(site, monkeypatch):
    case = site.case()
    monkeypatch.setenv("PATH", "/nowhere")
    answer = site.client.get(f"/api/v1/cases/{case['id']}/report.pdf")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_printer")
    assert "print it from your browser" in answer.json()["detail"]


def test_columns_for_other_tools(site):
    case = site.case()
    vote(site, case, {0: "poison"})
    text = site.client.get(f"/api/v1/cases/{case['id']}/cleanlab.csv").text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["index"]) for row in rows] == list(range(N_TRAIN))
    assert [int(row["index"]) for row in rows if row["is_label_issue"] == "True"] == [*POISON, 10, 11]
    assert float(rows[0]["label_score"]) == pytest.approx(0.01)
    samples = site.client.get(f"/api/v1/cases/{case['id']}/fiftyone.json").json()["samples"]
    first = next(s for s in samples if s["orfila_index"] == 0)
    assert first["ground_truth"] == {"_cls": "Classification", "label": CLASSES[0]}
    assert (first["tags"], first["orfila_verdict"]) == (["orfila-flagged"], "poison")
    assert len(samples) == 40


def test_the_bundle_names_the_digest_of_every_file(site):
    case = site.case()
    answer = site.client.get(f"/api/v1/cases/{case['id']}/bundle.zip")
    assert answer.status_code == 200
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        contents = json.loads(archive.read("bundle.json"))
        names = set(archive.namelist()) - {"bundle.json"}
        assert names == set(contents["files"])
        for name in names:
            assert hashlib.sha256(archive.read(name)).hexdigest() == contents["files"][name], name
        assert {"data/pixels.npy", "model/model.safetensors", "investigation/scores.parquet", "report.html"} < names
        events = [json.loads(line) for line in archive.read("audit.jsonl").splitlines()]
        assert {e["subject_id"] for e in events if e["subject_kind"] == "case"} == {case["id"]}
    assert contents["format"] == "orfila-bundle/1"
    asked = contents["investigation"]
    assert (asked["seed"], asked["rule"], asked["suspects"]) == (case["seed"], case["rule"], case["suspects"])
    assert asked["affected"][0]["test_index"] == site.affected


def test_a_case_without_a_finding_has_no_report(site):
    body = {
        "name": "x",
        "model_id": site.model(site.dataset()["id"])["id"],
        "affected": [{"test_index": site.affected}],
    }
    case = site.post(f"/projects/{site.project}/cases", body)
    for name in ("report", "report.html", "report.pdf", "bundle.zip", "cleanlab.csv", "fiftyone.json"):
        answer = site.client.get(f"/api/v1/cases/{case['id']}/{name}")
        assert (answer.status_code, answer.json()["code"]) == (409, "case_not_scored"), name
