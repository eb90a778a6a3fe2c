"""What the Releases page costs Airflow's API server: ``python -m benchmarks.releases_page slow|first``.

``slow``: while ten people look at the page (10,000 ledger entries, 500 runs, 50 replicas), Airflow's own routes are asked at a steady
rate.  Beside it, in turn on the same machine: nobody looks; ten look at Airflow's own DAG page with as many requests; the plugin is not
loaded.  ``first``: seconds from the start of the navigation until the first view is complete in Chromium, and the bytes of it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from model_release.paths import ReleasePaths
from scripts.services import PROJECT
from tests.browser import browser
from tests.page.large import fleet, write_large
from tests.page.server import ApiServer

VIEWERS, PROBES_PER_SECOND = 10, 10.0
OWN = ("/api/v2/dags", "/api/v2/dags/recommendation_pipeline/dagRuns", "/api/v2/monitor/health")
# What the page asks for, and how many seconds it waits in between: EVERY of static/app.js.
PAGE = {"desired": 3.0, "fleet": 3.0, "traffic": 15.0, "alerts": 6.0, "health": 30.0, "timeline": 5.0}
SPAN = "start=2020-01-01T00:00:00Z&end=2030-01-01T00:00:00Z"
COMPLETE = """
const look = () => {
  const whole = document.querySelector(".serves .run") && document.querySelector(".releases li") && document.querySelector(".replicas li");
  if (whole && !document.querySelector(".loading")) requestAnimationFrame(() => { document.documentElement.dataset.complete = performance.now(); });
  else requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""


def probe(url: str, token: str, seconds: float) -> list[float]:
    """Ask Airflow's own routes in turn at a steady rate; return milliseconds from when each question was due."""
    found = []
    with httpx.Client(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as client:
        began = time.monotonic()
        for number in range(int(seconds * PROBES_PER_SECOND)):
            due = began + number / PROBES_PER_SECOND
            time.sleep(max(0.0, due - time.monotonic()))
            client.get(url + OWN[number % len(OWN)]).raise_for_status()
            found.append((time.monotonic() - due) * 1000)
    return found


async def view(url: str, token: str, seconds: float, kind: str) -> None:
    """Be ten people with a page open for a while: the Releases page, or as many requests to Airflow's own routes."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {token}"}, trust_env=False, timeout=60) as client:

        async def watch(path: str, every: float) -> None:
            tag, until = "", time.monotonic() + seconds
            await asyncio.sleep(random.uniform(0, every))  # noqa: S311  (no secret)
            while time.monotonic() < until:
                with contextlib.suppress(httpx.TransportError):  # a kept connection was closed at that very moment
                    answer = await client.get(url + path, headers={"If-None-Match": tag} if tag else {})
                    tag = answer.headers.get("etag", "")
                await asyncio.sleep(every)

        async with asyncio.TaskGroup() as group:
            for _ in range(VIEWERS):
                for place, (name, every) in enumerate(PAGE.items()):
                    ours = f"/model-release/api/{name}" + (f"?{SPAN}" if name == "timeline" else "")
                    group.create_task(watch(ours if kind == "page" else OWN[place % len(OWN)], every))


def processor(pid: int) -> float:
    """Return the seconds of processor time that a process took until now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def token_of(url: str) -> str:
    """Log in."""
    login = {"username": "admin", "password": "admin-password"}
    return str(httpx.post(f"{url}/auth/token", json=login, trust_env=False, timeout=60).json()["access_token"])


@contextmanager
def servers() -> Iterator[dict[str, ApiServer]]:
    """Run two API servers with the long history, one of them without plugins."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        found = {}
        for name in ("with", "without"):
            home = Path(folder) / name
            paths = ReleasePaths(home)
            connection = stack.enter_context(fleet(write_large(paths)))
            more = {"AIRFLOW_CONN_RECOMMENDATION_API": connection}
            if name == "without":
                (home / "plugins").mkdir()
                more["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(home / "plugins")
            found[name] = ApiServer(home, more)
            stack.callback(found[name].stop)
            found[name].start()
        yield found


def measured(server: ApiServer, kind: str, seconds: float) -> tuple[list[float], float]:
    """Return latencies of Airflow's own routes (ms), and processor time per second of the API server, while ``kind`` look."""
    token, process = token_of(server.url), server.service.process
    if process is None:
        raise RuntimeError("the API server is not running")
    common = [sys.executable, "-m", "benchmarks.releases_page"]
    given = ["--url", server.url, "--token", token, "--seconds", str(seconds), "--kind", kind]
    looking = None
    if kind != "nobody":
        looking = subprocess.Popen([*common, "view", *given], cwd=PROJECT)
        time.sleep(5.0)  # the first answers are the dearest; they are not what goes on
    spent, began = processor(process.pid), time.monotonic()
    done = subprocess.run([*common, "probe", *given], cwd=PROJECT, capture_output=True, text=True, check=True)
    used = (processor(process.pid) - spent) / (time.monotonic() - began)
    if looking is not None:
        looking.terminate()
        looking.wait()
    return json.loads(done.stdout), used


def slow(rounds: int, seconds: float) -> None:
    """Print each condition beside the one in which nobody looks, round by round."""
    conditions = {"plugin not loaded": ("without", "nobody"), "nobody looks": ("with", "nobody"),
                  "ten look at the page": ("with", "page"), "ten look at Airflow's own": ("with", "own")}  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {name: [] for name in conditions}
    print(f"load average before the start {os.getloadavg()[0]:.1f}", flush=True)
    with servers() as running:
        for number in range(rounds + 1):
            for name in random.sample(list(conditions), len(conditions)):
                which, kind = conditions[name]
                times, used = measured(running[which], kind, seconds if number else 5.0)
                if number:  # the first round warms
                    cut = statistics.quantiles(times, n=20)
                    found[name].append({"p50": statistics.median(times), "p95": cut[18], "cores": used})
    for name, rows in found.items():
        line = [name]
        for what in ("p50", "p95", "cores"):
            ratios = sorted(row[what] / base[what] for row, base in zip(rows, found["nobody looks"], strict=True))
            median = statistics.median(row[what] for row in rows)
            line.append(f"{median:.3g} ({statistics.median(ratios):.2f}, {ratios[0]:.2f}-{ratios[-1]:.2f})")
        print("| " + " | ".join(line) + " |", flush=True)
    print(f"load average at the end {os.getloadavg()[0]:.1f}")


def first(times: int) -> None:
    """Print how long the first view takes in a browser whose cache is empty, and what of the page came."""
    print(f"load average before the start {os.getloadavg()[0]:.1f}", flush=True)
    with servers() as running, browser() as chromium:
        url, found = running["with"].url, []
        for _ in range(times + 1):
            with chromium.new_context() as context:
                context.add_cookies([{"name": "_token", "value": token_of(url), "url": url}])
                context.add_init_script(COMPLETE)
                page = context.new_page()
                page.goto(f"{url}/model-release/")
                page.wait_for_selector("html[data-complete]", timeout=60_000)
                found.append(float(page.evaluate("document.documentElement.dataset.complete")))
                sizes: dict[str, Any] = page.evaluate(
                    "Object.fromEntries(performance.getEntriesByType('resource').map(one => [one.name, one.encodedBodySize]))"
                )
    data = sum(size for name, size in sizes.items() if "/api/" in name)
    cold, warm = found[0], sorted(found[1:])
    print(f"first view of a server that just started {cold:.0f} ms; then median {statistics.median(warm):.0f} ms")
    print(
        f"({warm[0]:.0f} to {warm[-1]:.0f}, {times} loads); {data} bytes of JSON, {sum(sizes.values()) - data} of files"
    )


def main() -> int:
    """Do what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("slow", "first", "probe", "view"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0)
    for name in ("--url", "--token", "--kind"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    match asked.part:
        case "slow":
            slow(asked.rounds, asked.seconds)
        case "first":
            first(asked.rounds)
        case "probe":
            print(json.dumps(probe(asked.url, asked.token, asked.seconds)))
        case _:
            asyncio.run(view(asked.url, asked.token, asked.seconds * 3, asked.kind))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
