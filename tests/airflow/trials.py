"""A run on trial, and what Prometheus would say of it."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model_release import registry as transitions
from model_release.adapters import evidence as adapter
from model_release.adapters.sources import Sources
from model_release.contract import utc_now
from model_release.evidence import Evidence, Missing, NumberQuery, OnlineEvidence, Point, Points, Scrape
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.phases import record
from model_release.policy import Policy, Stage
from model_release_airflow.context import Stores
from tests.airflow.contexts import RELEASE_ID

ERRORS, REQUESTS = "errors", "requests"


def write_policy(file: Path, *, error_minutes: float = 0.1, inconclusive_minutes: float = 0.1, **online: Any) -> Path:
    """Write a policy whose one check on trial is: at most 1 % errors, in 100 requests."""
    budgets = {"error_minutes": error_minutes, "inconclusive_minutes": inconclusive_minutes}
    check = {"name": "errors", "kind": "query", "query": ERRORS, "at_most": 0.01}
    check |= {"samples": REQUESTS, "minimum_samples": 100}
    asked = {"budgets": budgets, "minimum_minutes": 0, "replicas": "up", "step_seconds": 1, "checks": [check], **online}
    absolute = {"name": "floor", "kind": "absolute", "metric": "ndcg_at_10", "at_least": 0.01, "minimum_users": 2}
    document = {"schema_version": 1, "name": "test", "checks": [absolute], "online": asked}
    file.write_text(json.dumps(document))
    return file


def start_trial(stores: Stores, *, lease_seconds: float | None = 600.0, release_id: str = RELEASE_ID) -> int:
    """Put ``new`` on trial as a release does that the gate passed; return the generation."""
    at = utc_now()
    word = {"verdict": "pass", "stage": "offline"}
    gate = LedgerEntry(
        at=at, event=Event.GATE_DECIDED, release_id=RELEASE_ID, by="test", run_id="new", generation=1, details=word
    )
    record(stores.ledger, gate)
    after = stores.registry.update(
        lambda state: transitions.start_trial(
            state,
            run_id="new",
            mode="canary",
            rollout=0.5,
            release_id=release_id,
            at=at,
            lease_until=None if lease_seconds is None else at + dt.timedelta(seconds=lease_seconds),
        )
    )
    for event in (Event.COMMITTED, Event.TRIAL_STARTED):
        entry = LedgerEntry(
            at=at, event=event, release_id=RELEASE_ID, by="test", run_id="new", generation=2, mode="canary", rollout=0.5
        )
        record(stores.ledger, entry)
    return after.generation


def lease_until(stores: Stores) -> dt.datetime:
    """Return when the lease of the trial ends."""
    candidate = stores.registry.read().candidate
    assert candidate is not None
    assert candidate.lease_until is not None
    return candidate.lease_until


@dataclass
class Answers:
    """What Prometheus says of the trial; ``up`` whether it answers at all."""

    errors: float = 0.0
    requests: float = 1000.0
    up: bool = True
    looks: int = 0

    def collect(
        self,
        paths: ReleasePaths,
        policy: Policy,
        run_id: str,
        release_id: str | None,
        stage: Stage,
        *,
        sources: Sources,
    ) -> Evidence:
        """Collect from the real registry and files, and say what Prometheus does."""
        self.looks += 1
        found = adapter.collect(paths, policy, run_id, release_id, stage, sources=sources)
        if found.online is None:
            return found
        return replace(found, online=self._online(found.online))

    def _online(self, found: OnlineEvidence) -> OnlineEvidence:
        if isinstance(found.trial, Missing):
            return found
        now = utc_now().timestamp()
        gone = Missing("Prometheus does not answer")
        numbers = {ERRORS: self.errors, REQUESTS: self.requests}
        return replace(
            found,
            clock_offset_seconds=0.0 if self.up else gone,
            scrapes=(Scrape(labels={"instance": "a"}, up=1.0, at=now),) if self.up else gone,
            numbers={
                NumberQuery(query): Points((Point({}, value, now),)) if self.up else gone
                for query, value in numbers.items()
            },
        )
