"""What is behind a release, addresses that can be sent, Airflow's time zone, names in any script, and the keyboard alone."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from model_release.contract import utc_now
from model_release.ledger import Event
from model_release.page.timeline import History
from tests.browser import browser
from tests.page.server import Site, site
from tests.page.test_browser import ready, token, views

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Open = Callable[..., Page]
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def visit(shop: Site, chromium: Browser) -> Iterator[Open]:
    """Open an address; ``stored`` is what Airflow keeps in the browser.  At the end, no script may have failed."""
    contexts, complaints = [], []

    def go(path: str = "/model-release/", *, stored: str = "", width: int = 1280, role: str | None = "admin") -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, timezone_id="Europe/Berlin", locale="en"
        )
        contexts.append(context)
        if role:
            context.add_cookies([{"name": "_token", "value": token(shop, role), "url": shop.url}])
        if stored:
            context.add_init_script(stored)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(shop.url + path)
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


class TestARelease:
    def test_slices_with_intervals_and_which_are_too_small(self, shop: Site, visit: Open) -> None:
        page = visit(views(shop)["trial"])
        ready(page)
        low = page.locator(".slices tbody tr", has_text="users with little history")
        expect(low).to_contain_text(re.compile(r"612.*0\.1432.*0\.1463.*\+0\.0030 \[-0\.0060, \+0\.0120\].*pass"))
        expect(low.locator("svg.plot .interval").first).to_be_attached()
        expect(page.locator(".slices tr", has_text="items known")).to_contain_text("too few, 100 needed")
        expect(page.locator(".slices tr", has_text="items new")).to_contain_text("not looked at")
        page.get_by_role("button", name="recall_at_20").click()
        expect(page.get_by_role("button", name="recall_at_20")).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".slices tr", has_text="everybody")).to_contain_text("0.1840")

    def test_ranking_data_and_policy(self, shop: Site, visit: Open) -> None:
        page = visit(views(shop)["trial"])
        ready(page)
        ranking = page.get_by_role("region", name="How differently it ranks")
        expect(ranking).to_contain_text("Rank-biased overlap")
        expect(ranking.locator(".shares circle")).to_have_count(20)
        expect(ranking).to_contain_text("shadow-overlap")
        expect(ranking.locator("tbody tr")).to_have_count(5)
        quality = page.get_by_role("region", name="Data quality over the last releases")
        expect(quality.locator("li", has_text="interactions")).to_contain_text("94.2 · wanted 90")
        expect(quality.locator("path.wanted")).to_have_count(2)
        expect(quality.locator("circle.fail")).not_to_have_count(0)
        policy = page.get_by_role("region", name="Policy: Judged before a trial")
        expect(policy).to_contain_text("It is in force now")
        policy.get_by_text("checks").click()
        expect(policy.locator("tr", has_text="data-quality")).to_contain_text("minimum_score: 90")
        page.get_by_role("button", name="recall_at_20").click()  # draws all of it anew
        expect(policy.locator("details")).to_have_attribute("open", "")

    def test_another_policy_than_the_one_in_force_says_so(self, shop: Site, visit: Open) -> None:
        oldest = History.of(shop.past.ledger.read()).releases[-1]
        page = visit(f"/model-release/#/release/{quote(oldest.release_id, safe='')}")
        expect(page.get_by_text("Another one is in force now")).to_be_visible()

    def test_promises_of_the_days_on_which_it_served(self, shop: Site, visit: Open) -> None:
        page = visit(views(shop)["released"])
        promises = page.get_by_role("region", name="Promised against observed")
        expect(promises.locator("figure.strip")).to_have_count(3)
        strip = promises.locator("li", has_text="recall_at_10")
        expect(strip).to_contain_text(re.compile(r"[1-9]\d* of \d+ broken"))
        expect(strip.locator("circle.fail")).not_to_have_count(0)

    def test_the_graph_and_the_logs_are_linked(self, shop: Site, visit: Open) -> None:
        page = visit(views(shop)["trial"])
        graph = page.get_by_role("link", name="Graph in Prometheus")
        expect(graph).to_have_attribute("href", re.compile(r"^https://prometheus\.shop\.example/graph\?g0\.expr="))
        step = page.get_by_role("region", name="Everything the ledger tells").get_by_role("link").first
        expect(step).to_have_attribute("href", re.compile(r"/dags/recommendation_pipeline/runs/.*/tasks/x$"))
        expect(page.get_by_text("Airflow no longer knows this DAG run")).to_be_visible()

    def test_the_graph_opens_beside_airflow_out_of_the_frame_too(self, shop: Site, visit: Open) -> None:
        """The sandbox lets the frame open no window; Airflow's page does, and the other site learns nothing of it."""
        page = visit(f"/plugin/releases{views(shop)['trial']}")
        page.context.route("https://prometheus.shop.example/**", lambda route: route.fulfill(body="graphs"))
        link = page.frame_locator("iframe[title=Releases]").get_by_role("link", name="Graph in Prometheus")
        with page.expect_popup(timeout=60_000) as opened:
            link.click(timeout=60_000)
        expect(opened.value.get_by_text("graphs")).to_be_visible()
        assert opened.value.evaluate("[window.opener, document.referrer]") == [None, ""]
        assert "/plugin/releases" in page.url

    def test_the_tasks_of_a_dag_run_lead_to_their_logs_in_airflow(self, shop: Site, visit: Open) -> None:
        """From inside the frame, whose sandbox lets no link out."""
        run_id = "manual__tasks"
        made = httpx.post(
            f"{shop.url}/api/v2/dags/recommendation_latch/dagRuns", trust_env=False, timeout=60,
            headers={"Authorization": f"Bearer {token(shop, 'admin')}"},
            json={"dag_run_id": run_id, "logical_date": None, "conf": {"action": "set", "reason": "a test"}},
        )  # fmt: skip
        assert made.is_success, made.text
        release_id = f"recommendation_latch:{run_id}"
        shop.past.note(Event.LATCH_SET, release_id, utc_now(), reason="a test of the tasks")
        page = visit(f"/plugin/releases/model-release/#/release/{quote(release_id, safe='')}")
        frame = page.frame_locator("iframe[title=Releases]")
        task = frame.locator(".tasks li a").first
        expect(task).to_be_visible(timeout=60_000)
        expect(frame.locator(".tasks li").first).to_contain_text("not begun")
        task.click()
        page.wait_for_url("**/dags/recommendation_latch/runs/manual__tasks/tasks/**")


