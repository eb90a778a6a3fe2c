"""``recommendation_reconciliation`` in a running Airflow: its form, and that its callback tells one day once."""

from __future__ import annotations

import datetime as dt

import pytest

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.reconciliation_files import read_reconciliation
from model_release.contract import utc_now
from model_release.evidence import Reconciliation
from model_release.ledger import Event
from tests.live.installation import Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
DAG_ID = "recommendation_reconciliation"


def reconcile(installation: Installation, date: dt.date) -> Reconciliation:
    """Reconcile a day through the form; return what its file says."""
    ended = installation.run(DAG_ID, date=str(date))
    assert ended.state == "success", ended.tasks
    assert ended.result("reconcile")["date"] == str(date)
    found = read_reconciliation(installation.paths, date, whole=True)
    assert isinstance(found, Reconciliation)
    return found


def told(installation: Installation) -> list[str]:
    entries = FileLedger(installation.paths).read()
    names = [entry.release_id for entry in entries if entry.event is Event.NOTIFIED]
    return [name for name in names if name.startswith("reconciliation:")]


def test_an_old_day_is_not_told_and_yesterday_once(on_sale: Installation) -> None:
    """Nobody was answered on either: both are missing, and say so; a day reconciled again says the same, so nothing."""
    installation = on_sale
    installation.wait_until("the DAG is known", lambda: installation.rest.get(f"/dags/{DAG_ID}").is_success)
    installation.unpause(DAG_ID)
    old, yesterday = dt.date(2026, 2, 18), utc_now().date() - dt.timedelta(days=1)
    for date in (old, yesterday, yesterday, old):
        found = reconcile(installation, date)
        assert (found.date, found.status) == (date, "missing")
        assert any("there is no exposure log" in problem for problem in found.problems)
    installation.wait_until("yesterday is told", lambda: told(installation) == [f"reconciliation:{yesterday}"], 60)
    texts = [text.splitlines()[0] for text in installation.robot.texts if "reconciled" in text.lower()]
    assert texts == [f"**❓ Could not be reconciled: {yesterday}**"]
