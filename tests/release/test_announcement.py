"""What other DAGs hear of a run and of a release."""

from __future__ import annotations

from typing import Any

from model_release.announcement import RELEASE_IDENTITY, RUN_IDENTITY, release_announcement, run_announcement
from model_release.ledger import Event, LedgerEntry
from model_release.registry import Current, RegisteredRun, Registry
from tests.fake_replicas import NOW

CURRENT = Current(run_id="run-b", release_id="r2", since=NOW, generation=7, previous_run_id="run-a")
PIN = RegisteredRun(run_id="run-b", manifest_sha256="a" * 64, registered_at=NOW, release_id="r2")
REGISTRY = Registry(generation=7, current=CURRENT, runs=(PIN,))


def entry(event: Event, **fields: Any) -> LedgerEntry:
    return LedgerEntry(at=NOW, event=event, by="test", **{"release_id": "r2", "run_id": "run-b", **fields})


def decided(verdict: str, **fields: Any) -> LedgerEntry:
    return entry(Event.GATE_DECIDED, details={"verdict": verdict, "policy_sha256": "b" * 64}, **fields)


def test_a_release_says_who_decided_on_what_and_since_which_generation() -> None:
    """The gate's last word on this run in this release; words on others are not its."""
    others = [decided("fail", release_id="r1"), decided("fail", run_id="run-z")]
    entries = [decided("inconclusive"), decided("pass"), *others, entry(Event.VERIFIED)]
    assert release_announcement(REGISTRY, entries, run_id="run-b", release_id="r2") == {
        "run_id": "run-b",
        "release_id": "r2",
        "generation": 7,
        "mode": "primary",
        "decision": {"verdict": "pass", "policy_sha256": "b" * 64},
        "previous_run_id": "run-a",
        "rollback": False,
    }


def test_a_rollback_says_so_and_names_no_decision() -> None:
    said = release_announcement(REGISTRY, [entry(Event.ROLLED_BACK)], run_id="run-b", release_id="r2")
    assert said is not None
    assert (said["rollback"], said["decision"]) == (True, None)


def test_a_trial_is_no_release() -> None:
    """Nor is anything that somebody replaced since."""
    assert release_announcement(REGISTRY, [], run_id="run-c", release_id="r3") is None
    assert release_announcement(Registry(), [], run_id="run-b", release_id="r2") is None


def test_a_run_is_announced_with_its_pin_and_without_a_verdict() -> None:
    said = run_announcement(REGISTRY, run_id="run-b", release_id="r2", algorithm="als")
    assert (said["manifest_sha256"], said["algorithm"], said["decision"], said["mode"]) == ("a" * 64, "als", None, None)
    assert run_announcement(REGISTRY, run_id="x", release_id="r", algorithm="als")["manifest_sha256"] is None


def test_what_makes_an_event_the_same_one_is_part_of_it() -> None:
    said = release_announcement(REGISTRY, [], run_id="run-b", release_id="r2")
    assert said is not None
    assert set(RELEASE_IDENTITY) <= set(said)
    assert set(RUN_IDENTITY) <= set(run_announcement(REGISTRY, run_id="x", release_id="r", algorithm="als"))
