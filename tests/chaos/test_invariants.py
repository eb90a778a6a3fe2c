"""The checks find what is spoiled: each test takes a history in which all is well, and spoils one thing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.chaos import invariants

NOW = 1_800_000_000.0
OLD, NEW, RELEASE = "run-a", "run-b", "chaos_release:chaos_1"
FIRST = "chaos_release:chaos_0"


def _entry(event: str, **about: Any) -> dict[str, Any]:
    at = f"2026-11-25T07:00:{_entry.seconds:02}Z"  # type: ignore[attr-defined]
    _entry.seconds += 1  # type: ignore[attr-defined]
    blank = {"generation": None, "mode": None, "run_id": NEW, "release_id": RELEASE, "by": "airflow", "reason": ""}
    return {"at": at, "event": event, **blank, **about}


_entry.seconds = 0  # type: ignore[attr-defined]


def _ledger() -> list[dict[str, Any]]:
    """A first release, and a second one in two steps."""
    return [
        _entry("committed", release_id=FIRST, run_id=OLD, generation=1, mode="primary"),
        _entry("verified", release_id=FIRST, run_id=OLD, generation=1),
        _entry("committed", generation=2, mode="canary"),
        _entry("trial_started", generation=2, mode="canary"),
        _entry("committed", generation=3, mode="primary"),
        _entry("released", generation=3, mode="primary"),
        _entry("verified", generation=3),
    ]


def _put_back() -> list[dict[str, Any]]:
    """The same, but the run was put back after it had become current."""
    return [*_ledger()[:-1], _entry("put_back", run_id=OLD, generation=4, mode="primary")]


def _registry(run_id: str = NEW, generation: int = 3, release_id: str = RELEASE) -> dict[str, Any]:
    return {"generation": generation, "current": {"run_id": run_id, "release_id": release_id}, "candidate": None}


def _reports(generation: int = 3, current: str = NEW, candidate: Any = None) -> dict[str, Any]:
    workers = [
        {"pid": pid, "generation": generation, "current": current, "candidate": copy.deepcopy(candidate)}
        for pid in (1, 2)
    ]
    return {name: {"workers": copy.deepcopy(workers)} for name in ("one", "two")}


def _candidate(until: str | None = "2027-06-01T00:00:00Z") -> dict[str, Any]:
    return {"run_id": NEW, "mode": "canary", "rollout": 0.5, "release_id": RELEASE, "lease_until": until}


def _differ(reports: dict[str, Any], registry: dict[str, Any] | None = None) -> list[str]:
    return invariants.disagreements(registry or _registry(), reports, workers=2, now=NOW)


def test_what_is_well_passes_every_check() -> None:
    ledger, registry = _ledger(), _registry()
    assert _differ(_reports()) == []
    assert invariants.ledger_violations(registry, ledger) == []
    assert invariants.outcome_of(RELEASE, ledger) == "new"
    assert invariants.release_violations(RELEASE, "new", registry, ledger) == []
    assert invariants.outcome_violations("new", "success", NEW, registry) == []
    ledger, registry = _put_back(), _registry(OLD, 4, FIRST)
    assert invariants.ledger_violations(registry, ledger) == []
    assert invariants.outcome_of(RELEASE, ledger) == "old"
    assert invariants.release_violations(RELEASE, "old", registry, ledger) == []
    assert invariants.outcome_violations("old", "failed", OLD, registry) == []


@pytest.mark.parametrize(
    ("field", "value"), [("generation", 2), ("current", OLD), ("candidate", _candidate()), ("current", None)]
)
def test_one_worker_that_differs_is_found(field: str, value: Any) -> None:
    reports = _reports()
    reports["two"]["workers"][1][field] = value
    (found,) = _differ(reports)
    assert found.startswith("two worker 2")


def test_a_worker_or_a_replica_that_is_missing_is_found() -> None:
    reports = _reports()
    del reports["one"]["workers"][0]
    assert _differ(reports) == ["one has 1 of 2 workers"]
    assert _differ({**_reports(), "two": None}) == ["two does not answer"]


def test_a_candidate_is_to_be_served_until_its_lease_ends_and_not_after() -> None:
    running, lapsed = _candidate(), _candidate("2026-06-01T00:00:00Z")
    assert _differ(_reports(candidate=running), {**_registry(), "candidate": running}) == []
    assert len(_differ(_reports(), {**_registry(), "candidate": running})) == 4
    assert _differ(_reports(), {**_registry(), "candidate": lapsed}) == []


def test_a_generation_that_the_ledger_lacks_is_found() -> None:
    ledger = [entry for entry in _ledger() if (entry["event"], entry["generation"]) != ("committed", 2)]
    assert "no entry for generations [2]" in " ".join(invariants.ledger_violations(_registry(), ledger))


def test_a_generation_that_is_two_changes_is_found() -> None:
    ledger = [*_ledger(), _entry("committed", run_id="run-c", generation=3, mode="primary", release_id="other:1")]
    assert "generation 3 is 2 changes" in " ".join(invariants.ledger_violations(_registry("run-c"), ledger))


def test_a_line_that_is_written_twice_is_found() -> None:
    ledger = _ledger()
    assert "written 2 times" in " ".join(invariants.ledger_violations(_registry(), [*ledger, ledger[2]]))


def test_a_ledger_ahead_of_its_registry_is_found() -> None:
    found = " ".join(invariants.ledger_violations(_registry(OLD, 2, FIRST), _ledger()))
    assert "the ledger knows generations [3]" in found
    assert f"by the ledger {NEW} is current, by the registry {OLD}" in found


def test_a_registry_with_another_run_than_the_ledger_says_is_found() -> None:
    assert f"by the ledger {NEW} is current" in " ".join(invariants.ledger_violations(_registry(OLD), _ledger()))


def test_a_second_promotion_by_the_same_release_is_found() -> None:
    """Its run was put back, and a task that everybody thought dead made it current again."""
    ledger = [*_put_back(), _entry("committed", generation=5, mode="primary"), _entry("verified", generation=5)]
    found = invariants.release_violations(RELEASE, "new", _registry(NEW, 5), ledger)
    assert found == ["it made its run current 2 times: generations [3, 5]"]


def test_a_trial_that_outlives_its_release_is_found() -> None:
    registry = {**_registry(OLD, 3, FIRST), "candidate": _candidate()}
    assert "still on trial" in " ".join(invariants.release_violations(RELEASE, "old", registry, _ledger()[:4]))


@pytest.mark.parametrize("event", ["committed", "put_back"])
def test_a_trial_whose_place_another_release_took_is_over(event: str) -> None:
    """Not so a run that was made current, and neither proved nor put back, before somebody else came."""
    other = _entry(event, release_id="other:1", run_id="run-c", generation=4, mode="canary")
    assert invariants.outcome_of(RELEASE, [*_ledger()[:4], other]) == "old"
    assert invariants.outcome_of(RELEASE, [*_ledger()[:5], other]) == "neither"


@pytest.mark.parametrize("length", [3, 5, 6])
def test_a_release_that_stopped_half_way_is_neither(length: int) -> None:
    """With its trial running; committed and not proved; proved, but nobody has seen it answer."""
    ledger = _ledger()[:length]
    assert invariants.outcome_of(RELEASE, ledger) == "neither"
    assert "neither" in " ".join(invariants.release_violations(RELEASE, "neither", _registry(), ledger))


@pytest.mark.parametrize(
    ("outcome", "state", "current"), [("new", "failed", NEW), ("old", "success", OLD), ("new", "", NEW)]
)
def test_airflow_that_says_otherwise_is_found(outcome: str, state: str, current: str) -> None:
    assert "Airflow says" in " ".join(invariants.outcome_violations(outcome, state, current, _registry(current)))


def test_another_run_than_the_outcome_says_is_found() -> None:
    assert invariants.outcome_violations("old", "failed", OLD, _registry(NEW)) == [
        f"by its outcome, old, {OLD} is current; by the registry {NEW}"
    ]


def test_a_message_that_comes_twice_or_not_at_all_is_found() -> None:
    """The same headline of one release is the same message, whatever stands below it."""
    first, again = f"**Released**\n`{RELEASE}` at 7:00", f"**Released**\n`{RELEASE}` at 7:01"
    assert invariants.message_violations([first], [RELEASE]) == []
    assert invariants.message_violations([first, again], [RELEASE]) == [f"told 2 times of {RELEASE}: **Released**"]
    assert invariants.message_violations([first], [FIRST]) == [f"nobody was told how {FIRST} ended"]


def test_a_half_written_last_line_is_no_entry() -> None:
    """It was never acknowledged; one in the middle is a damaged ledger."""
    lines = [json.dumps(entry) for entry in _ledger()]
    assert len(invariants.read_ledger("\n".join(lines) + "\n" + lines[0][:20])) == len(lines)
    with pytest.raises(json.JSONDecodeError):
        invariants.read_ledger(lines[0][:20] + "\n" + lines[1] + "\n")
