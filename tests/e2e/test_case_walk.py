"""The product as a person meets it: from two files to a verified repair, by mouse and keyboard, in real Chromium."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Server, Watched
from playwright.sync_api import Page, Route, expect
from sample import TARGET, VICTIM, Sample

from orfila_engine.bundle import verify_bundle

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

JOB_MS = 240_000
"""How long a job may take on a busy machine, milliseconds."""


AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"


def check_accessible(watched: Watched, place: str) -> None:
    """Whatever axe dislikes on the page is a complaint."""
    assert AXE.exists(), "axe-core is missing: cd frontend && npm ci --ignore-scripts"
    watched.page.evaluate(AXE.read_text())
    found = watched.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    watched.complaints.extend(f"axe on {place}: {v['id']}: {v['nodes'][0]['html']}" for v in found)


def add_dataset(page: Page, path: str, name: str) -> None:
    page.get_by_role("link", name=re.compile("^Data sets")).click()
    page.get_by_label("File to upload: dataset").set_input_files(path)
    page.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.get_by_role("button", name="Read data set").click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Intake report")).to_be_visible(timeout=JOB_MS)


def add_model(page: Page, path: str, dataset: str) -> None:
    page.get_by_role("link", name=re.compile("^Models")).click()
    page.get_by_label("File to upload: model").set_input_files(path)
    page.get_by_role("combobox", name="Trained on").click()
    page.get_by_role("option", name=dataset, exact=True).click()
    page.get_by_role("button", name="Check model").click()
    expect(page.get_by_role("heading", name="Confusion matrix on the test split")).to_be_visible(timeout=JOB_MS)


def open_case(page: Page) -> None:
    """From the cell of the confusion matrix that holds the triggered test image."""
    page.get_by_role("button", name=f"images of {VICTIM} predicted as {TARGET}").click()
    page.get_by_role("button", name=re.compile("^Test image")).first.click()
    page.get_by_role("button", name="Investigate 1").click()
    page.get_by_role("combobox", name=re.compile("known to carry the trigger")).click()
    page.get_by_role("option", name="triggered", exact=True).click()
    expect(page.get_by_text("training images").first).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("list", name="Where the case stands")).to_be_visible()
    expect(page.get_by_role("region", name="Finding")).to_be_visible(timeout=JOB_MS)


def flagged_count(page: Page) -> int:
    text = page.get_by_role("tab", name=re.compile("^Flagged")).inner_text()
    return int(re.sub(r"\D", "", text))


def judge_by_keyboard(page: Page) -> None:
    """Verdicts by key go on to the next image; undo takes the last one back; a text field keeps its letters."""
    page.get_by_role("gridcell").first.click()
    judged = page.get_by_role("status").filter(has_text="judged")
    page.keyboard.press("p")
    page.keyboard.press("p")
    page.keyboard.press("c")
    expect(judged).to_contain_text("3 judged")
    page.keyboard.press("Control+z")
    expect(judged).to_contain_text("2 judged")
    page.keyboard.press("Control+Shift+Z")
    expect(judged).to_contain_text("3 judged")
    page.keyboard.press("Control+z")
    expect(judged).to_contain_text("2 judged")
    page.keyboard.press("m")
    comment = page.get_by_role("textbox", name="Comment on this image")
    expect(comment).to_be_focused()
    page.keyboard.type("upc")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("region", name="Comments on this image")).to_contain_text("upc")
    expect(judged).to_contain_text("2 judged")
    page.get_by_role("combobox", name="Class").focus()
    page.keyboard.type("c")
    page.keyboard.press("Escape")
    expect(judged).to_contain_text("2 judged")


def judge_while_a_list_is_fetched(page: Page) -> None:
    """A list of verdicts that is fetched while one is on its way lacks it; it stays on the page, and L waits for it."""
    judged = page.get_by_role("status").filter(has_text="judged")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "POST":
            held.append(route)
        else:
            route.continue_()

    verdicts = f"{page.url.partition('/c/')[0]}/api/v1/cases/{page.url.split('/c/')[1].split('/')[0]}/verdicts"
    page.route(verdicts, hold)
    page.get_by_role("gridcell").nth(6).click()
    page.keyboard.press("Shift+P")
    expect(judged).to_contain_text("3 judged")
    index = int(str(page.get_by_role("gridcell").nth(7).get_attribute("data-index")))
    for verdict in ("unsure", None):
        answer = page.request.post(verdicts, data={"items": [{"index": index, "verdict": verdict}]})
        assert answer.ok, answer.text()
        expect(judged).to_contain_text("4 judged" if verdict else "3 judged")
    learning = page.get_by_role("group", name="Learning from verdicts")
    page.keyboard.press("l")
    expect(learning).to_contain_text("Learning")
    assert len(held) == 1
    held[0].continue_()
    expect(learning).to_contain_text("Learned from 3 verdicts", timeout=30_000)
    page.unroute(verdicts)
    page.keyboard.press("Control+z")
    expect(judged).to_contain_text("2 judged")
    page.keyboard.press("l")
    expect(learning).to_contain_text("Learned from 2 verdicts", timeout=30_000)


def learn_by_keyboard(page: Page) -> None:
    """The scores learn from a verdict by key, gallery and count follow without a reload; taken back, they come back."""
    before = flagged_count(page)
    page.get_by_role("gridcell").nth(4).click()
    page.keyboard.press("Shift+C")
    expect(page.get_by_role("button", name=re.compile("^Learn from 3 verdicts"))).to_be_visible()
    page.keyboard.press("l")
    expect(page.get_by_text(re.compile(r"Learned from 3 verdicts: [\d,]+ flagged, "))).to_be_visible(timeout=30_000)
    expect(page.get_by_role("group", name="Learning from verdicts")).to_contain_text("Learned from 3 verdicts")
    expect(page.get_by_role("tab", name=f"Flagged {before}", exact=True)).to_be_hidden()
    assert 0 < flagged_count(page) < before
    page.keyboard.press("Control+z")
    expect(page.get_by_role("button", name=re.compile("^Learn from 1 verdict"))).to_be_visible()
    page.keyboard.press("l")
    expect(page.get_by_role("tab", name=f"Flagged {before}")).to_be_visible(timeout=30_000)


def move_threshold(page: Page) -> None:
    """Dragging the line changes what would be flagged; Reset brings the automatic set back."""
    automatic = flagged_count(page)
    slider = page.get_by_role("slider", name="Threshold")
    box = slider.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y, steps=4)
    assert flagged_count(page) > automatic, "the gallery follows while the line moves"
    page.mouse.up()
    page.get_by_role("button", name="Reset threshold").click()
    expect(page.get_by_role("tab", name=f"Flagged {automatic}")).to_be_visible()


def look_at_the_map(watched: Watched, n_flagged: int) -> None:
    """The poison lies apart; a lasso by mouse, tools by key; neighbours when asked; a density where WebGL is absent."""
    page = watched.page
    page.get_by_role("tab", name="Map", exact=True).click()
    points = page.get_by_role("img", name=re.compile("^Map of [\\d,]+ fingerprints"))
    expect(points).to_be_visible(timeout=30_000)
    page.keyboard.press("g")
    expect(page.get_by_role("button", name=re.compile("^Move"))).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("s")
    expect(page.get_by_role("button", name=re.compile("^Lasso"))).to_have_attribute("aria-pressed", "true")
    box = points.bounding_box()
    assert box is not None
    corners = ((0.55, 0.02), (0.98, 0.02), (0.98, 0.8), (0.55, 0.98))
    page.mouse.move(box["x"] + corners[0][0] * box["width"], box["y"] + corners[0][1] * box["height"])
    page.mouse.down()
    for across, down in corners[1:]:
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=4)
    page.mouse.up()
    selected = page.get_by_role("tab", name=re.compile("^Selected"))
    expect(selected).to_have_attribute("aria-selected", "true")
    n_selected = int(re.sub(r"\D", "", selected.inner_text()))
    assert n_selected >= 0.8 * n_flagged, "what stands out lies to the right"
    expect(points).to_have_attribute("aria-label", re.compile(f" {n_selected:,} selected$"))
    check_accessible(watched, "map")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name=re.compile("^Flagged")).click()
    page.get_by_role("combobox", name="Layout of the map").click()
    page.get_by_role("option", name="Neighbours").click()
    expect(points).to_be_visible(timeout=JOB_MS)
    expect(page.get_by_text(re.compile("^[\\d,]+ points$"))).to_be_visible()

    bare = page.context.new_page()
    bare.add_init_script(
        "const real = HTMLCanvasElement.prototype.getContext; HTMLCanvasElement.prototype.getContext = function (kind, "
        "...more) { return kind === 'webgl2' ? null : real.call(this, kind, ...more) }"
    )
    bare.goto(page.url)
    expect(bare.get_by_role("img", name="Density of the fingerprints on the map")).to_be_visible(timeout=30_000)
    bare.close()
    page.get_by_role("tab", name="Histogram", exact=True).click()


def arrange_the_workbench(watched: Watched) -> None:
    """Panels move by key and stay as they were; a view is kept under a name, left, and opened again."""
    page = watched.page
    page.get_by_role("tab", name="Transforms", exact=True).click()
    expect(page.get_by_role("img", name="Mean influence shift by transform")).to_be_visible(timeout=30_000)
    splitter = page.get_by_role("separator", name="Width of the inspector")
    before = int(str(splitter.get_attribute("aria-valuenow")))
    splitter.focus()
    page.keyboard.press("ArrowLeft")
    expect(splitter).to_have_attribute("aria-valuenow", str(before + 16))
    page.get_by_role("tab", name=re.compile("^All")).click()
    page.get_by_role("button", name="Views", exact=True).click()
    page.get_by_role("menuitem", name="Save this view").click()
    page.get_by_role("textbox", name="Name").fill("everything by transform")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("tab", name="Histogram", exact=True).click()
    page.get_by_role("tab", name=re.compile("^Flagged")).click()
    page.reload()
    expect(splitter).to_have_attribute("aria-valuenow", str(before + 16))
    page.get_by_role("button", name="Views", exact=True).click()
    page.get_by_role("menuitem", name="everything by transform", exact=True).click()
    expect(page.get_by_role("tab", name="Transforms", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("tab", name=re.compile("^All"))).to_have_attribute("aria-selected", "true")
    check_accessible(watched, "transforms")
    splitter.dblclick()
    expect(splitter).to_have_attribute("aria-valuenow", str(before))
    page.get_by_role("tab", name="Histogram", exact=True).click()
    page.get_by_role("tab", name=re.compile("^Flagged")).click()


def look_at_neighbours(page: Page) -> None:
    """The nearest suspects of a flagged image are flagged too; a click shows one of them."""
    origin, _, rest = page.url.partition("/c/")
    scores = page.request.get(f"{origin}/api/v1/cases/{rest.partition('/')[0]}/scores?flagged=true&limit=200").json()
    flagged = {row["index"] for row in scores["items"]}
    page.get_by_role("gridcell").first.click()
    near = page.get_by_role("region", name="Nearest suspects").get_by_role("button", name=re.compile("^Image"))
    expect(near).to_have_count(12, timeout=30_000)
    expect(page.get_by_role("region", name="Inspector").locator("[aria-busy=true]")).to_have_count(0)
    names = [str(near.nth(k).get_attribute("aria-label")) for k in range(12)]
    indices = [int(re.sub(r"Image (\d+),.*", r"\1", name)) for name in names]
    assert len(set(indices) & flagged) >= 10, indices
    near.first.click()
    expect(page.get_by_role("img", name=f"Training image {indices[0]}", exact=True)).to_be_visible()


def look_closely(page: Page) -> None:
    """The difference to the affected image, then eight times as strong; both pictures enlarged at one place."""
    inspector = page.get_by_role("region", name="Inspector")
    page.get_by_role("gridcell").nth(2).click()
    page.keyboard.press("d")
    expect(inspector.get_by_role("img", name="Difference of the two images")).to_be_visible()
    page.keyboard.press("d")
    expect(inspector).to_contain_text("difference × 8")
    page.keyboard.press("d")
    expect(inspector.get_by_role("img", name="Difference of the two images")).to_have_count(0)
    page.keyboard.press("z")
    boxes = inspector.locator(".zoom-box > div")
    for k in range(2):
        expect(boxes.nth(k)).to_have_attribute("style", re.compile("scale\\(2\\)"))
    inspector.locator(".zoom-box").first.hover()
    page.mouse.wheel(0, 2_000)
    expect(boxes.first).to_have_attribute("style", re.compile("scale\\(1\\)"))


def every_screen_in_both_themes(watched: Watched) -> None:
    """axe finds nothing on any screen, light or dark."""
    page = watched.page
    origin, _, rest = page.url.partition("/c/")
    case = page.request.get(f"{origin}/api/v1/cases/{rest.partition('/')[0]}").json()
    project, places = f"/p/{case['project_id']}", ("", "/evidence", "/compare", "/review", "/repair", "/verify",
                                                   "/activity", "/report")  # fmt: skip
    screens = [
        "/", "/jobs", "/compare", *(f"/settings/{name}" for name in ("profile", "keys", "tokens", "people", "audit")),
        *(f"{project}/{name}" for name in ("datasets", "uploads", "models", "cases", "drills", "drills/new", "sweeps",
                                           "members")),
        f"{project}/cases/new?model={case['model_id']}", f"{project}/datasets/{case['dataset_id']}",
        f"{project}/models/{case['model_id']}", f"/jobs/{case['job_id']}", *(f"/c/{case['id']}{p}" for p in places),
    ]  # fmt: skip
    for theme in ("light", "dark"):
        page.evaluate(f"localStorage.setItem('mantine-color-scheme-value', '{theme}')")
        for screen in screens:
            page.goto(origin + screen)
            expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", theme)
            expect(page.get_by_role("heading", level=1)).to_be_visible(timeout=30_000)
            page.wait_for_timeout(400)  # what is fetched is drawn
            check_accessible(watched, f"{screen}, {theme}")
    page.evaluate("localStorage.setItem('mantine-color-scheme-value', 'light')")
    page.goto(f"{origin}/c/{case['id']}/verify")


def ask_again_and_compare(watched: Watched) -> None:
    """A second question about the same image, with other transforms, flags the same images; both stand side by side."""
    page = watched.page
    page.get_by_role("link", name="Finding", exact=True).click()
    page.get_by_role("link", name="Compare with another case").click()
    expect(page.get_by_role("heading", level=1, name="Compare cases")).to_be_visible()
    page.go_back()
    first = page.url.partition("/c/")[2].partition("/")[0]
    found = page.request.get(f"{page.url.partition('/c/')[0]}/api/v1/cases/{first}").json()
    origin = page.url.partition("/c/")[0]
    body = {"name": "again", "model_id": found["model_id"], "seed": 9, "n_queries": 20,
            "affected": [{"test_index": found["affected"][0]["test_index"]}]}  # fmt: skip
    made = page.request.post(f"{origin}/api/v1/projects/{found['project_id']}/cases", data=body).json()
    page.goto(f"{origin}/c/{made['id']}")
    expect(page.get_by_role("region", name="Finding")).to_be_visible(timeout=JOB_MS)
    page.get_by_role("region", name="Related cases").get_by_role("link", name=re.compile("^Compare with")).click()
    shared = page.get_by_role("region", name="What they share")
    expect(shared).to_contain_text("transformed queries")
    assert int(str(re.search(r"(\d+) %", shared.inner_text())[1])) >= 90
    expect(page.get_by_role("img", name="Collapse scores of the first and second case")).to_be_visible(timeout=30_000)
    check_accessible(watched, "two cases side by side")
    page.goto(f"{origin}/c/{first}")


def choose_another_key(page: Page) -> None:
    """A taken key is refused with a reason; a free one does its work in the workbench; the first keys come back."""
    back = page.url
    page.goto(f"{back.partition('/c/')[0]}/settings/keys")
    button = page.get_by_role("button", name=re.compile(" for: Unsure"))
    button.click()
    page.keyboard.press("c")
    expect(page.get_by_role("status").filter(has_text="C is taken")).to_be_visible()
    page.keyboard.press("x")
    expect(button).to_have_text("X")
    page.goto(back)
    judged = page.get_by_role("status").filter(has_text="judged")
    expect(judged).to_contain_text("2 judged", timeout=30_000)
    page.get_by_role("gridcell").nth(8).click()
    page.keyboard.press("u")
    page.keyboard.press("x")
    expect(judged).to_contain_text("3 judged")
    expect(page.get_by_role("button", name=re.compile("^Unsure X"))).to_be_visible()
    page.keyboard.press("Control+z")
    expect(judged).to_contain_text("2 judged")
    page.goto(f"{back.partition('/c/')[0]}/settings/keys")
    page.get_by_role("button", name="Back to the first keys").click()
    page.goto(back)


def go_by_palette(page: Page) -> None:
    """Ctrl K finds the case by a part of its name, from anywhere."""
    name = page.get_by_role("heading", level=1).inner_text()
    page.get_by_role("link", name="Jobs").click()
    page.keyboard.press("Control+k")
    page.get_by_role("textbox", name="Go to").fill(name[1:])
    expect(page.get_by_role("button", name=re.compile(f"^{re.escape(name)}"))).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("list", name="Where the case stands")).to_be_visible()


def hand_on(watched: Watched, server: Server, tmp_path: Path) -> None:
    """The report opens and is printed, the bundle is what it says, and what each view copies runs."""
    page = watched.page
    page.get_by_role("link", name="Report", exact=True).click()
    expect(page.get_by_role("heading", name="Take along")).to_be_visible()
    check_accessible(watched, "report")
    case = page.url.split("/c/")[1].split("/")[0]
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open the report").click()
    report = opened.value
    expect(report.get_by_role("heading", name=re.compile("^Poisoning found"))).to_be_visible()
    expect(report.get_by_role("img", name=re.compile("^Histogram"))).to_be_visible()
    report.close()
    answer = page.request.get(f"{server.address}/api/v1/cases/{case}/report.pdf")
    assert answer.body().startswith(b"%PDF-")
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download the bundle").click()
    saved.value.save_as(tmp_path / "bundle.zip")
    assert verify_bundle(tmp_path / "bundle.zip", tmp_path / "work", again=False).ok

    token = page.request.post(
        f"{server.address}/api/v1/tokens", data={"name": "walk", "scopes": ["read"], "expires_in_days": 1}
    ).json()["secret"]
    places = ["Finding", "Evidence", "Compare", "Review", "Repair", "Verify", "Activity", "Report"]
    for place in [
        *places,
        "Cases",
        "Models",
        "Data sets",
        "Drills",
        "Sweeps",
        "Uploads",
        "Members",
        "Jobs",
        "Settings",
    ]:
        page.get_by_role("link", name=re.compile(f"^{place}( |$)")).first.click()
        titled = place if place not in (*places, "Settings") else None
        expect(page.get_by_role("heading", level=1, name=titled)).to_be_visible()
        page.get_by_role("button", name="Copy link, curl or Python").click()
        page.get_by_role("menuitem", name="As Python").click()
        program = page.evaluate("navigator.clipboard.readText()")
        assert server.address in program
        ran = subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"ORFILA_TOKEN": token}, capture_output=True, text=True
        )
        assert ran.returncode == 0, (place, program, ran.stderr)
        assert len(ran.stdout) > 1, place
        if place == "Report":
            go_by_palette(page)


def poison_success_rate(text: str) -> tuple[float, float]:
    """Before and after the repair, percent, as the page shows them."""
    found = re.search(r"Poison success rate\s+([\d.]+) % → ([\d.]+) %", text)
    assert found, text
    return float(found[1]), float(found[2])


def test_a_person_walks_a_case_from_two_files_to_a_verified_repair(
    server: Server, sample: Sample, watched: Watched, tmp_path: Path
) -> None:
    page = watched.page
    page.goto(server.link)
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()

    add_dataset(page, str(sample.dataset), "poisoned")
    page.goto(f"{page.url}?label=1&i=0")
    expect(page.get_by_role("region", name="Image 0")).to_be_visible()
    check_accessible(watched, "data set whose filter leaves out the chosen image")
    add_dataset(page, str(sample.triggered), "triggered")
    add_model(page, str(sample.model), "poisoned")
    check_accessible(watched, "model")
    open_case(page)
    expect(page.get_by_role("region", name="Finding")).to_contain_text("poisoning found")
    expect(page.get_by_role("region", name="Finding")).to_contain_text("The flagged images share a mark")

    check_accessible(watched, "case")
    steps = page.get_by_role("complementary", name="First steps")
    expect(steps.locator("[aria-current]")).to_contain_text("Look at the flagged images")

    steps.get_by_role("link", name="Take me there").click()
    expect(page.get_by_role("slider", name="Threshold")).to_be_visible(timeout=30_000)
    # The planted truth: what is flagged is the poison, nearly all of it and hardly anything else.
    assert abs(flagged_count(page) - len(sample.poison)) <= 2
    judge_by_keyboard(page)
    learn_by_keyboard(page)
    judge_while_a_list_is_fetched(page)
    inspector = page.get_by_role("region", name="Inspector")
    expect(inspector.get_by_role("list", name="Influence shift by transform")).to_be_visible()
    move_threshold(page)
    check_accessible(watched, "evidence")
    look_at_the_map(watched, len(sample.poison))
    look_at_neighbours(page)
    look_closely(page)
    arrange_the_workbench(watched)
    choose_another_key(page)
    ask_again_and_compare(watched)

    page.get_by_role("link", name="Review", exact=True).click()
    expect(page.get_by_text("flagged images judged")).to_contain_text(f"2 of {len(sample.poison)}")

    page.get_by_role("link", name="Repair", exact=True).click()
    page.get_by_role("radio", name=re.compile(r"\(EU\)")).check()
    page.get_by_role("button", name=re.compile("^Remove .* and verify$")).click()
    proof = page.get_by_role("region", name="Verdict on the repair")
    expect(proof).to_be_visible(timeout=JOB_MS)
    expect(proof).to_contain_text("Verified")
    expect(proof).to_contain_text("1 of 1")
    before, after = poison_success_rate(proof.inner_text())
    assert before > 90
    assert after < 3, "the trigger may fool the repaired model on one of its 39 images at most"
    expect(page.get_by_role("img", name="Accuracy of each class before and after")).to_be_visible()
    check_accessible(watched, "verify")
    expect(steps.locator("[aria-current]")).to_contain_text("Judge 3 images")
    steps.get_by_role("button", name="Hide the first steps").click()
    expect(steps).to_have_count(0)
    page.reload()
    expect(proof).to_be_visible(timeout=30_000)
    expect(steps).to_have_count(0)

    every_screen_in_both_themes(watched)
    page.get_by_role("link", name="Activity", exact=True).click()
    page.get_by_role("button", name="Verify chain").click()
    expect(page.get_by_text("Whole:")).to_be_visible()

    hand_on(watched, server, tmp_path)
    page.get_by_role("link", name=re.compile("^Models")).click()
    page.get_by_role("link", name=sample.model.stem, exact=True).click()
    page.get_by_role("button", name="Check against 1 closed case").click()
    checks = page.get_by_role("region", name="Checks")
    expect(checks).to_contain_text("1 of 1 closed cases regressed", timeout=JOB_MS)
    check_accessible(watched, "checks")

    page.get_by_role("button", name="Dark theme").click()
    expect(page.locator("html")).to_have_attribute("data-mantine-color-scheme", "dark")
    # The tip of the button that was clicked is no part of the page.
    page.mouse.move(640, 880)
    expect(page.get_by_role("tooltip")).to_have_count(0)
    check_accessible(watched, "model, dark")

    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name=re.compile("^Cases")).click()
    expect(page.get_by_role("heading", level=1, name="Cases")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, "nothing stands beside the screen of a phone"
    check_accessible(watched, "cases on a phone")
    assert watched.complaints == []