class TestDays:
    def test_now_shows_the_days_before_too(self, visit: Open) -> None:
        page = visit()
        ready(page)
        promises = page.get_by_role("region", name="Promised against observed")
        expect(promises.locator("figure.strip")).to_have_count(3)
        expect(promises.locator("li", has_text="recall_at_20").locator("figure.strip circle")).to_have_count(12)
        expect(promises).to_contain_text("Days without a reconciliation that can be read: 1")


class TestAddresses:
    def test_a_view_inside_airflow_has_an_address_that_survives_reload_and_back(self, shop: Site, visit: Open) -> None:
        page = visit("/plugin/releases")
        frame = page.frame_locator("iframe[title=Releases]")
        frame.locator(".releases li", has_text="on trial").first.locator("a").click(timeout=60_000)
        heading = frame.get_by_role("heading", level=1)
        expect(heading).to_contain_text("on trial")
        page.wait_for_url("**#/release/**")
        address = page.url
        page.reload()
        expect(heading).to_contain_text("on trial", timeout=60_000)
        assert page.url == address
        frame.get_by_role("link", name="All releases").click()
        expect(frame.locator(".lanes")).to_be_visible()
        page.go_back()
        expect(heading).to_contain_text("on trial", timeout=60_000)
        page.wait_for_url("**#/release/**")
        page.go_forward()
        expect(frame.locator(".lanes")).to_be_visible(timeout=60_000)
        page.wait_for_url("**#/now")
        elsewhere = visit(address.removeprefix(shop.url))
        expect(elsewhere.frame_locator("iframe[title=Releases]").get_by_role("heading", level=1)).to_contain_text(
            "on trial", timeout=60_000
        )

    def test_who_is_logged_out_gets_there_after_logging_in(self, shop: Site, visit: Open) -> None:
        """A colleague opens the link that was sent."""
        page = visit(f"/plugin/releases{views(shop)['trial']}", role=None)
        page.get_by_label("Username").fill("viewer")
        page.get_by_label("Password").fill("viewer-password")
        page.get_by_role("button", name="Sign in").click()
        heading = page.frame_locator("iframe[title=Releases]").get_by_role("heading", level=1)
        expect(heading).to_contain_text("on trial", timeout=60_000)

    def test_in_the_tab_of_a_dag_too(self, visit: Open) -> None:
        page = visit("/dags/recommendation_pipeline/plugin/releases-dag")
        frame = page.frame_locator("iframe[title=Releases]")
        frame.get_by_role("link", name="Compare runs").click(timeout=60_000)
        page.wait_for_url("**/plugin/releases-dag#/compare")
        page.reload()
        expect(frame.get_by_role("heading", name="Compare two runs")).to_be_visible(timeout=60_000)

    def test_a_stretch_of_time_and_a_filter_are_in_the_address(self, visit: Open) -> None:
        page = visit()
        ready(page)
        page.get_by_label("Show").select_option("rejected")
        page.get_by_role("button", name="All", exact=True).click()
        page.wait_for_url("**outcome=rejected**")
        page.reload()
        ready(page)
        expect(page.get_by_label("Show")).to_have_value("rejected")
        expect(page.get_by_role("button", name="All", exact=True)).to_have_attribute("aria-pressed", "true")
        expect(page.locator(".releases li")).to_have_count(1)

    def test_a_link_can_be_copied(self, shop: Site, visit: Open) -> None:
        page = visit(views(shop)["trial"])
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy link").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == page.url

    def test_without_a_clipboard_it_is_shown(self, visit: Open) -> None:
        page = visit(stored="Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.get_by_role("button", name="Copy link").click()
        expect(page.locator("dialog input")).to_have_value(re.compile("/model-release/"))
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)


