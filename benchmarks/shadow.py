"""What a shadow trial of every request costs those who are served: latency with and without it, in turns.

    python -m benchmarks.shadow                  requests at a steady rate, CPU to spare
    python -m benchmarks.shadow --hogs 3         the same, with other programs that want every core
    python -m benchmarks.shadow --closed 16      as many requests as 16 connections can make

A replica serves 10,000 items from ranked lists; this process asks it over loopback.  RECOMMENDATION_API_WORKERS=2 before
the command gives it two workers; what ``--set`` changes holds for a replica of one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt

from benchmarks.random_runs import CACHE, fresh_home
from benchmarks.replica import LISTENING, TOKEN, Replica
from model_release.paths import ReleasePaths

USERS, DEPTH = 5_000, 100
Floats = npt.NDArray[np.float64]

_PROGRAM = """
import time, types
from model_release import golden
from recommendation_api import pressure, shadow
from recommendation_api.__main__ import main

def answer(*arguments):
    end = time.thread_time() + {seconds}
    while time.thread_time() < end:
        pass
    return golden.answer(*arguments)

shadow.golden = types.SimpleNamespace(answer=answer)
{changed}
main(["--port", "0"])
"""


def main() -> int:
    """Measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=250.0, help="requests per second")
    parser.add_argument("--rollout", type=float, default=1.0, help="share that is scored; 0 shows the noise alone")
    parser.add_argument("--closed", type=int, default=0, help="connections without a pause, instead of a rate")
    parser.add_argument("--hogs", type=int, default=0, help="other programs that compute all the time")
    parser.add_argument("--candidate-ms", type=float, default=0.0, help="Python code that the candidate runs beside")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one turn")
    parser.add_argument("--rounds", type=int, default=30, help="turns with and without the trial")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="for example shadow._REST=0")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as folder, ExitStack() as stack:
        paths = fresh_home(Path(folder), ("run-a", "run-b"), users=USERS, depth=DEPTH)
        port = stack.enter_context(replica(paths, options.set, options.candidate_ms))
        for _ in range(options.hogs):
            stack.enter_context(hog())
        measure(port, options)
    return 0


@contextmanager
def replica(paths: ReleasePaths, constants: Sequence[str], candidate_ms: float) -> Iterator[int]:
    """Start a replica, with other ``constants`` of shadow.py where they are given; yield its port."""
    changed = "".join(f"{constant}\n" for constant in constants)
    program = _PROGRAM.format(changed=changed, seconds=candidate_ms / 1000)
    environment = {**os.environ, "MODEL_RELEASE_HOME": str(paths.root), "MODEL_RELOAD_TOKEN": TOKEN}
    log_path = paths.root / "replica.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=log, stderr=log)
    try:
        while (found := LISTENING.search(log_path.read_text(encoding="utf-8"))) is None:
            if process.poll() is not None:
                raise RuntimeError(log_path.read_text(encoding="utf-8"))
            time.sleep(0.05)
        started = Replica(int(found[1]), process.pid, log_path)
        if started.wait_converged(60.0) is None:
            raise RuntimeError(log_path.read_text(encoding="utf-8"))
        yield started.port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@contextmanager
def hog() -> Iterator[None]:
    """Keep a core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measure(port: int, options: argparse.Namespace) -> None:
    """Take short turns without and with the trial; print the medians over the turns, which a busy neighbour moves least."""
    found: dict[str, list[Floats]] = {"off": [], "shadow": []}
    bodies = {"off": {"run_id": "run-a"}, "shadow": {"run_id": "run-b", "mode": "shadow", "rollout": options.rollout}}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=30
    ) as http:
        turn(port, options)  # warm
        for _ in range(options.rounds):
            for name, body in random.sample(
                sorted(bodies.items()), 2
            ):  # no order that a neighbour could be in step with
                http.post("/models/reload", json=body).raise_for_status()
                times = turn(port, options)
                found[name].append(
                    np.array([*np.percentile(times, (50, 99, 99.9)) * 1000, len(times) / options.seconds])
                )
        counts = re.findall(r'shadow_requests_total\{.*outcome="(\w+)"\} (\S+)', http.get("/metrics").text)
    off, shadow = (np.median(np.stack(turns), axis=0) for turns in found.values())
    print(f"{'':>8} {'p50 ms':>8} {'p99 ms':>8} {'p99.9 ms':>8} {'requests/s':>10}")
    for name, row in (("off", off), ("shadow", shadow), ("ratio", shadow / off)):
        print(f"{name:>8} {row[0]:>8.2f} {row[1]:>8.2f} {row[2]:>8.2f} {row[3]:>10.2f}")
    print("shadow requests:", ", ".join(f"{outcome} {float(count):.0f}" for outcome, count in counts))


def turn(port: int, options: argparse.Namespace) -> list[float]:
    """Ask for a while; return the seconds that each answer took."""
    return asyncio.run(_turn(port, options.closed, options.rate, options.seconds))


async def _turn(port: int, closed: int, rate: float, seconds: float) -> list[float]:
    times: list[float] = []
    count = closed or 16
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    start = time.perf_counter()

    async def ask(number: int) -> None:
        reader, writer = connections[number]
        place = number
        while (now := time.perf_counter()) < start + seconds:
            if not closed:  # an answer that is late counts from when it was due
                due = start + place / rate
                await asyncio.sleep(max(0.0, due - now))
                now = due
            writer.write(b"GET /recommend/user-%d HTTP/1.1\r\nHost: x\r\n\r\n" % (place % USERS))
            head = await reader.readuntil(b"\r\n\r\n")
            found = re.search(rb"content-length: (\d+)", head)
            assert found is not None, head  # noqa: S101  (a program for a terminal)
            await reader.readexactly(int(found[1]))
            times.append(time.perf_counter() - now)
            place += count

    await asyncio.gather(*(ask(number) for number in range(count)))
    for _, writer in connections:
        writer.close()
    return times


if __name__ == "__main__":
    sys.exit(main())
