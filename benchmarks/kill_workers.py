"""Kill a random worker every two seconds while reloads go on and requests come at a constant rate.

    python -m benchmarks.kill_workers

Three workers.  Three clients: a steady load over kept connections; one that makes a new connection for each request; one
that reloads by hand again and again and repeats what answers 503 or breaks off.  Ends with status 1 if

- an answer is stale (see ``changes.py``), or the registry was ever unreadable;
- a request failed otherwise than by a connection that broke when a worker was killed;
- a reload was refused for good, or the workers do not serve one and the same generation in the end.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.changes import Change, Seen, stale
from benchmarks.load import Load, get
from benchmarks.random_runs import CACHE, fresh_home
from benchmarks.replica import Replica, exchange, replica
from model_release.adapters.file_registry import FileRegistry
from model_release.errors import StateError
from model_release.paths import ReleasePaths

WORKERS, USERS, DEPTH = 3, 5_000, 100
RUNS = ("run-a", "run-b")
_DYING_SECONDS = 0.25  # from the signal until the kernel has closed the last connection, on a busy machine
_CONVERGED_SECONDS = 5.0
_OK, _UNAVAILABLE = 200, 503


@dataclass
class Chaos:
    """What happened; times in seconds of ``time.monotonic()``.

    Attributes:
        failed: requests without a 200: sent, finished, why.
        opened: requests over connections of their own.
        refused: reloads that were neither done nor worth a retry, or not done after many.
        repeated: tries of reloads that did not answer 200, by what they answered.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    kills: list[float] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    failed: list[tuple[float, float, str]] = field(default_factory=list)
    requests: int = 0
    opened: int = 0
    changes: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    repeated: Counter[str] = field(default_factory=Counter)
    registry_reads: int = 0
    unreadable: list[str] = field(default_factory=list)

    def unexplained(self) -> list[tuple[float, float, str]]:
        """Return the failures that are no connection that broke when a worker was killed."""
        return [
            (sent, finished, why)
            for sent, finished, why in self.failed
            if why != "closed" or not any(sent <= kill + _DYING_SECONDS and finished >= kill for kill in self.kills)
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it, print a table; return the exit status."""
    options = options_of(arguments)
    options.cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.cache) as folder:
        paths = fresh_home(Path(folder), RUNS, users=USERS, depth=DEPTH, cache=options.cache)
        with replica(paths, workers=WORKERS) as served:
            chaos = _rage(served, paths, options)
            # a worker may have been killed in the last moment
            waited = served.wait_converged(_CONVERGED_SECONDS)
            converged = None if waited is None else time.monotonic() - chaos.kills[-1]
    return report(chaos, converged, options)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long workers are killed")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two kills")
    parser.add_argument("--rate", type=float, default=200.0, help="requests per second")
    parser.add_argument("--seed", type=int, default=0, help="of who is killed")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where the runs are kept")
    return parser.parse_args(arguments)


def _rage(served: Replica, paths: ReleasePaths, options: argparse.Namespace) -> Chaos:
    chaos = Chaos()
    deeds: tuple[Callable[[], None], ...] = (
        lambda: _kill(served, chaos, options),
        lambda: _reload(served, chaos),
        lambda: _open(served, chaos),
        lambda: _read(paths, chaos),
    )
    threads = [threading.Thread(target=deed) for deed in deeds]
    for thread in threads:
        thread.start()
    sent: dict[int, float] = {}

    def request(number: int) -> bytes:
        sent[number] = time.monotonic()
        return get(f"/recommend/user-{number % USERS}")

    answers = asyncio.run(Load("127.0.0.1", served.port, options.rate, options.seconds, request).run())
    chaos.stop.set()
    for thread in threads:
        thread.join()
    chaos.requests = len(answers)
    for answer in answers:
        if answer.failure is None:
            chaos.seen.append(Seen(sent[answer.number], answer.finished, json.loads(answer.body)["run_id"]))
        else:
            chaos.failed.append((sent.get(answer.number, answer.scheduled), answer.finished, answer.failure))
    return chaos


def _kill(served: Replica, chaos: Chaos, options: argparse.Namespace) -> None:
    chance = random.Random(options.seed)  # noqa: S311  (no secret)
    while not chaos.stop.wait(options.every):
        pids = served.workers()
        if pids:
            chaos.kills.append(time.monotonic())
            os.kill(chance.choice(pids), signal.SIGKILL)


def _reload(served: Replica, chaos: Chaos) -> None:
    number, connection = 0, served.connect()
    while not chaos.stop.is_set():
        number += 1
        document = {"run_id": RUNS[number % 2], "release_id": f"reload-{number}"}
        for _ in range(100):
            started = time.monotonic()
            status, said = None, "connection broke"
            try:
                status, body = exchange(connection, "POST", "/models/reload", document)
                if status != _OK:
                    said = f"{status} {json.loads(body)['title']}"
            except (OSError, http.client.HTTPException):
                pass  # closed; the next try opens it again
            chaos.changes.append(Change(started, time.monotonic(), document["run_id"], status))
            if status == _OK:
                break
            chaos.repeated[said] += 1
            if status not in {None, _UNAVAILABLE}:
                chaos.refused.append(said)
                break
            time.sleep(0.05)
        else:
            chaos.refused.append(f"{document['release_id']}: not done after 100 tries")
        time.sleep(0.1)
    connection.close()


def _open(served: Replica, chaos: Chaos) -> None:
    while not chaos.stop.wait(0.02):
        chaos.opened += 1
        connection = served.connect(seconds=30)
        sent = time.monotonic()
        try:
            connection.connect()
            sent = time.monotonic()
            status, body = exchange(connection, "GET", "/recommend/user-0")
        except ConnectionRefusedError:
            chaos.failed.append((sent, time.monotonic(), "refused"))
        except TimeoutError:
            chaos.failed.append((sent, time.monotonic(), "timeout"))
        except (OSError, http.client.HTTPException):
            chaos.failed.append((sent, time.monotonic(), "closed"))
        else:
            if status == _OK:
                chaos.seen.append(Seen(sent, time.monotonic(), json.loads(body)["run_id"]))
            else:
                chaos.failed.append((sent, time.monotonic(), f"status {status}"))
        finally:
            connection.close()


def _read(paths: ReleasePaths, chaos: Chaos) -> None:
    registry = FileRegistry(paths)
    while not chaos.stop.wait(0.01):
        chaos.registry_reads += 1
        try:
            registry.read()
        except (StateError, OSError) as error:
            chaos.unreadable.append(str(error))


def report(chaos: Chaos, converged: float | None, options: argparse.Namespace) -> int:
    """Print a table; return the exit status."""
    old, unexplained = stale(chaos.changes, chaos.seen, first=RUNS[0]), chaos.unexplained()
    true = sum(change.true for change in chaos.changes)
    rows = {
        "workers killed": f"{len(chaos.kills)} in {options.seconds:g} s, of {WORKERS}",
        "requests over kept connections": f"{chaos.requests} at {options.rate:g}/s",
        "requests over new connections": chaos.opened,
        "failed with the worker that was killed": len(chaos.failed) - len(unexplained),
        "failed otherwise": f"{len(unexplained)} {dict(Counter(why for *_, why in unexplained)) or ''}".strip(),
        "reloads that answered 200": true,
        "tries that were repeated": ", ".join(f"{count} {said}" for said, count in chaos.repeated.items()) or "none",
        "reloads refused for good": f"{len(chaos.refused)} {chaos.refused or ''}".strip(),
        "stale answers": f"{len(old)} of {len(chaos.seen)}",
        "unreadable registry": f"{len(chaos.unreadable)} of {chaos.registry_reads} reads",
        "one generation": "not in time" if converged is None else f"{converged:.1f} s after the last kill",
        "load average": f"{os.getloadavg()[0]:.1f}",
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    return int(bool(old or unexplained or chaos.refused or chaos.unreadable or converged is None or not true))


if __name__ == "__main__":
    sys.exit(main())
