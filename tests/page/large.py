"""An installation with a long history and a large fleet: 10,000 entries of 2,000 releases, 500 runs, 50 replicas of 4 workers."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from model_release import registry as transitions
from model_release.adapters.decisions import write_decision
from model_release.adapters.files import write_atomic
from model_release.contract import ModelsReport, WorkerReport, utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import Registry
from model_release.verdict import Decision, Verdict
from tests.page.history import floor
from tests.page.yesterday import write_days_before, write_yesterday

ENTRIES, RUNS, REPLICAS, WORKERS, DECISIONS = 10_000, 500, 50, 4, 30
_STORY = (Event.REGISTERED, Event.GATE_DECIDED, Event.COMMITTED, Event.RELEASED, Event.VERIFIED)
RELEASES = ENTRIES // len(_STORY)


def _decision(number: int, now: dt.datetime) -> Decision:
    """Return the decision of the release that began last but ``number``."""
    results = [floor("data-quality", 96.0, 90.0, kind="data_quality", subject=f"table_{table}") for table in range(5)]
    release = RELEASES - 1 - number
    return Decision(
        verdict=Verdict.PASS, run_id="run-0001", against="run-0000", no_baseline=False, release_id=f"p:run__{release}", generation=1,
        decided_at=now - number * dt.timedelta(minutes=100), policy_name="p", policy_sha256="0" * 64, code_version="1",
        results=tuple(results), summary="",
    )  # fmt: skip


def write_large(paths: ReleasePaths) -> Registry:
    """Write registry, ledger, the last decisions, and days that were reconciled; return the registry."""
    now = utc_now()
    state = Registry()
    for number in range(RUNS):
        state = transitions.register(
            state, run_id=f"run-{number:04}", manifest_sha256="0" * 64, release_id=f"p:{number}", at=now
        )
    state = transitions.promote(state, run_id="run-0000", release_id="p:0", at=now)
    write_atomic(paths.registry, state.model_dump_json())
    lines = []
    for number in range(ENTRIES):
        release, event = number // len(_STORY), _STORY[number % len(_STORY)]
        entry = LedgerEntry(
            at=now - dt.timedelta(minutes=20) * (ENTRIES - number), event=event, release_id=f"p:run__{release}", by="airflow:p/x",
            run_id=f"run-{release % RUNS:04}", previous_run_id="run-before", generation=release, mode="primary",
            reason="recall_at_10 differs by +0.0031 [-0.0007, +0.0069]", details={"verdict": "pass"},
        )  # fmt: skip
        lines.append(entry.model_dump_json())
    write_atomic(paths.ledger, "\n".join([*lines, ""]))
    write_yesterday(paths, now, "run-0000")
    write_days_before(paths, now, lambda _: "run-0000")
    for number in range(DECISIONS):
        write_decision(paths, _decision(number, now))
    return state


@contextmanager
def fleet(state: Registry) -> Iterator[str]:
    """Play replicas that serve what is desired; give Airflow's connection to them."""
    now = utc_now()
    worker = [
        WorkerReport(pid=1000 + pid, generation=state.generation, current="run-0000", candidate=None, loaded_at=now)
        for pid in range(WORKERS)
    ]
    report = ModelsReport(replica="r", desired=None, workers_expected=WORKERS, workers=tuple(worker), reported_at=now)
    body = report.model_dump_json().encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name in the base class)
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    replicas = [f"http://127.0.0.1:{server.server_port}/{number}" for number in range(REPLICAS)]
    try:
        yield json.dumps({"conn_type": "recommendation_api", "extra": {"replicas": replicas}})
    finally:
        server.shutdown()
        server.server_close()
