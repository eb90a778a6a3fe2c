"""A real Prometheus and a real Alertmanager on loopback, for as long as a ``with`` block lasts."""

from __future__ import annotations

import datetime as dt
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.api.replica import PROJECT, wait_until

TOOLS = PROJECT / ".tools" / "bin"
_TRIES = 3  # another program may take the port that was free a moment ago
_START_SECONDS = 30.0


def tool(name: str) -> Path | None:
    """Return a program that ``scripts/debian_tools.sh`` fetched, or that is on PATH; None: there is none."""
    found = shutil.which(name, path=os.pathsep.join((str(TOOLS), os.environ.get("PATH", os.defpath))))
    return Path(found) if found else None


def need(*names: str) -> None:
    """Skip the test if a program is missing; where CI says that everything is to be tested, fail."""
    missing = [name for name in names if tool(name) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not found: bash scripts/debian_tools.sh fetches it, or says why it can't"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


class Server:
    """A program that answers HTTP on loopback.

    Attributes:
        url: its address, without a slash at the end.
        process: it.
        log: what it wrote.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=10.0)

    @property
    def ready(self) -> bool:
        """Whether it answers questions."""
        try:
            return self.http.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it, politely if it listens to that."""
        self.http.close()
        self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def prometheus(
    folder: Path, targets: Sequence[str], *, scrape_seconds: int = 1, job: str = "api", port: int | None = None
) -> Iterator[Server]:
    """Start Prometheus with ``folder`` for its data, which scrapes ``targets`` (``host:port``); wait for the first scrape.

    ``port``: where somebody expects it; else it takes a free one.
    """
    arguments = prometheus_arguments(folder, targets, scrape_seconds=scrape_seconds, job=job)
    with _serving("prometheus", arguments, folder / "prometheus.log", port) as server:
        wait_until(f"Prometheus has scraped; see {server.log}", lambda: _up(server) == len(targets), _START_SECONDS)
        yield server


def prometheus_arguments(
    folder: Path, targets: Sequence[str], *, scrape_seconds: int = 1, job: str = "api"
) -> list[str]:
    """Write the configuration of a Prometheus that scrapes ``targets``; return its arguments, without the address."""
    folder.mkdir(parents=True, exist_ok=True)
    interval = f"{scrape_seconds}s"
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "scrape_configs": [{"job_name": job, "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    return [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]


@contextmanager
def alertmanager(folder: Path, *, port: int | None = None) -> Iterator[Server]:
    """Start Alertmanager with ``folder`` for its data; it tells nobody of its alerts.

    ``port``: where somebody expects it; else it takes a free one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    (folder / "alertmanager.yml").write_text(json.dumps(config), encoding="utf-8")
    arguments = [
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        "--cluster.listen-address=",  # it is alone
    ]
    with _serving("alertmanager", arguments, folder / "alertmanager.log", port) as server:
        yield server


def value(server: Server, query: str) -> float | None:
    """Return the one number that Prometheus answers to ``query`` now; None: no series."""
    answer = server.http.get("/api/v1/query", params={"query": query}).raise_for_status().json()
    found = answer["data"]["result"]
    assert len(found) <= 1, found
    return float(found[0]["value"][1]) if found else None


def fire(server: Server, **labels: str) -> None:
    """Let an alert with these ``labels`` fire for five minutes, as Prometheus would tell Alertmanager."""
    now = dt.datetime.now(dt.UTC)
    alert = {"labels": labels, "startsAt": now.isoformat(), "endsAt": (now + dt.timedelta(minutes=5)).isoformat()}
    server.http.post("/api/v2/alerts", json=[alert]).raise_for_status()
    wait_until(f"{labels} fires", lambda: labels in [one["labels"] for one in _alerts(server)])


def silence(server: Server, **labels: str) -> None:
    """Silence alerts with these ``labels`` for five minutes, with the command line tool."""
    command = ["silence", "add", *(f'{name}="{text}"' for name, text in labels.items())]
    options = [f"--alertmanager.url={server.url}", "--author=test", "--comment=a test", "--duration=5m"]
    subprocess.run([str(tool("amtool")), *command, *options], check=True, capture_output=True, timeout=30)

    def silenced() -> bool:
        alerts = [one for one in _alerts(server) if labels.items() <= one["labels"].items()]
        return bool(alerts) and all(one["status"]["state"] == "suppressed" for one in alerts)

    wait_until(f"{labels} is silenced", silenced)


@contextmanager
def _serving(program: str, arguments: Sequence[str], log: Path, port: int | None = None) -> Iterator[Server]:
    server = _start(program, arguments, log, port)
    try:
        yield server
    finally:
        server.close()


def _start(program: str, arguments: Sequence[str], log: Path, wanted: int | None) -> Server:
    path = tool(program)
    assert path is not None, f"{program} not found"
    for _ in range(_TRIES):
        port = wanted or _free_port()
        server = Server([str(path), *arguments, f"--web.listen-address=127.0.0.1:{port}"], port, log)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and server.process.poll() is None:
            if server.ready:
                return server
            time.sleep(0.05)
        server.close()
    raise AssertionError(f"{program} did not start: {log.read_text(encoding='utf-8')[-2000:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _up(server: Server) -> float:
    return value(server, "sum(up)") or 0.0


def _alerts(server: Server) -> list[dict[str, dict[str, str]]]:
    found: list[dict[str, dict[str, str]]] = server.http.get("/api/v2/alerts").raise_for_status().json()
    return found
