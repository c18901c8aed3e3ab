"""Cases through HTTP: opening, scores, evidence, figures, portraits, review, repair, and what is refused."""

import csv
import io
import json
import zipfile

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import CLASSES, N_QUERIES, N_TEST_PER_CLASS, N_TRAIN, POISON, picture
from PIL import Image
from test_datasets_and_models import decoded

from orfila.cases.models import Case
from orfila.columns import FLAG_SCORES, FLOAT_SCORES
from orfila.datasets.models import Dataset
from orfila.jobs.contracts import RemedyResult, RemedySpec
from orfila.jobs.models import Job
from orfila.remedies.schemas import AffectedOutcome, Verification


def body_of(site, model, **changes):
    return {"name": "case", "model_id": model["id"], "affected": [{"test_index": site.affected}]} | changes


def test_a_case_waits_for_its_index_and_the_next_one_does_not(site):
    dataset = site.dataset()
    model = site.model(dataset["id"])
    path = f"/projects/{site.project}/cases"
    before = site.post(f"{path}/estimate", body_of(site, model), 200)
    assert (before["index_ready"], before["predictions"], before["notes"]) == (False, [0], [])
    first = site.post(path, body_of(site, model, n_queries=N_QUERIES))
    assert (first["state"], first["number"], first["affected"][0]["predicted"]) == ("scoring", 1, 0)
    assert site.get(f"/jobs/{first['job_id']}")["state"] == "waiting"
    assert site.get(f"/cases/{first['id']}/scores", 409)["code"] == "case_not_scored"
    site.finish_index(first)
    site.finish(first["job_id"], site.investigation(first))
    assert site.get(f"/cases/{first['id']}")["state"] == "in_review"
    after = site.post(f"{path}/estimate", body_of(site, model), 200)
    assert after["index_ready"]
    assert after["seconds"] == pytest.approx(0.5)
    second = site.post(path, body_of(site, model))
    assert second["number"] == 2
    job = site.get(f"/jobs/{second['job_id']}")
    assert (job["state"], job["depends_on"]) == ("queued", [])
    assert [c["number"] for c in site.get(path)["items"]] == [2, 1]
    assert [c["number"] for c in site.get(path, state="in_review")["items"]] == [1]


def test_a_failed_index_fails_the_case_and_is_built_again_for_the_next(site):
    model = site.model(site.dataset()["id"])
    case = site.post(f"/projects/{site.project}/cases", body_of(site, model))
    index_job = site.get(f"/jobs/{case['job_id']}")["depends_on"][0]
    site.fail(index_job, "The machine has too little memory.")
    failed = site.get(f"/cases/{case['id']}")
    assert failed["state"] == "failed"
    assert "too little memory" in failed["error"]
    again = site.post(f"/projects/{site.project}/cases", body_of(site, model))
    assert site.get(f"/jobs/{again['job_id']}")["depends_on"] != [index_job]


def test_affected_images_of_every_kind(site):
    model = site.model(site.dataset()["id"])
    path = f"/projects/{site.project}/cases"
    assert site.post(path, body_of(site, model, affected=[{"test_index": 0}]), 422)["code"] == "not_a_test_image"
    assert site.post(path, body_of(site, model, affected=[{}]), 422)["code"] == "invalid_request"
    two = [{"test_index": site.affected}, {"test_index": N_TRAIN + 2 * N_TEST_PER_CLASS}]
    refused = site.post(path, body_of(site, model, affected=two), 422)
    assert refused["code"] == "several_symptoms"
    assert "cat and frog" in refused["detail"]
    out = io.BytesIO()
    Image.new("L", (20, 12), 77).save(out, "PNG")
    upload = site.upload(out.getvalue(), "street sign.png", "image")
    source = {"upload_id": upload, "true_label": 1}
    estimate = site.post(f"{path}/estimate", body_of(site, model, affected=[source]), 200)
    assert estimate["notes"] == ["street sign.png: L converted to RGB; resized from 20 x 12 to 8 x 8."]
    case = site.post(path, body_of(site, model, affected=[source]))
    assert case["affected"][0]["note"] == "L converted to RGB; resized from 20 x 12 to 8 x 8"
    shown = site.client.get(f"/api/v1/cases/{case['id']}/affected/0.png")
    assert np.asarray(Image.open(io.BytesIO(shown.content))).tolist() == np.full((8, 8, 3), 77).tolist()
    broken = site.upload(picture(1)[:60], "cut.png", "image")
    refused = site.post(path, body_of(site, model, affected=[{"upload_id": broken}]), 422)
    assert "'cut.png' cannot be decoded" in refused["detail"]
    right = site.post(f"{path}/estimate", body_of(site, model, affected=[{"test_index": N_TRAIN}]), 200)
    assert "gets this image right" in right["notes"][0]