class TestZone:
    def test_times_are_in_the_zone_that_airflow_shows(self, shop: Site, visit: Open) -> None:
        first = History.of(shop.past.ledger.read()).releases[-1].marks[0].at  # registered at 3:30 UTC
        assert (first.hour, first.minute) == (3, 30)
        stored = "localStorage.timezone = JSON.stringify('Asia/Kolkata')"
        oldest = quote(History.of(shop.past.ledger.read()).releases[-1].release_id, safe="")
        page = visit(f"/model-release/#/release/{oldest}", stored=stored)
        expect(page.get_by_text("Times in Asia/Kolkata (UTC+5:30)")).to_be_visible()
        expect(page.locator(".path li").first).to_contain_text("9:00:00")
        page.evaluate("localStorage.timezone = JSON.stringify('America/Los_Angeles')")
        page.evaluate("window.dispatchEvent(new StorageEvent('storage', {key: 'timezone'}))")
        expect(page.get_by_text("Times in America/Los_Angeles")).to_be_visible()
        expect(page.locator(".path li").first).to_contain_text("8:30:00 PM")

    def test_another_zone_chosen_in_airflow_is_followed_at_once(self, visit: Open) -> None:
        """Airflow's own window keeps it; the browser tells the frame."""
        page = visit("/plugin/releases")
        frame = page.frame_locator("iframe[title=Releases]")
        expect(frame.get_by_text("Times in Europe/Berlin")).to_be_visible(timeout=60_000)
        page.evaluate("localStorage.setItem('timezone', JSON.stringify('Asia/Tokyo'))")
        expect(frame.get_by_text("Times in Asia/Tokyo (UTC+9)")).to_be_visible()

    @pytest.mark.parametrize("kept", ["'Mars/Olympus'", "'UTC'.repeat(9)", "'{'", "'7'"])
    def test_a_zone_that_is_none_is_the_browsers(self, visit: Open, kept: str) -> None:
        page = visit(stored=f"localStorage.timezone = {kept}")
        expect(page.get_by_text("Times in Europe/Berlin")).to_be_visible()

    def test_days_of_the_timeline_begin_at_midnight_there_also_when_clocks_change(self, visit: Open) -> None:
        """On 2026-11-01 at 2 o'clock clocks go back in New York: days before and after begin at another time of UTC."""
        start, end = (
            int(dt.datetime(2026, month, day, 12, tzinfo=dt.UTC).timestamp()) for month, day in ((10, 30), (11, 4))
        )
        page = visit(
            f"/model-release/#/now?from={start}&to={end}",
            stored="localStorage.timezone = JSON.stringify('America/New_York')",
        )
        ready(page)
        ticks = page.evaluate(
            "[...document.querySelectorAll('.lanes .tick')].map((one) => Number(one.getAttribute('x1')))"
        )
        width = page.evaluate("Number(document.querySelector('.lanes').getAttribute('width'))")
        at = [start + (x - 10) / (width - 20) * (end - start) for x in ticks]
        change = dt.datetime(2026, 11, 1, 6, tzinfo=dt.UTC).timestamp()
        hours = {
            late: {round((one % 86400) / 3600, 1) for one in at if (one > change) is late} for late in (False, True)
        }
        assert hours == {False: {4.0, 16.0}, True: {5.0, 17.0}}


