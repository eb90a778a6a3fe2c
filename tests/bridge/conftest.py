"""What the tests of the bridge share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.bridge.process import Bridge
from tests.fakes_wecom import FakeWeCom, wecom


class StartBridge(Protocol):
    """Start a bridge that is ended with the test."""

    def __call__(self, **settings: str) -> Bridge: ...


@pytest.fixture
def service() -> Iterator[FakeWeCom]:
    """WeCom, on loopback."""
    with wecom() as fake:
        yield fake


@pytest.fixture
def start(service: FakeWeCom, tmp_path: Path) -> Iterator[StartBridge]:
    """Start bridges on WeCom on loopback; settings without their prefix, in small letters."""
    started: list[Bridge] = []

    def one(**settings: str) -> Bridge:
        named = {f"ALERT_BRIDGE_{name.upper()}": value for name, value in settings.items()}
        home = tmp_path / f"home{len(started)}"
        home.mkdir()
        bridge = Bridge(home, service, named)
        started.append(bridge)
        return bridge.start()

    yield one
    for bridge in started:
        bridge.stop()
        bridge.http.close()
