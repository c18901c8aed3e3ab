"""Draws the pictures of the documentation from the running product: `python -m benchmarks.pictures LINK`.

LINK signs in to `make demo`. Its case gives the finding, the workbench and the repair; three drills on scikit-learn's
digits (run here where they are missing) show that a trigger is seen on the page of a case without opening one image.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from sklearn.datasets import load_digits

from benchmarks.chromium import FLAGS
from orfila.client import Client
from orfila.drills.schemas import DrillCreate

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
ATTACKS = {"badnet": 0.05, "smooth": 0.1, "sinusoid": 0.05}
"""Attack -> rate of poison."""
N_TRAIN = 1_300


def main(link: str) -> None:
    """Sign in by a link (`orfila user link`) and write docs/images."""
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(link))
    with Client.sign_in(link) as client, sync_playwright() as playwright:
        token = client.create_token("pictures").secret
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        project = client.projects()[0].id
        drills = _drills(client, project)
        case = next(c for c in client.cases(project) if c.drill_id is None and c.state == "verified")
        page = _page(browser, token, "light")
        _shot(page, f"{origin}/c/{case.id}", IMAGES / "finding.png")
        page.goto(f"{origin}/c/{case.id}/evidence")
        page.get_by_role("slider", name="Threshold").wait_for()
        page.get_by_role("gridcell").nth(3).click()
        page.get_by_role("region", name="Nearest suspects").get_by_role("button").nth(8).wait_for()
        _shot(page, None, IMAGES / "workbench.png")
        for attack, case_id in drills.items():
            page.goto(f"{origin}/c/{case_id}")
            finding = page.get_by_role("region", name="Finding")
            finding.get_by_role("img").first.wait_for()
            page.wait_for_timeout(1_000)
            finding.screenshot(path=IMAGES / f"trigger-{attack}.png")
        dark = _page(browser, token, "dark")
        _shot(dark, f"{origin}/c/{case.id}/verify", IMAGES / "verify-dark.png")
        browser.close()


def _page(browser: Browser, token: str, scheme: str) -> Page:
    context = browser.new_context(
        viewport={"width": 1920, "height": 1080}, extra_http_headers={"Authorization": f"Bearer {token}"}
    )
    context.add_init_script(
        f"localStorage.setItem('mantine-color-scheme-value', '{scheme}');"
        "localStorage.setItem('orfila-first-steps-closed', 'true')"
    )
    return context.new_page()


def _shot(page: Page, address: str | None, path: Path) -> None:
    if address is not None:
        page.goto(address)
        page.get_by_role("heading", level=1).wait_for()
    page.wait_for_timeout(2_500)
    page.screenshot(path=path)


def _drills(client: Client, project: str) -> dict[str, str]:
    """Attack -> the case of an image that it fools, on scikit-learn's digits."""
    cases = {}
    for attack, rate in ATTACKS.items():
        name = f"drill with {attack}"
        case = next((c for c in client.cases(project) if c.name == name), None)
        if case is None:
            made = {"name": name, "attack": attack, "rate": rate, "architecture": "resnet-nano", "epochs": 12}
            drill = client.run_drill(project, DrillCreate(dataset_id=_digits(client, project), **made))
            assert drill.outcome is not None, drill.error
            assert drill.triggered_dataset_id is not None
            assert drill.model_id is not None
            print(attack, drill.outcome.sentence)
            number = drill.outcome.affected[0].triggered_index
            assert number is not None
            label = client.get(f"/api/v1/datasets/{drill.triggered_dataset_id}/images/{number}")["label"]
            with tempfile.TemporaryDirectory() as folder:
                picture = Path(folder) / "affected.png"
                Image.fromarray(client.pixels(drill.triggered_dataset_id, number).squeeze()).save(picture)
                case = client.open_case(project, drill.model_id, picture=picture, true_label=label, name=name)
        cases[attack] = case.id
    return cases


def _digits(client: Client, project: str) -> str:
    """The clean digits, each pixel four times as large, as a data set."""
    found = next((d.id for d in client.datasets(project) if d.name == "digits"), None)
    if found is not None:
        return found
    digits = load_digits()
    pictures = np.kron(np.round(digits.images * (255 / 16)), np.ones((1, 4, 4))).astype(np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "digits.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for k, (picture, label) in enumerate(zip(pictures, digits.target, strict=True)):
                data = io.BytesIO()
                Image.fromarray(picture).save(data, "PNG")
                file.writestr(f"{'train' if k < N_TRAIN else 'test'}/{digits.target_names[label]}/{k:04d}.png",
                              data.getvalue())  # fmt: skip
        return client.add_dataset(project, archive, name="digits").id


if __name__ == "__main__":
    main(sys.argv[1])
