"""Alerts in Airflow: who watches, who decides, what is started; with Alertmanager made up on loopback."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from airflow.sdk.execution_time.context import set_current_context

from model_release import registry as transitions
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.standing import standing
from model_release_airflow.assets import ALERTS
from model_release_airflow.context import Stores
from model_release_airflow.failures import failed_work
from model_release_airflow.notifications.state import WeComAlertsNotifier, WeComStateNotifier
from model_release_airflow.operators.alerts_act import AlertsActOperator
from model_release_airflow.operators.latch import LatchOperator
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from model_release_airflow.operators.state_reconcile import StateReconcileOperator
from model_release_airflow.triggers import alerts as watching
from model_release_airflow.triggers.alerts import AlertsTrigger
from scripts.check_dags import read_dags
from tests.airflow.contexts import context
from tests.airflow.replica_server import ReplicaServer
from tests.fakes_monitoring import FakeAlertmanager, Reply, alert, fake_alertmanager
from tests.fakes_wecom import FakeWeCom

ROLLBACK = "recommendation_rollback"


@pytest.fixture
def alertmanager(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAlertmanager]:
    with fake_alertmanager() as fake:
        monkeypatch.setenv("ALERTMANAGER_URL", fake.url)
        yield fake


def errors(run_id: str = "old", **changes: Any) -> dict[str, Any]:
    """Return a critical alert about a run, that began a moment after it became current."""
    since = (utc_now() + dt.timedelta(seconds=1)).isoformat()
    labels = {"severity": "critical", "run_id": run_id, "slot": "current"}
    return alert("RecommendationErrors", since=since, **{**labels, **changes})


def with_an_earlier_run(stores: Stores) -> None:
    """Make ``new`` current after ``old``, so that there is somewhere to go back to."""
    stores.registry.update(
        lambda state: transitions.promote(state, run_id="new", release_id="r2", at=utc_now(), cause="person")
    )


def decide(**changes: Any) -> Any:
    operator = AlertsActOperator(task_id="decide")
    return operator.execute(context(operator, **changes))


# Deciding


def test_an_alert_about_the_current_run_gives_one_rollback_to_start(
    stores: Stores, alertmanager: FakeAlertmanager
) -> None:
    """Again as long as nothing of it stands in the ledger, never after that; the ledger has one line."""
    with_an_earlier_run(stores)
    alertmanager.alerts = [errors("new")]
    first, again = decide(), decide()
    assert first == again
    (start,) = first
    assert start["trigger_run_id"].startswith("alert__0123456789abcdef__")
    assert start["conf"]["away_from"] == "new"
    assert json.dumps(start)
    (entry,) = [one for one in stores.ledger.read() if one.event is Event.ALERT_ACTED]
    assert entry.by == "airflow:recommendation_pipeline/decide (admin)"
    stores.ledger.append(
        LedgerEntry(at=utc_now(), event=Event.LATCH_SET, release_id=entry.release_id, by="airflow", reason="alert")
    )
    assert decide() == []


def test_without_an_address_it_is_passed_over_and_says_so(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALERTMANAGER_URL", raising=False)
    with pytest.raises(AirflowSkipException, match="ALERTMANAGER_URL is not set"):
        decide()
    assert stores.ledger.read() == []


def test_an_alertmanager_that_does_not_answer_is_tried_again(stores: Stores, alertmanager: FakeAlertmanager) -> None:
    """Not failed for good: no decision is made of nothing."""
    alertmanager.reply = Reply(b"later", status=503)
    with pytest.raises(AirflowException, match="answered 503") as failed:
        decide()
    assert not isinstance(failed.value, AirflowFailException)
    assert stores.ledger.read() == []


def test_work_that_fails_is_told_once_and_once_when_it_works_again(
    stores: Stores, alertmanager: FakeAlertmanager, fleet: list[ReplicaServer], robot: FakeWeCom
) -> None:
    """The look at the fleet, every five minutes, does not take it for healed."""
    operator: Any = AlertsActOperator(task_id="decide")
    for number in range(3):
        found = context(operator, run_id=f"asset__{number}", exception=AirflowException("answered 503"))
        operator.on_failure_callback[0](found)
        WeComStateNotifier().notify(found)
    reconcile = StateReconcileOperator(task_id="reconcile_state", settle_seconds=0.001)
    found = context(reconcile, run_id="scheduled__1")
    assert reconcile.execute(found)["outcome"] == "agrees"
    WeComStateNotifier().notify(found)
    (text,) = [text for text in robot.texts if "acting on alerts" in text]
    assert "decide failed: answered 503" in text
    assert len(standing(stores.ledger.read())) == 1
    for number in range(2):
        decide(run_id=f"asset__{number + 5}")
        WeComStateNotifier().notify(context(operator, run_id=f"asset__{number + 5}"))
    assert [text for text in robot.texts if "it works again" in text] == [robot.texts[-1]]
    assert len(fleet) == 2
    assert alertmanager.asked


def test_a_rollback_that_can_not_be_started_is_told_once(
    stores: Stores, alertmanager: FakeAlertmanager, robot: FakeWeCom
) -> None:
    """``decide``, woken every minute, works; that is no recovery while what it returns is not started."""
    with_an_earlier_run(stores)
    alertmanager.alerts = [errors("new")]
    start: Any = read_dags().dags["recommendation_act_on_alerts"].get_task("start_rollback")
    operator = AlertsActOperator(task_id="start_rollback")
    for number in range(3):
        assert len(decide(run_id=f"asset__{number}")) == 1
        found = context(operator, run_id=f"asset__{number}", exception=AirflowException("the DAG is paused"))
        start.partial_kwargs["on_failure_callback"][0](found)
        WeComStateNotifier().notify(found)
    (text,) = [text for text in robot.texts if "acting on alerts" in text]
    assert "start_rollback failed: the DAG is paused" in text
    for callback in ("on_success_callback", "on_skipped_callback"):
        start.partial_kwargs[callback][0](context(operator, run_id="asset__4"))
        WeComStateNotifier().notify(context(operator, run_id="asset__4"))
    assert "acting on alerts: it works again" in robot.texts[-1]
    assert len([text for text in robot.texts if "acting on alerts" in text]) == 2
    assert standing(stores.ledger.read()) == {}


def test_who_fails_is_named(stores: Stores) -> None:
    failed_work("silencing alerts")(context(AlertsActOperator(task_id="quiet")))
    assert stores.ledger.read()[-1].details == {"subject": "silencing alerts", "kind": "failed"}


# Watching


Found = list[dict[str, Any]]
LONGEST = 30.0  # seconds; the machine may be busy


def watch(trigger: AlertsTrigger, until: Callable[[Found], bool]) -> Found:
    """Let a trigger run until something holds of what it fired; return that.  It does not end by itself."""

    async def watched() -> Found:
        found: Found = []

        async def listen() -> None:
            async for event in trigger.run():
                found.append(json.loads(json.dumps(event.payload)))
            raise AssertionError("it ended")

        listening = asyncio.create_task(listen())
        deadline = asyncio.get_running_loop().time() + LONGEST
        while not until(found):
            assert asyncio.get_running_loop().time() < deadline, found
            assert not listening.done(), listening
            await asyncio.sleep(0.01)
        listening.cancel()
        return found

    return asyncio.run(watched())


def looked(alertmanager: FakeAlertmanager, times: int) -> Callable[[Found], bool]:
    """Return whether it asked so many times more."""
    before = len(alertmanager.asked)
    return lambda _: len(alertmanager.asked) >= before + times


def quick() -> AlertsTrigger:
    return AlertsTrigger(poll_seconds=0.02)


def test_a_firing_is_an_event_once_until_it_is_decided(
    stores: Stores, alertmanager: FakeAlertmanager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen many times it is told once; after a restart again, unless somebody has decided; a reminder comes later."""
    with_an_earlier_run(stores)
    alertmanager.alerts = [errors("new"), alert("Watchdog", since=utc_now().isoformat(), severity="none")]
    (event,) = watch(quick(), looked(alertmanager, 12))
    (name,) = event["firings"]
    assert name.startswith("alert__0123456789abcdef__")
    assert watch(quick(), looked(alertmanager, 4)) == [event]
    monkeypatch.setattr(watching, "REMIND_SECONDS", 0.2)
    assert watch(quick(), lambda found: len(found) >= 2) == [event, event]
    (start,) = decide()
    stores.ledger.append(
        LedgerEntry(
            at=utc_now(), event=Event.LATCH_SET, release_id=f"{ROLLBACK}:{start['trigger_run_id']}", by="a", reason="b"
        )
    )
    assert watch(quick(), looked(alertmanager, 6)) == []


