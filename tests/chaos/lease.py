"""All of Airflow is killed while a candidate is on trial: how long after its lease's end every replica is back on current."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from tests.chaos import invariants
from tests.chaos.matrix import AGREE_SECONDS, RELEASE_SECONDS
from tests.chaos.scene import OVER, Scene, wait_for

DAG = "chaos_lease"  # its gate never lets the trial pass
STEPS = "canary:0.5:20"
LATE_SECONDS = 5.0
SPARE_SECONDS = 4.0  # of the lease, when Airflow is killed without waiting for a renewal any longer
USERS = tuple(f"u{number}" for number in range(24))


@dataclass
class Round:
    """One death of Airflow.

    Attributes:
        killed_before: seconds from there to the end of the lease.
        renewed: whether the gate's trigger had renewed the lease by then.
        back_after: of each replica, seconds from the end of the lease until no worker had the candidate any more, and every
            user got the current run; negative: before.
        violations: what should not be.
    """

    number: int
    killed_before: float = 0.0
    renewed: bool = False
    back_after: list[float] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def lose_airflow(scene: Scene, number: int) -> Round:
    """Start a trial, wait until users get the candidate, kill all of Airflow, and see the replicas drop it; then clean up.

    In rounds with an even number the first renewal of the lease is waited for, if it comes in time.
    """
    done, dag_run_id = Round(number), f"lease_{number}"
    current, (candidate, _) = scene.current, scene.next_runs()
    scene.trigger(DAG, dag_run_id, candidate)
    clients = [
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=2, trust_env=False) for port in scene.stack.ports
    ]
    try:
        wait_for("users get the candidate everywhere", lambda: all(candidate in _answers(one) for one in clients), 90)
        until = _lease_until(scene)
        while number % 2 == 0 and until - SPARE_SECONDS > time.time() and _lease_until(scene) == until:
            time.sleep(0.1)
        scene.stack.kill_airflow()
        killed, first, until = time.time(), until, _lease_until(scene)
        done.killed_before, done.renewed = until - killed, until > first
        done.back_after = _back(clients, current, until)
    finally:
        for client in clients:
            client.close()
    done.violations += [
        f"replica {place} was back {after:.2f} s after the end of the lease"
        for place, after in enumerate(done.back_after)
        if not -0.5 <= after <= LATE_SECONDS  # before it: that would be something else than the lease
    ]
    done.violations += _consistent(scene)
    scene.stack.revive_airflow()
    done.violations += _ended(scene, dag_run_id)
    return done


def _lease_until(scene: Scene) -> float:
    """Return the Unix time when the candidate's lease ends, by the registry's file; minus infinity without a candidate."""
    candidate = scene.registry()["candidate"]
    return float("-inf") if candidate is None else dt.datetime.fromisoformat(candidate["lease_until"]).timestamp()


def _answers(client: httpx.Client) -> set[str]:
    """Return the runs that users get of a replica; ``unknown`` without an answer."""
    try:
        answers = [client.get(f"/recommend/{user}", params={"k": 1}).raise_for_status().json() for user in USERS]
    except httpx.HTTPError:
        return {"unknown"}
    return {str(answer["run_id"]) for answer in answers}


def _trials(client: httpx.Client) -> set[str]:
    """Return the candidates that a replica's workers have; ``unknown`` without an answer."""
    try:
        workers = client.get("/models").raise_for_status().json()["workers"]
    except httpx.HTTPError:
        return {"unknown"}
    return {str(one["candidate"]["run_id"]) for one in workers if one["candidate"] is not None}


def _back(clients: list[httpx.Client], current: str | None, until: float) -> list[float]:
    """Return of each replica how many seconds after ``until`` (Unix time) it was seen to serve ``current`` and nothing else."""
    found: dict[int, float] = {}
    while len(found) < len(clients) and time.time() < until + AGREE_SECONDS:
        for place, client in enumerate(clients):
            if place not in found and not _trials(client) and _answers(client) == {current}:
                found[place] = time.time() - until
        time.sleep(0.02)
    return [found.get(place, float("inf")) for place in range(len(clients))]


def _consistent(scene: Scene) -> list[str]:
    """Return what registry, ledger and replicas disagree about while Airflow is away."""
    try:
        wait_for("the candidate is out of the registry", lambda: scene.registry()["candidate"] is None, LATE_SECONDS)
        wait_for("registry and replicas agree", lambda: not scene.disagreements(), LATE_SECONDS)
    except TimeoutError as error:
        return [str(error), *scene.disagreements()]
    return invariants.ledger_violations(scene.registry(), scene.ledger())


def _ended(scene: Scene, dag_run_id: str) -> list[str]:
    """Wait for the end of the release that lost its Airflow; return what is wrong then."""
    try:
        wait_for("the release ends", lambda: scene.state(DAG, dag_run_id) in OVER, RELEASE_SECONDS)
        wait_for("registry and replicas agree", lambda: not scene.disagreements(), AGREE_SECONDS)
    except TimeoutError as error:
        return [str(error)]
    name, registry, ledger = invariants.release_id(DAG, dag_run_id), scene.registry(), scene.ledger()
    outcome = invariants.outcome_of(name, ledger)
    found = invariants.release_violations(name, outcome, registry, ledger)
    return found + ([] if outcome == "old" else [f"it ended {outcome}"])


def run_lease(scene: Scene, rounds: int, results: Path, say: Callable[[str], None]) -> list[Round]:
    """Lose Airflow ``rounds`` times; each round is appended to ``results`` as one line of JSON, and said."""
    found = []
    for number in range(1, rounds + 1):
        began = time.monotonic()
        done = lose_airflow(scene, number)
        found.append(done)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(done)) + "\n")
        times = ", ".join(f"{after:.2f}" for after in done.back_after)
        told = "; ".join(done.violations) or "all well"
        say(f"{number:3} back {times} s after the lease ran out; {told} ({time.monotonic() - began:.0f} s)")
    return found
