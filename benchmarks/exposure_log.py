"""What the exposure log costs: ``python -m benchmarks.exposure_log``.

Prints the time of one append, how many lines a second the thread writes, and, with ``--rounds``, what one replica does
with the log on and off, in turns, since the machine is not always equally fast.  Where others use it too, only the time of
the processor is worth comparing.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from model_release.paths import ReleasePaths
from recommendation_api.exposure_log import ExposureLog, Record
from recommendation_api.settings import Settings
from tests.api.home import Home
from tests.runs import USERS

_RUNNING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
ITEMS = tuple(f"item-{number:06}" for number in range(10))
CALLERS = 4


def record() -> Record:
    """Return an answer with ten items."""
    return (time.time(), "5f0c8a1d2b3e4f60-1a", "recommend", "user-000123", 10, "20260105-popular-1111aaaa", "current",
            None, 3, ITEMS, True, None, 0.0002)  # fmt: skip


def cost_of_append(count: int) -> float:
    """Return nanoseconds for one append, without the making of the tuple."""
    with tempfile.TemporaryDirectory() as root:
        settings = Settings(paths=ReleasePaths(Path(root)), exposure_queue=1_000_000)
        best = float("inf")
        for _ in range(5):
            log = ExposureLog(settings)
            append, one = log.append, record()
            started = time.perf_counter()
            for _ in range(count):
                append(one)
            best = min(best, time.perf_counter() - started)
        return best / count * 1e9


def cost_of_writing_at_once(count: int) -> float:
    """Return nanoseconds for what the alternative would cost the request: make the line and write it."""
    with tempfile.TemporaryDirectory() as root:
        log = ExposureLog(Settings(paths=ReleasePaths(Path(root))))
        started = time.perf_counter()
        with (Path(root) / "lines").open("ab", buffering=0) as file:
            for _ in range(count):
                file.write(log.line(record()))
        return (time.perf_counter() - started) / count * 1e9


def lines_a_second(count: int) -> tuple[float, float]:
    """Return lines and bytes a second of the thread alone, from a full queue to the files, syncs included."""
    with tempfile.TemporaryDirectory() as root:
        log = ExposureLog(Settings(paths=ReleasePaths(Path(root)), exposure_queue=1_000_000))
        for _ in range(count):
            log.append(record())
        started = time.perf_counter()
        log.start()
        log.stop()
        seconds = time.perf_counter() - started
        size = sum(path.stat().st_size for path in Path(root).rglob("*.jsonl"))
        if sum(log.written.values()) != count:
            raise SystemExit(f"only {log.written} of {count} lines were written")
        return count / seconds, size / count


@contextmanager
def replica(root: Path, *, exposures: bool) -> Iterator[tuple[str, int]]:
    """Serve ``root``; yield address and process."""
    environment = {
        **os.environ,
        "MODEL_RELEASE_HOME": str(root),
        "RECOMMENDATION_API_EXPOSURES": str(exposures).lower(),
    }
    command = [sys.executable, "-m", "recommendation_api", "--port", "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            assert process.stdout is not None  # noqa: S101  (a pipe was asked for)
            for line in process.stdout:
                if found := _RUNNING.search(line.decode()):
                    break
            else:
                raise SystemExit("the replica did not start")
            threading.Thread(target=process.stdout.read, daemon=True).start()
            while httpx.get(f"{found[1]}/health/ready", trust_env=False).status_code != httpx.codes.OK:
                time.sleep(0.05)
            yield found[1], process.pid
        finally:
            process.terminate()
            process.wait()


def processor_seconds(pid: int) -> float:
    """Return the time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ask(url: str, pid: int, seconds: float) -> tuple[float, float, float]:
    """Return microseconds of the processor per answer, answers a second, 99th percentile of their time in milliseconds."""
    times: list[float] = []
    used = processor_seconds(pid)
    deadline = time.perf_counter() + seconds

    def caller() -> None:
        with httpx.Client(base_url=url, trust_env=False) as http:
            while (started := time.perf_counter()) < deadline:
                http.get(f"/recommend/{USERS[0]}").raise_for_status()
                times.append(time.perf_counter() - started)

    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = processor_seconds(pid) - used
    return used / len(times) * 1e6, len(times) / seconds, statistics.quantiles(times, n=100)[98] * 1000


def on_and_off(rounds: int, seconds: float) -> None:
    """Print the medians, and the ratio within each pair."""
    found: dict[bool, list[tuple[float, float, float]]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as root:
        Home(Path(root))
        for number in range(rounds):
            for exposures in (number % 2 == 0, number % 2 == 1):
                with replica(Path(root), exposures=exposures) as (url, pid):
                    ask(url, pid, 1.0)
                    found[exposures].append(ask(url, pid, seconds))
    print("\n| log | processor per answer (us) | answers a second | 99th percentile (ms) |\n|---|---|---|---|")
    middle = {on: [statistics.median(values) for values in zip(*rounds_, strict=True)] for on, rounds_ in found.items()}
    for on in (False, True):
        print(f"| {'on' if on else 'off'} | {middle[on][0]:.0f} | {middle[on][1]:.0f} | {middle[on][2]:.1f} |")
    ratios = [on[0] / off[0] for on, off in zip(found[True], found[False], strict=True)]
    print(f"\nprocessor time, on/off: median {statistics.median(ratios):.3f} of", *(f"{ratio:.3f}" for ratio in ratios))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=0, help="pairs of replicas to measure; default: none")
    parser.add_argument("--seconds", type=float, default=5.0, help="time for each replica")
    options = parser.parse_args()
    print(f"append: {cost_of_append(200_000):.0f} ns")
    print(f"make a line and write it at once: {cost_of_writing_at_once(50_000):.0f} ns")
    rate, size = lines_a_second(200_000)
    print(f"the thread: {rate:.0f} lines a second, {size:.0f} bytes each")
    if options.rounds:
        on_and_off(options.rounds, options.seconds)


if __name__ == "__main__":
    main()
