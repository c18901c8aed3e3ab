"""Two reviewers and an adjudicator, each in a browser of their own: from the invitation to the signed-off round."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Product, Sample
from playwright.sync_api import Browser, Page, expect, sync_playwright

from benchmarks.chromium import FLAGS
from orfila.cases.schemas import Case
from orfila.client import Client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "four words nobody guesses"
N_CONTROLS = 4
LIVE_MS = 1_000
"""A colleague's page follows within this."""


@pytest.fixture
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def case(client: Client, sample: Sample) -> Case:
    project = client.projects()[0].id
    dataset = client.add_dataset(project, sample.archive)
    model = client.add_model(project, sample.weights, dataset.id)
    return client.open_case(project, model.id, test_index=sample.affected)


def open_browser(chromium: Browser, complaints: list[str]) -> Page:
    page = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB").new_page()
    page.on("pageerror", lambda error: complaints.append(f"exception: {error}"))
    return page


def check_accessible(page: Page, place: str, complaints: list[str]) -> None:
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    complaints.extend(f"axe on {place}: {v['id']}: {v['nodes'][0]['html']}" for v in found)


def invite(page: Page, name: str) -> str:
    """An invitation made on the page of people; its link."""
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("button", name="Make invitation").click()
    expect(page.get_by_text(f"Give this link to {name}")).to_be_visible()
    return page.locator("code", has_text="signin#code=").inner_text()


def add_member(page: Page, name: str) -> None:
    page.get_by_role("textbox", name="Name of the account").fill(name)
    page.get_by_role("button", name="Add to project").click()
    expect(page.get_by_role("cell", name=name, exact=True)).to_be_visible()


def choose(page: Page, field: str, *people: str) -> None:
    page.get_by_role("combobox", name=field, exact=True).click()
    for name in people:
        page.get_by_role("option", name=name, exact=True).click()
    page.keyboard.press("Escape")


def judge_all(page: Page, said: Callable[[int], str], after_first: Callable[[], None] = lambda: None) -> int:
    """Judge every image of one's part by keyboard; how many there were. after_first: called after the first one."""
    desk = page.get_by_role("region", name="Image to judge")
    status = desk.get_by_role("status")
    expect(status).to_be_visible()
    total = int(re.search(r"of (\d+) judged", status.inner_text())[1])  # type: ignore[index]
    for number in range(1, total + 1):
        expect(status).to_have_text(re.compile(rf"image {number}$"))
        index = int(desk.locator("figcaption .mono").first.inner_text())
        page.keyboard.press(said(index))
        if number == 1:
            after_first()
    expect(status).to_have_text(re.compile(rf"^{total} of {total} judged"))
    return total


