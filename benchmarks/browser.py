"""What a person waits for in the browser: the page of a data set with 50,000 and with 1,000,000 images.

A real Chromium asks the real product on the same machine; all times are the browser's own (`performance.now`), from
the HTML (first paint) or from the click (filters) until the frame after the change was drawn.
"""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from benchmarks.chromium import FLAGS
from benchmarks.product import Product
from benchmarks.tables import table, verdict
from orfila.client import Client
from orfila_engine.data import PackedDataset

N_REAL, N_SYNTHETIC = 50_000, 1_000_000
EDGE_SYNTHETIC = 16
N_TIMES = 5
LIMITS = {N_REAL: (1000.0, 50.0), N_SYNTHETIC: (2000.0, 300.0)}
"""Images -> milliseconds until the gallery is drawn, and of a filter."""
_WATCH_PAINT = """
window.firstPaint = new Promise(resolve => {
  const look = () => {
    const drawn = document.querySelector('.gallery .tile-picture')
    const atlas = performance.getEntriesByType('resource').find(e => e.name.includes('/atlas'))
    if (drawn && atlas && atlas.responseEnd > 0) requestAnimationFrame(() => resolve(performance.now()))
    else requestAnimationFrame(look)
  }
  look()
})
"""
_PAINTED = """async () => (await window.firstPaint) - performance.getEntriesByType('navigation')[0].responseEnd"""
_CHOOSE = """async ([wanted]) => {
  const options = [...document.querySelectorAll('[role=option]')]
  const option = options.find(o => o.textContent === wanted)
  const gallery = () => document.querySelector('.gallery [role=gridcell]')?.id
  const before = gallery()
  const began = performance.now()
  option.click()
  while (gallery() === before && performance.now() < began + 20000) await new Promise(requestAnimationFrame)
  await new Promise(requestAnimationFrame)
  return performance.now() - began
}"""


def run(packed: Path, work: Path) -> dict[str, Any]:
    """Measure both sizes below a scratch folder, which is removed. packed: real pictures, repeated to 50,000."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        archives = {N_REAL: repeated(PackedDataset.open(packed), work), N_SYNTHETIC: synthetic(work)}
        with (
            Product(work / "data") as product,
            Client.sign_in(product.link) as client,
            sync_playwright() as playwright,
        ):
            project = client.projects()[0].id
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 1600})
            page.goto(product.another_link())
            page.get_by_role("heading").first.wait_for()
            page.add_init_script(_WATCH_PAINT)
            found = {}
            for n, archive in archives.items():
                dataset = client.add_dataset(project, archive)
                archive.unlink()
                address = f"{product.address}/p/{project}/datasets/{dataset.id}"
                found[str(n)] = _measure(page, address, dataset.classes)
            browser.close()
        return found
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _measure(page: Page, address: str, classes: list[str]) -> dict[str, Any]:
    paints = []
    page.set_default_timeout(60_000)
    for _ in range(N_TIMES):
        page.goto(address)
        paints.append(page.evaluate(_PAINTED))
    filters = []
    for name in classes[:N_TIMES]:
        page.get_by_role("combobox", name="Class", exact=True).or_(page.get_by_label("Class", exact=True)).first.click()
        page.get_by_role("option", name=name, exact=True).wait_for()
        filters.append(page.evaluate(_CHOOSE, [name]))
    return {"first_paint_ms": paints, "filter_ms": filters}


def page(result: dict[str, Any]) -> str:
    """The section of docs/benchmarks.md."""
    rows = []
    for n, (paint, filtered) in LIMITS.items():
        found = result[str(n)]
        for what, limit, times in (
            ("gallery of a data set drawn, after the HTML", paint, found["first_paint_ms"]),
            ("filter by class, until it is drawn", filtered, found["filter_ms"]),
        ):
            reached = statistics.median(times)
            told = f"{n:,} images: {what}", f"< {limit:.0f} ms", f"{reached:.0f} ms", f"{times[0]:.0f} ms"
            rows.append([*told, verdict(reached < limit)])
    return "\n".join(["## Browser", "", table(["what", "target", "median of 5", "first time", ""], rows), ""])


def repeated(packed: PackedDataset, work: Path) -> Path:
    """An archive of 50,000 real pictures, each copy moved a little further to the side."""
    n = len(packed.pixels)
    rows = np.arange(N_REAL)
    images = np.empty((N_REAL, *packed.pixels.shape[1:]), dtype=np.uint8)
    for start in range(0, N_REAL, n):
        part = rows[start : start + n]
        images[part] = np.roll(packed.pixels[: len(part)], start // n, axis=2)
    labels = packed.labels[rows % n]
    return _save(work / "real.npz", images, labels, packed.classes)


def synthetic(work: Path) -> Path:
    """Random pictures, tinted by their class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(10, size=N_SYNTHETIC)
    images = rng.integers(128, size=(N_SYNTHETIC, EDGE_SYNTHETIC, EDGE_SYNTHETIC, 1), dtype=np.uint8)
    images += (12 * labels).astype(np.uint8)[:, None, None, None]
    return _save(work / "synthetic.npz", images, labels, tuple(f"class {i}" for i in range(10)))


def _save(path: Path, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], classes: tuple[str, ...]) -> Path:
    n_test = len(images) // 10
    np.savez(
        path,
        x_train=images[n_test:],
        y_train=labels[n_test:],
        x_test=images[:n_test],
        y_test=labels[:n_test],
        classes=np.array(classes),
    )
    return path
