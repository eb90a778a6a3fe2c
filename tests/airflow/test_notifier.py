"""The notifier: told once, in the log in any case, and never a reason for a release to fail."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.unsent import count_unsent
from model_release_airflow.context import Stores
from model_release_airflow.notifications.wecom import WeComRobotNotifier
from tests.airflow.contexts import RELEASE_ID, context
from tests.fakes_wecom import FakeWeCom, wecom


@pytest.fixture
def robot(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWeCom]:
    with wecom() as fake:
        monkeypatch.setenv("AIRFLOW_CONN_WECOM_ROBOT", fake.connection(mentioned=["zhangsan"]))
        yield fake


def happened(stores: Stores, event: Event, **fields: Any) -> None:
    stores.ledger.append(LedgerEntry(at=utc_now(), event=event, release_id=RELEASE_ID, by="test", **fields))


def notify(*, failed: bool = False) -> None:
    WeComRobotNotifier(failed=failed).notify(context())


def test_a_release_is_told_once_although_the_callback_runs_twice(stores: Stores, robot: FakeWeCom) -> None:
    happened(stores, Event.VERIFIED, run_id="new", generation=2)
    notify()
    notify()
    (text,) = robot.texts
    assert text.startswith("**✅ Released: new**")
    assert "http://airflow.example:8080/dags/recommendation_pipeline/runs/manual__1" in text


def test_somebody_is_mentioned_when_it_went_wrong_and_only_then(stores: Stores, robot: FakeWeCom) -> None:
    happened(stores, Event.FAILED, reason="train failed: no memory")
    notify(failed=True)
    markdown, text = robot.received
    assert "no memory" in markdown["markdown"]["content"]
    assert text["text"]["mentioned_list"] == ["zhangsan"]


def test_a_later_end_is_told_too(stores: Stores, robot: FakeWeCom) -> None:
    """A cleared task may end the same release another way."""
    happened(stores, Event.FAILED, reason="model_reload failed: nobody there")
    notify(failed=True)
    happened(stores, Event.VERIFIED, run_id="new", generation=2)
    notify()
    assert robot.texts[-1].startswith("**✅ Released: new**")


def test_a_robot_that_takes_nothing_fails_nobody(
    stores: Stores, robot: FakeWeCom, caplog: pytest.LogCaptureFixture
) -> None:
    robot.faults = [93000]
    happened(stores, Event.VERIFIED, run_id="new", generation=2)
    with caplog.at_level(logging.INFO):
        notify()
    assert robot.texts == []
    reasons = [entry.reason for entry in stores.ledger.read() if entry.event is Event.NOTIFIED]
    assert any("not sent" in reason and "93000" in reason for reason in reasons)
    assert count_unsent(stores.ledger.read()) == 1
    assert not any(robot.key in reason for reason in reasons)


def test_without_a_robot_the_log_is_told(stores: Stores, capsys: pytest.CaptureFixture[str]) -> None:
    happened(stores, Event.REJECTED, run_id="new", reason="worse")
    notify(failed=True)
    entries = [entry for entry in stores.ledger.read() if entry.event is Event.NOTIFIED]
    assert len(entries) == 1
    out, err = capsys.readouterr()
    assert "Rejected by the gate: new" in out + err


@pytest.mark.usefixtures("stores")
def test_a_failed_run_with_a_silent_ledger_is_no_success(robot: FakeWeCom) -> None:
    notify(failed=True)
    assert "✅" not in robot.texts[0]
    assert "❌" in robot.texts[0]


def test_a_connection_without_a_key_is_said_and_fails_nobody(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WECOM_ROBOT", json.dumps({"conn_type": "http"}))
    happened(stores, Event.VERIFIED, run_id="new", generation=2)
    notify()
    assert any("not sent" in entry.reason for entry in stores.ledger.read() if entry.event is Event.NOTIFIED)


@pytest.mark.parametrize("written", ["@all", ["@all"]])
def test_everybody_may_be_written_as_text(
    stores: Stores, robot: FakeWeCom, monkeypatch: pytest.MonkeyPatch, written: object
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WECOM_ROBOT", robot.connection(mentioned=written))
    happened(stores, Event.FAILED, reason="train failed")
    notify(failed=True)
    assert robot.received[-1]["text"]["mentioned_list"] == ["@all"]
