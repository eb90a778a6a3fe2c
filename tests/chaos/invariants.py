"""What must hold after every fault: checked on the raw files and on what the replicas say, with no code of the product."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]
_CHANGES = {"committed", "put_back", "trial_ended"}
_ENDS = {"put_back", "trial_ended"}


def release_id(dag_id: str, dag_run_id: str) -> str:
    """Return the name of the release that a DAG run makes."""
    return f"{dag_id}:{dag_run_id}"


def disagreements(registry: Json, reports: Mapping[str, Json | None], *, workers: int, now: float) -> list[str]:
    """Return how the replicas differ from the registry: every worker, its generation, its current run and its candidate.

    Args:
        registry: ``model_registry.json``.
        reports: of each replica what ``GET /models`` answers; None: it did not.
        workers: how many each replica should have.
        now: Unix time when they were asked: a candidate whose lease has run out by then is to be served by nobody.
    """
    found = []
    current, candidate = _run(registry["current"]), _trial(registry["candidate"], now)
    for replica, report in reports.items():
        if report is None:
            found.append(f"{replica} does not answer")
            continue
        if len(report["workers"]) != workers:
            found.append(f"{replica} has {len(report['workers'])} of {workers} workers")
        for worker in report["workers"]:
            observed = (worker["generation"], worker["current"], _trial(worker["candidate"], now))
            if observed != (registry["generation"], current, candidate):
                found.append(
                    f"{replica} worker {worker['pid']} has {observed}, not generation {registry['generation']}"
                )
    return found


def ledger_violations(registry: Json, ledger: Iterable[Json]) -> list[str]:
    """Return where ledger and registry contradict each other, and what happened twice.

    Each generation is one change; one run is current after the last of them; no release makes a run current twice.
    """
    entries, found = list(ledger), []
    written = Counter(json.dumps(dict(entry), sort_keys=True) for entry in entries)
    found += [f"written {count} times: {line}" for line, count in written.items() if count > 1]
    changes = [entry for entry in entries if entry["event"] in _CHANGES and entry["generation"] is not None]
    of_generation: dict[int, set[tuple[str | None, str]]] = {}
    for entry in changes:
        if entry["event"] == "committed" and _repeats(entry, changes):
            continue  # a release that found its run current already changed nothing
        what = (entry["run_id"], "end" if entry["event"] in _ENDS else str(entry["mode"]))
        of_generation.setdefault(entry["generation"], set()).add(what)
    for generation, whats in sorted(of_generation.items()):
        if len(whats) > 1:
            found.append(f"generation {generation} is {len(whats)} changes: {sorted(map(str, whats))}")
    missing = set(range(1, registry["generation"] + 1)) - set(of_generation) - _latches(entries)
    if missing:
        found.append(f"no entry for generations {sorted(missing)} of {registry['generation']}")
    beyond = [generation for generation in of_generation if generation > registry["generation"]]
    if beyond:
        found.append(f"the ledger knows generations {beyond}, the registry is at {registry['generation']}")
    primaries = [entry for entry in changes if entry["mode"] == "primary"]
    if primaries:
        last = max(primaries, key=lambda entry: (entry["generation"], entries.index(entry)))
        if last["run_id"] != _run(registry["current"]):
            found.append(f"by the ledger {last['run_id']} is current, by the registry {_run(registry['current'])}")
    return found


def release_violations(
    release_id: str, outcome: str, registry: Json, ledger: Iterable[Json], *, times: int = 1
) -> list[str]:
    """Return what is wrong about a release that has ended as ``outcome``: ``new`` or ``old``.

    Args:
        release_id: the release.
        outcome: from :func:`outcome_of`.
        registry: the desired state after it.
        ledger: all entries.
        times: how often it may have made its run current: once, or more if it was cleared after that.
    """
    own = [entry for entry in ledger if entry["release_id"] == release_id]
    found = []
    candidate = registry["candidate"]
    if candidate is not None and candidate["release_id"] == release_id:
        found.append("it has ended and its candidate is still on trial")
    generations = {entry["generation"] for entry in own if entry["event"] == "committed" and entry["mode"] == "primary"}
    if len(generations) > times:
        found.append(f"it made its run current {len(generations)} times: generations {sorted(generations)}")
    if outcome == "neither":
        found.append(f"it ended neither on the new run nor on the old one: {[entry['event'] for entry in own][-6:]}")
    if outcome == "old" and (registry["current"] or {}).get("release_id") == release_id:
        found.append("it ended on the old run, and its own is current")
    return found


def outcome_of(release_id: str, ledger: Iterable[Json]) -> str:
    """Return ``new`` if the release's run was proved to serve and stayed, ``old`` if nothing of it stayed, else ``neither``.

    A trial is also over when another release's commit or way back took its place; a run that was made current is not: that is to be proved or
    put back first.
    """
    state, trial = "old", False
    for entry in ledger:
        if entry["release_id"] != release_id:
            if trial and entry["event"] in {"committed", "put_back"}:
                state, trial = "old", False
            continue
        match entry["event"]:
            case "committed":
                state, trial = "neither", entry["mode"] != "primary"
            case "verified" if entry["run_id"] is not None and state == "neither":
                state = "new"
            case "put_back" | "trial_ended":
                state, trial = "old", False
            case _:
                pass
    return state


def outcome_violations(outcome: str, state: str, wanted: str | None, registry: Json) -> list[str]:
    """Return where a release that was alone ended otherwise than it says.

    Args:
        outcome: from :func:`outcome_of`.
        state: of the DAG run.
        wanted: the run that is current after such an outcome.
        registry: the desired state after it.
    """
    found = []
    if _run(registry["current"]) != wanted:
        found.append(f"by its outcome, {outcome}, {wanted} is current; by the registry {_run(registry['current'])}")
    if (state, outcome) not in {("success", "new"), ("failed", "old")}:
        found.append(f"Airflow says {state or 'nothing'}, and users get the {outcome} run")
    return found


def message_violations(texts: Sequence[str], release_ids: Iterable[str]) -> list[str]:
    """Return what people were told twice, and what they were not told: the same headline of the same release is once enough."""
    found = []
    for name in release_ids:
        told = Counter(text.splitlines()[0] for text in texts if f"`{name}`" in text)
        found += [f"told {count} times of {name}: {line}" for line, count in told.items() if count > 1]
        if not told:
            found.append(f"nobody was told how {name} ended")
    return found


def read_ledger(text: str) -> list[Json]:
    """Return the entries of a ledger file; a half-written last line is none yet."""
    lines = text.split("\n")
    return [json.loads(line) for line in lines[:-1] if line.strip()]


def _repeats(entry: Json, changes: Sequence[Json]) -> bool:
    others = [one for one in changes if one["generation"] == entry["generation"] and one is not entry]
    return any(
        one["release_id"] != entry["release_id"] and one["run_id"] == entry["run_id"] and one["at"] < entry["at"]
        for one in others
    )


def _latches(entries: Iterable[Json]) -> set[int]:
    return {
        entry["generation"]
        for entry in entries
        if entry["event"] in {"latch_set", "latch_cleared"} and entry["generation"]
    }


def _run(current: Json | None) -> str | None:
    return None if current is None else str(current["run_id"])


def _trial(candidate: Json | None, now: float) -> tuple[str, str, float, str] | None:
    if candidate is None:
        return None
    until = candidate.get("lease_until")
    if until is not None and dt.datetime.fromisoformat(until).timestamp() <= now:
        return None
    return candidate["run_id"], candidate["mode"], candidate["rollout"], candidate["release_id"]
