"""Somebody with a browser and Airflow's cookie; what goes wrong in the browser is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, expect


@dataclass
class Visitors:
    """Opens pages of one site, each for a visitor of its own.

    Attributes:
        complaints: scripts that failed, and what the browser refused to load.
        asked: every address that a page asked for.
    """

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, url: str, token: str | None, *, theme: str = "light", lang: str = "en", width: int = 1280) -> Page:
        """Open an address, logged in by ``token``."""
        context = self.browser.new_context(viewport={"width": width, "height": 900}, ignore_https_errors=True)
        self.contexts.append(context)
        address = urlsplit(url)
        if token is not None:
            context.add_cookies([{"name": "_token", "value": token, "url": f"{address.scheme}://{address.netloc}"}])
        context.add_init_script(f"localStorage.theme = '{theme}'; localStorage.i18nextLng = '{lang}'")
        page = context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if "Content Security" in said.text else None)
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(url)
        return page

    def close(self) -> None:
        """Close all pages; nothing may have gone wrong in them."""
        for context in self.contexts:
            context.close()
        assert self.complaints == []


def ready(page: Page) -> None:
    """Wait until nothing loads any more."""
    page.wait_for_selector("main :is(.card, .head)")
    expect(page.locator(".loading")).to_have_count(0, timeout=20_000)
