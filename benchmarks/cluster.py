"""Jobs under load: an index on one, two and four workers, questions beside a training, fifty reviewers at once.

All of it is the real product with its broker and database on this machine, asked through HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import torch

from benchmarks.browser import repeated
from benchmarks.product import Product, add_mistaken_model
from benchmarks.tables import table, verdict
from orfila.client import Client
from orfila.drills.schemas import DrillCreate
from orfila_engine.architectures import ModelCard, build, save_model
from orfila_engine.data import PackedDataset

WORKERS = (1, 2, 4)
SHARD_IMAGES = 2_500
LEASE_SECONDS = 20.0
"""The product's own."""
LEAST_GAIN = 1.7
"""Of two workers over one."""
N_QUESTIONS = 20
QUESTION_LIMIT = 1.0
N_CLIENTS, LOAD_SECONDS, PAUSE_SECONDS = 50, 60.0, 1.0
ANSWER_LIMIT = 0.25


def run(packed: Path, work: Path) -> dict[str, Any]:
    """Measure everything below a scratch folder, which is removed. packed: real pictures, repeated to 50,000."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        real = PackedDataset.open(packed)
        archive, weights = repeated(real, work), work / "model.safetensors"
        card = ModelCard("resnet20-cifar", real.classes, (32, 32), 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        torch.manual_seed(0)
        save_model(weights, build(card), card)
        index = {str(n): _index(n, archive, weights, work / f"index-{n}") for n in WORKERS}
        return {"index": index, **_in_use(archive, weights, work / "use")}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def page(result: dict[str, Any]) -> str:
    """The section of docs/benchmarks.md."""
    index, load, start = result["index"], result["load"], result["start_ms"]
    one = index["1"]
    rows = []
    for n in WORKERS[1:]:
        gain = one["seconds"] / index[str(n)]["seconds"]
        split = one["split"] / index[str(n)]["split"]
        told = f"{gain:.2f} times as fast (the part that is split: {split:.2f})"
        seconds = f"{one['seconds']:.0f} s"
        what = f"index of {result['n_train']:,} images, {n} workers of one processor each over one ({seconds})"
        # On two cores more than two can only share them.
        rows.append([what, f"> {LEAST_GAIN}" if n == 2 else "", told, verdict(gain >= LEAST_GAIN) if n == 2 else ""])
    for what, seconds in result["questions"].items():
        p95 = float(np.quantile(seconds, 0.95))
        told = f"{p95:.2f} s (median {statistics.median(seconds):.2f})"
        rows.append([f"{what}, beside a training: 95th percentile", "< 1 s", told, verdict(p95 < QUESTION_LIMIT)])
    rows.append(
        [
            f"{N_CLIENTS} clients read a gallery and judge for {LOAD_SECONDS:.0f} s: 99th percentile of "
            f"{load['n_answers']:,} answers",
            "< 250 ms",
            f"{load['p99_ms']:.0f} ms (median {load['median_ms']:.0f})",
            verdict(load["p99_ms"] < 1000 * ANSWER_LIMIT),
        ]
    )
    rows.append(["the same: answers that are errors, verdicts lost", "none", f"{load['n_errors']}, {load['n_lost']}",
                 verdict(load["n_errors"] + load["n_lost"] == 0)])  # fmt: skip
    rows.append(["the same: memory of the API, MB after 10 s and at the end", "flat",
                 f"{load['megabytes'][0]:.0f}, {load['megabytes'][1]:.0f}", ""])  # fmt: skip
    rows.append(["from a question to its start on an idle machine, median", "< 300 ms",
                 f"{statistics.median(start):.0f} ms", verdict(statistics.median(start) < 300)])  # fmt: skip
    limit = LEASE_SECONDS + 5
    rows.append(["from the kill of a worker until its shard runs again", f"< lease + 5 = {limit:.0f} s",
                 f"{result['taken_up_s']:.1f} s", verdict(result["taken_up_s"] < limit)])  # fmt: skip
    note = (
        "Everything runs on this machine's two cores, the clients too. The questions are asked one after another while "
        f"a drill trains on the queue gpu; an index has shards of {SHARD_IMAGES:,} images; each client of the load "
        f"waits {PAUSE_SECONDS:.0f} s on average between two answers, as a person does."
    )
    return "\n".join(["## Jobs", "", note, "", table(["what", "target", "reached", ""], rows), ""])


def _index(workers: int, archive: Path, weights: Path, folder: Path) -> dict[str, float]:
    """Seconds of an index of 45,000 images on so many workers of one processor, and of its part that is split."""
    settings = {
        "ORFILA_GPU_DEVICES": json.dumps(["cpu"] * workers),
        "ORFILA_GPU_THREADS": "1",
        "ORFILA_INDEX_SHARD_IMAGES": str(SHARD_IMAGES),
    }
    folder.mkdir()
    with Product(folder / "data", settings) as product, Client.sign_in(product.link) as client:
        dataset, model, wrong = add_mistaken_model(client, archive, weights)
        # A worker of one thread still lets its caller work beside it: pinned, it is one processor's worth.
        for number, process in enumerate(product.workers("gpu")):
            for each in (process, *process.children(recursive=True)):
                each.cpu_affinity([number % (psutil.cpu_count() or 1)])
        case = client.open_case(dataset.project_id, model, test_index=wrong, wait=False)
        assert case.job_id is not None
        [index_job] = client.job(case.job_id).depends_on
        split = None
        began = time.monotonic()
        while (job := client.job(index_job)).state not in ("succeeded", "failed"):
            if split is None and all(s.state == "succeeded" for s in job.shards if s.stage == 0):
                split = time.monotonic() - began
            if job.state == "queued":
                began = time.monotonic()
            time.sleep(0.25)  # who asks more often takes the time from the workers
        assert job.state == "succeeded", job.error
        assert job.started_at is not None
        assert job.finished_at is not None
    shutil.rmtree(folder)
    return {"seconds": (job.finished_at - job.started_at).total_seconds(), "split": split or 0.0}


def _in_use(archive: Path, weights: Path, folder: Path) -> dict[str, Any]:
    folder.mkdir()
    with Product(folder / "data") as product, Client.sign_in(product.link) as client:
        dataset, model, wrong = add_mistaken_model(client, archive, weights)
        project = dataset.project_id
        case = client.open_case(project, model, test_index=wrong)
        starts = []
        for seed in range(10):
            again = client.open_case(project, model, test_index=wrong, seed=100 + seed)
            assert again.job_id is not None
            job = client.job(again.job_id)
            assert job.started_at is not None
            starts.append(1000 * (job.started_at - job.created_at).total_seconds())
        with _training(client, project, dataset.id) as job_id:
            questions = _questions(client, project, model, wrong, case.id)
            taken_up = _taken_up(client, job_id)
        load = asyncio.run(_load(product, client, case.id, dataset.id))
        return {
            "n_train": dataset.n_train,
            "start_ms": starts,
            "questions": questions,
            "load": load,
            "taken_up_s": taken_up,
        }


def _taken_up(client: Client, job_id: str) -> float:
    """Seconds from the death of the worker that trains until another one has taken its shard."""
    worker = client.job(job_id).shards[0].worker
    assert worker is not None
    psutil.Process(int(worker.rpartition(":")[2])).kill()
    began = time.monotonic()
    while (shard := client.job(job_id).shards[0]).attempts < 2 or shard.state != "running":
        assert time.monotonic() < began + 120, "nobody took the shard up"
        time.sleep(0.05)
    return time.monotonic() - began


@contextlib.contextmanager
def _training(client: Client, project: str, dataset_id: str) -> Iterator[str]:
    """A drill that trains all the while; its job."""
    body = DrillCreate(
        name="busy", dataset_id=dataset_id, attack="badnet", rate=0.02, source=3, target=7,
        architecture="resnet20-cifar", epochs=100,
    )  # fmt: skip
    job_id = client.start_drill(project, body).job_id
    assert job_id is not None
    while "epoch" not in client.job(job_id).phase:
        time.sleep(0.2)
    yield job_id
    assert client.job(job_id).state == "running", "the training ended before the questions did"
    client.cancel(job_id)
    while client.job(job_id).state == "cancelling":
        time.sleep(0.2)


def _questions(client: Client, project: str, model: str, wrong: int, case: str) -> dict[str, list[float]]:
    suspects = np.flatnonzero(client.columns(case)["suspect"])
    found: dict[str, list[float]] = {"affected image scored": [], "verdicts learned from": [], "threshold moved": []}

    def timed(what: str, act: Callable[[], object]) -> None:
        began = time.monotonic()
        act()
        found[what].append(time.monotonic() - began)

    for number in range(N_QUESTIONS):
        # By the job's own times: who asks for its state now and then learns of the end later, a browser at once.
        opened = client.open_case(project, model, test_index=wrong, seed=number)
        assert opened.job_id is not None
        job = client.job(opened.job_id)
        assert job.finished_at is not None
        found["affected image scored"].append((job.finished_at - job.created_at).total_seconds())
        client.judge(case, {int(suspects[number]): "poison", int(suspects[-1 - number]): "clean"})
        timed("verdicts learned from", lambda: client.learn(case))
        address, share = f"/api/v1/cases/{case}/portraits/difference.png", 0.5 + number / 50
        timed("threshold moved", lambda a=address, t=share: client._send("GET", a, params={"threshold": t}))
    return found


async def _load(product: Product, client: Client, case: str, dataset: str) -> dict[str, Any]:
    """Fifty people at once: each looks at a page of the gallery, a picture, a sheet of thumbnails, and judges."""
    token = client.create_token("load").secret
    suspects = np.flatnonzero(client.columns(case)["suspect"])
    times: list[float] = []
    errors: list[str] = []
    judged: dict[int, str] = {}
    rng = np.random.default_rng(0)
    deadline = time.monotonic() + LOAD_SECONDS
    memory: list[float] = []

    async def one(number: int, http: httpx.AsyncClient) -> None:
        own, turn = suspects[number::N_CLIENTS], 0
        while time.monotonic() < deadline:
            await asyncio.sleep(rng.exponential(PAUSE_SECONDS))
            image, turn = int(own[turn % len(own)]), turn + 1
            verdict_of = ("poison", "clean")[turn % 2]
            mine = {"items": [{"index": image, "verdict": verdict_of}]}
            asked: list[tuple[str, str, dict[str, Any]]] = [
                ("GET", f"/api/v1/cases/{case}/scores", {"params": {"limit": 100, "flagged": False}}),
                ("GET", f"/api/v1/datasets/{dataset}/images/{image}/pixels.png", {}),
                ("GET", f"/api/v1/datasets/{dataset}/atlases/{turn % 40}.webp", {}),
                ("POST", f"/api/v1/cases/{case}/verdicts", {"json": mine}),
            ]
            method, path, how = asked[turn % len(asked)]
            began = time.monotonic()
            try:
                answer = await http.request(method, path, **how)
            except httpx.HTTPError as error:
                errors.append(repr(error))
                continue
            times.append(time.monotonic() - began)
            if answer.status_code >= 400:
                errors.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
            elif method == "POST":
                judged[image] = verdict_of

    async def watch() -> None:
        await asyncio.sleep(10)
        memory.append(product.api_megabytes())
        await asyncio.sleep(LOAD_SECONDS - 10)
        memory.append(product.api_megabytes())

    limits = httpx.Limits(max_connections=N_CLIENTS, max_keepalive_connections=N_CLIENTS)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=product.address, headers=headers, limits=limits, timeout=30) as http:
        await asyncio.gather(watch(), *(one(number, http) for number in range(N_CLIENTS)))
    there = {v.index: v.verdict for v in client.verdicts(case)}
    lost = [image for image, said in judged.items() if there.get(image) != said]
    if errors:
        print("\n".join(errors[:5]))
    return {
        "n_answers": len(times),
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
        "median_ms": 1000 * statistics.median(times),
        "n_errors": len(errors),
        "n_lost": len(lost),
        "n_judged": len(judged),
        "megabytes": memory,
    }
