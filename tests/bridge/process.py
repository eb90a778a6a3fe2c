"""``python -m alert_bridge`` in a process of its own, on loopback."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from scripts.services import Service, free_port
from tests.api.replica import wait_until
from tests.fakes_wecom import FakeWeCom

TOKEN = "bridge-token-77aa"
QUICK = {"ALERT_BRIDGE_RETRY_SECONDS": "0.05", "ALERT_BRIDGE_THROTTLED_SECONDS": "0.1"}


class Bridge:
    """One bridge; killed and started again it is the same one, at the same address.

    Attributes:
        url: where it listens.
        home: the root of the release state, and of the queue.
        http: a client with the right token.
    """

    def __init__(self, home: Path, fake: FakeWeCom, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own = {
            "MODEL_RELEASE_HOME": str(home),
            "ALERT_BRIDGE_PORT": str(self.port),
            "ALERT_BRIDGE_TOKEN": TOKEN,
            "ALERT_BRIDGE_ROBOTS": f"ops={fake.key}",
            "ALERT_BRIDGE_WECOM_URL": fake.url,
            **QUICK,
            **(settings or {}),
        }
        outside = {name: value for name, value in os.environ.items() if not name.startswith("ALERT_BRIDGE_")}
        environment = {name: value for name, value in {**outside, **own}.items() if value != ""}
        self._service = Service("bridge", [sys.executable, "-m", "alert_bridge"], home / "bridge.log", environment)
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=15.0, headers=bearer(TOKEN))

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self._service.start()
        wait_until(f"the bridge answers or ends; see {self._service.log}", lambda: self._healthy() or self.ended, 30.0)
        self._service.check()
        return self

    @property
    def ended(self) -> bool:
        """Whether its process is gone by itself."""
        process = self._service.process
        return process is None or process.poll() is not None

    @property
    def log(self) -> str:
        """Everything that it wrote."""
        return self._service.log.read_text(encoding="utf-8") if self._service.log.exists() else ""

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        self._service.stop(number=signal.SIGKILL)

    def stop(self) -> None:
        """End it as a service manager does."""
        self._service.stop()

    def restart(self) -> None:
        """Stop and start it."""
        self.stop()
        self.start()

    def post(self, body: Any, *, path: str = "/alertmanager") -> httpx.Response:
        """Post a webhook."""
        return self.http.post(path, json=body)

    def value(self, series: str) -> float | None:
        """Return what ``GET /metrics`` says of a series; None: there is none."""
        found = re.search(rf"^{re.escape(series)} (\S+)$", self.metrics(), re.MULTILINE)
        return float(found[1]) if found else None

    def metrics(self) -> str:
        """Return ``GET /metrics``."""
        return self.http.get("/metrics").raise_for_status().text

    def wait_idle(self, seconds: float = 20.0) -> None:
        """Wait until nothing is left to be sent."""
        wait_until("the queue is empty", lambda: self.value("alert_bridge_queue_messages") == 0, seconds)

    def messages(self, outcome: str) -> float | None:
        """Return how many messages ended so, in this process."""
        return self.value(f'alert_bridge_messages_total{{outcome="{outcome}"}}')

    def webhooks(self, outcome: str) -> float | None:
        """Return how many webhooks were received so, by this process."""
        return self.value(f'alert_bridge_webhooks_total{{outcome="{outcome}"}}')

    def _healthy(self) -> bool:
        try:
            return self.http.get("/health").status_code == 200
        except httpx.TransportError:
            return False


def route_to(bridge: Bridge, token: Path, *, repeat: str = "1s") -> str:
    """Return the configuration of an Alertmanager that looks at its groups every second, as nobody would have it do.

    Args:
        bridge: who gets everything, what has ended too.
        token: file with the bridge's token.
        repeat: after what time it says again what still fires.
    """
    hook = {
        "url": f"{bridge.url}/alertmanager",
        "send_resolved": True,
        "http_config": {"authorization": {"credentials_file": str(token)}},
    }
    route = {"receiver": "wecom", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"}
    receivers = [{"name": "wecom", "webhook_configs": [hook]}]
    return json.dumps({"route": {**route, "repeat_interval": repeat}, "receivers": receivers})


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}
