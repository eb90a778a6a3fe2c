"""The page as a person sees it: a real Chromium on a real API server of Airflow, with a release history of weeks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from model_release import registry as transitions
from model_release.contract import utc_now
from model_release.ledger import Event
from model_release.page.timeline import History
from tests.browser import browser
from tests.page.history import HOSTILE
from tests.page.server import Site, site

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STATIC = Path(__file__).resolve().parents[2] / "plugins" / "model_release_airflow" / "page" / "static"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


def token(shop: Site, role: str) -> str:
    login = {"username": role, "password": f"{role}-password"}
    return str(httpx.post(f"{shop.url}/auth/token", json=login, trust_env=False, timeout=60).json()["access_token"])


@pytest.fixture
def visit(shop: Site, chromium: Browser) -> Iterator[Open]:
    """Open a view as somebody; at the end, no script may have failed and nothing may have been blocked."""
    contexts, complaints = [], []

    def go(
        path: str = "/model-release/", role: str = "admin", *, theme: str = "light", lang: str = "en", width: int = 1280
    ) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        context.add_cookies([{"name": "_token", "value": token(shop, role), "url": shop.url}])
        context.add_init_script(f"localStorage.theme = '{theme}'; localStorage.i18nextLng = '{lang}'")
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        page.goto(shop.url + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def views(shop: Site) -> dict[str, str]:
    """Return the address of every view, those with hostile text among them."""
    history = History.of(shop.past.ledger.read())
    by_outcome = {one.outcome.value: one for one in history.releases}
    trial = by_outcome["on_trial"]
    released = next(
        one for one in history.releases if one.outcome.value == "released" and one.run_id == trial.previous_run_id
    )
    compare = f"/model-release/#/compare?left={trial.previous_run_id}&right={trial.run_id}"
    return {
        "now": "/model-release/",
        "trial": f"/model-release/#/release/{quote(trial.release_id, safe='')}",
        "failed": f"/model-release/#/release/{quote(by_outcome['failed'].release_id, safe='')}",
        "released": f"/model-release/#/release/{quote(released.release_id, safe='')}",
        "compare": compare,
        "lists": f"{compare}&user={quote('用户三')}",
    }


def ready(page: Page) -> None:
    """Wait until nothing loads any more."""
    page.wait_for_selector("main :is(.card, .head)")
    expect(page.locator(".loading")).to_have_count(0, timeout=20_000)


def test_in_airflows_navigation_after_logging_in(shop: Site, chromium: Browser) -> None:
    """From the login form to the page, inside Airflow's own; the frame does not keep its scripts from working."""
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{shop.url}/plugin/releases")
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill("admin-password")
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/plugin/releases**", timeout=60_000)
        expect(page.get_by_role("link", name="Releases")).to_be_visible(timeout=60_000)
        frame = page.frame_locator("iframe[title=Releases]")
        expect(frame.get_by_text("All 3 replicas serve it")).to_be_visible(timeout=60_000)
        frame.locator(".releases a").first.click()
        frame.get_by_role("link", name="DAG run and logs").click()
        page.wait_for_url("**/dags/recommendation_pipeline/runs/**")


@pytest.mark.parametrize("view", ["now", "trial", "failed", "compare", "lists"])
def test_what_is_no_html_is_shown_as_text(shop: Site, visit: Open, view: str) -> None:
    """An alert, a reason and a message that hold scripts: they are read by people, and run by nobody."""
    page = visit(views(shop)[view])
    ready(page)
    page.wait_for_timeout(300)
    assert page.title() == "Releases"
    assert page.locator("main img, main script").count() == 0
    if view in {"now", "failed", "lists"}:
        expect(page.get_by_text(HOSTILE).first).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("view", ["now", "trial", "released", "failed", "lists"])
def test_axe_finds_nothing_serious(shop: Site, visit: Open, view: str, theme: str) -> None:
    page = visit(views(shop)[view], theme=theme)
    ready(page)
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in found
        if one["impact"] in {"serious", "critical"}
    ]
    assert serious == []


def test_the_dialog_is_accessible(visit: Open) -> None:
    page = visit()
    page.get_by_role("button", name="Roll back…").click()
    expect(page.locator("dialog .switch")).to_be_visible()
    found = Axe().run(page, context="dialog").response["violations"]
    assert [one["id"] for one in found if one["impact"] in {"serious", "critical"}] == []


