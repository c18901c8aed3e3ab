"""The workbench of a case with 45,000 training images, and a review round of fifty people.

Times of the page are the browser's own, from the key or the pointer until the frame after the change was drawn; the
rest is what a client waits for over HTTP. Everything, Chromium too, shares the machine's cores, and no GPU draws.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import repeated
from benchmarks.chromium import FLAGS
from benchmarks.gestures import DESK, DRAG, JUDGE, LASSO, OPENED
from benchmarks.product import Product, add_mistaken_model
from benchmarks.tables import table, verdict
from orfila.client import Client
from orfila.review.schemas import VerdictValue
from orfila.rounds.schemas import RoundCreate
from orfila_engine.architectures import ModelCard, build, save_model
from orfila_engine.data import PackedDataset

N_VERDICTS = 200
N_BULK = 5_000
N_REVIEWERS = 50
N_FRAMES = 60
PACE_MS = 125
"""Between two keys of a person: eight images a second are faster than anybody looks at pictures."""
VERDICT_MS, BULK_MS, FRAME_MS, PAINT_MS = 50.0, 1_000.0, 1000 / 60, 1_000.0


def run(packed: Path, work: Path) -> dict[str, Any]:
    """Measure below a scratch folder, which is removed. packed: real pictures, repeated to 50,000."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        real = PackedDataset.open(packed)
        archive, weights = repeated(real, work), work / "model.safetensors"
        card = ModelCard("resnet-nano", real.classes, (32, 32), 3, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        torch.manual_seed(0)
        save_model(weights, build(card), card)
        with Product(work / "data") as product, Client.sign_in(product.link) as client:
            dataset, model, wrong = add_mistaken_model(client, archive, weights)
            project = dataset.project_id
            case = client.open_case(project, model, test_index=wrong)
            began = time.monotonic()
            client.map(case.id)
            drawn = time.monotonic() - began
            desk = client.open_round(
                case.id,
                RoundCreate(name="desk", reviewers=[client.members(project)[0].user_id], reviewers_per_image=1,
                            blind=False, images="sample", n_certain=0, n_borderline=2 * N_VERDICTS + 2, n_controls=0),
            )  # fmt: skip
            found = {"map_seconds": drawn, "page": _page(product, case.id, desk.id), "bulk": _bulk(client, case.id)}
            return found | {"round": asyncio.run(_round(product, client, project, case.id))}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _page(product: Product, case: str, desk: str) -> dict[str, Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page: Page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(60_000)
        page.goto(product.another_link())
        page.get_by_role("heading", name="Inbox").wait_for()
        address = f"{product.address}/c/{case}/evidence?tab=all"
        opened = []
        for _ in range(3):
            page.goto(address, wait_until="domcontentloaded")
            opened.append(page.evaluate(OPENED))
        page.get_by_role("slider", name="Threshold").wait_for()
        page.get_by_role("img", name="Map of").wait_for()
        page.wait_for_timeout(1_000)
        page.get_by_role("gridcell").first.click()
        found = {
            "opened_ms": opened,
            "verdict_ms": page.evaluate(JUDGE, [N_VERDICTS, PACE_MS]),
            "fast_verdict_ms": page.evaluate(JUDGE, [N_VERDICTS, 0]),
            "threshold_frames_ms": page.evaluate(DRAG, [".threshold", N_FRAMES, 2]),
        }
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Move").click()
        found["map_frames_ms"] = page.evaluate(DRAG, [".map-surface canvas", N_FRAMES, 1])
        page.get_by_role("button", name="Lasso").click()
        found["lasso_ms"], found["lasso_images"] = page.evaluate(LASSO)
        for name, pace in (("desk_ms", PACE_MS), ("fast_desk_ms", 0)):
            page.goto(f"{product.address}/c/{case}/rounds/{desk}", wait_until="domcontentloaded")
            page.get_by_role("img", name="Training image").wait_for()
            page.wait_for_timeout(1_000)
            asked = int(page.get_by_role("status").first.inner_text().split(" of ")[1].split()[0].replace(",", ""))
            found[name] = page.evaluate(DESK, [min(N_VERDICTS, asked - 1), pace])
        browser.close()
        return found


def _bulk(client: Client, case: str) -> dict[str, float]:
    """Seconds of one request with 5,000 verdicts, and of its undo."""
    began = time.monotonic()
    said: dict[int, VerdictValue | None] = dict.fromkeys(range(N_BULK), "clean")
    client.judge(case, said)
    judged = time.monotonic()
    client.undo(case)
    return {"judged": judged - began, "undone": time.monotonic() - judged}


async def _round(product: Product, client: Client, project: str, case: str) -> dict[str, Any]:
    """Fifty people judge their parts of a blind round at once, as fast as the server lets them, each verdict twice."""
    tokens = []
    for number in range(N_REVIEWERS):
        link = client.invite(f"reviewer {number}").link
        client.add_member(project, f"reviewer {number}", "reviewer")
        tokens.append(_token(product.address, link, number))
    ids = [m.user_id for m in client.members(project) if m.role == "reviewer"]
    made = client.open_round(
        case,
        RoundCreate(name="fifty", reviewers=ids, reviewers_per_image=2, images="sample", n_certain=0, n_borderline=500,
                    n_controls=500),
    )  # fmt: skip
    queues = []
    for token in tokens:
        with Client(product.address, token) as person:
            queues.append([image.index for image in person.queue(made.id).images])
    times: list[float] = []
    errors: list[str] = []

    async def judge(token: str, mine: list[int], http: httpx.AsyncClient) -> None:
        for image in mine:
            body = {"items": [{"index": image, "verdict": "clean" if image % 3 else "poison"}]}
            headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": f"{token[:12]}-{image}"}
            for _ in range(2):  # a double click
                began = time.monotonic()
                answer = await http.post(f"/api/v1/cases/{case}/verdicts", json=body, headers=headers)
                times.append(time.monotonic() - began)
                if answer.status_code != 200:
                    errors.append(answer.text[:200])

    began = time.monotonic()
    async with httpx.AsyncClient(base_url=product.address, timeout=60) as http:
        await asyncio.gather(*(judge(token, mine, http) for token, mine in zip(tokens, queues, strict=True)))
    seconds = time.monotonic() - began
    there: dict[str, set[int]] = {}
    rows = client.verdicts(case)
    for row in rows:
        there.setdefault(row.reviewer, set()).add(row.index)
    lost = sum(len(set(mine) - there.get(f"reviewer {k}", set())) for k, mine in enumerate(queues))
    asked = sum(map(len, queues))
    twice = sum(row.reviewer.startswith("reviewer ") for row in rows) - (asked - lost)
    if errors:
        print("\n".join(errors[:5]))
    return {
        "n_verdicts": asked,
        "seconds": seconds,
        "p99_ms": 1000 * float(np.quantile(times, 0.99)),
        "n_errors": len(errors),
        "n_lost": lost,
        "n_twice": twice,
    }


def _token(address: str, link: str, number: int) -> str:
    """Sign a person in from an address of their own, as fifty people come from fifty: the server counts by address."""
    transport = httpx.HTTPTransport(local_address=f"127.0.1.{number + 1}")
    with httpx.Client(base_url=address, transport=transport) as http:
        http.post("/api/v1/session", json={"code": link.partition("#code=")[2]}).raise_for_status()
        body = {"name": "round", "scopes": ["read", "write"], "expires_in_days": 1}
        answer = http.post("/api/v1/tokens", json=body).raise_for_status()
        return str(answer.json()["secret"])


def page(result: dict[str, Any]) -> str:
    """The section of docs/benchmarks.md."""
    shown, bulk, judged = result["page"], result["bulk"], result["round"]

    def row(what: str, limit: float | None, value: float, unit: str, note: str = "") -> list[str]:
        target = "" if limit is None else f"< {limit:.0f} {unit}"
        return [what, target, f"{value:,.0f} {unit}{note}", "" if limit is None else verdict(value < limit)]

    verdicts, threshold, moved = (np.array(shown[n]) for n in ("verdict_ms", "threshold_frames_ms", "map_frames_ms"))
    desk = np.array(shown["desk_ms"])
    fast, fast_desk = (
        f"; keys as fast as the page takes them: median {np.median(shown[n]):.0f}, "
        f"95th percentile {np.quantile(shown[n], 0.95):.0f}"
        for n in ("fast_verdict_ms", "fast_desk_ms")
    )
    opened = statistics.median(shown["opened_ms"])
    lasso = f"lasso around {shown['lasso_images']:,} of 45,000 points, until they are selected"
    at_once = (
        f"{N_REVIEWERS} reviewers judge {judged['n_verdicts']:,} images of a blind round at once, each verdict twice"
    )
    kept = (
        f"{judged['n_lost']} lost, {judged['n_twice']} twice, {judged['n_errors']} errors in {judged['seconds']:.0f} s"
    )
    rows = [
        row("workbench opened, gallery drawn after the HTML (median of 3)", PAINT_MS, opened, "ms"),
        row(
            f"at the desk of a round: verdict by key shown and next image drawn, {len(desk)} images, "
            f"{1000 // PACE_MS} a second: 95th percentile",
            VERDICT_MS, float(np.quantile(desk, 0.95)), "ms", f" (median {np.median(desk):.0f}{fast_desk})",
        ),
        row(
            f"in the workbench: verdict by key shown and next image there, {len(verdicts)} images, "
            f"{1000 // PACE_MS} a second: 95th percentile",
            VERDICT_MS, float(np.quantile(verdicts, 0.95)), "ms", f" (median {np.median(verdicts):.0f}{fast})",
        ),
        row(
            "frame while the threshold is dragged over 45,000 scores: median", VERDICT_MS,
            float(np.median(threshold)), "ms", f" (95th percentile {np.quantile(threshold, 0.95):.0f})",
        ),
        row(
            "frame while the map of 45,000 points is moved, drawn without a GPU: median", None,
            float(np.median(moved)), "ms", f" (60 frames a second are {FRAME_MS:.0f} ms)",
        ),
        row(lasso, None, shown["lasso_ms"], "ms"),
        row("main axes of the map, asked for and read over HTTP", None, 1000 * result["map_seconds"], "ms"),
        row(f"{N_BULK:,} verdicts in one request", BULK_MS, 1000 * bulk["judged"], "ms"),
        row("their undo", BULK_MS, 1000 * bulk["undone"], "ms"),
        [
            at_once,
            "nothing lost, nothing twice",
            kept,
            verdict(judged["n_lost"] == judged["n_twice"] == judged["n_errors"] == 0),
        ],
    ]  # fmt: skip
    return "\n".join(["## Workbench and review", "", table(["what", "target", "reached", ""], rows), ""])
