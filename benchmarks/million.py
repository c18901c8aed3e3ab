"""The workbench of a case with 900,000 training images: synthetic pictures, a small model, a real index of them all."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Page, sync_playwright

from benchmarks.browser import EDGE_SYNTHETIC, synthetic
from benchmarks.chromium import FLAGS
from benchmarks.gestures import DRAG, JUDGE, LASSO, OPENED
from benchmarks.product import Product, add_mistaken_model
from benchmarks.tables import table, verdict
from benchmarks.workbench import PACE_MS
from orfila.client import Client
from orfila_engine.architectures import ModelCard, build, save_model

N_VERDICTS, N_FRAMES = 50, 30
PAINT_MS, MAP_MS = 2_000.0, 2_000.0
_MAP_OPENED = """async () => {
  while (!document.querySelector('.map-surface canvas[aria-label]')) await new Promise(requestAnimationFrame)
  await new Promise(requestAnimationFrame)
  return performance.now() - performance.getEntriesByType('navigation')[0].responseEnd
}"""


def run(work: Path) -> dict[str, Any]:
    """Measure below a scratch folder, which is removed."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        archive, weights = synthetic(work), work / "model.safetensors"
        edge, classes = EDGE_SYNTHETIC, tuple(f"class {i}" for i in range(10))
        card = ModelCard("resnet-nano", classes, (edge, edge), 1, (0.5,), (0.25,))
        torch.manual_seed(0)
        save_model(weights, build(card), card)
        with Product(work / "data") as product, Client.sign_in(product.link) as client:
            dataset, model, wrong = add_mistaken_model(client, archive, weights)
            archive.unlink()
            began = time.monotonic()
            case = client.open_case(dataset.project_id, model, test_index=wrong)
            scored = time.monotonic() - began
            began = time.monotonic()
            client.map(case.id)
            drawn = time.monotonic() - began
            found = _page(product, case.id)
        return found | {"n": dataset.n_train, "case_s": scored, "map_s": drawn}
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _page(product: Product, case: str) -> dict[str, Any]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        page: Page = browser.new_page(viewport={"width": 1920, "height": 1080})
        page.set_default_timeout(120_000)
        page.goto(product.another_link())
        page.get_by_role("heading", name="Inbox").wait_for()
        address = f"{product.address}/c/{case}/evidence?tab=all"
        opened, mapped = [], []
        for _ in range(3):
            page.goto(address, wait_until="domcontentloaded")
            opened.append(page.evaluate(OPENED))
            mapped.append(page.evaluate(_MAP_OPENED))
        page.get_by_role("slider", name="Threshold").wait_for()
        page.wait_for_timeout(2_000)
        page.get_by_role("gridcell").first.click()
        found = {
            "opened_ms": opened,
            "map_opened_ms": mapped,
            "verdict_ms": page.evaluate(JUDGE, [N_VERDICTS, PACE_MS]),
            "threshold_frames_ms": page.evaluate(DRAG, [".threshold", N_FRAMES, 2]),
        }
        page.wait_for_timeout(1_000)
        page.get_by_role("button", name="Move").click()
        found["map_frames_ms"] = page.evaluate(DRAG, [".map-surface canvas", N_FRAMES, 1])
        page.get_by_role("button", name="Lasso").click()
        found["lasso_ms"], found["lasso_images"] = page.evaluate(LASSO)
        browser.close()
        return found


def page(result: dict[str, Any]) -> str:
    """The section of docs/benchmarks.md."""
    opened, mapped = statistics.median(result["opened_ms"]), statistics.median(result["map_opened_ms"])
    verdicts, frames, moved = (
        np.array(result[name]) for name in ("verdict_ms", "threshold_frames_ms", "map_frames_ms")
    )
    rows = [
        ["gallery drawn after the HTML (median of 3)", f"< {PAINT_MS:.0f} ms", f"{opened:.0f} ms",
         verdict(opened < PAINT_MS)],
        ["map drawn after the HTML (median of 3)", f"< {MAP_MS:.0f} ms", f"{mapped:.0f} ms", verdict(mapped < MAP_MS)],
        [f"verdict by key shown and next image there, {1000 // PACE_MS} a second: 95th percentile", "",
         f"{np.quantile(verdicts, 0.95):.0f} ms (median {np.median(verdicts):.0f})", ""],
        ["frame while the threshold is dragged: median", "",
         f"{np.median(frames):.0f} ms (95th percentile {np.quantile(frames, 0.95):.0f})", ""],
        ["frame while the map is moved, drawn without a GPU: median", "", f"{np.median(moved):.0f} ms", ""],
        [f"lasso around {result['lasso_images']:,} points, until they are selected", "",
         f"{result['lasso_ms']:,.0f} ms", ""],
        ["case opened: index, investigation", "", f"{result['case_s']:,.0f} s", ""],
        ["main axes of the map, asked for and read over HTTP", "", f"{result['map_s']:.1f} s", ""],
    ]  # fmt: skip
    note = (
        f"A case with {result['n']:,} training images of {EDGE_SYNTHETIC} x {EDGE_SYNTHETIC}, synthetic; no GPU draws."
    )
    return "\n".join(
        ["## Workbench with a million images", "", note, "", table(["what", "target", "reached", ""], rows), ""]
    )
