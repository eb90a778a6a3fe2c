"""Every trigger can be made anew from what it says of itself: a triggerer may be restarted, or another one take over."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.triggers.base import BaseEventTrigger, BaseTrigger

from model_release.paths import ReleasePaths
from model_release_airflow import shared
from model_release_airflow.triggers.alerts import AlertsTrigger
from model_release_airflow.triggers.approval import ApprovalTrigger
from model_release_airflow.triggers.evidence import EvidenceTrigger
from model_release_airflow.triggers.fleet import Commit, FleetAgreesTrigger, Told
from model_release_airflow.triggers.trial import TrialTrigger
from tests.airflow.contexts import fire

TRIGGERS = [
    AlertsTrigger(poll_seconds=2.5),
    EvidenceTrigger(
        run_id="new",
        release_id="r1",
        policy="policy.yaml",
        alerts=["error", "pass"],
        known="abc",
        started_at=1.5,
        poll_seconds=0.1,
        deadline=7.25,
    ),
    FleetAgreesTrigger(
        conn_id="api",
        desired="{}",
        commit=Commit(generation=3, changed=True, previous_run_id=None),
        agreeing_reads=3,
        poll_seconds=1.0,
        deadline=7.25,
        told=Told(quorum="80%", replicas=["http://a:1", "http://b:1"], acknowledged=["http://a:1"], again=2),
    ),
    TrialTrigger(
        run_id="new",
        release_id="r1",
        policy=None,
        started_at=1.5,
        poll_seconds=5.0,
        deadline=7.25,
        conn_id="api",
        generation=None,
        lease_seconds=900,
        lease_until=None,
    ),
    TrialTrigger(
        run_id="new",
        release_id="r1",
        policy="policy.yaml",
        started_at=1.5,
        poll_seconds=5.0,
        deadline=7.25,
        conn_id="api",
        generation=4,
        lease_seconds=900,
        lease_until=905.5,
    ),
    ApprovalTrigger(
        ti_id="01a211d4-9f33-7189-8ac8-7ebef9211432",
        watched=True,
        run_id="new",
        release_id="r1",
        policy=None,
        started_at=1.5,
        poll_seconds=5.0,
        deadline=7.25,
        conn_id="api",
        generation=4,
        lease_seconds=900,
        lease_until=905.5,
    ),
]


DEFERRED = [
    trigger for trigger in TRIGGERS if not isinstance(trigger, BaseEventTrigger)
]  # no task waits for the others


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: type(trigger).__name__)
def test_it_is_rebuilt_from_what_it_serializes(trigger: BaseTrigger) -> None:
    """Through JSON; every argument is there, and every one is stored as it came."""
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert type(again) is type(trigger)
    assert again.serialize() == (path, arguments)
    given: dict[str, Any] = {key: getattr(again, key) for key in arguments}
    assert given == arguments
    assert set(arguments) == set(inspect.signature(type(trigger).__init__).parameters) - {"self"}


@pytest.mark.parametrize("trigger", DEFERRED, ids=lambda trigger: type(trigger).__name__)
@pytest.mark.parametrize("lease", [30, 1.2])
def test_it_does_not_fire_before_the_scheduler_heard_of_the_deferral(
    trigger: Any, lease: float, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though there is nothing to wait for; one that renews a lease does not sleep through it."""
    assert paths.models is not None
    assert shared.MINIMUM_LIFE_SECONDS == 0.0  # of the tests
    monkeypatch.setattr(shared, "MINIMUM_LIFE_SECONDS", 0.8)

    async def nobody_answered(_: ApprovalTrigger) -> None:
        return None

    monkeypatch.setattr(ApprovalTrigger, "_answer", nobody_answered)
    renews = "lease_seconds" in trigger.serialize()[1]
    changed = {"deadline": 0.0, **({"lease_seconds": lease} if renews else {})}
    again = type(trigger)(**{**trigger.serialize()[1], **changed})
    began = time.monotonic()
    fire(again)
    assert time.monotonic() - began >= (min(0.8, lease / 3) if renews else 0.8)


def test_a_trigger_lives_ten_seconds_in_production() -> None:
    """Read in a process of its own: in this one the tests shorten it."""
    code = "from model_release_airflow.shared import MINIMUM_LIFE_SECONDS as life; print(life)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split() == ["10.0"]


def test_the_table_has_every_trigger() -> None:
    """A new one has to be added here."""
    import model_release_airflow.triggers as package

    files = {path.stem for path in Path(str(package.__file__)).parent.glob("*.py")} - {"__init__"}
    assert {type(trigger).__module__.rpartition(".")[2] for trigger in TRIGGERS} == files
