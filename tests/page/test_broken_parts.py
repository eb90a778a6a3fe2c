"""What the page shows while something behind it is really broken: killed, stopped or damaged, in a real Chromium.

The damage of each file, in every way, is in ``test_damage.py``.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from model_release.contract import utc_now
from tests.api.replica import wait_until
from tests.browser import browser
from tests.page.real import BROWSER_OPTION, RealSite
from tests.page.visitor import Visitors, ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TRAFFIC = "Traffic, last hour"
SECONDS = 40_000  # milliseconds: a question comes again after 15 s at most, and an answer may take a while


@pytest.fixture(scope="module")
def started() -> Iterator[Visitors]:
    with browser(BROWSER_OPTION) as chromium:
        yield Visitors(chromium)


@pytest.fixture
def look(real: RealSite, started: Visitors) -> Iterator[Callable[[], Page]]:
    """Open the page anew; no script may fail, whatever is broken."""
    visitors = Visitors(started.browser)

    def opened() -> Page:
        page = visitors.open(f"{real.url}/model-release/", real.token("admin"))
        ready(page)
        return page

    yield opened
    visitors.close()


def card(page: Page, title: str) -> Locator:
    return page.locator("section.card", has=page.get_by_role("heading", name=title, exact=True))


def lacking(page: Page) -> int:
    return page.locator("main .lack").count()


@contextmanager
def damaged(path: Path) -> Iterator[None]:
    """Let there be garbage instead of a file."""
    before = path.read_bytes()
    path.write_bytes(b"\x00\xffgarbage\n")
    try:
        yield
    finally:
        path.write_bytes(before)


def test_nothing_is_lacking_while_all_is_well(look: Callable[[], Page]) -> None:
    """Real replicas, Prometheus and Alertmanager are understood: what the other tests break was whole."""
    page = look()
    expect(page.get_by_text("All 2 replicas serve it")).to_be_visible(timeout=SECONDS)
    expect(card(page, "Alerts")).to_contain_text("RecommendationSlow", timeout=SECONDS)
    expect(card(page, TRAFFIC).locator("dl")).to_be_visible(timeout=SECONDS)
    assert lacking(page) == 0


def test_a_replica_that_was_killed(real: RealSite, look: Callable[[], Page]) -> None:
    """An open page says which by itself, and that it is back; the other is shown as before."""
    page = look()
    gone, other = real.replicas
    gone.kill()
    try:
        row = page.locator(".replicas li", has_text=gone.address)
        expect(row).to_have_class("unreachable", timeout=SECONDS)
        expect(row.locator(".why")).to_be_visible()
        expect(page.locator(".replicas li", has_text=other.address)).to_have_class("agrees")
        expect(page.get_by_text("1 of 2 replicas")).to_be_visible()
        assert lacking(page) == 0
    finally:
        gone.start()
    expect(page.get_by_text("All 2 replicas serve it")).to_be_visible(timeout=SECONDS)


def test_a_worker_that_hangs_and_is_killed(real: RealSite, look: Callable[[], Page]) -> None:
    """One of two squares is dashed while it does not report; then another process has its place."""
    page, replica = look(), real.replicas[0]
    row = page.locator(".replicas li", has_text=replica.address)
    worker = replica.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        expect(row.locator(".worker.gone")).to_have_count(1, timeout=SECONDS)
        expect(row.locator(".worker:not(.gone)")).to_have_count(1)
        expect(page.get_by_text("1 of 2 replicas")).to_be_visible()
    finally:
        os.kill(worker, signal.SIGKILL)
    wait_until("another worker serves", lambda: len(set(replica.workers()) - {worker}) == 2, 60)
    expect(row).to_have_class("agrees", timeout=SECONDS)
    assert f"{worker}" not in " ".join(row.locator(".worker").evaluate_all("all => all.map(one => one.title)"))


def test_prometheus_and_alertmanager_that_were_killed(real: RealSite, look: Callable[[], Page]) -> None:
    """Each is named where it lacks, on a page that was open; everything else is shown; what comes back is shown again."""
    page = look()
    expect(card(page, TRAFFIC).locator("dl")).to_be_visible(timeout=SECONDS)
    real.prometheus.kill()
    os.kill(real.alertmanager.process.pid, signal.SIGSTOP)  # it takes connections, and answers nothing
    try:
        expect(card(page, TRAFFIC).locator(".lack.unreachable")).to_contain_text("Prometheus", timeout=SECONDS)
        expect(card(page, "Alerts").locator(".lack.unreachable")).to_contain_text("Alertmanager", timeout=SECONDS)
        assert lacking(page) == 2
        expect(page.get_by_text("All 2 replicas serve it")).to_be_visible()
        expect(page.locator(".releases li").first).to_be_visible()
    finally:
        os.kill(real.alertmanager.process.pid, signal.SIGCONT)
        real.prometheus_again()
    expect(card(page, "Alerts")).to_contain_text("RecommendationSlow", timeout=SECONDS)
    expect(card(page, TRAFFIC).locator("dl")).to_be_visible(timeout=SECONDS)


@pytest.mark.parametrize(
    ("file", "lacks", "shown"),
    [
        ("models/model_registry.json", (".lack.broken", "model_registry.json"), ("Timeline", "Releases", "Alerts", TRAFFIC)),
        ("models/release_ledger.jsonl", (".lack.broken", "release_ledger.jsonl"), ("Replicas", "Alerts", TRAFFIC)),
        ("data/evaluation/data_quality_metrics.prom", (".lack.broken", "data_quality_metrics.prom"), ("Replicas", "Timeline")),
        ("data/evaluation/reconciliation_*.json", (".lack.broken", "reconciliation_"), ("Replicas", "Timeline")),
    ],
)  # fmt: skip
def test_a_file_that_is_damaged(
    real: RealSite, look: Callable[[], Page], file: str, lacks: tuple[str, str], shown: tuple[str, ...]
) -> None:
    """Its name stands where it lacks, and the other cards have no lack."""
    (path,) = real.past.paths.root.glob(file)
    with damaged(path):
        page = look()
        expect(page.locator(lacks[0]).first).to_contain_text(lacks[1], timeout=SECONDS)
        for title in shown:
            expect(card(page, title)).to_be_visible()
            expect(card(page, title).locator(".lack")).to_have_count(0, timeout=SECONDS)
    assert lacking(look()) == 0


def test_airflow_itself_that_is_away(real: RealSite, look: Callable[[], Page]) -> None:
    """The page keeps what it has, says since when, and goes on when Airflow is back."""
    page = look()
    expect(page.get_by_text("All 2 replicas serve it")).to_be_visible(timeout=SECONDS)
    rows = page.locator(".releases li").count()
    real.airflow.stop()
    try:
        expect(page.locator("#offline")).to_be_visible(timeout=SECONDS)
        said = page.locator("#offline").text_content()
        time.sleep(4.0)  # what is asked again meanwhile changes nothing
        assert page.locator("#offline").text_content() == said
        assert page.locator(".releases li").count() == rows
        expect(page.get_by_text("All 2 replicas serve it")).to_be_visible()
        assert lacking(page) == 0
    finally:
        real.airflow.start()
    expect(page.locator("#offline")).to_be_hidden(timeout=SECONDS)
    real.past.trained(utc_now())
    expect(page.locator(".releases li").first).to_contain_text("under way", timeout=SECONDS)
