"""A release and a rollback, seen and done on the Releases page of a running Airflow, with a real model behind it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser import browser
from tests.live.installation import PIPELINE, ROLLBACK, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
MINUTES = 180_000  # milliseconds: what a DAG run takes on a busy machine


def test_a_release_is_seen_to_move_and_is_rolled_back_from_the_page(on_sale: Installation) -> None:
    """Log in, see a release come, open it, go back from the page; the page, Airflow and the users agree."""
    before = on_sale.current
    stack = on_sale.stack
    with browser() as chromium, chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{stack.airflow_url}/plugin/releases")
        page.get_by_label("Username").fill(stack.username)
        page.get_by_label("Password").fill(stack.password)
        page.get_by_role("button", name="Sign in").click()
        frame = page.frame_locator("iframe[title=Releases]")
        expect(frame.locator(".serves .run")).to_have_text(str(before), timeout=60_000)
        expect(frame.get_by_text("All 1 replicas serve it")).to_be_visible(timeout=30_000)

        dag_run = on_sale.trigger(PIPELINE, {"as_of": "2026-02-19", "algorithm": "next_basket"})
        newest = frame.locator(".releases li").first
        expect(newest).to_contain_text("released", timeout=MINUTES)
        assert on_sale.ended(PIPELINE, dag_run).state == "success"
        released = str(on_sale.current)
        assert released != before
        expect(frame.locator(".serves .run")).to_have_text(released, timeout=30_000)
        newest.locator("a").click()
        expect(frame.get_by_role("heading", level=1)).to_contain_text(released)
        expect(frame.locator(".checks li").first).to_be_visible()
        frame.get_by_role("link", name="All releases").click()

        frame.get_by_role("button", name="Roll back…").click()
        expect(frame.locator("dialog .switch .run").last).to_have_text(str(before))
        frame.get_by_label("Why?").fill("a test of the way back")
        frame.get_by_role("button", name="Roll back now").click()
        expect(frame.locator("dialog")).to_contain_text("success", timeout=MINUTES)
        frame.get_by_role("button", name="Close").click()
        expect(frame.locator(".serves .run")).to_have_text(str(before), timeout=30_000)
        expect(frame.locator(".hero .latch")).to_contain_text("a test of the way back")
        expect(newest).to_contain_text("rolled back")
    assert {run for run, _ in on_sale.answers().values()} == {before}
    runs = on_sale.rest.get(f"/dags/{ROLLBACK}/dagRuns").raise_for_status().json()["dag_runs"]
    assert runs[-1]["triggering_user_name"] == stack.username
    on_sale.run("recommendation_latch", action="clear", reason="the test is over")
