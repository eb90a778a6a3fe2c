"""Every text that the page is ever sent holds markup and scripts, in every view, with the Content-Security-Policy off: nothing runs.

A proxy in the browser puts them there, into all answers of the page's routes, so that no text is forgotten: names of items, alerts and
their labels, messages, reasons, who did it, policies, replicas, and what is added later.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from model_release.page.timeline import History
from tests.browser import browser
from tests.page.real import BROWSER_OPTION, HOST, RealSite
from tests.page.visitor import ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
HOSTILE = (
    '<img src=x onerror="window.owned=1"><script>window.owned=1</script><svg onload=window.owned=1>'
    '</title></textarea></style>\'"><iframe srcdoc="<script>parent.owned=1</script>">'
)
# What the page compares and reads as a number, a time or a word of its own; the server gives these from lists of its own.
OWN_WORDS = {
    "state", "outcome", "verdict", "event", "kind", "mode", "cause", "result", "counted", "severity", "direction", "status", "stage",
    "pipeline", "after", "release_id", "dag_id", "dag_run_id", "fingerprint",
}  # fmt: skip
_PLAIN = re.compile(r"\d{4}-\d\d-\d\d.*|-?[\d.]+ ?%?|")


def poisoned(value: Any, key: str = "") -> Any:
    """Return ``value`` with markup in every text."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    if isinstance(value, str) and key not in OWN_WORDS and not _PLAIN.fullmatch(value):
        return f"javascript:window.owned=1//{HOSTILE}{value}"
    return value


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser(BROWSER_OPTION) as started:
        yield started


@pytest.fixture
def poisoned_page(real: RealSite, chromium: Browser) -> Iterator[Page]:
    """A page whose every answer is poisoned, and whose policy would let any script run."""

    def poison(route: Route) -> None:
        answer = route.fetch(url=route.request.url.replace(HOST, "127.0.0.1"))  # the name is known to the browser alone
        if answer.ok and "json" in answer.headers.get("content-type", ""):
            route.fulfill(response=answer, body=json.dumps(poisoned(answer.json())))
        else:
            route.fulfill(response=answer)

    with chromium.new_context(bypass_csp=True) as context:
        context.add_cookies([{"name": "_token", "value": real.token("admin"), "url": real.url}])
        context.route("**/model-release/api/**", poison)
        yield context.new_page()


def nothing_ran(page: Page) -> None:
    """No script of theirs ran, no element of theirs is there, and no link leads to a script."""
    page.wait_for_timeout(300)
    assert page.evaluate("window.owned") is None
    assert page.locator("main :is(img, script, iframe, style), dialog :is(img, script, iframe, style)").count() == 0
    assert (
        page.evaluate(
            "[...document.querySelectorAll('*')].flatMap(one => one.getAttributeNames()).filter(name => /^on/.test(name))"
        )
        == []
    )
    assert page.evaluate("[...document.links].map(one => one.protocol).filter(one => !/^https?:$/.test(one))") == []


def test_the_test_can_fail(poisoned_page: Page, real: RealSite) -> None:
    """Where markup is taken for markup, the script runs, and is found."""
    poisoned_page.goto(f"{real.url}/model-release/")
    ready(poisoned_page)
    poisoned_page.evaluate("html => { document.querySelector('main').innerHTML = html; }", HOSTILE)
    with pytest.raises(AssertionError):
        nothing_ran(poisoned_page)


@pytest.mark.parametrize("view", ["now", "release", "compare", "tab"])
def test_nothing_of_what_is_said_runs(real: RealSite, poisoned_page: Page, view: str) -> None:
    history = History.of(real.past.ledger.read())
    one = next(found for found in history.releases if found.outcome.value == "released" and found.previous_run_id)
    dag_id, _, dag_run_id = one.release_id.partition(":")
    address = {
        "now": "",
        "release": f"#/release/{quote(one.release_id, safe='')}",
        "compare": f"#/compare?left={one.previous_run_id}&right={one.run_id}",
        "tab": f"?dag_id={dag_id}&dag_run_id={quote(dag_run_id, safe='')}",
    }[view]
    poisoned_page.goto(f"{real.url}/model-release/{address}")
    ready(poisoned_page)
    expect(poisoned_page.get_by_text("<img src=x").first).to_be_attached()
    if view == "compare":
        poisoned_page.get_by_role("textbox", name="User id").fill("u1")
        poisoned_page.get_by_role("button", name="Show lists").click()
        expect(poisoned_page.locator("main [aria-live=polite] table")).to_be_visible()
    nothing_ran(poisoned_page)


@pytest.mark.parametrize("button", ["Roll back…", "Release a run…", "Acknowledge…"])
def test_nothing_of_what_is_said_runs_in_a_dialog(real: RealSite, poisoned_page: Page, button: str) -> None:
    poisoned_page.goto(f"{real.url}/model-release/")
    ready(poisoned_page)
    poisoned_page.get_by_role("button", name=button).first.click()
    expect(poisoned_page.locator("dialog .what")).to_be_visible()
    expect(poisoned_page.locator("dialog .loading")).to_have_count(0)
    nothing_ran(poisoned_page)