def test_scores_are_filtered_sorted_and_paged_without_gaps(site):
    path = f"/cases/{site.case()['id']}/scores"
    top = site.get(path, flagged=True)
    assert top["total"] == 12
    assert {r["index"] for r in top["items"][:10]} == set(POISON)
    for sort in ("collapse_score", "n_collapsed", "index", "posterior"):
        for order in ("asc", "desc"):
            seen, cursor = [], None
            while True:
                page = site.get(path, sort=sort, order=order, limit=17, **({"cursor": cursor} if cursor else {}))
                seen += [(r[sort], r["index"]) for r in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert sorted(i for _, i in seen) == list(range(N_TRAIN))
            values = [v for v, _ in seen]
            assert values == sorted(values, reverse=order == "desc")
    for row in site.get(path, limit=20)["items"][:10]:
        rank = site.get(path.replace("scores", f"evidence/{row['index']}"))["rank"]
        assert top["items"][rank - 1]["index"] == row["index"], "the list and the rank agree among equal posteriors"
    assert site.get(path, label=2, suspect=True)["total"] == 0
    assert site.get(path, min_posterior=0.9)["total"] == 12
    assert site.get(path, verdict="none")["total"] == N_TRAIN
    assert site.get(path, sort="name", status=422)["code"] == "invalid_request"


def test_columns_files_and_pictures(site):
    case = site.case()
    path = f"/cases/{case['id']}"
    columns = site.get(f"{path}/columns")["columns"]
    assert decoded(columns["flagged"]).nonzero()[0].tolist() == list(range(12))
    assert columns["posterior"]["dtype"] == "float32"
    # This finding was written before marks were looked for.
    assert not decoded(columns["mark_score"]).any()
    assert set(columns) >= {"index", "label", "influence", "n_collapsed", "suspect", "flagged_paper"}
    some = site.get(f"{path}/columns", names=["posterior", "flagged"])
    assert (some["n"], some["columns"]) == (N_TRAIN, {name: columns[name] for name in ("posterior", "flagged")})
    assert site.get(f"{path}/columns", names="name", status=422)["code"] == "invalid_request"
    text = site.client.get(f"/api/v1{path}/flagged.csv")
    assert text.headers["content-disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert list(rows[0]) == ["path", "index", "label", "score", "posterior", "verdict"]
    assert {int(r["index"]) for r in rows[:10]} == set(POISON)
    assert site.client.get(f"/api/v1{path}/scores.parquet").content[:4] == b"PAR1"
    assert site.client.get(f"/api/v1{path}/affected/0/queries/{N_QUERIES - 1}.png").status_code == 200
    assert site.client.get(f"/api/v1{path}/affected/0/queries/{N_QUERIES}.png").status_code == 404
    assert site.client.get(f"/api/v1{path}/affected/1.png").status_code == 404


def test_evidence_names_the_transforms(site):
    case = site.case()
    evidence = site.get(f"/cases/{case['id']}/evidence/0")
    assert evidence["label_name"] == "cat"
    assert len(evidence["shifts"]) == N_QUERIES
    assert set(evidence["by_transform"]) == {"flip", "blur", "inversion"}
    assert all(value < -1.5 for value in evidence["by_transform"].values())
    ranks = {site.get(f"/cases/{case['id']}/evidence/{i}")["rank"] for i in POISON}
    assert ranks == set(range(1, 11))
    assert site.get(f"/cases/{case['id']}/evidence/{N_TRAIN}", 404)


def test_portraits_show_the_trigger(site):
    path = f"/api/v1/cases/{site.case()['id']}/portraits"
    difference = np.asarray(Image.open(io.BytesIO(site.client.get(f"{path}/difference.png").content))).astype(int)
    assert difference[5:, 5:].mean() > 220
    assert abs(difference[:5, :5].mean() - 128) < 25
    variance = np.asarray(Image.open(io.BytesIO(site.client.get(f"{path}/variance.png?threshold=0.97").content)))
    assert variance[5:, 5:].max() == 0, "every triggered image has the same corner"
    assert variance[:5, :5].min() > 50
    for name in ("flagged_mean", "class_mean"):
        assert site.client.get(f"{path}/{name}.png").status_code == 200
    assert site.client.get(f"{path}/difference.png?threshold=1").json()["code"] == "nothing_to_draw"


def test_figures_are_plain_json_that_adds_up(site):
    case = site.case()
    for name in ("shift_histogram", "score_histogram"):
        figure = site.get(f"/cases/{case['id']}/figures/{name}")
        counts = {trace["name"]: sum(trace["y"]) for trace in figure["data"]}
        assert counts == {"not suspected": 80, "suspects, not flagged": 28, "flagged": 12}
        assert figure["layout"]["shapes"][0]["x0"] == figure["layout"]["meta"]["threshold"]
        assert "bdata" not in json.dumps(figure)
        go.Figure(figure)  # raises for anything that Plotly does not know
    heat = site.get(f"/cases/{case['id']}/figures/transform_heatmap")["data"][0]
    assert (len(heat["z"]), len(heat["z"][0]), heat["x"][-1]) == (3, 13, "not flagged")
    assert heat["zmin"] == -heat["zmax"]
    bars = site.get(f"/cases/{case['id']}/figures/class_accuracy")["data"][0]
    assert bars["x"] == CLASSES
    assert bars["y"] == pytest.approx([100, 100 * 5 / 6, 100])


def test_renaming_archiving_restoring(site):
    case = site.case()
    path = f"/api/v1/cases/{case['id']}"
    assert site.client.patch(path, json={"name": "  renamed "}).json()["name"] == "renamed"
    assert site.client.patch(path, json={"archived": True}).json()["state"] == "archived"
    refused = site.post(f"/cases/{case['id']}/verdicts", {"items": [{"index": 0, "verdict": "poison"}]}, 409)
    assert refused["code"] == "case_archived"
    assert site.client.patch(path, json={"archived": False}).json()["state"] == "in_review"


def vote(site, case, verdicts, client=None):
    items = [{"index": i, "verdict": v} for i, v in verdicts.items()]
    answer = (client or site.client).post(f"/api/v1/cases/{case['id']}/verdicts", json={"items": items})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_verdicts_keep_their_reviewer_and_can_be_undone(site):
    case = site.case()
    colleague = site.person("Colleague", "reviewer")
    vote(site, case, {0: "poison", 1: "poison", 10: "clean"})
    vote(site, case, {0: "clean", 1: "poison"}, colleague)
    said = [(v["index"], v["reviewer"], v["verdict"]) for v in site.get(f"/cases/{case['id']}/verdicts")]
    assert said == [
        (0, "Administrator", "poison"),
        (0, "Colleague", "clean"),
        (1, "Administrator", "poison"),
        (1, "Colleague", "poison"),
        (10, "Administrator", "clean"),
    ]
    rows = {r["index"]: r["verdict"] for r in site.get(f"/cases/{case['id']}/scores", flagged=True)["items"]}
    assert (rows[0], rows[1], rows[10], rows[2]) == ("unsure", "poison", "clean", None)
    changed = vote(site, case, {0: "unsure", 2: "poison", 10: None})
    assert (changed["changed"], changed["replaced"]) == (3, 2)
    undone = site.post(f"/cases/{case['id']}/verdicts", {"items": changed["previous"]}, 200)
    assert undone["changed"] == 3
    assert [(v["index"], v["reviewer"], v["verdict"]) for v in site.get(f"/cases/{case['id']}/verdicts")] == said
    assert vote(site, case, {1: "poison"})["changed"] == 0
    beyond = site.post(f"/cases/{case['id']}/verdicts", {"items": [{"index": N_TRAIN, "verdict": "poison"}]}, 422)
    assert "no training image 120" in beyond["detail"]


def test_review_turns_posteriors_into_knowledge(site):
    case = site.case()
    before = site.get(f"/cases/{case['id']}/review")
    assert before["precision"]["value"] == pytest.approx((10 * 0.99 + 2 * 0.95) / 12, abs=1e-6)
    assert "no verdicts" in before["precision"]["method"]
    vote(site, case, dict.fromkeys(POISON, "poison") | {10: "clean", 11: "unsure"})
    after = site.get(f"/cases/{case['id']}/review")
    assert (after["n_judged"], after["n_poison"], after["n_clean"], after["n_unsure"]) == (12, 10, 1, 1)
    assert after["precision"]["value"] == pytest.approx(10 / 11)
    assert 10 / 12 < after["precision"]["low"] < 10 / 11 < after["precision"]["high"] < 11 / 12, "one is open"
    assert after["answers_to_5_percent"] == 0, "there is nothing left to judge"
    finding = site.get(f"/cases/{case['id']}")["finding"]
    assert "; 12 reviewed, precision 0.91 (95 % interval 0.85\u20130.92)." in finding["sentence"]


def learned(site, case, verdicts):
    """What a refit gives back that has learned from verdicts: image 10 is no poison any more."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from orfila.cases.schemas import Finding
    from orfila.jobs.contracts import RefitResult
    from orfila.review.learning import as_json

    folder = site.folder / f"refit-{len(verdicts)}"
    folder.mkdir()
    table = pq.read_table(site.store.local_path(site.files_of(case)["scores.parquet"]))
    flagged = table["flagged"].to_numpy().copy()
    flagged[10] = False
    table = table.set_column(table.column_names.index("flagged"), "flagged", pa.array(flagged))
    pq.write_table(table, folder / "scores.parquet")
    (folder / "flagged.csv").write_text("path,index,label,score,posterior\n")
    (folder / "summary.json").write_text("{}")
    said = {kind: sorted(i for i, v in verdicts.items() if v == kind) for kind in ("poison", "clean")}
    (folder / "verdicts.json").write_text(as_json(said["poison"], said["clean"]))
    finding = Finding.model_validate(site.get(f"/cases/{case['id']}")["finding"])
    parameters = finding.parameters | {"n_confirmed": len(verdicts)}
    finding = finding.model_copy(update={"n_flagged": int(flagged.sum()), "parameters": parameters})
    return RefitResult(files=site.store.put_tree(folder), finding=finding)


def test_a_case_learns_from_verdicts(site):
    case = site.case()
    review = f"/cases/{case['id']}/review"
    assert site.get(review)["n_to_learn"] == 0
    verdicts = {10: "clean", 0: "poison"}
    vote(site, case, verdicts | {11: "unsure"})
    assert site.get(review)["n_to_learn"] == 2, "there is nothing to learn from an unsure one"
    job = site.post(f"/cases/{case['id']}/refit", None, 202)
    assert (job["kind"], job["state"]) == ("refit", "queued")
    assert site.get(f"/cases/{case['id']}")["state"] == "in_review", "people go on judging"
    again = site.post(f"/cases/{case['id']}/refit", None, 409)
    assert again["code"] == "case_learning"
    site.finish(job["id"], learned(site, case, verdicts))
    after = site.get(f"/cases/{case['id']}")
    assert after["finding"]["n_flagged"] == 11
    assert after["finding"]["p_value"] == case["finding"]["p_value"]
    assert after["result_digest"] != case["result_digest"]
    assert not site.get(f"/cases/{case['id']}/evidence/10")["row"]["flagged"]
    assert site.get(review)["n_to_learn"] == 0
    vote(site, case, {10: None, 3: "clean"})
    assert site.get(review)["n_to_learn"] == 2, "one taken back, one new"
    events = site.get("/audit", case_id=case["id"])["items"]
    told = next(e for e in events if e["action"] == "case.refitted")
    assert (told["detail"]["n_verdicts"], told["detail"]["n_flagged"]) == (2, 11)


def test_a_failed_refit_leaves_the_case_as_it_was(site):
    case = site.case()
    vote(site, case, {0: "poison"})
    job = site.post(f"/cases/{case['id']}/refit", None, 202)
    site.fail(job["id"], "The index is gone.")
    after = site.get(f"/cases/{case['id']}")
    assert (after["state"], after["finding"]["n_flagged"]) == ("in_review", 12)
    assert site.get(f"/jobs/{job['id']}")["error"] == "The index is gone."
    assert site.get(f"/cases/{case['id']}/review")["n_to_learn"] == 1
    assert site.post(f"/cases/{case['id']}/refit", None, 202)["state"] == "queued"
    retried = site.post(f"/jobs/{job['id']}/retry", None, 409)
    assert retried["code"] == "case_learning", "the failed one would overtake it"


def test_who_may_let_a_case_learn_and_when(site):
    case = site.case()
    viewer, reviewer = site.person("vera", "viewer"), site.person("rita", "reviewer")
    assert viewer.post(f"/api/v1/cases/{case['id']}/refit").status_code == 403
    answer = reviewer.post(f"/api/v1/cases/{case['id']}/refit")
    assert answer.status_code == 202
    site.fail(answer.json()["id"], "stopped")
    site.client.patch(f"/api/v1/cases/{case['id']}", json={"archived": True})
    assert site.post(f"/cases/{case['id']}/refit", None, 409)["code"] == "case_archived"
    body = body_of(site, {"id": case["model_id"]}, seed=9)
    fresh = site.post(f"/projects/{site.project}/cases", body)
    assert site.post(f"/cases/{fresh['id']}/refit", None, 409)["code"] == "case_not_scored"


def remedy_result(site, case, remedy, healed=True):
    check = site.check_result(seed=1)
    verification = Verification(
        sentence="The affected image is a dog again.",
        affected=[
            AffectedOutcome(number=0, true_label=1, before_predicted=0, after_predicted=1 if healed else 0,
                            before_margin=3.5, after_margin=-2.0, healed=healed)
        ],
        accuracy_before=17 / 18, accuracy_after=1.0,
        class_accuracy_before=[1, 5 / 6, 1], class_accuracy_after=[1, 1, 1],
        changed=[site.affected], n_changed=1, n_test=18,
        psr_before=None, psr_after=None, n_triggered=None, seconds=2.0,
    )  # fmt: skip
    weights = site.store.put_bytes(b"repaired weights")
    return RemedyResult(weights=weights, check=check, verification=verification, epochs=3, learning_rate=0.05)


def test_a_repair_to_its_proof(site):
    case = site.case()
    vote(site, case, {10: "clean", 50: "poison"})
    path = f"/cases/{case['id']}/remedies"
    remedy = site.post(path, {"method": "eu", "remove": {"kind": "flagged"}})
    assert (remedy["state"], remedy["n_removed"]) == ("running", 12)
    assert site.get(f"/cases/{case['id']}")["state"] == "repairing"
    assert site.post(path, {"method": "cf", "remove": {"kind": "flagged"}}, 409)["code"] == "case_busy"
    with site.database.reading() as session:
        spec = RemedySpec.model_validate(session.get_one(Job, remedy["job_id"]).spec)
    removed = np.load(site.store.local_path(spec.removed))
    assert removed.tolist() == [*range(10), 11, 50], "less the one judged clean, plus the one judged poison"
    assert (spec.predicted, spec.affected[0].test_index) == (0, site.affected)
    assert site.get(f"/remedies/{remedy['id']}/figures/class_accuracy", 409)["code"] == "remedy_not_verified"

    site.finish(remedy["job_id"], remedy_result(site, case, remedy))
    done = site.get(f"/remedies/{remedy['id']}")
    assert (done["state"], done["epochs"]) == ("verified", 3)
    assert site.get(f"/cases/{case['id']}")["state"] == "verified"
    cleansed = site.get(f"/datasets/{done['cleansed_dataset_id']}")
    assert (cleansed["parent_id"], cleansed["n_removed"], cleansed["n_train"]) == (case["dataset_id"], 12, N_TRAIN - 12)
    assert cleansed["counts"]["train"] == [29, 39, 40]
    shown = site.get(f"/datasets/{cleansed['id']}/images", split="train", limit=500)
    assert [i["index"] for i in shown["items"]] == [i for i in range(N_TRAIN) if i not in removed]
    assert "was removed in this version" in site.get(f"/datasets/{cleansed['id']}/images/0", 404)["detail"]
    repaired = site.get(f"/models/{done['model_id']}")
    assert (repaired["state"], repaired["remedy_id"], repaired["accuracy_test"]) == ("ready", remedy["id"], 1.0)
    assert site.get(f"/models/{repaired['id']}/confusion")["matrix"] == [[6, 0, 0], [0, 6, 0], [0, 0, 6]]
    answer = site.client.get(f"/api/v1/datasets/{cleansed['id']}/archive.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names[0] == "classes.txt"
        assert archive.read("classes.txt").decode().split() == [c for c in CLASSES for _ in range(2)]
        indices = [int(name.rpartition("/")[2].partition(".")[0]) for name in names[1:]]
        assert indices == [i for i in range(N_TRAIN + 18) if i not in removed]
        first = archive.read(names[1])
    assert len(names) == 1 + N_TRAIN - 12 + 18
    assert first == site.client.get(f"/api/v1/datasets/{cleansed['id']}/images/{indices[0]}/original").content
    again_zip = site.client.get(f"/api/v1/datasets/{cleansed['id']}/archive.zip").content
    assert again_zip == answer.content, "one version, one file"
    figure = site.get(f"/remedies/{remedy['id']}/figures/class_accuracy")
    assert [t["name"] for t in figure["data"]] == ["before", "after"]
    rows = list(csv.reader(io.StringIO(site.client.get(f"/api/v1/remedies/{remedy['id']}/removed.csv").text)))
    assert rows[0] == ["path", "index", "label"]
    assert rows[-1] == ["train/dog/010.png", "50", "dog"]
    again = site.post(path, {"method": "cf", "remove": {"kind": "flagged"}})
    site.finish(again["job_id"], remedy_result(site, case, again))
    assert site.get(f"/remedies/{again['id']}")["cleansed_dataset_id"] == cleansed["id"], "the same set, one version"
    refused = site.post(f"/projects/{site.project}/cases", body_of(site, repaired), 422)
    assert refused["code"] == "cleansed_version"


def test_repairs_that_do_not_end_well(site):
    case = site.case()
    path = f"/cases/{case['id']}/remedies"
    nothing = site.post(path, {"method": "eu", "remove": {"kind": "poison_verdicts"}}, 422)
    assert nothing["code"] == "nothing_to_remove"
    emptied = site.post(path, {"method": "eu", "remove": {"kind": "threshold", "threshold": 0.001}}, 422)
    assert (emptied["code"], "'cat'" in emptied["detail"]) == ("class_emptied", True)
    site.post(path, {"method": "eu", "remove": {"kind": "threshold"}}, 422)
    not_healed = site.post(path, {"method": "cf", "remove": {"kind": "threshold", "threshold": 0.97}})
    assert not_healed["n_removed"] == 10
    site.finish(not_healed["job_id"], remedy_result(site, case, not_healed, healed=False))
    assert site.get(f"/remedies/{not_healed['id']}")["state"] == "not_healed"
    assert site.get(f"/cases/{case['id']}")["state"] == "in_review"
    failed = site.post(path, {"method": "cf", "remove": {"kind": "flagged"}})
    site.fail(failed["job_id"], "No space is left on the disk; free some and run it again.")
    assert site.get(f"/remedies/{failed['id']}")["error"].startswith("No space")
    cancelled = site.post(path, {"method": "cf", "remove": {"kind": "flagged"}})
    site.post(f"/jobs/{cancelled['job_id']}/cancel", None, 200)
    assert site.get(f"/remedies/{cancelled['id']}")["state"] == "cancelled"
    assert site.get(f"/cases/{case['id']}")["state"] == "in_review"
    assert [r["state"] for r in site.get(path)] == ["cancelled", "failed", "not_healed"]


def test_five_thousand_verdicts_are_given_and_undone_at_once(site):
    case, n = site.case(), 5000
    with site.database.transaction() as session:  # a larger investigation in the place of the small one
        row = session.get_one(Case, case["id"])
        row.files = row.files | {"scores.parquet": large_scores(site, n)}
    body = {"items": [{"index": i, "verdict": "poison"} for i in range(n)]}
    posted = site.post(f"/cases/{case['id']}/verdicts", body, 200)
    assert posted["changed"] == n
    assert site.post(f"/cases/{case['id']}/verdicts", {"items": posted["previous"]}, 200)["changed"] == n
    assert site.get(f"/cases/{case['id']}/verdicts") == []


def large_scores(site, n):
    columns = {"index": np.arange(n, dtype=np.int32), "name": [str(i) for i in range(n)]}
    columns |= {name: np.zeros(n, np.int32) for name in ("label", "n_collapsed")}
    columns |= {name: np.zeros(n, np.float32) for name in FLOAT_SCORES}
    columns |= {name: np.zeros(n, bool) for name in FLAG_SCORES}
    pq.write_table(pa.table(columns), site.folder / "large.parquet")
    return site.store.put_file(site.folder / "large.parquet")


def test_triggered_images_must_fit(site):
    dataset = site.dataset()
    model = site.model(dataset["id"])
    path = f"/projects/{site.project}/cases"
    case = site.post(path, body_of(site, model, triggered_dataset_id=dataset["id"]))
    assert case["triggered_dataset_id"] == dataset["id"]
    assert site.post(path, body_of(site, model, triggered_dataset_id="0" * 32), 404)


def test_related_cases_share_flagged_images(site):
    first = site.case()
    body = {"name": "again", "model_id": first["model_id"], "affected": [{"test_index": site.affected}], "seed": 5,
            "n_queries": 12}  # fmt: skip
    second = site.post(f"/projects/{site.project}/cases", body)
    assert site.get(f"/cases/{second['id']}/related", 409)["code"] == "case_not_scored"
    assert site.get(f"/cases/{first['id']}/related") == [], "the other one is not scored yet"
    site.finish(second["job_id"], site.investigation(second))
    [found] = site.get(f"/cases/{first['id']}/related")
    assert (found["id"], found["n_flagged"], found["n_shared"], found["overlap"]) == (second["id"], 12, 12, 1.0)
    with site.database.transaction() as session:  # as if the second one were of other images
        row = session.get_one(Case, second["id"])
        twin = session.get_one(Dataset, row.dataset_id)
        session.add(
            other := Dataset(**{c.key: getattr(twin, c.key) for c in Dataset.__table__.columns if c.key != "id"})
        )
        other.files = twin.files | {"manifest.parquet": "0" * 64}
        session.flush()
        row.dataset_id = other.id
    assert site.get(f"/cases/{first['id']}/related") == [], "another data set has other images of these numbers"


def test_two_cases_stand_side_by_side(site):
    first = site.case()
    body = {"name": "again", "model_id": first["model_id"], "affected": [{"test_index": site.affected}], "seed": 5,
            "n_queries": 30}  # fmt: skip
    second = site.post(f"/projects/{site.project}/cases", body)
    path = f"/cases/{first['id']}/beside/{second['id']}"
    assert site.get(path, 409)["code"] == "case_not_scored"
    site.finish(second["job_id"], site.investigation(second, doubtful=(11, 12)))
    found = site.get(path)
    assert found["same_images"]
    assert (found["n_both"], found["n_first"], found["n_second"]) == (11, 1, 1)
    assert (found["first"], found["second"]) == ([10], [12])
    assert set(found["both"]) == {*POISON, 11}
    assert found["both"][-1] == 11, "the highest scores stand first"
    assert found["overlap"] == 11 / 13
    assert found["n_suspects_of_both"] == 40
    assert found["rank_correlation"] == pytest.approx(1.0), "the same scores"
    assert {d["name"]: (d["first"], d["second"]) for d in found["differences"]} == {
        "transformed queries": ("12", "30"),
        "seed": ("0", "5"),
    }
    turned = site.get(f"/cases/{second['id']}/beside/{first['id']}")
    assert (turned["n_first"], turned["first"], turned["overlap"]) == (1, [12], found["overlap"])
    assert site.get(f"/cases/{first['id']}/beside/{first['id']}", 409)["code"] == "same_case"
    assert site.get(f"/cases/{first['id']}/beside/{'0' * 32}", 404)
    with site.database.transaction() as session:  # as if the second one were of other images
        row = session.get_one(Case, second["id"])
        twin = session.get_one(Dataset, row.dataset_id)
        session.add(
            other := Dataset(**{c.key: getattr(twin, c.key) for c in Dataset.__table__.columns if c.key != "id"})
        )
        other.name, other.files = "others", twin.files | {"manifest.parquet": "0" * 64}
        session.flush()
        row.dataset_id = other.id
    found = site.get(path)
    assert (found["same_images"], found["n_both"], found["both"]) == (False, None, [])
    assert "data set" in [d["name"] for d in found["differences"]]