@pytest.mark.parametrize("lang", ["en", "zh-CN"])
@pytest.mark.parametrize("view", ["now", "trial", "released", "lists"])
def test_nothing_sticks_out_of_a_telephone(shop: Site, visit: Open, view: str, lang: str) -> None:
    page = visit(views(shop)[view], width=390, lang=lang)
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_both_languages_say_everything() -> None:
    """The same sentences with the same values in them, none left as it was."""
    told = {}
    for name in ("en", "zh-CN"):
        text = (STATIC / "words" / f"{name}.js").read_text(encoding="utf-8")
        told[name] = dict(re.findall(r'^  (\w+): "((?:[^"\\]|\\.)*)",$', text, re.MULTILINE))
    assert len(told["en"]) > 150
    assert told["en"].keys() == told["zh-CN"].keys()
    for key, english in told["en"].items():
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", told["zh-CN"][key])), key
    events = {f"event_{event.value}" for event in Event}
    assert events <= told["en"].keys()


def test_chinese_where_airflow_is(visit: Open) -> None:
    page = visit(lang="zh-CN")
    expect(page.get_by_text("全部 3 个副本都在使用它")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "zh-CN"


def test_what_happens_appears_by_itself_and_the_focus_stays(shop: Site, visit: Open) -> None:
    page = visit()
    ready(page)
    first = page.locator(".releases a").first
    first.focus()
    key = first.get_attribute("data-key")
    shop.past.trained(utc_now())
    expect(page.locator(".releases li").first).to_contain_text("under way", timeout=20_000)
    assert page.evaluate("document.activeElement.dataset.key") == key
    assert page.locator(".releases a").first.get_attribute("data-key") != key


def test_the_keyboard_reaches_and_opens_a_release(visit: Open) -> None:
    page = visit()
    ready(page)
    page.locator(".lanes .dot").last.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.get_by_role("link", name="All releases").press("Enter")
    expect(page.locator(".lanes")).to_be_visible()


def test_a_stretch_of_time_is_chosen_with_the_mouse(visit: Open) -> None:
    page = visit()
    ready(page)
    before = page.locator(".range").text_content()
    box: Any = page.locator(".lanes").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 110)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 110, steps=3)
    page.mouse.up()
    expect(page.locator(".range")).not_to_have_text(str(before))
    expect(page.locator("[data-key=zoom_month]")).to_have_attribute("aria-pressed", "false")


def test_parts_that_are_away_say_so_and_the_rest_is_shown(shop: Site, visit: Open) -> None:
    """Prometheus and Alertmanager answer nonsense: their cards say why; users still see what serves."""
    from tests.fakes_monitoring import Reply

    nonsense = Reply(b"<html>", status=502)
    shop.prometheus.poison = lambda *_: nonsense
    shop.alertmanager.reply = nonsense
    try:
        page = visit()
        expect(page.locator(".lack.unreachable")).to_have_count(2, timeout=20_000)
        expect(page.locator(".lack").first).to_contain_text("Prometheus at")
        expect(page.get_by_text("All 3 replicas serve it")).to_be_visible()
    finally:
        shop.prometheus.poison = lambda *_: None
        shop.alertmanager.reply = None


