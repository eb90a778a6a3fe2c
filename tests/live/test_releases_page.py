"""A release and a rollback, seen and done on the Releases page of a running Airflow, with a real model behind it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from tests.browser import browser
from tests.live.installation import PIPELINE, ROLLBACK, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
MINUTES = 180_000  # milliseconds: what a DAG run takes on a busy machine
TRIGGER = """async (dag) => (await fetch(`../api/v2/dags/${dag}/dagRuns`, {method: "POST",
    headers: {"Content-Type": "application/json"}, body: JSON.stringify({logical_date: null, conf: {reason: "x"}})})).status"""


def logged_in(page: Page, url: str, username: str, password: str) -> None:
    """Fill Airflow's own form; go on to ``url``."""
    page.goto(url)
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def watched(frame: FrameLocator) -> None:
    """Open the release that is under way; it goes on from step to step by itself, until it is released."""
    newest = frame.locator(".releases li").first
    expect(newest).to_have_class(re.compile("going"), timeout=MINUTES)
    newest.locator("a").click()
    heading, steps = frame.get_by_role("heading", level=1), frame.locator(".path li")
    expect(steps.first).to_be_visible(timeout=30_000)
    before = steps.count()
    expect(heading).to_contain_text("released: ", timeout=MINUTES)
    assert steps.count() > before
    expect(frame.locator(".checks li").first).to_be_visible()


def compared(frame: FrameLocator, before: str, released: str) -> None:
    """Compare the release with the run before it: how both were made, their metrics, and a user's lists."""
    frame.get_by_role("link", name=f"Compare with {before}").click()
    expect(frame.locator("table").first).to_contain_text("ndcg_at_10", timeout=30_000)
    for run_id in (before, released):
        expect(frame.get_by_role("columnheader", name=run_id).first).to_be_visible()
    frame.get_by_role("textbox", name="User id").fill("u1")
    frame.get_by_role("button", name="Show lists").click()
    expect(frame.locator("main [aria-live=polite] table")).to_be_visible(timeout=30_000)
    frame.get_by_role("link", name="Now").click()


def rolled_back(frame: FrameLocator, before: str) -> None:
    """Go back to the run before, with a reason; see it happen."""
    frame.get_by_role("button", name="Roll back…").click()
    expect(frame.locator("dialog .switch .run").last).to_have_text(before)
    frame.get_by_label("Why?").fill("a test of the way back")
    frame.get_by_role("button", name="Roll back now").click()
    expect(frame.locator("dialog")).to_contain_text("success", timeout=MINUTES)
    frame.get_by_role("button", name="Close").click()
    expect(frame.locator(".serves .run")).to_have_text(before, timeout=30_000)
    expect(frame.locator(".hero .latch")).to_contain_text("a test of the way back")
    expect(frame.locator(".releases li").first).to_contain_text("rolled back")


def only_looks(chromium: Browser, on_sale: Installation, serves: str) -> None:
    """A viewer sees what serves, gets no button, and is refused by Airflow and by the page."""
    stack = on_sale.stack
    with chromium.new_context() as context:
        page = context.new_page()
        logged_in(page, f"{stack.airflow_url}/plugin/releases", "viewer", stack.viewer_password)
        page.wait_for_url("**/plugin/releases**", timeout=60_000)
        page.goto(f"{stack.airflow_url}/model-release/")
        expect(page.locator(".serves .run")).to_have_text(serves, timeout=60_000)
        expect(page.locator(".loading")).to_have_count(0, timeout=30_000)
        assert page.locator(".actions button").count() == 0
        assert [page.evaluate(TRIGGER, dag) for dag in (ROLLBACK, PIPELINE)] == [403, 403]


def test_a_release_is_seen_to_move_and_is_rolled_back_from_the_page(on_sale: Installation) -> None:
    """Log in, see a release move, open it, compare, go back from the page; the page, Airflow and the users agree."""
    before, stack = str(on_sale.current), on_sale.stack
    with browser() as chromium, chromium.new_context() as context:
        page = context.new_page()
        logged_in(page, f"{stack.airflow_url}/plugin/releases", stack.username, stack.password)
        frame = page.frame_locator("iframe[title=Releases]")
        expect(frame.locator(".serves .run")).to_have_text(before, timeout=60_000)
        expect(frame.get_by_text("All 1 replicas serve it")).to_be_visible(timeout=30_000)

        dag_run = on_sale.trigger(PIPELINE, {"as_of": "2026-02-19", "algorithm": "next_basket"})
        watched(frame)
        assert on_sale.ended(PIPELINE, dag_run).state == "success"
        released = str(on_sale.current)
        assert released != before
        compared(frame, before, released)
        expect(frame.locator(".serves .run")).to_have_text(released, timeout=30_000)
        only_looks(chromium, on_sale, released)
        assert on_sale.current == released
        rolled_back(frame, before)
    assert {run for run, _ in on_sale.answers().values()} == {before}
    runs = on_sale.rest.get(f"/dags/{ROLLBACK}/dagRuns").raise_for_status().json()["dag_runs"]
    assert runs[-1]["triggering_user_name"] == stack.username
    on_sale.run("recommendation_latch", action="clear", reason="the test is over")
