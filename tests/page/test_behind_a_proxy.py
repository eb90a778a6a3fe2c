"""The page at a path of an address that it shares, behind a real HAProxy that gives Airflow another host name, in a real Chromium.

The name is not that of this machine, so by plain HTTP the browser does not say from which site it comes: the origin must do.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser import browser
from tests.page.real import BASE, BROWSER_OPTION, HOST, RealSite
from tests.page.visitor import Visitors, ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PAGE = "/model-release/"


@pytest.fixture(scope="module")
def started() -> Iterator[Visitors]:
    with browser(BROWSER_OPTION) as chromium:
        yield Visitors(chromium)


@pytest.fixture
def visitors(started: Visitors) -> Visitors:
    return Visitors(started.browser)


def closed(visitors: Visitors, real: RealSite) -> None:
    """End the visits: nothing was asked for outside of the path, and nothing went wrong."""
    visitors.close()
    below = (f"{real.url}/", f"{real.secure_url}/", "data:", "blob:")
    assert [url for url in visitors.asked if not url.startswith(below)] == []


def acknowledged(page: Page, reason: str) -> None:
    page.get_by_role("button", name="Acknowledge…").click()
    page.get_by_label("What is known").fill(reason)
    page.locator("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.locator("dialog")).to_have_count(0)
    expect(page.locator(".alerts")).to_contain_text(reason, timeout=20_000)


def unsilenced(site: RealSite) -> None:
    for silence in site.alertmanager.http.get("/api/v2/silences").json():
        site.alertmanager.http.delete(f"/api/v2/silence/{silence['id']}")


def test_from_the_login_to_a_dag_run_every_address_is_below_the_path(real: RealSite, visitors: Visitors) -> None:
    """Airflow's login, its navigation, the frame, its files, a release, its DAG run: by the entry of Airflow's navigation."""
    page = visitors.open(f"{real.url}/", None)
    page.get_by_label("Username").fill("admin")
    page.get_by_label("Password").fill("admin-password")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Releases").click(timeout=60_000)
    page.wait_for_url(f"{real.url}/plugin/releases**")
    (cookie,) = [one for one in page.context.cookies() if one["name"] == "_token"]
    # no other site's POST brings it, and no neighbour at another path gets it; a script reads it (Airflow's form sets it so)
    assert (cookie["sameSite"], cookie["path"].rstrip("/")) == ("Lax", BASE)
    frame = page.frame_locator("iframe[title=Releases]")
    expect(frame.get_by_text("All 2 replicas serve it")).to_be_visible(timeout=60_000)
    frame.locator(".releases a").first.click()
    frame.get_by_role("link", name="DAG run and logs").click()
    page.wait_for_url(f"{real.url}/dags/recommendation_pipeline/runs/**")
    page.goto(f"{real.url}/dags/recommendation_pipeline/plugin/releases-dag")
    tab = page.frame_locator("iframe[title=Releases]")
    expect(tab.get_by_text("All 2 replicas serve it")).to_be_visible(timeout=60_000)
    closed(visitors, real)


def test_a_rollback_is_asked_of_airflow_below_the_path(real: RealSite, visitors: Visitors) -> None:
    page = visitors.open(f"{real.url}{PAGE}", real.token("user"))
    ready(page)
    page.get_by_role("button", name="Roll back…").click()
    expect(page.locator("dialog .switch")).to_be_visible()
    page.get_by_label("Why?").fill("behind a proxy")
    page.get_by_role("button", name="Roll back now").click()
    expect(page.get_by_text("The DAG run is queued")).to_be_visible(timeout=60_000)
    headers = {"Authorization": f"Bearer {real.token('admin')}"}
    url = f"{real.airflow.url}{BASE}/api/v2/dags/recommendation_rollback/dagRuns"
    runs = httpx.get(url, headers=headers, trust_env=False, timeout=60).json()["dag_runs"]
    assert [(run["conf"]["reason"], run["triggering_user_name"]) for run in runs] == [("behind a proxy", "user")]
    closed(visitors, real)


@pytest.mark.parametrize("secure", [False, True])
def test_an_alert_is_acknowledged_though_the_proxy_gives_another_host(
    real: RealSite, visitors: Visitors, secure: bool
) -> None:
    """By HTTP, where only the origin tells; and by HTTPS that ends at the proxy.  Alertmanager has the silence."""
    unsilenced(real)
    page = visitors.open(f"{real.secure_url if secure else real.url}{PAGE}", real.token("user"))
    sent = []
    page.on("request", lambda request: sent.append(request.all_headers()) if request.method == "POST" else None)
    acknowledged(page, f"we look, secure {secure}")
    (headers,) = sent
    assert ("sec-fetch-site" in headers) is secure  # what this test is about
    (silence,) = real.alertmanager.http.get(
        "/api/v2/silences", params={"filter": 'alertname="RecommendationSlow"'}
    ).json()[:1]
    assert silence["createdBy"] == "user"
    closed(visitors, real)
    unsilenced(real)


def test_another_site_on_the_same_machine_can_not_acknowledge(real: RealSite, visitors: Visitors) -> None:
    """A page of another origin asks with the cookie and a simple form type, then with JSON: nothing is silenced."""
    page = visitors.open(f"{real.url}{PAGE}static/icon.svg", real.token("admin"))
    fingerprint = real.alertmanager.http.get("/api/v2/alerts").json()[0]["fingerprint"]
    url = f"{real.url}{PAGE}api/alerts/{fingerprint}/acknowledge"
    evil = real.url.removesuffix(BASE).replace(HOST, f"evil.{HOST}")
    page.context.route(f"{evil}/**", lambda route: route.fulfill(body="<p>", content_type="text/html"))
    page.goto(f"{evil}/")
    for kind in ("text/plain", "application/json"):
        page.evaluate(
            """async ([url, kind]) => { try { await fetch(url, {method: "POST", credentials: "include", mode: kind === "text/plain" ?
            "no-cors" : "cors", headers: {"Content-Type": kind}, body: '{"reason": "evil", "minutes": 60}'}); } catch {} }""",
            [url, kind],
        )
    comments = [one["comment"] for one in real.alertmanager.http.get("/api/v2/silences").json()]
    assert not [comment for comment in comments if "evil" in comment]
    for context in visitors.contexts:
        context.close()
