"""What Airflow pays for the plugin: ``python -m benchmarks.plugin_cost PART``, or ``all``.

``imports``: modules and time that reading the DAG files adds to ``airflow.sdk``.  ``parse``: a DAG file of ours against one with an empty DAG,
each in a new process, in turn.  ``start``: API server and scheduler, from the command to the first sign of life, with and without plugin and
DAGs, in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from benchmarks.release_tail import interval
from scripts.local_stack import AIRFLOW, LocalStack
from scripts.services import PROJECT, Service

START_SECONDS = 180.0
EMPTY = "from airflow.sdk import DAG\n\nwith DAG('nothing', schedule=None):\n    pass\n"
PROBE = """
import json, runpy, sys, time
import airflow.sdk
from airflow.sdk import DAG, TaskGroup, BaseOperator
known, began, spent = set(sys.modules), time.perf_counter(), time.process_time()
runpy.run_path(sys.argv[1])
new = sorted({name.partition(".")[0] for name in set(sys.modules) - known})
print(json.dumps({"seconds": time.perf_counter() - began, "cpu": time.process_time() - spent,
                  "modules": len(set(sys.modules) - known), "packages": new}))
"""
START_SECONDS = 180.0


def read(file: Path) -> dict[str, Any]:
    """Read a DAG file in a new process that has ``airflow.sdk`` already; return time and what was imported."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "plugins")}
    command = [sys.executable, "-c", PROBE, str(file)]
    done = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def parse(rounds: int) -> None:
    """Print what each DAG file costs beside an empty one."""
    with tempfile.TemporaryDirectory() as folder:
        nothing = Path(folder) / "nothing.py"
        nothing.write_text(EMPTY)
        files = [nothing, *sorted((PROJECT / "dags").glob("*.py"))]
        found: dict[str, list[dict[str, Any]]] = {file.stem: [] for file in files}
        for _ in range(rounds):
            for file in files:
                found[file.stem].append(read(file))
    for name, times in found.items():
        cpu, wall = (statistics.median(one[what] for one in times) for what in ("cpu", "seconds"))
        print(f"{name}: {wall:.2f} s, {cpu:.2f} s of processor time, {times[0]['modules']} modules more", flush=True)


def imports() -> None:
    """Print which packages the main DAG adds, and the slowest of its own modules."""
    print(", ".join(read(PROJECT / "dags" / "recommendation_pipeline.py")["packages"]))
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "import airflow.sdk.bases.operator, model_release_airflow.release",
    ]
    text = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stderr
    rows = [
        line.removeprefix("import time:").split("|") for line in text.splitlines() if line.startswith("import time:")
    ]
    slow = sorted(((int(row[1]), row[2].strip()) for row in rows if row[1].strip().isdigit()), reverse=True)
    for microseconds, name in slow[:25]:
        print(f"{microseconds / 1000:8.0f} ms with all that it imports  {name}")


def started(home: Path, part: str, extra: dict[str, str]) -> float:
    """Start one component of Airflow in ``home``; return the seconds until it works, and end it."""
    stack = LocalStack(home, extra=extra)
    url = f"{stack.airflow_url}/api/v2/version"
    log = home / f"{part}.log"
    log.unlink(missing_ok=True)
    ready: dict[str, Callable[[], bool]] = {
        "api-server": lambda: _answers(url),
        "scheduler": lambda: log.exists() and "Starting the scheduler" in log.read_text(errors="replace"),
    }
    service, began = Service(part, [AIRFLOW, part], log, stack.environment), time.monotonic()
    service.start()
    try:
        while not ready[part]():
            service.check()
            if time.monotonic() - began > START_SECONDS:
                raise RuntimeError(f"{part} does not start: {service.tail()}")
            time.sleep(0.02)
        return time.monotonic() - began
    finally:
        service.stop()


def start(pairs: int) -> None:
    """Print how long API server and scheduler take to start, with and without."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in ("plugins", "dags"):
            (home / name).mkdir()
        without = {f"AIRFLOW__CORE__{what.upper()}_FOLDER": str(home / what) for what in ("plugins", "dags")}
        stack = LocalStack(home, extra=without)
        stack.prepare_airflow()
        stack.airflow("db", "migrate")
        for part in ("api-server", "scheduler"):
            found: dict[str, list[float]] = {"with": [], "without": []}
            for number in range(pairs + 1):
                order = ["with", "without"] if number % 2 else ["without", "with"]
                for which in order:
                    seconds = started(home, part, {} if which == "with" else without)
                    if number:  # the first pair warms the files
                        found[which].append(seconds)
            ratio, low, high = interval(found["with"], found["without"])
            medians = {which: statistics.median(times) for which, times in found.items()}
            print(f"{part}: with {medians['with']:.2f} s, without {medians['without']:.2f} s, ", end="")
            print(f"ratio {ratio:.3f} ({low:.3f} to {high:.3f}), {pairs} pairs", flush=True)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def main() -> int:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("imports", "parse", "start", "all"))
    parser.add_argument("--pairs", type=int, default=7)
    asked = parser.parse_args()
    if asked.part in {"imports", "all"}:
        imports()
    if asked.part in {"parse", "all"}:
        parse(asked.pairs)
    if asked.part in {"start", "all"}:
        start(asked.pairs)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
