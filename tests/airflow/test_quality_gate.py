"""``QualityGateSensor``: it judges in the worker, waits without one, and never lets a crash pass."""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from model_release.adapters.decision_picture import picture_path
from model_release.adapters.decisions import read_decision
from model_release.adapters.evidence_files import fingerprint
from model_release.contract import utc_now
from model_release.ending import REJECTION_KEY
from model_release.gate_words import passed_at
from model_release.ledger import Event, of_release
from model_release.paths import ReleasePaths
from model_release.phases import Phase, phase_of
from model_release.verdict import Decision, Verdict
from model_release_airflow import look as looking
from model_release_airflow.context import Stores
from model_release_airflow.failures import GateRejectedError, record_failure
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.sensors.quality_gate import QualityGateSensor
from model_release_airflow.shared import Pace
from tests.airflow.contexts import RELEASE_ID, context, fire
from tests.fakes_monitoring import Reply, alert, fake_alertmanager, said
from tests.gate_evidence import CANDIDATE, CURRENT, check, exposition, write_evidence

KINDS = ("data_quality", "freshness", "absolute", "non_inferiority")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy with every kind of check, and short budgets."""
    file = tmp_path / "policy.yaml"
    budgets = {"error_minutes": 0.1, "inconclusive_minutes": 0.1}
    checks = [check(kind) for kind in KINDS]
    file.write_text(json.dumps({"schema_version": 1, "name": "test", "checks": checks, "budgets": budgets}))
    return file


@pytest.fixture
def good(paths: ReleasePaths) -> ReleasePaths:
    """Fresh evidence of a run that is as good as the current one."""
    write_evidence(paths, better_by=0.02, at=utc_now())
    return paths


def gate(policy: Path, **changes: Any) -> QualityGateSensor:
    usual: dict[str, Any] = {"run_id": CANDIDATE, "policy": str(policy), "poke_interval": 0.1}
    return QualityGateSensor(task_id="quality_gate", **{**usual, **changes})


def run(sensor: QualityGateSensor) -> dict[str, Any]:
    try:
        return sensor.execute(context(sensor))
    except TaskDeferred as deferred:
        return sensor.execute_complete(context(sensor), fire(deferred.trigger))


def entries() -> list[Any]:
    return of_release(Stores.from_environment().ledger.read(), RELEASE_ID)


def test_a_good_run_passes_with_its_decision(good: ReleasePaths, policy: Path) -> None:
    """The decision is the task's value, is kept, and stands in the ledger with the generation to commit on."""
    decision = run(gate(policy))
    assert decision["verdict"] == "pass"
    assert decision["against"] == CURRENT
    assert {result["kind"] for result in decision["results"]} >= set(KINDS)
    kept = read_decision(good, RELEASE_ID)
    assert kept is not None
    assert kept.model_dump(mode="json") == decision
    assert passed_at(entries(), release_id=RELEASE_ID, run_id=CANDIDATE) == decision["generation"]


