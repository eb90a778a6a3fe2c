"""A real Chromium, for as long as a ``with`` block lasts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@contextmanager
def browser(*options: str) -> Iterator[Browser]:
    """Start it with these ``options`` too; skip the test if there is none, and fail where CI says that everything is to be tested."""
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        reason = "no Chromium: bash scripts/browser.sh gets it, or says why it can't"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=[*_OPTIONS, *options])
        try:
            yield started
        finally:
            started.close()