def test_an_alert_is_acknowledged_in_ones_own_name(shop: Site, visit: Open) -> None:
    """Alertmanager gets a silence of exactly that alert, for as long as was said, and Airflow writes who did it."""
    page = visit(role="user")
    page.get_by_role("button", name="Acknowledge…").click()
    page.get_by_label("What is known").fill("index is rebuilt")
    page.get_by_label("For how long?").select_option("30")
    page.locator("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator("dialog")).to_have_count(0)
    (silence,) = [json.loads(body) for body in shop.alertmanager.posted]
    assert (silence["createdBy"], silence["comment"]) == ("user", "acknowledged: index is rebuilt")
    assert {one["name"] for one in silence["matchers"]} == {"alertname", "severity", "run_id"}
    with httpx.Client(
        headers={"Authorization": f"Bearer {token(shop, 'admin')}"}, trust_env=False, timeout=60
    ) as client:
        logs = client.get(f"{shop.url}/api/v2/eventLogs", params={"event": "acknowledge_alert"}).json()["event_logs"]
    assert [one["owner"] for one in logs] == ["user"]


def test_a_tab_on_a_dag_run_shows_its_release(shop: Site, visit: Open) -> None:
    release_id = next(
        one.release_id for one in History.of(shop.past.ledger.read()).releases if one.marks[-1].event == "verified"
    )
    dag_id, _, dag_run_id = release_id.partition(":")
    page = visit(f"/model-release/?dag_id={dag_id}&dag_run_id={quote(dag_run_id, safe='')}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("released")
    nothing = visit(f"/model-release/?dag_id={dag_id}&dag_run_id=manual__none")
    expect(nothing.get_by_text("This DAG run made no release")).to_be_visible()


def test_airflow_shows_the_tabs_of_a_dag_and_of_a_dag_run(shop: Site, visit: Open) -> None:
    """By their names, and with the DAG run's own id handed to the page, whatever signs it holds."""
    dag_run_id = "manual__2026-01-05T00:00:00+00:00"
    headers = {"Authorization": f"Bearer {token(shop, 'admin')}"}
    made = httpx.post(
        f"{shop.url}/api/v2/dags/recommendation_latch/dagRuns", headers=headers, trust_env=False, timeout=60,
        json={"dag_run_id": dag_run_id, "logical_date": None, "conf": {"action": "set", "reason": "a test"}},
    )  # fmt: skip
    assert made.is_success, made.text
    dag = visit("/dags/recommendation_latch")
    dag.get_by_role("link", name="Releases").last.click()
    expect(dag.frame_locator("iframe[title=Releases]").get_by_text("All 3 replicas serve it")).to_be_visible(
        timeout=60_000
    )
    run = visit(f"/dags/recommendation_latch/runs/{quote(dag_run_id)}")
    run.get_by_role("link", name="Release", exact=True).click()
    frame = run.frame_locator("iframe[title=Release]")
    expect(frame.get_by_text("This DAG run made no release")).to_be_visible(timeout=60_000)
    now = utc_now()
    shop.past.note(Event.LATCH_SET, f"recommendation_latch:{dag_run_id}", now, reason="a test of the tab")
    expect(frame.get_by_text("a test of the tab").first).to_be_visible(timeout=60_000)


def test_a_viewer_is_offered_nothing_and_may_nothing(visit: Open) -> None:
    page = visit(role="viewer")
    ready(page)
    assert page.locator(".actions button").count() == 0
    status = page.evaluate(
        """async () => (await fetch("../api/v2/dags/recommendation_rollback/dagRuns", {method: "POST",
        headers: {"Content-Type": "application/json"}, body: JSON.stringify({logical_date: null, conf: {reason: "x"}})})).status"""
    )
    assert status == 403


def test_a_rollback_shows_what_it_does_and_asks_airflow_for_it(shop: Site, visit: Open) -> None:
    """In the name of who pressed the button, to the run that they saw, with the reason that they gave."""
    page = visit(role="user")
    page.get_by_role("button", name="Roll back…").click()
    target = shop.past.registry.read().last_good_run_id()
    expect(page.locator("dialog .switch .run").last).to_have_text(str(target))
    page.get_by_label("Why?").fill("求证: <b>slow</b>")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.get_by_text("The DAG run is queued")).to_be_visible(timeout=60_000)
    with httpx.Client(
        headers={"Authorization": f"Bearer {token(shop, 'admin')}"}, trust_env=False, timeout=60
    ) as client:
        (run,) = client.get(f"{shop.url}/api/v2/dags/recommendation_rollback/dagRuns").json()["dag_runs"]
    assert run["triggering_user_name"] == "user"
    assert run["conf"] == {"run_id": target, "reason": "求证: <b>slow</b>", "set_latch": True}


def test_a_rollback_that_would_do_something_else_by_now_is_shown_again(shop: Site, visit: Open) -> None:
    """Somebody went first, between looking and pressing: nothing is asked for."""
    page = visit()
    page.get_by_role("button", name="Roll back…").click()
    expect(page.locator("dialog .switch")).to_be_visible()
    run_id, release_id = shop.past.trained(utc_now())
    shop.past.change(
        lambda state: transitions.promote(state, run_id=run_id, release_id=release_id, at=utc_now(), cause="person")
    )
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    page.get_by_label("Why?").fill("slow")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.locator("dialog .bad")).to_contain_text("Something changed")
    expect(page.locator("dialog .switch .run").first).to_have_text(run_id)
    assert asked == []
