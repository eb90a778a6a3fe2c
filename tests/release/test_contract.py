"""The models of the HTTP contract: what may be said, and what both sides understand."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model_release.contract import (
    Answer,
    LeaseRequest,
    ModelsReport,
    Problem,
    ReloadReceipt,
    ReloadRequest,
    Trial,
    utc_now,
)
from model_release.rollout import Move

TRIAL = {"run_id": "run-a", "mode": "shadow", "rollout": 0.1}
RECEIPT = {"status": "serving", "changed": True, "mode": "primary", "run_id": "run-a", "generation": 1, "workers": 1}


def test_an_empty_body_means_follow_the_registry() -> None:
    """No run, no generation, nothing prepared."""
    request = ReloadRequest.model_validate_json("{}")
    assert (request.run_id, request.generation, request.mode, request.prepare) == (None, None, "primary", False)


@pytest.mark.parametrize(
    "body",
    [
        {"run_id": "run-a"},
        {**TRIAL, "lease_seconds": 1},
        {**TRIAL, "mode": "canary", "rollout": 0},
        {**TRIAL, "rollout": 1},
        {"run_id": "run-a", "prepare": True, "source": "staging"},
        {"generation": 0},
        {"run_id": "run-a", "release_id": "dag:manual__2026-01-05T00:00:00+00:00"},
    ],
)
def test_what_the_contract_allows(body: dict[str, Any]) -> None:
    """Bounds belong to it."""
    request = ReloadRequest.model_validate_json(json.dumps(body))
    assert request.model_dump(exclude_unset=True) == body


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({**TRIAL, "rollout": 1.000001}, "less than or equal to 1"),
        ({**TRIAL, "rollout": -0.000001}, "greater than or equal to 0"),
        ({**TRIAL, "rollout": float("nan")}, "rollout"),
        ({**TRIAL, "rollout": None}, "needs a rollout"),
        ({"mode": "canary", "rollout": 0.1}, "needs a run_id"),
        ({"run_id": "run-a", "rollout": 0.1}, "rollout goes with mode"),
        ({"run_id": "run-a", "lease_seconds": 5}, "lease_seconds goes with mode"),
        ({**TRIAL, "lease_seconds": 0}, "lease_seconds"),
        ({**TRIAL, "lease_seconds": 604_801}, "lease_seconds"),
        ({"prepare": True}, "need a run_id"),
        ({"source": "staging"}, "need a run_id"),
        ({"run_id": "../run-a"}, "run_id"),
        ({"run_id": "run-a", "generation": -1}, "generation"),
        ({"run_id": "run-a", "release_id": ""}, "release_id"),
        ({"run_id": "run-a", "rolout": 0.1}, "rolout"),
        ({"run_id": "run-a", "mode": "Primary"}, "mode"),
    ],
)
def test_what_the_contract_refuses(body: dict[str, Any], said: str) -> None:
    """The message names the field or the partner that lacks."""
    with pytest.raises(ValidationError, match=said):
        ReloadRequest.model_validate(body)


@given(rollout=st.floats())
def test_a_share_is_a_number_from_0_to_1(rollout: float) -> None:
    """Any other float, infinite and NaN included, is refused."""
    allowed = 0.0 <= rollout <= 1.0
    kinds: tuple[type[ReloadRequest | Trial], ...] = (ReloadRequest, Trial)
    for kind in kinds:
        body = {**TRIAL, "release_id": "r1"}
        if allowed:
            assert kind.model_validate({**body, "rollout": rollout}).rollout == rollout
        else:
            with pytest.raises(ValidationError):
                kind.model_validate({**body, "rollout": rollout})


@pytest.mark.parametrize("change", [{"release_id": None}, {"generation": None}, {"lease_seconds": None}, {"more": 1}])
def test_a_lease_names_release_generation_and_time(change: dict[str, Any]) -> None:
    """Nothing of it is guessed."""
    body = {"release_id": "r1", "generation": 1, "lease_seconds": 60}
    assert LeaseRequest.model_validate(body).model_dump() == body
    with pytest.raises(ValidationError):
        LeaseRequest.model_validate({**body, **change})


def test_a_newer_replica_may_say_more() -> None:
    """Answers with unknown keys are understood; requests with unknown keys are not."""
    assert ReloadReceipt.model_validate({**RECEIPT, "new_key": 1}).workers == 1
    body: dict[str, Any] = {"run_id": None, "variant": "degraded", "items": [], "known": False, "new": 1}
    assert Answer.model_validate(body).items == ()
    assert Problem.model_validate({"title": "t", "status": 400, "new": 1}).detail == ""


@pytest.mark.parametrize("change", [{"workers": 0}, {"status": "ok"}, {"changed": None}, {"generation": None}])
def test_a_receipt_is_whole(change: dict[str, Any]) -> None:
    """No worker, another status or no generation is no receipt."""
    assert ReloadReceipt.model_validate(RECEIPT).message == ""
    with pytest.raises(ValidationError):
        ReloadReceipt.model_validate({**RECEIPT, **change})


def test_a_report_needs_at_least_one_expected_worker_and_times_with_a_zone() -> None:
    """A replica of nobody would agree with everything."""
    body: dict[str, Any] = {
        "replica": "r",
        "desired": None,
        "workers_expected": 1,
        "workers": [],
        "reported_at": utc_now(),
    }
    assert ModelsReport.model_validate(body).workers == ()
    for change in ({"workers_expected": 0}, {"reported_at": dt.datetime(2026, 1, 5)}):  # noqa: DTZ001  (the mistake)
        with pytest.raises(ValidationError):
            ModelsReport.model_validate({**body, **change})


def test_a_move_is_told_as_it_was_prepared() -> None:
    """The two calls differ in ``prepare`` and ``generation`` alone."""
    move = Move(run_id="run-a", release_id="r1", mode="canary", rollout=0.25, lease_seconds=60)
    prepare, switch = move.request(prepare=True), move.request(generation=7)
    assert (prepare.prepare, prepare.generation, switch.prepare, switch.generation) == (True, None, False, 7)
    same = prepare.model_copy(update={"prepare": False, "generation": 7})
    assert same == switch


def test_the_default_clock_is_utc() -> None:
    """Times that are compared have one zone."""
    assert utc_now().utcoffset() == dt.timedelta(0)
