"""What the page shows of now, of a comparison, of alerts and of a plan follows from what was read, and from nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

from model_release import registry as transitions
from model_release.contract import ObservedModels, ObservedWorker
from model_release.errors import ReplicaRefusedError, ReplicaUnreachableError
from model_release.evidence import Alert
from model_release.ledger import Event
from model_release.page import plan
from model_release.page.alerts import alerts_now
from model_release.page.comparison import movers, parameters
from model_release.page.now import desired, observed
from model_release.page.one_release import judgement
from model_release.registry import Registry
from model_release.silences import Silence
from model_release.verdict import CheckResult, Decision, Verdict
from tests.fake_replicas import NOW
from tests.release.words import entry

HOUR = dt.timedelta(hours=1)


def registry(*, trial: bool = False, latch: bool = False) -> Registry:
    """Run a, then b current; c registered, or on trial."""
    state = Registry()
    for run_id in "abc":
        state = transitions.register(state, run_id=run_id, manifest_sha256="0" * 64, release_id="r", at=NOW)
    for run_id in "ab":
        state = transitions.promote(state, run_id=run_id, release_id=f"r-{run_id}", at=NOW)
    if trial:
        state = transitions.start_trial(
            state, run_id="c", mode="canary", rollout=0.05, release_id="r-c", at=NOW, lease_until=NOW + HOUR
        )
    return transitions.set_latch(state, reason="errors", by="ann", at=NOW) if latch else state


def report(*workers: ObservedWorker, expected: int = 2, problem: str | None = None) -> ObservedModels:
    return ObservedModels(
        replica="x", desired=None, problem=problem, workers_expected=expected, workers=workers, reported_at=NOW
    )


def worker(pid: int, generation: int = 2, current: str = "b") -> ObservedWorker:
    return ObservedWorker(pid=pid, generation=generation, current=current, candidate=None)


def test_a_lease_that_has_run_out_is_said_to_have() -> None:
    assert [desired(registry(trial=True), NOW + late).candidate.lapsed for late in (0 * HOUR, HOUR)] == [False, True]  # type: ignore[union-attr]


def test_where_a_rollback_goes_is_told() -> None:
    assert desired(registry(), NOW).back_to == "a"
    assert desired(Registry(), NOW).back_to is None


def test_each_replica_is_told_by_itself() -> None:
    """One agrees, one lags, one lacks a worker, one refuses, one is away: each says so, and nobody hides another."""
    reports = {
        "http://1": report(worker(1), worker(2)),
        "http://2": report(worker(1), worker(2, generation=1, current="a")),
        "http://3": report(worker(1)),
    }
    errors = [
        ReplicaUnreachableError("no route", replica="http://5"),
        ReplicaRefusedError("no", replica="http://4", status=401, title="no"),
    ]
    found = observed(reports, errors, registry())
    assert [one.state for one in found.replicas] == ["agrees", "differs", "differs", "refused", "unreachable"]
    assert [one.address[-1] for one in found.replicas] == list("12345")
    assert [one.wrong for one in found.replicas[1].workers] == [None, "is at generation 1, desired is 2"]
    assert found.replicas[2].why == "1 of 2 workers report"
    assert (found.agreeing, found.workers) == (1, 5)


def test_no_worker_is_no_agreement() -> None:
    assert observed({"http://1": report(expected=1)}, [], registry()).agreeing == 0


def test_a_plan_says_what_the_rollback_dag_would_do() -> None:
    entries = [entry(Event.COMMITTED, release_id="r-b", run_id="b", mode="primary", generation=2)]
    found = plan.rollback(registry(trial=True), entries, run_id=None, now=NOW)
    assert (found.from_run, found.to_run, found.ends_trial, found.latch, found.refused) == ("b", "a", "c", True, None)
    assert plan.rollback(registry(), entries, run_id="c", now=NOW).to_run == "c"


def test_a_plan_that_is_refused_says_why_and_changes_nothing() -> None:
    found = plan.rollback(registry(), [], run_id="nobody", now=NOW)
    assert found.to_run is None
    assert "'nobody' is not in the registry" in str(found.refused)
    assert found.latch is False


def test_a_release_is_refused_while_the_latch_is_set() -> None:
    assert plan.release(registry(), run_id="c") == plan.Plan(
        refused=None, from_run="b", to_run="c", ends_trial=None, latch=False
    )
    assert "errors" in str(plan.release(registry(latch=True), run_id="c").refused)
    assert plan.release(registry(), run_id="b").to_run is None


def test_alerts_that_fire_come_first_and_a_silence_names_its_owner() -> None:
    def alert(name: str, severity: str, **more: Any) -> Alert:
        labels = {"alertname": name, "severity": severity, "run_id": "b"}
        given: dict[str, Any] = {"state": "active", "silenced": False, "starts_at": NOW, "fingerprint": name, **more}
        return Alert(labels=labels, **given)

    silences = [
        Silence(id=str(hours), labels=None, created_by="ann", comment="known", starts_at=NOW, ends_at=NOW + hours * HOUR, state="active")
        for hours in (1, 2)
    ]  # fmt: skip
    found = alerts_now(
        [
            alert("quiet", "critical", silenced=True, silenced_by=("1", "2", "gone")),
            alert("cold", "warning"),
            alert("hot", "critical"),
        ],
        silences,
    )
    assert [one.name for one in found.alerts] == ["hot", "cold", "quiet"]
    assert (found.firing, found.total) == (2, 3)
    assert (found.alerts[2].silenced_by, found.alerts[2].until) == ("ann", NOW + 2 * HOUR)
    assert found.alerts[0].labels == {"run_id": "b"}


def test_movers_are_those_that_moved_furthest() -> None:
    """One that left, or came, moved at least to behind the last place."""
    found = movers(["a", "b", "c", "d"], ["d", "b", "c", "e"], {"d": "Milk"})
    assert [(one.item_id, one.left, one.right) for one in found.movers] == [("a", 1, None), ("d", 4, 1), ("e", None, 4)]
    assert found.movers[1].name == "Milk"
    assert (found.depth, found.unchanged) == (4, 2)
    assert len(movers(["a", "b"], ["b", "a"], {}, most=1).movers) == 1


def test_parameters_that_differ_come_first() -> None:
    found = parameters({"a": 1, "b": 2, "c": 1}, {"a": 1, "b": 3, "d": None})
    assert [(one.name, one.left, one.right) for one in found] == [
        ("b", "2", "3"), ("c", "1", None), ("d", None, "null"), ("a", "1", "1"),
    ]  # fmt: skip


def test_a_judgement_places_each_result_and_says_what_blocks() -> None:
    """In margins from the limit on: a difference of +1 margin with a limit of -1 margin lies at 2, no difference at 1."""
    results = (
        CheckResult(
            check="recall", kind="comparison", verdict=Verdict.PASS, reason="", value=0.01, limit=-0.01,
            direction="at_least", interval=(0.0, None), samples=10, minimum_samples=5,
        ),
        CheckResult(check="latch", kind="latch", verdict=Verdict.FAIL, reason="<b>set</b>", dry_run=True),
    )  # fmt: skip
    decision = Decision(
        verdict=Verdict.PASS, run_id="c", against="b", no_baseline=False, release_id="r", generation=2, decided_at=NOW,
        policy_name="p", policy_sha256="0" * 64, code_version="1", results=results, summary="", evidence={},
    )  # fmt: skip
    found = judgement(decision)
    first, second = found.checks
    assert first.place is not None
    assert (first.place.value, first.place.low, first.place.high, first.place.equal) == (2.0, 1.0, None, 1.0)
    assert (first.found, first.wanted, first.samples) == ("+0.0100 [+0.0000, ]", "> -0.0100", "10 ≥ 5")
    assert (second.place, second.blocks, second.remark, second.reason) == (None, False, "(dry run)", "<b>set</b>")
