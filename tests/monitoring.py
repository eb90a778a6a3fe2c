"""A real Prometheus and a real Alertmanager on loopback, for as long as a ``with`` block lasts."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.monitoring_programs import Server, start_tool, tool
from tests.api.replica import wait_until

_START_SECONDS = 30.0


def need(*names: str) -> None:
    """Skip the test if a program is missing; where CI says that everything is to be tested, fail."""
    missing = [name for name in names if tool(name) is None]
    if not missing:
        return
    reason = f"{', '.join(missing)} not found: bash scripts/debian_tools.sh fetches it, or says why it can't"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def prometheus(
    folder: Path, targets: Sequence[str], *, scrape_seconds: int = 1, job: str = "api", port: int | None = None
) -> Iterator[Server]:
    """Start Prometheus with ``folder`` for its data, which scrapes ``targets`` (``host:port``); wait for the first scrape.

    ``port``: where somebody expects it; else it takes a free one.
    """
    arguments = prometheus_arguments(folder, targets, scrape_seconds=scrape_seconds, job=job)
    with start_tool("prometheus", arguments, folder / "prometheus.log", port=port) as server:
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
    config = {"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}]}
    with alertmanager_with(folder, json.dumps(config), port=port) as server:
        yield server


@contextmanager
def alertmanager_with(folder: Path, config: str, *, port: int | None = None) -> Iterator[Server]:
    """Start Alertmanager with this configuration, and ``folder`` for its data; ``port`` as above."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yml").write_text(config, encoding="utf-8")
    arguments = [
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        "--cluster.listen-address=",  # it is alone
    ]
    with start_tool("alertmanager", arguments, folder / "alertmanager.log", port=port) as server:
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


def end(server: Server, **labels: str) -> None:
    """Let the alert with these ``labels`` end now."""
    now = dt.datetime.now(dt.UTC)
    alert = {"labels": labels, "startsAt": (now - dt.timedelta(minutes=1)).isoformat(), "endsAt": now.isoformat()}
    server.http.post("/api/v2/alerts", json=[alert]).raise_for_status()
    wait_until(f"{labels} ended", lambda: labels not in [one["labels"] for one in _alerts(server)])


def silence(server: Server, **labels: str) -> None:
    """Silence alerts with these ``labels`` for five minutes, with the command line tool."""
    command = ["silence", "add", *(f'{name}="{text}"' for name, text in labels.items())]
    options = [f"--alertmanager.url={server.url}", "--author=test", "--comment=a test", "--duration=5m"]
    subprocess.run([str(tool("amtool")), *command, *options], check=True, capture_output=True, timeout=30)

    def silenced() -> bool:
        alerts = [one for one in _alerts(server) if labels.items() <= one["labels"].items()]
        return bool(alerts) and all(one["status"]["state"] == "suppressed" for one in alerts)

    wait_until(f"{labels} is silenced", silenced)


def _up(server: Server) -> float:
    return value(server, "sum(up)") or 0.0


def _alerts(server: Server) -> list[dict[str, dict[str, str]]]:
    found: list[dict[str, dict[str, str]]] = server.http.get("/api/v2/alerts").raise_for_status().json()
    return found