def test_a_new_start_of_the_same_alert_is_told_again(stores: Stores, alertmanager: FakeAlertmanager) -> None:
    alertmanager.alerts = [errors("x")]

    def again(found: Found) -> bool:
        if len(found) == 1:
            alertmanager.alerts = [errors("x")]
        return len(found) >= 2

    first, second = watch(quick(), again)
    assert first["firings"] != second["firings"]
    assert stores.ledger.read() == []


def test_a_watcher_outlives_what_goes_wrong(stores: Stores, alertmanager: FakeAlertmanager) -> None:
    """An Alertmanager that is away, a ledger that is damaged: it looks again, and never ends."""
    alertmanager.reply = Reply(b"later", status=503)
    asked = 0

    def mended(found: Found) -> bool:
        nonlocal asked
        if alertmanager.reply is not None and len(alertmanager.asked) >= 3:
            stores.ledger.path.write_text("damaged\n")
            alertmanager.reply, alertmanager.alerts = None, [errors("old")]
            asked = len(alertmanager.asked)
        if asked and len(alertmanager.asked) >= asked + 5 and stores.ledger.path.exists():
            assert found == []
            stores.ledger.path.unlink()
        return bool(found)

    assert len(watch(quick(), mended)) == 1


def test_without_an_address_the_watcher_waits_and_says_so(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, not at every look."""
    monkeypatch.delenv("ALERTMANAGER_URL", raising=False)
    trigger = quick()
    said: list[str] = []
    looks = itertools.count()
    monkeypatch.setattr(trigger.log, "warning", lambda text, *names: said.append(text % names))
    assert watch(trigger, lambda _: next(looks) > 40) == []
    assert said == ["ALERTMANAGER_URL is not set: no alert starts a rollback"]
    assert stores.ledger.read() == []


def test_the_dag_is_woken_by_the_watched_asset_and_starts_named_runs() -> None:
    dag: Any = read_dags().dags["recommendation_act_on_alerts"]
    (asset,) = dag.timetable.asset_condition.objects
    assert asset.name == ALERTS
    (watcher,) = asset.watchers
    assert (watcher.name, watcher.trigger.poll_seconds) == ("alertmanager", 5.0)
    start = dag.get_task("start_rollback")
    assert start.partial_kwargs["trigger_dag_id"] == ROLLBACK
    assert start.partial_kwargs["skip_when_already_exists"] is True
    assert start.partial_kwargs["openlineage_inject_parent_info"] is False, (
        "the rollback refuses keys that it does not know"
    )
    assert start.partial_kwargs["fail_when_dag_is_paused"] is True
    assert dag.is_paused_upon_creation is False


# Carrying out


def choose(away_from: str | None, *, dag_run_id: str = "alert__1__2") -> str:
    """Run the task ``choose_run`` of a rollback."""
    run = SimpleNamespace(run_id=dag_run_id, run_after=utc_now())
    params = {"reason": "alert", "run_id": None, "away_from": away_from, "set_latch": True}
    task_context: Any = context(run_id=dag_run_id, dag_run=run, params=params)
    dag: Any = read_dags().dags[ROLLBACK]
    with set_current_context(task_context):
        chosen: str = dag.get_task("choose_run").python_callable()
    return chosen


def test_a_rollback_away_from_the_candidate_ends_its_trial_on_every_replica(
    stores: Stores, fleet: list[ReplicaServer], robot: FakeWeCom
) -> None:
    """Users keep the current run; it is proved and verified, told as the end of a trial, and no release is announced."""
    stores.registry.update(
        lambda state: transitions.start_trial(
            state, run_id="new", mode="canary", rollout=0.5, release_id="r2", at=utc_now()
        )
    )
    for server in fleet:
        server.replica.look()
    run_id = choose("new")
    assert run_id == "old"
    same: dict[str, Any] = {"run_id": run_id, "release_id": "back"}
    reload = ModelReloadOperator(task_id="model_reload", **same, cause="rollback", reason="alert X", poll_seconds=0.05)
    receipt = reload.execute(context(reload))
    verify = RunVerifyOperator(task_id="verify", **same)
    verify.execute(context(verify))
    assert receipt["changed"] is True
    registry = stores.registry.read()
    assert (registry.current and registry.current.run_id, registry.candidate) == ("old", None)
    assert {server.replica.served.candidate for server in fleet} == {None}
    from model_release.announcement import of_release_verified
    from model_release.messages import compose

    entries = stores.ledger.read()
    message = compose(entries, None, release_id="back", failed=False, link="http://airflow/run")
    assert message.title == "↩️ Trial ended: old"
    assert "alert X" in message.markdown
    assert of_release_verified(registry, entries, run_id="old", release_id="back") is None
    assert robot.texts == []


def test_a_rollback_away_from_what_serves_no_more_is_passed_over(stores: Stores) -> None:
    before = stores.registry.read()
    with pytest.raises(AirflowSkipException, match="run new is neither current nor on trial"):
        choose("new")
    assert stores.registry.read() == before


@pytest.mark.parametrize(
    "run",
    [
        {"run_type": "operator_triggered", "triggering_user_name": "admin"},
        {"run_type": "scheduled", "triggering_user_name": None},
        {"run_type": "asset_triggered", "triggering_user_name": None},
        {"run_type": "backfill", "triggering_user_name": "admin"},
        {"run_type": "manual", "triggering_user_name": None},
    ],
    ids=lambda run: run["run_type"],
)
def test_only_a_person_clears_the_latch(stores: Stores, fleet: list[ReplicaServer], run: dict[str, Any]) -> None:
    """Anything may set it; a DAG that starts recommendation_latch is no person, whoever started that DAG."""
    dag_run = SimpleNamespace(run_id="x", run_after=utc_now(), start_date=None, **run)
    setting = LatchOperator(task_id="latch", action="set", reason="alert")
    assert setting.execute(context(setting, run_id="set", dag_run=dag_run))["latched"] is True
    clearing = LatchOperator(task_id="latch", action="clear", reason="mended")
    with pytest.raises(AirflowFailException, match="only a person clears the latch"):
        clearing.execute(context(clearing, run_id="clear", dag_run=dag_run))
    assert stores.registry.read().latch is not None
    person = SimpleNamespace(
        run_id="x", run_after=utc_now(), start_date=None, run_type="manual", triggering_user_name="zhang san"
    )
    assert clearing.execute(context(clearing, run_id="clear", dag_run=person))["latched"] is False
    assert len(fleet) == 2


def test_nothing_new_about_silences_tells_nothing(stores: Stores, robot: FakeWeCom) -> None:
    WeComAlertsNotifier().notify(context())
    assert (robot.texts, stores.ledger.read()) == ([], [])