class TestLists:
    def test_names_of_any_script_stand_side_by_side_in_their_own_direction(self, shop: Site, visit: Open) -> None:
        """A name from right to left turns neither the rank beside it nor the id and the arrow after it."""
        page = visit(views(shop)["lists"])
        table = page.locator("table.lists")
        expect(table.locator("tbody tr")).to_have_count(20)
        row = table.locator("td", has_text="حليب طازج").first
        expect(row).to_be_visible()
        found: Any = row.evaluate(
            "(cell) => [...cell.querySelectorAll('bdi')].map((one) => [getComputedStyle(one).direction, one.getBoundingClientRect().left])"
        )
        assert [direction for direction, _ in found] == ["rtl", "ltr"]
        assert found[0][1] < found[1][1]
        expect(table.locator("td", has_text="全脂牛奶").first).to_be_visible()
        assert row.evaluate("(cell) => cell.scrollWidth <= cell.clientWidth")

    def test_whose_lists_are_open_is_in_the_address(self, shop: Site, visit: Open) -> None:
        page = visit(views(shop)["compare"])
        page.get_by_role("button", name="用户三").click()
        expect(page.locator("table.lists")).to_be_visible()
        page.reload()
        expect(page.locator("table.lists")).to_be_visible()
        expect(page.get_by_label("User id")).to_have_value("用户三")

    def test_side_by_side_on_a_telephone(self, shop: Site, visit: Open) -> None:
        page = visit(views(shop)["lists"], width=390)
        cells = page.locator("table.lists tbody tr").first.locator("td")
        expect(cells).to_have_count(2)
        tops = [cells.nth(place).bounding_box() for place in range(2)]
        assert tops[0] is not None
        assert tops[1] is not None
        assert tops[0]["y"] == tops[1]["y"]
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


REACHED = "a[href], button:not(:disabled), input, select, textarea, summary, [tabindex='0']"


class TestKeyboard:
    @pytest.mark.parametrize("view", ["now", "trial", "lists"])
    def test_everything_that_can_be_pressed_is_reached_and_its_focus_seen(
        self, shop: Site, visit: Open, view: str
    ) -> None:
        page = visit(views(shop)[view])
        ready(page)
        page.evaluate(
            f"window.all = new Set([...document.querySelectorAll({REACHED!r})].filter((one) => one.checkVisibility() && !one.closest('details:not([open]) table')))"
        )
        count = page.evaluate("all.size")
        assert count > 10
        unseen = []
        for _ in range(count + 40):
            page.keyboard.press("Tab")
            seen = page.evaluate(
                """() => { const one = document.activeElement; all.delete(one); const style = getComputedStyle(one);
                const drawn = one instanceof SVGElement || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1);
                return one === document.body || drawn ? null : one.outerHTML.slice(0, 100) }"""
            )
            unseen += [seen] if seen else []
            if page.evaluate("all.size") == 0:
                break
        assert unseen == []
        assert page.evaluate("[...all].map((one) => one.outerHTML.slice(0, 100))") == []

    def test_arrows_go_from_sign_to_sign_in_the_timeline(self, visit: Open) -> None:
        page = visit()
        ready(page)
        assert page.locator(".lanes [tabindex='0']").count() == 1
        page.locator(".lanes [tabindex='0']").focus()
        last = page.evaluate("document.activeElement.dataset.key")
        page.keyboard.press("Home")
        first = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert first
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") != first
        page.keyboard.press("End")
        assert page.evaluate("document.activeElement.dataset.key")
        assert last

    def test_escape_closes_a_dialog_and_the_focus_returns_also_after_a_refresh(self, shop: Site, visit: Open) -> None:
        """While the dialog was open, what lies behind it was drawn anew."""
        page = visit()
        ready(page)
        button = page.get_by_role("button", name="Roll back…")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.locator("dialog .switch")).to_be_visible()
        shop.past.change(lambda state: state.model_copy(update={"generation": state.generation + 1}))
        generation = shop.past.registry.read().generation
        expect(page.locator(".serves")).to_contain_text(f"generation {generation}", timeout=20_000)
        page.keyboard.press("Escape")
        expect(page.locator("dialog")).to_have_count(0)
        expect(button).to_be_focused()

    def test_a_refresh_steals_neither_focus_nor_scroll_nor_an_element(self, shop: Site, visit: Open) -> None:
        """What did not change stays the very same element: nothing flickers, and what is selected stays so."""
        page = visit()
        ready(page)
        page.get_by_label("Show").focus()
        page.evaluate("window.scrollTo(0, 700)")
        page.evaluate("window.kept = [...document.querySelectorAll('.card, .releases li, .lanes, .alerts li')]")
        page.evaluate("getSelection().selectAllChildren(document.querySelector('.releases .run'))")
        selected = page.evaluate("String(getSelection())")
        before = page.evaluate("scrollY")
        shop.past.trained(utc_now())
        expect(page.locator(".releases li").first).to_contain_text("under way", timeout=20_000)
        assert page.evaluate("kept.filter((one) => !one.isConnected).length") == 0
        assert page.evaluate("String(getSelection())") == selected
        expect(page.get_by_label("Show")).to_be_focused()
        assert page.evaluate("scrollY") == before
