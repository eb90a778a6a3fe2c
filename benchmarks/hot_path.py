"""What one answer costs, without the network: ``python -m benchmarks.hot_path --against DIRECTORY``.

Calls the application as the server does, in a process that counts as one of several workers, with the exposure log on.
With ``--against``, another checkout of the project takes turns with this one, and the ratio within each pair is printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
STATES = ("primary", "canary")


def measure(state: str, answers: int) -> float:
    """Return microseconds of this thread's processor time per answer; ``canary``: half of the users get another run."""
    from prometheus_client import values

    from recommendation_api.app import create_app
    from recommendation_api.settings import Settings
    from tests.api.home import Home

    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        values.ValueClass = values.MultiProcessValue(lambda: 0)  # type: ignore[no-untyped-call]  # published without types
        home = Home(Path(folder) / "home")
        if state == "canary":
            home.commit("run-b", mode="canary", rollout_share=0.5)
        app = create_app(Settings(paths=home.paths, exposure_queue=1_000_000))
        app.parts.replica.watch()
        if app.parts.log is not None:
            app.parts.log.start()
        try:
            return asyncio.run(_ask(app, answers))
        finally:
            if app.parts.log is not None:
                app.parts.log.stop()


async def _ask(app: object, answers: int) -> float:
    statuses: set[int] = set()

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message: dict[str, object]) -> None:
        if "status" in message:
            statuses.add(int(str(message["status"])))

    paths = [f"/recommend/visitor-{number}" for number in range(2000)]
    scope = {"type": "http", "method": "GET", "query_string": b"k=10", "headers": [(b"host", b"localhost")]}
    best = float("inf")
    for _ in range(5):
        began = time.thread_time()
        for number in range(answers):
            await app({**scope, "path": paths[number % len(paths)]}, receive, send)  # type: ignore[operator]  # of either checkout
        best = min(best, time.thread_time() - began)
    if statuses != {200}:
        raise SystemExit(f"not all answers were 200: {statuses}")
    return best / answers * 1e6


def turn(project: Path, state: str, answers: int) -> float:
    """Measure one checkout in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--one", state, "--answers", str(answers)]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True, text=True, check=True
    )
    return float(json.loads(done.stdout))


def main() -> None:
    """Print microseconds per answer, and the ratio to the other checkout."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, help="another checkout of the project")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--answers", type=int, default=10_000)
    parser.add_argument("--one", choices=STATES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.answers)))
        return
    for state in STATES:
        here: list[float] = []
        there: list[float] = []
        for number in range(options.rounds):
            pair = [(PROJECT, here), *([(options.against.resolve(), there)] if options.against else [])]
            for project, found in pair[:: -1 if number % 2 else 1]:
                found.append(turn(project, state, options.answers))
        print(f"{state}: {statistics.median(here):.1f} us per answer", end="")
        if there:
            ratios = sorted(one / other for one, other in zip(here, there, strict=True))
            print(f", {statistics.median(there):.1f} there; ratio {statistics.median(ratios):.3f}", end="")
            print(f" ({ratios[0]:.3f}-{ratios[-1]:.3f})", end="")
        print()


if __name__ == "__main__":
    main()
