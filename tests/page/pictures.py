"""Take the pictures of docs/releases-page.md: ``python -m tests.page.pictures [FOLDER]``, by default docs/pictures.

They are to be looked at, not compared: a browser of another version draws other bytes.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from scripts.services import PROJECT
from tests.browser import browser
from tests.page.server import Site, site
from tests.page.test_browser import views

PICTURES = (
    # name, view, width, height, theme, language; a height of 0 shows the whole view
    ("releases-now", "frame", 1280, 900, "light", "en"),
    ("releases-now-dark", "now", 1280, 900, "dark", "en"),
    ("releases-now-zh", "now", 1280, 900, "light", "zh-CN"),
    ("releases-now-390", "now", 390, 0, "light", "en"),
    ("releases-one", "trial", 1280, 0, "light", "en"),
    ("releases-one-dark", "released", 1280, 0, "dark", "en"),
    ("releases-one-dark-390", "trial", 390, 0, "dark", "zh-CN"),
    ("releases-compare", "lists", 1280, 0, "light", "en"),
    ("releases-compare-zh-390", "lists", 390, 0, "light", "zh-CN"),
    ("releases-tab", "tab", 1280, 900, "dark", "en"),
)


def take(running: Site, started: Browser, folder: Path) -> None:
    """Take all pictures into ``folder``."""
    login = {"username": "admin", "password": "admin-password"}
    token = httpx.post(f"{running.url}/auth/token", json=login, trust_env=False, timeout=60).json()["access_token"]
    known = {"frame": "/plugin/releases", **views(running)}
    known["tab"] = "/dags/recommendation_pipeline/plugin/releases-dag"
    for name, view, width, height, theme, language in PICTURES:
        context = started.new_context(viewport={"width": width, "height": height or 900}, timezone_id="Asia/Shanghai")
        context.add_cookies([{"name": "_token", "value": token, "url": running.url}])
        context.add_init_script(f"localStorage.theme = '{theme}'; localStorage.i18nextLng = '{language}'")
        page = context.new_page()
        page.goto(running.url + known[view])
        page.wait_for_timeout(9_000 if view in {"frame", "tab"} else 3_000)
        page.screenshot(path=str(folder / f"{name}.png"), full_page=not height)
        context.close()


def main() -> None:
    """Run everything for as long as it takes."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PROJECT / "docs" / "pictures"
    with tempfile.TemporaryDirectory() as home, site(Path(home), hostile=False) as running, browser() as started:
        take(running, started, folder)


if __name__ == "__main__":
    main()