def test_blind_double_review(chromium: Browser, product: Product, client: Client, case: Case, sample: Sample) -> None:
    complaints: list[str] = []
    address = f"http://127.0.0.1:{product.port}"
    lead = open_browser(chromium, complaints)
    lead.goto(product.another_link())
    expect(lead.get_by_role("link", name="Settings")).to_be_visible()
    lead.goto(f"{address}/settings/people")
    links = {name: invite(lead, name) for name in ("Ann", "Ben", "Cat")}
    check_accessible(lead, "people", complaints)
    lead.goto(f"{address}/p/{case.project_id}/members")
    for name in links:
        add_member(lead, name)
    check_accessible(lead, "members", complaints)

    people = {name: open_browser(chromium, complaints) for name in links}
    for name, page in people.items():
        page.goto(links[name])
        expect(page.get_by_role("link", name="Settings")).to_be_visible()
    ann, ben, cat = people.values()
    ann.goto(f"{address}/settings/profile")
    ann.get_by_role("textbox", name="New password").fill(PASSWORD)
    ann.get_by_role("button", name="Set password").click()
    expect(ann.get_by_text("The password is set.")).to_be_visible()
    check_accessible(ann, "profile", complaints)
    ann.get_by_role("button", name="Sign out", exact=True).click()
    expect(ann.get_by_role("heading", name="Sign in to Orfila")).to_be_visible()
    check_accessible(ann, "sign-in", complaints)
    ann.get_by_role("textbox", name="Name", exact=True).fill("Ann")
    ann.get_by_role("textbox", name="Password").fill(PASSWORD)
    ann.get_by_role("button", name="Sign in", exact=True).click()
    expect(ann.get_by_role("link", name="Settings")).to_be_visible()

    review = f"{address}/c/{case.id}/review"
    lead.goto(review)
    lead.get_by_role("button", name="New round").click()
    choose(lead, "Reviewers", "Ann", "Ben")
    choose(lead, "Decides conflicts", "Cat")
    lead.get_by_role("textbox", name="Clean controls").fill(str(N_CONTROLS))
    check_accessible(lead, "new round", complaints)
    lead.get_by_role("button", name="Open the round").click()
    panel = lead.get_by_role("region", name="Round Double review")
    expect(panel).to_be_visible()
    [made] = client.rounds(case.id)
    assert (made.n_controls, made.state, made.blind) == (N_CONTROLS, "open", True)

    ann.goto(f"{address}/c/{case.id}/evidence")
    expect(ann.get_by_text("You have images left to judge blind").first).to_be_visible()
    truth = sample.poison
    slip = next(index for index in client.flagged(case.id) if index in truth)
    ann.goto(review)
    ann.get_by_role("link", name=re.compile(r"^Judge \d+ images")).click()
    check_accessible(ann, "judging", complaints)
    n = judge_all(ann, lambda index: "p" if index in truth else "c")
    assert n == made.n_images
    row = panel.get_by_role("row", name=re.compile("^Ann"))
    # The keys are faster than any hand; what they said is saved one after the other.
    expect(row).to_contain_text(f"{n} of {n}", timeout=20_000)
    ann.goto(f"{address}/c/{case.id}/evidence")
    expect(ann.get_by_role("tab", name=re.compile("^Flagged"))).to_be_visible()

    ben.goto(review)
    ben.get_by_role("link", name=re.compile(r"^Judge \d+ images")).click()
    of_ben = panel.get_by_role("row", name=re.compile("^Ben"))
    judge_all(
        ben,
        lambda index: "p" if index in truth and index != slip else "c",
        lambda: expect(of_ben).to_contain_text(f"1 of {n}", timeout=LIVE_MS),
    )
    expect(of_ben).to_contain_text(f"{n} of {n}", timeout=20_000)
    expect(panel.get_by_role("link", name="1 conflict to decide")).to_be_visible(timeout=LIVE_MS)
    panel.get_by_role("button", name="Sign off").click()
    expect(panel.get_by_text("1 conflicts are not decided.")).to_be_visible()

    cat.goto(review)
    cat.get_by_role("link", name="1 conflict to decide").click()
    expect(cat.get_by_text("1 poison, 1 clean")).to_be_visible()
    check_accessible(cat, "conflicts", complaints)
    cat.keyboard.press("p")
    expect(cat.get_by_role("button", name=re.compile("Poison"))).to_have_attribute("aria-pressed", "true")
    expect(panel.get_by_role("link", name="1 conflict to decide")).to_be_hidden(timeout=LIVE_MS)
    panel.get_by_role("button", name="Sign off").click()
    expect(panel.get_by_text("signed off")).to_be_visible()

    [signed] = client.rounds(case.id)
    assert signed.state == "signed_off"
    assert {r.name: r.n_controls_right for r in signed.reviewers} == {"Ann": N_CONTROLS, "Ben": N_CONTROLS}
    assert [(r.index, r.verdict, r.adjudicator) for r in client.resolutions(case.id)] == [(slip, "poison", "Cat")]
    assert client.check_audit().ok
    assert complaints == []