def test_the_numbers_are_in_the_task_log(
    good: ReleasePaths, policy: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table of evidence is what a person reads first."""
    caplog.set_level(logging.INFO)
    run(gate(policy))
    said = caplog.text + capsys.readouterr().out
    assert "Gate: PASS" in said
    assert "non-inferiority" in said
    assert "600" in said
    assert good.decisions.is_dir()


def test_a_worse_run_is_rejected_at_once(paths: ReleasePaths, policy: Path) -> None:
    """FAIL ends the task for good, with numbers; the ledger says rejected; the failure callback adds nothing."""
    write_evidence(paths, better_by=-0.08, at=utc_now())
    sensor = gate(policy)
    with pytest.raises(GateRejectedError, match="non-inferiority") as caught:
        run(sensor)
    assert isinstance(caught.value, AirflowFailException)
    record_failure(context(sensor, exception=caught.value))
    assert [entry.event for entry in entries()] == [Event.GATE_DECIDED, Event.REJECTED]
    assert phase_of(entries(), RELEASE_ID) is Phase.REJECTED


def test_a_rejection_is_left_for_who_follows_the_dag_run(paths: ReleasePaths, policy: Path) -> None:
    """A failed task returns nothing: its decision is an XCom of its own."""
    write_evidence(paths, better_by=-0.08, at=utc_now())
    sensor = gate(policy)
    about = context(sensor)
    with pytest.raises(GateRejectedError):
        sensor.execute(about)
    assert Decision.model_validate(about["pushed"][REJECTION_KEY]) == read_decision(paths, RELEASE_ID)


def test_a_rejection_may_skip(paths: ReleasePaths, policy: Path) -> None:
    """``on_reject='skip'`` leaves the DAG run green; the ledger says rejected all the same."""
    write_evidence(paths, better_by=-0.08, at=utc_now())
    with pytest.raises(AirflowSkipException):
        run(gate(policy, on_reject="skip"))
    assert phase_of(entries(), RELEASE_ID) is Phase.REJECTED


def test_missing_evidence_is_waited_for(good: ReleasePaths, policy: Path) -> None:
    """A file that comes while it waits ends the wait; meanwhile nothing is decided."""
    text = good.data_quality_metrics.read_text()
    good.data_quality_metrics.unlink()
    sensor = gate(policy)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context(sensor))
    assert entries() == []
    timer = threading.Timer(0.3, good.data_quality_metrics.write_text, [text])
    timer.start()
    event = fire(deferred.value.trigger)
    timer.join()
    assert event["status"] == "changed"
    assert sensor.execute_complete(context(sensor), event)["verdict"] == "pass"


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize("away", ["unreachable", "hears nothing"])
def test_an_alertmanager_that_comes_back_ends_the_wait(
    policy: Path, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    """No file changes then: it is asked again at every poll, and its watchdog may come later than itself."""
    watched = {"name": "quiet", "kind": "alerts", "matchers": [{"severity": "critical"}], "watchdog": "Watchdog"}
    document = json.loads(policy.read_text())
    policy.write_text(json.dumps({**document, "checks": [*document["checks"], watched]}))
    alive = alert("Watchdog", since=(utc_now() - dt.timedelta(hours=1)).isoformat())
    with fake_alertmanager() as alertmanager:
        monkeypatch.setenv("ALERTMANAGER_URL", alertmanager.url)
        alertmanager.reply = Reply(status=503) if away == "unreachable" else said([])
        sensor = gate(policy)
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context(sensor))
        alertmanager.alerts = [alive]
        timer = threading.Timer(0.3, setattr, [alertmanager, "reply", None])
        timer.start()
        event = fire(deferred.value.trigger)
        timer.join()
        assert event["status"] == "changed"
        assert sensor.execute_complete(context(sensor), event)["verdict"] == "pass"


@pytest.mark.usefixtures("good")
def test_an_alertmanager_that_stays_away_is_waited_for_without_a_slot(
    policy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says the same at every poll: the worker is not woken before the budget is spent, and then rejects."""
    watched = {"name": "quiet", "kind": "alerts", "matchers": [{"severity": "critical"}]}
    document = json.loads(policy.read_text())
    policy.write_text(json.dumps({**document, "checks": [*document["checks"], watched]}))
    with fake_alertmanager() as alertmanager:
        alertmanager.reply = Reply(status=503)
        monkeypatch.setenv("ALERTMANAGER_URL", alertmanager.url)
        sensor = gate(policy)
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute(context(sensor))
        asked = len(alertmanager.asked)
        with monkeypatch.context() as patched:
            patched.setattr(looking, "collect", None)  # the trigger asks this one question and reads no evidence
            event = fire(deferred.value.trigger)
        assert event["status"] == "timed_out"
        # of some 50 looks 0.1 s apart: after 0.1, 0.3, 0.7, 1.5, 3.1 s, and perhaps once more
        assert 2 <= len(alertmanager.asked) - asked <= 6
        with pytest.raises(GateRejectedError, match="quiet"):
            sensor.execute_complete(context(sensor), event)


def test_a_service_that_does_not_answer_is_asked_less_often() -> None:
    """After twice the pause each time, up to half a minute or the pause itself; at every look once it answers again."""
    pace, now, asked = Pace(5.0), 100.0, []
    for _ in range(200):
        if pace.due(now):
            asked.append(now)
            pace.note(now, answered=False)
        now += 1.0
    assert asked == [100.0, 110.0, 130.0, 160.0, 190.0, 220.0, 250.0, 280.0]
    pace.note(now, answered=True)
    assert pace.due(now)
    pace.note(now, answered=False)
    assert (pace.due(now + 9.0), pace.due(now + 10.0)) == (False, True)
    slow = Pace(60.0)
    slow.note(now, answered=False)
    assert (slow.due(now + 59.0), slow.due(now + 60.0)) == (False, True)


def test_the_wait_ends_with_a_rejection(good: ReleasePaths, policy: Path) -> None:
    """When the budget is spent, what could not be measured is rejected; the budget counts from the gate's start."""
    good.data_quality_metrics.unlink()
    sensor = gate(policy)
    with pytest.raises(TaskDeferred) as deferred:
        sensor.execute(context(sensor))
    started = time.time()
    event = fire(deferred.value.trigger)
    assert 3.0 <= time.time() - started < 9.0
    assert event["status"] == "timed_out"
    with pytest.raises(GateRejectedError, match="ERROR"):
        sensor.execute_complete(context(sensor), event)
    assert phase_of(entries(), RELEASE_ID) is Phase.REJECTED


def test_what_can_not_change_is_not_waited_for(good: ReleasePaths, policy: Path) -> None:
    """A comparison that straddles its margin stays so: rejected at once, no deferral."""
    document = json.loads(policy.read_text())
    document["checks"] = [check("absolute", minimum_users=100_000)]
    policy.write_text(json.dumps(document))
    with pytest.raises(GateRejectedError, match="INCONCLUSIVE"):
        gate(policy).execute(context())
    assert good.decisions.is_dir()


def test_a_gate_asked_again_counts_with_its_last_word(good: ReleasePaths, policy: Path) -> None:
    """PASS, then a rejection, then PASS again at the same generation: the last word is PASS."""
    text = good.data_quality_metrics.read_text()
    run(gate(policy))
    good.data_quality_metrics.write_text(exposition({"interactions": 12.0}, at=utc_now()))
    with pytest.raises(GateRejectedError):
        run(gate(policy))
    good.data_quality_metrics.write_text(text)
    run(gate(policy))
    assert passed_at(entries(), release_id=RELEASE_ID, run_id=CANDIDATE) == 1
    assert phase_of(entries(), RELEASE_ID) is Phase.PASSED


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_a_gate_that_hides_crashes_is_refused(good: ReleasePaths, policy: Path, option: str) -> None:
    """A crash of the gate is not a pass, and not a skip either."""
    sensor = gate(policy, **{option: True})
    with pytest.raises(AirflowFailException, match="do not go"):
        sensor.execute(context(sensor))
    assert not good.decisions.exists()


def test_a_broken_policy_fails_at_once(good: ReleasePaths, policy: Path) -> None:
    """No policy, no pass; the message names the file."""
    policy.write_text("checks: []\nname: x\n")
    with pytest.raises(AirflowFailException, match=r"policy\.yaml"):
        run(gate(policy))
    assert good.registry.exists()


@pytest.mark.parametrize("event", [None, {}, {"status": "pass"}, {"status": "changed"}])
def test_an_unknown_event_is_a_failure(good: ReleasePaths, policy: Path, event: Any) -> None:
    """Nothing that the triggerer is not known to say is taken for evidence."""
    with pytest.raises(AirflowFailException, match="unknown event"):
        gate(policy).execute_complete(context(), event)
    assert not good.decisions.exists()


def test_the_fingerprint_changes_with_each_file(good: ReleasePaths) -> None:
    """Written anew, gone or new: every file that the gate reads counts."""
    seen = [fingerprint(good, CANDIDATE)]
    assert fingerprint(good, CANDIDATE) == seen[0]
    for path in (good.registry, good.data_quality_metrics, good.evaluation_of(CANDIDATE) / "summary.json"):
        path.write_bytes(path.read_bytes() + b" ")
        seen.append(fingerprint(good, CANDIDATE))
    (good.evaluation_of(CANDIDATE) / "per_user.parquet").unlink()
    seen.append(fingerprint(good, CANDIDATE))
    assert len(set(seen)) == len(seen)


def test_a_decision_is_made_at_its_own_time(good: ReleasePaths, policy: Path) -> None:
    """The decision carries the time it was made."""
    before = dt.datetime.now(dt.UTC)
    run(gate(policy))
    kept = read_decision(good, RELEASE_ID)
    assert kept is not None
    assert before <= kept.decided_at <= dt.datetime.now(dt.UTC)
    assert kept.verdict is Verdict.PASS


def test_nobody_waits_for_the_picture_of_a_pass(good: ReleasePaths, policy: Path) -> None:
    """It is drawn at the end of the release, once; without a disk to take it, the release ends all the same."""
    drawn = picture_path(good, RELEASE_ID)
    run(gate(policy))
    assert not drawn.exists()
    close = ReleaseCloseOperator(task_id="close_release")
    drawn.mkdir()  # nothing can be written there
    assert close.execute(context(close))["release_id"] == RELEASE_ID
    drawn.rmdir()
    close.execute(context(close))
    assert "<svg" in drawn.read_text(encoding="utf-8")
    drawn.write_text("drawn before")
    close.execute(context(close))
    assert drawn.read_text() == "drawn before"


def test_a_rejection_is_drawn_at_once(paths: ReleasePaths, policy: Path) -> None:
    """People look at it, and nothing comes after it."""
    write_evidence(paths, better_by=-0.08, at=utc_now())
    with pytest.raises(GateRejectedError):
        run(gate(policy))
    assert "<svg" in picture_path(paths, RELEASE_ID).read_text(encoding="utf-8")
