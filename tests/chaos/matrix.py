"""Releases, one after another, each with faults at its steps; after each fault and each release everything is checked."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from tests.chaos import invariants
from tests.chaos.faults import DAG, FAULTS, LAST_CLEARED, SECOND, Target, arm, disarm, due
from tests.chaos.faults import done as let_go
from tests.chaos.scene import OVER, Scene, wait_for

AGREE_SECONDS = 30.0  # once a fault is over: until one generation is everywhere
RELEASE_SECONDS = 420.0  # from its trigger to its end, with a fault at every step
TOLD_SECONDS = 60.0
AIRFLOW_SECONDS = 180.0  # until what was killed last is up again
POLL_SECONDS = 0.2
FINISHED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


@dataclass
class Injected:
    """One fault.

    Attributes:
        fault: its kind.
        step: the task of the release it was done at.
        state: of that task then, by Airflow.
        whom: what it hit.
        at: when, by the monotonic clock.
        agreed_seconds: from then until every worker of every replica agreed with the registry, and still did so when the
            fault was over; 0: nothing ever disagreed.
    """

    fault: str
    step: str
    state: str
    whom: str
    at: float
    agreed_seconds: float | None = None

    @property
    def over(self) -> float:
        """When it is over or shows, by the monotonic clock."""
        return self.at + FAULTS[self.fault].lasts


@dataclass
class Released:
    """One release with its faults, and how it ended.

    Attributes:
        label: what was done to it.
        dag_run_id: the release.
        outcome: ``new``, ``old`` or ``neither``, by the ledger.
        state: of the DAG run.
        seconds: until it, and every other release that a fault started, had ended.
        disturbed: pieces and connections between Airflow and replicas that the proxies did something to.
        violations: what should not be.
    """

    label: str
    dag_run_id: str
    outcome: str = ""
    state: str = ""
    seconds: float = 0.0
    disturbed: int = 0
    injected: list[Injected] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)


def release(scene: Scene, dag_run_id: str, label: str, faults: Mapping[str, str]) -> Released:
    """Release a run that is not current, with the fault of each step in ``faults``, and check what became of it."""
    before = scene.current
    target = Target(scene.stack, scene.rest, dag_run_id, *scene.next_runs(), scene.last_dag_run_id)
    done = Released(label, dag_run_id)
    arm(target, faults)
    wait_for("Airflow is healthy", scene.stack.airflow_is_healthy, AIRFLOW_SECONDS)
    began, disturbed = time.monotonic(), scene.stack.disturbed
    scene.trigger(DAG, dag_run_id, target.run_id)
    try:
        _follow(scene, target, done, dict(faults), began + RELEASE_SECONDS)
    except TimeoutError as error:
        done.violations.append(str(error))
    finally:
        disarm(target)
    done.seconds, done.disturbed = time.monotonic() - began, scene.stack.disturbed - disturbed
    done.violations += _agreed(scene, done)
    done.violations += _checked(scene, target, done, before)
    return done


def _follow(scene: Scene, target: Target, done: Released, faults: dict[str, str], deadline: float) -> None:
    """Do each fault when its step is first seen at work, until this release and all that were started beside it have ended."""
    ended = 0
    while ended < 3:  # a task that was cleared just now takes a moment to be seen
        if time.monotonic() > deadline:
            raise TimeoutError(f"it has not ended after {RELEASE_SECONDS:g} s: {scene.states(DAG, target.dag_run_id)}")
        states = scene.states(DAG, target.dag_run_id)
        for step, fault in list(faults.items()):
            if due(target, fault, step, states.get(step, "")) and _injected(
                target, done, step, fault, states.get(step, "")
            ):
                del faults[step]
                let_go(target, step)
                ended = 0
        ended = ended + 1 if _all_over(scene, target, done, states) else 0
        time.sleep(POLL_SECONDS)


def _all_over(scene: Scene, target: Target, done: Released, states: Mapping[str, str]) -> bool:
    """Whether this release and all others have ended; asked of Airflow only when that is likely: its API server is busy."""
    if not states or any(state not in FINISHED for state in states.values()):
        return False
    done.state = scene.state(DAG, target.dag_run_id)
    return done.state in OVER and all(scene.state(*one) in OVER for one in target.others)


def _injected(target: Target, done: Released, step: str, fault: str, state: str) -> bool:
    """Do a fault; return False if that was not possible now: what it is to hit is down, or Airflow does not answer."""
    at = time.monotonic()
    try:
        whom = FAULTS[fault].inject(target, step)
    except AssertionError as error:
        done.violations.append(f"{step}: {error}")
        return True
    except (LookupError, ProcessLookupError, httpx.HTTPError):
        return False
    done.injected.append(Injected(fault, step, state, whom, at))
    target.count += 1
    return True


def _agreed(scene: Scene, done: Released) -> list[str]:
    """Read off how long each fault was felt; return those after which one generation was not everywhere in time."""
    found = []
    deadline = max([time.monotonic(), *(one.over for one in done.injected)]) + AGREE_SECONDS
    for one in done.injected:
        one.agreed_seconds = scene.watch.agreed(one.at, one.over)
        while one.agreed_seconds is None and time.monotonic() < deadline:
            time.sleep(0.2)
            one.agreed_seconds = scene.watch.agreed(one.at, one.over)
        late = one.agreed_seconds is None or one.agreed_seconds > FAULTS[one.fault].lasts + AGREE_SECONDS
        if late:
            found.append(f"{one.step}, {one.fault}: not one generation in time: {scene.disagreements()}")
    with contextlib.suppress(TimeoutError):
        wait_for("one generation", lambda: not scene.disagreements(), AGREE_SECONDS)
    return found + list(scene.disagreements())


def _checked(scene: Scene, target: Target, done: Released, before: str | None) -> list[str]:
    """Return what is wrong now that a release has ended: with files, replicas, and what people were told."""
    registry, ledger = scene.registry(), scene.ledger()
    own = invariants.release_id(DAG, target.dag_run_id)
    others = [invariants.release_id(*one) for one in target.others]
    done.outcome = invariants.outcome_of(own, ledger)
    found = invariants.ledger_violations(registry, ledger)
    for name in {own, *others}:
        found += invariants.release_violations(name, invariants.outcome_of(name, ledger), registry, ledger)
    if not target.others:
        wanted = {"new": target.run_id, "old": before}.get(done.outcome)
        found += invariants.outcome_violations(done.outcome, done.state, wanted, registry)
    scene.ended(target.dag_run_id, target.others)
    with contextlib.suppress(TimeoutError):  # what is missing then is said below
        wait_for("people are told", lambda: not scene.untold(), TOLD_SECONDS)
    return found + invariants.message_violations(scene.robot.texts, scene.releases)


def plan(kinds: Iterable[str], steps: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give for each kind of fault the releases, and at which steps it is done to each: all of them, in one release.

    Another release costs one of its own each time: every fourth step then, in four releases; and there is one last release.
    """
    for kind in kinds:
        if kind == SECOND:
            yield from ((kind, dict.fromkeys(steps[first::4], kind)) for first in range(4))
        elif kind == LAST_CLEARED:
            yield kind, dict.fromkeys(steps[1::4], kind)
        else:
            yield kind, dict.fromkeys(steps, kind)


def mixed(kinds: Sequence[str], steps: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give releases with another kind at each step: as many as there are kinds, and each kind is done once at each step."""
    for first in range(len(kinds)):
        place = first * len(steps) if math.gcd(len(kinds), len(steps)) == 1 else first
        yield "mixed", {step: kinds[(place + number) % len(kinds)] for number, step in enumerate(steps)}


def run(
    scene: Scene, planned: Iterable[tuple[str, Mapping[str, str]]], results: Path, say: Callable[[str], None]
) -> list[Released]:
    """Carry out a plan; each release is appended to ``results`` as one line of JSON, and said."""
    found = []
    for number, (label, faults) in enumerate([("no fault", {}), *planned]):
        try:
            done = release(scene, f"chaos_{number}", label, faults)
        except (httpx.HTTPError, TimeoutError) as error:  # the others are to be tried all the same
            done = Released(label, f"chaos_{number}", violations=[f"it could not be carried out: {error!r}"])
        found.append(done)
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(done), ensure_ascii=False) + "\n")
        told = "; ".join(done.violations) or "all well"
        say(f"{number:3} {label}: {len(done.injected)} faults, {done.outcome}, {done.seconds:.0f} s, {told}")
    return found
