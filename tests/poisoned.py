"""A trial that is sound in every way, told by files, a Prometheus and an Alertmanager: to be spoiled in one place each."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_release.adapters.evidence import collect
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.sources import Sources
from model_release.judge import judge
from model_release.paths import ReleasePaths
from model_release.policy import Policy, parse_policy
from model_release.registry import promote, start_trial
from model_release.verdict import Decision
from tests.fakes_monitoring import (
    FakeAlertmanager,
    FakePrometheus,
    Labels,
    Value,
    alert,
    fake_alertmanager,
    fake_prometheus,
)
from tests.gate_evidence import CANDIDATE, CURRENT, write_evidence

RELEASE = "release-1"
REPLICAS = ("replica-1:8000", "replica-2:8000")
ARMS = ("candidate", "current")
UP, ANSWERS, BAD, SECONDS, USERS, OVERLAP = "up", "answers_total", "bad_total", "seconds_bucket", "users", "overlap"
PER_SECOND = {"candidate": 10.0, "current": 90.0}  # answers per replica
BOUNDS = {"0.01": 0.5, "0.1": 0.95, "+Inf": 1.0}  # share of answers that are at most so slow
MINUTES = 20.0
POLICY: dict[str, Any] = {
    "schema_version": 1,
    "name": "poisoned",
    "checks": [{"name": "floor", "kind": "absolute", "metric": "ndcg_at_10", "at_least": 0.01, "minimum_users": 2}],
    "online": {
        "minimum_minutes": 5.0,
        "replicas": UP,
        "maximum_age_seconds": 60.0,
        "step_seconds": 5.0,
        "checks": [
            {
                "name": "bad",
                "kind": "ratio",
                "count": [f'{BAD}{{variant="$arm"}}'],
                "of": [f'{ANSWERS}{{variant="$arm"}}'],
                "margin": 0.01,
                "worse": "higher",
                "minimum_requests": 1000,
            },
            {
                "name": "slow",
                "kind": "latency",
                "histogram": 'seconds{variant="$arm"}',
                "margin": 0.05,
                "minimum_requests": 1000,
            },
            {"name": "split", "kind": "sample_ratio", "users": f'{USERS}{{variant="$arm"}}', "minimum_users": 1000},
            {"name": "overlap", "kind": "query", "query": OVERLAP, "at_least": 0.2, "at_most": 1.0},
            {"name": "alerts", "kind": "alerts", "matchers": [{"severity": "critical"}], "watchdog": "Watchdog"},
            {"name": "reconciliation", "kind": "reconciliation", "maximum_age_hours": 48.0},
        ],
    },
}


@dataclass
class Scene:
    """Everything that the gate looks at."""

    paths: ReleasePaths
    prometheus: FakePrometheus
    alertmanager: FakeAlertmanager
    started: float
    sources: Sources

    def judged(self, policy: dict[str, Any] | None = None) -> Decision:
        """Collect, with the real adapters, and judge."""
        asked = read(POLICY if policy is None else policy)
        evidence = collect(self.paths, asked, CANDIDATE, RELEASE, "online", sources=self.sources)
        return judge(asked, evidence, dt.datetime.now(dt.UTC), "online")

    def replace(self, selector: str, value: Value, *, only: int | None = None) -> None:
        """Let all series of a selector, or only one of them, have another value."""
        found = self.prometheus.series[selector]
        self.prometheus.series[selector] = [
            (labels, value if only in {None, place} else old) for place, (labels, old) in enumerate(found)
        ]

    def reconciliation(self, day: dt.date | None = None, name: str | None = None, **changes: Any) -> Path:
        """Write the file of a day, by default of yesterday."""
        now = dt.datetime.now(dt.UTC)
        date = (day or (now - dt.timedelta(days=1)).date()).isoformat()
        document = {
            "schema_version": 1,
            "date": date,
            "written_at": now.isoformat(),
            "status": "agrees",
            "problems": [],
        }
        path = self.paths.evaluation / (name or f"reconciliation_{date}.json")
        path.write_text(json.dumps({**document, **changes}), encoding="utf-8")
        return path


def read(document: dict[str, Any]) -> Policy:
    """Return the policy that a document says."""
    return parse_policy(json.dumps(document), source="test")


def counter(per_second: float, started: float) -> Value:
    """Return a counter that had counted 100 before the trial."""
    return lambda at: float(100 + int(per_second * max(0.0, at - started + 60.0)))


@contextmanager
def scene(root: Path, minutes: float = MINUTES) -> Iterator[Scene]:
    """Set everything up for a canary that began some minutes ago and that nothing is wrong with."""
    paths = ReleasePaths(root)
    now = dt.datetime.now(dt.UTC)
    began = now - dt.timedelta(minutes=minutes)
    write_evidence(paths, at=now - dt.timedelta(hours=1))
    _on_trial(paths, began)
    started = began.timestamp()
    with fake_prometheus() as prometheus, fake_alertmanager() as alertmanager:
        prometheus.series = _series(started)
        since = (now - dt.timedelta(hours=2)).isoformat()
        alertmanager.alerts = [
            alert("Watchdog", since=since, severity="none"),
            alert("Slow", since=since, severity="info"),
        ]
        sources = Sources(prometheus_url=prometheus.url, alertmanager_url=alertmanager.url, timeout_seconds=3.0)
        found = Scene(paths, prometheus, alertmanager, started, sources)
        found.reconciliation()
        yield found


def _on_trial(paths: ReleasePaths, began: dt.datetime) -> None:
    registry = FileRegistry(paths)
    registry.update(lambda state: promote(state, run_id=CURRENT, release_id="release-0", at=began))
    registry.update(
        lambda state: start_trial(
            state,
            run_id=CANDIDATE,
            mode="canary",
            rollout=0.1,
            release_id=RELEASE,
            at=began,
            lease_until=began + dt.timedelta(hours=3),
        )
    )


def _series(started: float) -> dict[str, list[tuple[Labels, Value]]]:
    """Return what Prometheus knows by selector; one list entry per series, replica by replica."""
    found: dict[str, list[tuple[Labels, Value]]] = {
        UP: [({"__name__": UP, "job": "api", "instance": name}, _constant(1.0)) for name in REPLICAS],
        OVERLAP: [({}, _constant(0.7))],
    }
    for arm in ARMS:
        matcher = f'{{variant="{arm}"}}'
        rate = PER_SECOND[arm]
        found[ANSWERS + matcher] = _each(arm, ANSWERS, counter(rate, started))
        found[BAD + matcher] = _each(arm, BAD, counter(rate * 0.001, started))
        found[SECONDS + matcher] = [
            ({**labels, "le": le}, value)
            for le, share in BOUNDS.items()
            for labels, value in _each(arm, SECONDS, counter(rate * share, started))
        ]
        found[USERS + matcher] = _each(arm, USERS, _constant(1000.0 if arm == "candidate" else 9000.0))
    return found


def _each(arm: str, name: str, value: Value) -> list[tuple[Labels, Value]]:
    return [({"__name__": name, "job": "api", "instance": host, "variant": arm}, value) for host in REPLICAS]


def _constant(value: float) -> Value:
    return lambda _at: value
