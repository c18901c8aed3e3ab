"""A whole case through HTTP, and what happens to it when parts are killed. In order: the last one kills the product."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import time
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from conftest import Product, Sample

from orfila.cases.schemas import Case
from orfila.client import ApiError, Client, JobFailed
from orfila.jobs.schemas import JobDetail
from orfila_engine.data import pack

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def calm(client: Client, sample: Sample) -> Case:
    """A case that nothing disturbed."""
    project = client.projects()[0].id
    dataset = client.add_dataset(project, sample.archive)
    model = client.add_model(project, sample.weights, dataset.id)
    assert model.accuracy_test is not None
    assert model.accuracy_test > 0.8
    return client.open_case(project, model.id, test_index=sample.affected)


def test_a_case_from_upload_to_verified_repair(client: Client, calm: Case, sample: Sample, tmp_path: Path) -> None:
    assert calm.finding is not None
    flagged = frozenset(client.flagged(calm.id))
    hits = len(flagged & sample.poison)
    assert hits / len(flagged) >= 0.95
    assert hits / len(sample.poison) >= 0.95

    mark = calm.finding.mark
    assert mark is not None, "the planted patch is in every poisoned picture"
    assert mark.share_suspects > 5 * mark.share_counterparts
    assert next(client.scores(calm.id, flagged=True)).mark_score > 2

    first = min(flagged)
    client.judge(calm.id, {first: "poison"})
    assert client.review(calm.id).n_poison == 1

    remedy = client.repair(calm.id, "cf")
    assert remedy.verification is not None
    assert remedy.verification.affected[0].before_predicted == calm.finding.predicted
    assert remedy.state == ("verified" if remedy.verification.affected[0].healed else "not_healed")
    assert remedy.model_id is not None
    assert client.model(remedy.model_id).state == "ready"

    assert remedy.cleansed_dataset_id is not None
    cleansed = client.dataset(remedy.cleansed_dataset_id)
    saved = client.download_dataset(cleansed.id, tmp_path / "cleansed.zip")
    copy = client.add_dataset(calm.project_id, saved)
    assert (copy.classes, copy.counts) == (cleansed.classes, cleansed.counts)
    assert copy.intake is not None
    assert (copy.intake.split, copy.intake.n_skipped) == ("given", 0)


def test_the_data_set_was_read_in_parts_and_is_the_one_that_is_read_at_once(
    client: Client, product: Product, calm: Case, sample: Sample, tmp_path: Path
) -> None:
    dataset = client.dataset(calm.dataset_id)
    assert dataset.job_id is not None
    parts = [s for s in client.job(dataset.job_id).shards if s.stage == 1]
    assert [(s.state, s.number) for s in parts] == [("succeeded", 0), ("succeeded", 1)]
    whole = pack(sample.archive, tmp_path / "whole", keep_originals=True, atlases=True)
    [(files,)] = product.query("SELECT files FROM datasets WHERE id = :id", id=dataset.id)
    assert (json.loads(files) if isinstance(files, str) else files) == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in whole.path.iterdir()
    }


def test_a_line_of_the_logs_says_which_request_or_job_it_is_of(client: Client, product: Product, calm: Case) -> None:
    lines = {
        name: [json.loads(line) for line in (product.data / "logs" / f"{name}.log").read_text().splitlines()]
        for name in ("api", "worker-interactive", "worker-gpu", "sweeper")
    }
    [submitted] = [x for x in lines["api"] if x["event"] == "job submitted" and x["job"] == calm.job_id]
    [answered] = [x for x in lines["api"] if x["event"] == "answered" and x["request_id"] == submitted["request_id"]]
    assert (answered["method"], answered["status"]) == ("POST", 201)
    assert answered["path"].endswith("/cases")
    told = [x["event"] for x in lines["worker-interactive"] if x.get("job") == calm.job_id]
    assert told == ["shard claimed", "shard committed"]
    assert any(x["event"] == "shard claimed" and x["kind"] == "index" for x in lines["worker-gpu"])
    assert all({"level", "timestamp"} <= set(x) for of in lines.values() for x in of)


def test_a_case_was_looked_at_while_its_index_was_built(client: Client, product: Product, calm: Case) -> None:
    """1,500 images in ranges of 300: a look after each but the last, as long as the one before is over."""
    looks = product.query(
        "SELECT state, error FROM jobs WHERE kind = 'early_look' AND subject_id = :case", case=calm.id
    )
    assert 1 <= len(looks) <= 4
    assert {tuple(look) for look in looks} == {("succeeded", None)}
    assert client.early(calm.id) is None, "the finding is there"


def test_ekfac_is_split_and_its_factors_are_made_once(
    client: Client, product: Product, calm: Case, sample: Sample
) -> None:
    asked: dict[str, Any] = {"test_index": sample.affected, "engine": "ekfac", "n_queries": 10}
    first = client.open_case(calm.project_id, calm.model_id, **asked)
    again = client.open_case(calm.project_id, calm.model_id, **asked, wait=False)
    while (look := client.early(again.id)) is None:  # the index is there: it shows something while EK-FAC is at work
        assert client.case(again.id).state == "scoring", "nothing was to be seen before the end"
        time.sleep(0.1)
    assert look.n_images == look.n_train == sum(look.suspects) + sum(look.rest)
    assert len({image.index for image in look.leading} & sample.poison) >= 9
    assert first.job_id is not None
    assert again.job_id is not None
    client.wait(again.job_id)
    stages = [[s.stage for s in client.job(case.job_id or "").shards] for case in (first, again)]
    assert stages == [[0, 1, 2, 3, 4, 4, 4, 4, 4, 5], [0, 0, 0, 0, 0, 1]], (
        "1,500 images: one part of factors, five passes"
    )
    flagged = frozenset(client.flagged(first.id))
    assert len(flagged & sample.poison) >= 0.9 * len(sample.poison)
    assert len(flagged & sample.poison) >= 0.9 * len(flagged)
    assert frozenset(client.flagged(again.id)) == flagged
    learned = client.judge(again.id, {min(flagged): "clean"})
    assert learned.changed == 1
    assert min(flagged) not in client.flagged(client.learn(again.id).id)


def test_a_closed_case_holds_other_models_to_its_mistake(client: Client, calm: Case, sample: Sample) -> None:
    """The model of the case makes its mistake again, the repaired one does not."""
    case = client.open_case(calm.project_id, calm.model_id, test_index=sample.affected, seed=77)
    remedy = client.repair(case.id, "eu")
    assert remedy.state == "verified"
    assert remedy.model_id is not None
    assert client.case(case.id).state == "verified"
    made_again = client.check_model(calm.model_id, [case.id])
    assert made_again.outcome is not None
    assert not made_again.outcome.passed
    [checked] = made_again.outcome.cases
    assert checked.affected[0].predicted == case.finding.predicted  # type: ignore[union-attr]
    assert client.case(case.id).state == "regressed"
    held = client.check_model(remedy.model_id, [case.id])
    assert held.outcome is not None
    assert held.outcome.passed, held.outcome.sentence
    assert held.outcome.cases[0].affected[0].predicted == held.outcome.cases[0].affected[0].true_label
    assert client.case(case.id).state == "verified"


def test_a_repair_in_seconds_and_what_was_expected_of_it(client: Client, calm: Case) -> None:
    expected = client.preview_removal(calm.id)
    remedy = client.repair(calm.id, "influence")
    assert expected.n_removed == remedy.n_removed
    assert (remedy.epochs, remedy.learning_rate) == (None, None)
    assert remedy.verification is not None
    assert remedy.verification.settings["held_out_after"] > 0.9
    outcome, preview = remedy.verification.affected[0], expected.affected[0]
    assert outcome.predicted_margin == preview.predicted_margin < preview.margin
    assert outcome.before_margin == pytest.approx(preview.margin, abs=1e-3)
    assert outcome.after_margin < outcome.before_margin


def test_a_case_learns_from_verdicts_and_forgets_them_again(client: Client, calm: Case, sample: Sample) -> None:
    case = client.open_case(calm.project_id, calm.model_id, test_index=sample.affected, seed=21)
    assert case.finding is not None
    before = client.columns(case.id)
    flagged = client.flagged(case.id)
    client.judge(case.id, dict.fromkeys(flagged[::2], "clean"))
    assert client.review(case.id).n_to_learn == len(flagged[::2])
    began = time.monotonic()
    learned = client.learn(case.id)
    print(f"learned from {len(flagged[::2])} verdicts, end to end: {time.monotonic() - began:.2f} s")
    assert learned.finding is not None
    assert not set(client.flagged(case.id)) & set(flagged[::2])
    assert learned.finding.p_value == case.finding.p_value, "a verdict does not make the evidence stronger"
    assert client.review(case.id).n_to_learn == 0
    assert client.columns(case.id)["posterior"][flagged[1::2]].mean() < before["posterior"][flagged[1::2]].mean()

    client.judge(case.id, dict.fromkeys(flagged[::2], None))
    assert client.learn(case.id).finding == case.finding.model_copy(
        update={"seconds": client.case(case.id).finding.seconds}  # type: ignore[union-attr]
    )
    for name, column in client.columns(case.id).items():
        assert np.array_equal(column, before[name]), name


def test_another_question_to_a_ready_index_is_quick(client: Client, calm: Case, sample: Sample) -> None:
    times = []
    for seed in (1, 2, 3):
        began = time.monotonic()
        client.open_case(calm.project_id, calm.model_id, test_index=sample.affected, seed=seed)
        times.append(time.monotonic() - began)
    print(f"further affected image, end to end: {min(times):.2f} s")
    assert min(times) < 3.0  # a loaded machine; the benchmark states the figure


def test_a_job_on_an_idle_machine_starts_at_once(client: Client, calm: Case, sample: Sample) -> None:
    waits = []
    for seed in (11, 12, 13):
        case = client.open_case(calm.project_id, calm.model_id, test_index=sample.affected, seed=seed)
        assert case.job_id is not None
        job = client.job(case.job_id)
        assert job.started_at is not None
        waits.append((_moment(job.started_at) - _moment(job.created_at)).total_seconds())
    print(f"job started after {min(waits) * 1000:.0f} ms")
    assert min(waits) < 0.3


def test_a_worker_killed_in_mid_index_changes_nothing(
    client: Client, product: Product, calm: Case, project: str, sample: Sample
) -> None:
    dataset = client.add_dataset(project, sample.archive)
    model = client.add_model(project, sample.weights, dataset.id)
    case = client.open_case(project, model.id, test_index=sample.affected, wait=False)
    job = client.job(_index_job(client, case))
    while not any(s.state == "running" for s in job.shards if s.number >= 1):
        time.sleep(0.01)
        job = client.job(job.id)
    victim = next(s for s in job.shards if s.state == "running")
    assert victim.worker is not None
    psutil.Process(int(victim.worker.rpartition(":")[2])).kill()

    done = client.wait(job.id, timeout=120)
    assert any(s.attempts > 1 for s in done.shards), "the kill came too late to matter"
    assert case.job_id is not None
    client.wait(case.job_id, timeout=120)
    mine, theirs = _index_files(product, project), _index_files(product, calm.project_id)
    assert mine.keys() == theirs.keys()
    for name in (n for n in mine if n.startswith(("gradients", "scales", "self_influence", "whitening"))):
        assert mine[name] == theirs[name], name
    assert client.flagged(case.id) == client.flagged(calm.id)


def test_a_broker_that_is_killed_or_emptied_loses_nothing(
    client: Client, product: Product, project: str, sample: Sample
) -> None:
    product.stack.kill_broker(product.processes())
    dataset = client.add_dataset(project, sample.archive, name="while the broker is away")
    assert dataset.state == "ready"

    # Two jobs, one behind the other in the same worker: the second one's bell is wiped out while it waits.
    upload = client.upload(project, sample.archive, "dataset")
    first = client._send("POST", f"/api/v1/projects/{project}/datasets", json={"upload_id": upload.id, "name": "a"})
    second = client._send("POST", f"/api/v1/projects/{project}/datasets", json={"upload_id": upload.id, "name": "b"})
    product.stack.flush_broker()
    for answer in (first, second):
        client.wait(answer.json()["job_id"], timeout=60)


def test_cancel_stops_a_training_in_seconds_and_the_worker_lives_on(client: Client, calm: Case) -> None:
    body = {"method": "eu", "remove": {"kind": "flagged"}, "epochs": 300}
    remedy = client._send("POST", f"/api/v1/cases/{calm.id}/remedies", json=body).json()
    job = _wait_until(client, remedy["job_id"], lambda j: j.state == "running" and j.progress > 0)
    began = time.monotonic()
    client.cancel(job.id)
    job = _wait_until(client, job.id, lambda j: j.state == "cancelled")
    assert time.monotonic() - began < 6.0
    assert client.remedy(remedy["id"]).state == "cancelled"
    body["epochs"] = 1
    again = client._send("POST", f"/api/v1/cases/{calm.id}/remedies", json=body).json()
    client.wait(again["job_id"], timeout=60)


def test_bad_input_fails_with_a_sentence(client: Client, project: str, sample: Sample, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    with zipfile.ZipFile(sample.archive) as source, zipfile.ZipFile(broken, "w") as target:
        for name in source.namelist()[:200:10]:
            target.writestr(name, source.read(name))
        target.writestr("train/0/torn.png", b"\x89PNG\r\n\x1a\n torn")
        target.writestr("train/1/whole.png", source.read(source.namelist()[0]))
    with pytest.raises(JobFailed, match=r"torn\.png"):
        client.add_dataset(project, broken)
    dataset = client.add_dataset(project, broken, on_broken="skip")
    assert dataset.intake is not None
    assert dataset.intake.n_skipped == 1
    with pytest.raises(ApiError, match="10 classes"):
        client.add_model(project, sample.weights, dataset.id)


def test_a_second_start_on_the_same_folder_is_refused(product: Product, client: Client) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "orfila", "up"], env=product.environment, capture_output=True, text=True, timeout=60
    )
    assert second.returncode == 2
    assert "already runs" in second.stderr
    assert client.projects()


def test_kill_minus_9_of_the_launcher_leaves_no_process_and_loses_no_job(
    product: Product, client: Client, calm: Case
) -> None:
    flagged = client.flagged(calm.id)
    body = {"method": "eu", "remove": {"kind": "flagged"}, "epochs": 60}
    remedy = client._send("POST", f"/api/v1/cases/{calm.id}/remedies", json=body).json()
    _wait_until(client, remedy["job_id"], lambda j: j.state == "running" and j.progress > 0.05)
    processes = product.processes()
    assert len(processes) >= 8
    product.process.send_signal(signal.SIGKILL)  # type: ignore[union-attr]
    product.process.wait()  # type: ignore[union-attr]
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    with Client.sign_in(product.start()) as again:
        assert again.case(calm.id).result_digest == calm.result_digest
        assert again.flagged(calm.id) == flagged
        job = again.wait(remedy["job_id"], timeout=120)
        assert max(s.attempts for s in job.shards) == 2
        log = " ".join(line.message for line in again.job_log(job.id))
        assert "stopped answering" in log
        assert again.remedy(remedy["id"]).verification is not None


def _index_job(client: Client, case: Case) -> str:
    assert case.job_id is not None
    return client.job(case.job_id).depends_on[0]


def _index_files(product: Product, project: str) -> dict[str, str]:
    ((files,),) = product.query("SELECT files FROM indexes WHERE project_id = :project", project=project)
    loaded: dict[str, str] = json.loads(files) if isinstance(files, str) else files
    return loaded


def _wait_until(client: Client, job_id: str, is_so: object, seconds: float = 90) -> JobDetail:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        job = client.job(job_id)
        if is_so(job):  # type: ignore[operator]
            return job
        assert job.state not in ("failed", "succeeded"), job.error
        time.sleep(0.05)
    pytest.fail(f"job {job_id} is {job.state} after {seconds} s")


def _moment(value: object) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
