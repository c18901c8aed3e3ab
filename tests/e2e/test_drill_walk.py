"""A drill in real Chromium: plant a poison, open its case, compare detectors on it, repair, sweep its model."""

from __future__ import annotations

import re

import pytest
from conftest import Server, Watched
from playwright.sync_api import expect
from sample import Sample
from test_case_walk import JOB_MS, add_dataset, check_accessible

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_a_person_drills_compares_and_repairs_within_seconds(server: Server, sample: Sample, watched: Watched) -> None:
    page = watched.page
    page.goto(server.another_link())
    expect(page.get_by_role("heading", name="Inbox")).to_be_visible()
    add_dataset(page, str(sample.clean), "clean digits")

    page.get_by_role("link", name=re.compile("^Drills")).click()
    page.get_by_role("link", name="New drill").first.click()
    page.get_by_role("radio", name=re.compile("^Warp")).check()
    expect(page.get_by_label("Strength")).to_be_visible()
    page.get_by_role("radio", name=re.compile("^BadNet")).check()
    page.get_by_label("Clean data set").first.click()
    page.get_by_role("option", name="clean digits", exact=True).click()
    page.get_by_label("Rate").fill("4")
    page.get_by_label("Epochs").fill("10")
    expect(page.get_by_text("56 of 1,400")).to_be_visible()
    check_accessible(watched, "new drill")
    page.get_by_role("button", name="Start drill").focus()
    page.keyboard.press("Enter")
    outcome = page.get_by_role("region", name="Outcome")
    expect(outcome).to_contain_text("the poison took hold", timeout=JOB_MS)
    expect(outcome).to_contain_text("poisoning found")
    expect(page.get_by_role("img", name="Precision against recall of both rules")).to_be_visible()
    check_accessible(watched, "drill")

    page.get_by_role("link", name="Open as a case").click()
    expect(page.get_by_text("triggered image").first).to_be_visible()
    expect(page.get_by_text("ready: only the queries run")).to_be_visible()
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("region", name="Finding")).to_contain_text("poisoning found", timeout=JOB_MS)

    page.get_by_role("link", name="Compare", exact=True).click()
    # It trains a network of its own.
    page.get_by_role("checkbox", name=re.compile("^Frequency")).uncheck()
    page.get_by_role("button", name=re.compile("^Run .* detectors$")).click()
    table = page.get_by_role("region", name="Detectors side by side")
    expect(table).to_contain_text("measured on the 56 images that the drill planted", timeout=JOB_MS)
    expect(table.get_by_role("row").filter(has_text="Collapse rule (ours)")).to_contain_text("1.00")
    check_accessible(watched, "compare")

    page.get_by_role("link", name="Repair", exact=True).click()
    expect(page.get_by_role("region", name="Expected effect")).to_contain_text("flips")
    page.get_by_role("radio", name=re.compile(r"\(selective\)")).check()
    page.get_by_role("button", name=re.compile("^Remove .* and verify$")).click()
    proof = page.get_by_role("region", name="Verdict on the repair")
    expect(proof).to_contain_text("Poison success rate", timeout=JOB_MS)
    page.get_by_role("button", name="Dark theme").click()
    page.get_by_role("link", name="Repair", exact=True).click()
    remedies = page.get_by_role("region", name="Remedies of this case")
    expect(remedies.get_by_role("row").filter(has_text="selective")).to_contain_text("0.0 %")
    check_accessible(watched, "repair, dark")

    page.get_by_role("link", name=re.compile("^Sweeps")).click()
    page.get_by_role("button", name="Start sweep").focus()
    page.keyboard.press("Enter")
    classes = page.get_by_role("region", name="Every class")
    expect(classes.get_by_role("row")).to_have_count(11, timeout=JOB_MS)
    assert classes.evaluate("panel => panel.scrollWidth <= panel.clientWidth"), "no column is cut off"
    classes.get_by_role("button").last.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Flagged images of the class")).to_contain_text("Flagged in 9")
    check_accessible(watched, "sweep, dark")
    assert watched.complaints == []
