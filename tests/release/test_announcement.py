"""What other DAGs hear of a run and of a release."""

from __future__ import annotations

from typing import Any

from model_release.announcement import of_release_verified, of_run
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
    said = of_release_verified(REGISTRY, entries, run_id="run-b", release_id="r2")
    assert said is not None
    assert said.since == NOW
    assert said.extra == {
        "run_id": "run-b",
        "release_id": "r2",
        "generation": 7,
        "mode": "primary",
        "decision": {"verdict": "pass", "policy_sha256": "b" * 64},
        "previous_run_id": "run-a",
        "rollback": False,
    }


def test_a_rollback_says_so_and_names_no_decision() -> None:
    said = of_release_verified(REGISTRY, [entry(Event.ROLLED_BACK)], run_id="run-b", release_id="r2")
    assert said is not None
    assert (said.extra["rollback"], said.extra["decision"]) == (True, None)


def test_a_trial_is_no_release() -> None:
    """Nor is anything that somebody replaced since."""
    assert of_release_verified(REGISTRY, [], run_id="run-c", release_id="r3") is None
    assert of_release_verified(Registry(), [], run_id="run-b", release_id="r2") is None


def test_a_run_is_announced_with_its_pin_and_without_a_verdict() -> None:
    """By the release that registered it; to any other it is no news."""
    said = of_run(REGISTRY, run_id="run-b", release_id="r2", algorithm="als")
    assert said is not None
    assert (said.extra["manifest_sha256"], said.extra["algorithm"], said.since) == ("a" * 64, "als", NOW)
    assert (said.extra["decision"], said.extra["mode"]) == (None, None)
    assert of_run(REGISTRY, run_id="run-b", release_id="r3", algorithm="als") is None
    assert of_run(REGISTRY, run_id="run-z", release_id="r2", algorithm="als") is None


def test_the_same_release_is_one_whatever_was_decided_or_latched_since() -> None:
    said = of_release_verified(REGISTRY, [decided("pass")], run_id="run-b", release_id="r2")
    later = REGISTRY.model_copy(update={"generation": 9})
    again = of_release_verified(later, [], run_id="run-b", release_id="r2")
    assert said is not None
    assert again is not None
    assert again.is_said_by(said.extra)
    for key in ("run_id", "release_id", "generation"):
        assert not again.is_said_by({**said.extra, key: "another"})
    assert not again.is_said_by({})
