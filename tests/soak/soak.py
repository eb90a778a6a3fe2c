"""Releases and rollbacks in a row, under traffic, with pruning after each: the functions that the operators run."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_release import rollout
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.run_pruning import Pruner, hold
from model_release.attendance import attend
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.policy.retention import Retention
from model_release.registry import Cause, Registry
from model_release.reversal import rollback_target
from model_release.rollout import Move
from scripts.services import family
from tests.api.home import Home
from tests.api.replica import TOKEN, Replica
from tests.runs import publish_factors, publish_run, stage_run
from tests.soak.growth import KINDS, held, leaks
from tests.soak.traffic import Traffic

RETENTION = Retention(newest=2, days=0.0, past_currents=2, staging_hours=1.0)
PROVE_SECONDS = 60.0
_BY = "soak"


class SoakError(RuntimeError):
    """Something that must hold did not."""


@dataclass
class Soak:
    """One installation with its replicas.

    Attributes:
        home: the installation.
        fleet: its replicas.
        series: what was measured after each round, by name.
        rounds: what became of each round.
        problems: what must not be.
    """

    home: Home
    fleet: list[Replica]
    series: dict[str, list[float]] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Talk to the replicas as Airflow does."""
        self.clients = [RecommendationApiClient(replica.url, token=TOKEN) for replica in self.fleet]
        self.held = ""

    def round(self, number: int) -> None:
        """Train, judge, try in shadow, release; roll back every second time; leave a piece of work behind; prune."""
        began, run_id = time.monotonic(), f"soak-{number:04}"
        make = publish_factors if number % 2 else publish_run  # both serving formats
        make(self.home.paths, run_id, seed=number)
        if not self.held:
            self.held = run_id
            hold(self.home.paths, run_id, held=True, reason="to see that it stays", by=_BY, now=utc_now())
        before = self.home.registry.read()
        self._release(
            Move(run_id=run_id, release_id=f"soak:trial-{number}", mode="shadow", rollout=0.5, lease_seconds=600)
        )
        self._release(Move(run_id=run_id, release_id=f"soak:release-{number}"))
        back = self._roll_back(number) if number % 2 == 0 else None
        if back is not None and before.current is not None and back != before.current.run_id:
            self.problems.append(f"round {number}: went back to {back}, not to {before.current.run_id}")
        self._leave_behind(number)
        pruned = self._prune()
        self._measure()
        seconds = round(time.monotonic() - began, 2)
        self.rounds.append({"round": number, "seconds": seconds, "rolled_back": back is not None, "pruned": pruned})

    def _release(self, move: Move, cause: Cause = "release") -> None:
        self.home.register(move.run_id)
        rollout.prepare(self.clients, move)
        entry = LedgerEntry(
            at=utc_now(),
            event=Event.GATE_DECIDED,
            release_id=move.release_id,
            by=_BY,
            run_id=move.run_id,
            generation=self.home.generation,
            details={"verdict": "PASS"},
        )
        self.home.ledger.append(entry)
        done = rollout.commit(
            self.home.registry, self.home.ledger, move, by=_BY, at=utc_now(), cause=cause, gated=False
        )  # fmt: skip
        rollout.switch(self.clients, done.registry, move)
        self._prove(done.registry)
        rollout.conclude(self.home.ledger, move, done.registry, by=_BY, at=utc_now(), cause=cause)

    def _prove(self, desired: Registry) -> None:
        deadline = time.monotonic() + PROVE_SECONDS
        while blocking := attend(self.clients, desired, needed=len(self.clients)).blocking:
            if time.monotonic() > deadline:
                raise SoakError(f"generation {desired.generation} was not proved: {blocking}")
            time.sleep(0.05)

    def _roll_back(self, number: int) -> str:
        release_id = f"soak:rollback-{number}"
        target = rollback_target(
            self.home.registry.read(), self.home.ledger.read(), release_id=release_id, asked_at=utc_now()
        )
        if target is None:
            raise SoakError("there is nothing to go back to")
        self._release(Move(run_id=target, release_id=release_id), cause="rollback")
        return target

    def _leave_behind(self, number: int) -> None:
        """Leave an unfinished run, as a killed training does; two hours old."""
        stage_run(self.home.paths, f"dead-{number:04}")
        folder = self.home.runs.folder(f"dead-{number:04}", source="staging")
        old = time.time() - 7200
        for path in (*folder.iterdir(), folder):
            os.utime(path, (old, old))

    def _prune(self) -> int:
        swept = Pruner(self.home.paths, RETENTION, by=_BY).sweep(utc_now())
        registry, there = self.home.registry.read(), set(self.home.runs.run_ids())
        needed = {self.held, registry.last_good_run_id(), registry.current and registry.current.run_id} - {None}
        self.problems += [f"{run_id} was pruned" for run_id in sorted(map(str, needed)) if run_id not in there]
        return len(swept.runs.doomed) + len(swept.staging.doomed)

    def _measure(self) -> None:
        models = self.home.paths.models
        files = [path for path in models.rglob("*") if path.is_file() and path.parent != models]
        self._note("models disk_kib", sum(path.stat().st_size for path in files) / 1024)
        self._note("models runs", len(self.home.runs.run_ids()))
        for place, replica in enumerate(self.fleet, start=1):
            if replica.process is None:
                raise SoakError("a replica is gone")
            holds = [held(pid) for pid in family(replica.process.pid)]
            for kind in KINDS:
                self._note(f"replica {place} {kind}", sum(one[kind] for one in holds))

    def _note(self, name: str, value: float) -> None:
        self.series.setdefault(name, []).append(value)


@contextlib.contextmanager
def installation(root: Path, *, replicas: int, workers: int) -> Iterator[Soak]:
    """Give an installation with a current run and replicas that serve it."""
    with contextlib.ExitStack() as stack:
        home, fleet = Home(root), []
        for number in range(replicas):
            settings = {"RECOMMENDATION_API_WORKERS": str(workers)}
            replica = Replica(home, name=f"replica-{number + 1}", settings=settings)
            stack.callback(replica.close)
            fleet.append(replica.start_ready())
        soak = Soak(home, fleet)
        for client in soak.clients:
            stack.enter_context(client)
        yield soak


def run(root: Path, *, rounds: int, replicas: int, workers: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Do it; return what was found: ``problems`` is empty if all held."""
    with installation(root, replicas=replicas, workers=workers) as soak:
        with Traffic([replica.url for replica in soak.fleet]) as traffic:
            began = time.monotonic()
            for number in range(1, rounds + 1):
                soak.round(number)
                say(f"round {number}: {soak.rounds[-1]['seconds']} s, {len(traffic.lost)} requests lost")
            seconds = time.monotonic() - began
        answered, lost = sum(traffic.answered.values()), traffic.lost
        problems = [*soak.problems, *leaks(soak.series), *(f"lost: {one}" for one in lost[:5])]
        if answered < rounds:
            problems.append(f"only {answered} requests were answered: that is no traffic")
        return {
            "rounds": rounds,
            "rollbacks": sum(one["rolled_back"] for one in soak.rounds),
            "pruned": sum(one["pruned"] for one in soak.rounds),
            "replicas": replicas,
            "workers": workers,
            "seconds": round(seconds, 1),
            "slowest": max(one["seconds"] for one in soak.rounds),
            "answered": answered,
            "lost": len(lost),
            "runs_that_answered": len(traffic.answered),
            "ledger_kib": round(soak.home.ledger.path.stat().st_size / 1024, 1),
            "series": soak.series,
            "problems": problems,
        }
