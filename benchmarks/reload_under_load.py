"""Reload a large run once a second while many ask: is a request lost, or answered by the old run, or slower?

    python -m benchmarks.reload_under_load                         two minutes: reloads and sham reloads in turns
    python -m benchmarks.reload_under_load --runs 3 --every 3      each reload reads and checks 256 MB, in each worker
    python -m benchmarks.reload_under_load --reloads 1000 --every 0.1 --users 1000      files and memory, before and after

A replica process with two workers serves lists of 1,000,000 users (256 MB).  In every other phase the reloads are sham:
the same thread asks for /health/live instead.  Ends with status 1 if an answer is lost, degraded or stale.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.changes import Change, Seen, stale
from benchmarks.latency_picture import draw
from benchmarks.load import Answer, Load, get, summarise
from benchmarks.random_runs import CACHE, fresh_home
from benchmarks.replica import Replica, exchange, replica

WORKERS, CONNECTIONS, DEPTH = 2, 16, 64
_WARM_SECONDS = 3.0


@dataclass
class Outcome:
    """What was seen; times in seconds of ``time.monotonic()``."""

    start: float = 0.0
    answers: list[Answer] = field(default_factory=list)
    sent: dict[int, float] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    def seen(self) -> list[Seen]:
        """Return the answers as the check for stale ones wants them."""
        return [
            Seen(self.sent[answer.number], answer.finished, json.loads(answer.body)["run_id"])
            for answer in self.answers
            if answer.failure is None
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, draw; return the exit status."""
    options = _options(arguments)
    run_ids = [f"run-{chr(ord('a') + number)}" for number in range(options.runs)]
    options.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        paths = fresh_home(Path(folder), run_ids, users=options.users, depth=DEPTH, cache=options.cache)
        with replica(paths, workers=WORKERS) as served:
            before = _resources(served)
            outcome = _measure(served, run_ids, options)
            after = _resources(served)
            if served.wait_converged(10.0) is None:
                print("the workers do not agree at the end")
                return 1
    print(f"files and MiB of each worker: {before} before, {after} after {len(outcome.changes)} reloads")
    return _report(outcome, run_ids[0], options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500.0, help="requests per second")
    parser.add_argument("--reloads", type=int, default=60, help="reloads in all, and as many sham ones")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between two reloads")
    parser.add_argument("--phase", type=int, default=10, help="reloads in a phase, before a phase of sham ones")
    parser.add_argument("--users", type=int, default=1_000_000, help="users of a run: 256 bytes each")
    parser.add_argument("--runs", type=int, default=2, help="runs that alternate; two are kept in memory")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the runs are kept")
    parser.add_argument("--picture", type=Path, help="write an SVG")
    return parser.parse_args(arguments)


def _measure(served: Replica, run_ids: Sequence[str], options: argparse.Namespace) -> Outcome:
    outcome, users = Outcome(), options.users

    def request(number: int) -> bytes:
        outcome.sent[number] = time.monotonic()
        return get(f"/recommend/user-{number * 7919 % users}")

    def load(seconds: float) -> Load:
        return Load("127.0.0.1", served.port, options.rate, seconds, request, CONNECTIONS)

    with closing(served.connect()) as connection:
        for run_id in (*run_ids[1:], run_ids[0]):  # of two runs, both are in memory from now on
            exchange(connection, "POST", "/models/reload", {"run_id": run_id})
    asyncio.run(load(_WARM_SECONDS).run())
    seconds = 2 * options.reloads * options.every
    outcome.sent.clear()
    outcome.start = time.monotonic()
    changer = threading.Thread(target=_change, args=(served, run_ids, options, outcome))
    changer.start()
    outcome.answers = asyncio.run(load(seconds).run())
    changer.join()
    return outcome


def _change(served: Replica, run_ids: Sequence[str], options: argparse.Namespace, outcome: Outcome) -> None:
    with closing(served.connect()) as connection:
        for number in range(2 * options.reloads):
            time.sleep(max(0.0, outcome.start + (number + 0.5) * options.every - time.monotonic()))
            started = time.monotonic()
            if number // options.phase % 2:
                exchange(connection, "GET", "/health/live")
                continue
            run_id, status = run_ids[(len(outcome.changes) + 1) % len(run_ids)], None
            try:
                status, _ = exchange(connection, "POST", "/models/reload", {"run_id": run_id})
            except (OSError, http.client.HTTPException) as error:
                print(f"a reload failed: {error!r}")
            outcome.changes.append(Change(started, time.monotonic(), run_id, status))


def _report(outcome: Outcome, first: str, options: argparse.Namespace) -> int:
    length = options.phase * options.every

    def phase(answer: Answer) -> int:
        return int((answer.scheduled - outcome.start) / length)

    failures = Counter(answer.failure for answer in outcome.answers if answer.failure is not None)
    degraded = sum(b'"degraded":null' not in answer.body for answer in outcome.answers if answer.failure is None)
    old = stale(outcome.changes, outcome.seen(), first=first)
    refused = sum(not change.true for change in outcome.changes)
    taken = sorted((change.finished - change.started) * 1000 for change in outcome.changes)
    phases: dict[int, list[Answer]] = defaultdict(list)
    for answer in outcome.answers:
        phases[phase(answer)].append(answer)
    kinds = {"reload": 0, "sham": 1}
    parts = {
        name: summarise([answer for answer in outcome.answers if phase(answer) % 2 == rest])
        for name, rest in kinds.items()
    }
    typical = {
        name: statistics.median(summarise(found).p99 for number, found in phases.items() if number % 2 == rest)
        for name, rest in kinds.items()
    }
    print(f"load average {os.getloadavg()[0]:.1f}, {options.rate:g} requests/s, {WORKERS} workers, {options.runs} runs")
    print(f"{'':>8} {'sent':>7} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'median of the phases p99':>25}")
    for name, part in parts.items():
        row = f"{name:>8} {part.sent:>7} {part.p50 * 1e3:>8.2f} {part.p99 * 1e3:>8.2f} {part.max * 1e3:>8.2f}"
        print(f"{row} {typical[name] * 1e3:>25.2f}")
    print(
        f"p99 of a phase of reloads over that of a phase of shams, medians: {typical['reload'] / typical['sham']:.2f}"
    )
    print(
        f"lost {sum(failures.values())} {dict(failures)}, degraded {degraded}, of the old run after the 200 {len(old)}"
    )
    print(
        f"{len(taken)} reloads, {refused} refused: median {statistics.median(taken):.0f} ms, "
        f"slowest {taken[-1]:.0f} ms, from POST to 200 with all workers"
    )
    if options.picture:
        _draw(outcome, options, length)
    return int(bool(failures or degraded or old or refused))


def _draw(outcome: Outcome, options: argparse.Namespace, length: float) -> None:
    draw(
        options.picture,
        title=f"{options.rate:g} requests/s to {WORKERS} workers, {options.users * DEPTH * 4 / 1e6:.0f} MB runs",
        points=[(a.scheduled - outcome.start, a.latency) for a in outcome.answers if a.failure is None],
        marks=[change.started - outcome.start for change in outcome.changes],
        shaded=[
            (phase * length, (phase + 1) * length) for phase in range(1, -(-2 * options.reloads // options.phase), 2)
        ],
        length=2 * options.reloads * options.every,
    )


def _resources(served: Replica) -> list[tuple[int, int]]:
    """Return open files and proportional memory in MiB of each worker."""
    found = []
    for pid in served.workers():
        files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        found.append((files, next(int(line.split()[1]) // 1024 for line in lines if line.startswith("Pss:"))))
    return found


if __name__ == "__main__":
    sys.exit(main())
