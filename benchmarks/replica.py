"""One replica of the recommendation API on loopback, and whoever changes what it serves."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_release.contract import ModelsReport
from model_release.paths import ReleasePaths

TOKEN = "benchmark"  # noqa: S105  (of a replica that lives for minutes)
LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")
_START_SECONDS = 60.0
_HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@dataclass(frozen=True)
class Replica:
    """A running replica.

    Attributes:
        port: on 127.0.0.1.
        pid: of its supervisor, or of its one worker.
        log: what it wrote.
    """

    port: int
    pid: int
    log: Path

    def connect(self, seconds: float = 60.0) -> http.client.HTTPConnection:
        """Return a connection, made with the first request; any worker may take it."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds)

    def models(self) -> ModelsReport:
        """Return what every worker says that it serves."""
        with closing(self.connect()) as connection:
            return ModelsReport.model_validate_json(exchange(connection, "GET", "/models")[1])

    def converged(self) -> bool:
        """Whether all workers are there and serve what is desired."""
        report = self.models()
        served = {(worker.generation, worker.current) for worker in report.workers if worker.degraded is None}
        desired = report.desired
        return (
            len(report.workers) == report.workers_expected
            and desired is not None
            and served == {(desired.generation, desired.current)}
        )

    def wait_converged(self, seconds: float) -> float | None:
        """Wait until it has converged; return after how many seconds, None: not in time."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            try:
                if self.converged():
                    return passed
            except (OSError, http.client.HTTPException):
                pass  # nobody is there yet, or the worker that was asked has ended
            time.sleep(0.02)
        return None

    def workers(self) -> list[int]:
        """Return the worker processes, also those that only begin."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]


@contextmanager
def replica(paths: ReleasePaths, *, workers: int, settings: Mapping[str, str] | None = None) -> Iterator[Replica]:
    """Start one on a free port, wait until all of it serves, and end it."""
    environment = {**os.environ, "MODEL_RELEASE_HOME": str(paths.root), "MODEL_RELOAD_TOKEN": TOKEN, **(settings or {})}
    log_path = paths.root / "replica.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "recommendation_api", "--port", "0", "--workers", str(workers)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        while (found := LISTENING.search(log_path.read_text(encoding="utf-8"))) is None:
            if process.poll() is not None:
                raise RuntimeError(log_path.read_text(encoding="utf-8"))
            time.sleep(0.05)
        started = Replica(int(found[1]), process.pid, log_path)
        if started.wait_converged(_START_SECONDS) is None:
            raise RuntimeError(f"not all workers serve: {log_path.read_text(encoding='utf-8')}")
        yield started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def exchange(
    connection: http.client.HTTPConnection, method: str, path: str, document: Mapping[str, object] | None = None
) -> tuple[int, bytes]:
    """Ask; return status and body.  After an error the connection is closed, and opened again by the next call.

    Raises:
        OSError, HTTPException: there was no whole answer.
    """
    body = None if document is None else json.dumps(document)
    try:
        connection.request(method, path, body, _HEADERS)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        connection.close()
        raise
