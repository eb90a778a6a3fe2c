"""What a DAG run's end means: only a verified release that Airflow calls a success is one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from model_release.ending import REJECTION_KEY, VALUE_KEY, Ending, Result, ending, read_ended
from model_release.phases import Phase
from model_release.verdict import CheckResult, Decision, Verdict

RUN = "20260301-als-1a2b3c4d"


def decision(verdict: Verdict) -> dict[str, Any]:
    made = Decision(
        verdict=verdict,
        run_id=RUN,
        against=None,
        no_baseline=True,
        release_id="r",
        generation=3,
        decided_at=dt.datetime(2026, 1, 5, tzinfo=dt.UTC),
        policy_name="p",
        policy_sha256="0" * 64,
        code_version="1",
        results=(CheckResult(check="c", kind="absolute", verdict=verdict, reason="because"),),
        summary="worse by 0.08",
    )
    return made.model_dump(mode="json")


def receipt(mode: str = "primary") -> tuple[str, Any]:
    return VALUE_KEY, {"run_id": RUN, "mode": mode, "generation": 4, "workers": 2, "missing": []}


def closed(phase: str) -> tuple[str, Any]:
    return VALUE_KEY, {"release_id": "r", "phase": phase}


PASSED, REJECTED = (VALUE_KEY, decision(Verdict.PASS)), (REJECTION_KEY, decision(Verdict.FAIL))


def end(*left: tuple[str, Any], state: str = "success", mode: Any = "primary", dry_run: bool = False) -> Ending:
    return ending(read_ended(state, ["x"] if state == "failed" else [], left), mode=mode, dry_run=dry_run)


def test_a_verified_release_names_what_has_to_be_served() -> None:
    found = end(PASSED, receipt("shadow"), receipt(), closed("verified"))
    assert found.result is Result.RELEASED
    assert found.serving is not None
    assert (found.serving.run_id, found.serving.mode, found.serving.generation) == (RUN, "primary", 4)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.VERIFIED])
def test_a_green_dag_run_alone_is_no_release(phase: Phase) -> None:
    assert end(PASSED, receipt(), closed(phase)).result is not Result.RELEASED


@pytest.mark.parametrize("left", [[PASSED, receipt()], [receipt(), closed("verified"), closed("verified")]])
def test_exactly_one_task_must_say_how_the_release_ended(left: list[tuple[str, Any]]) -> None:
    assert end(*left).result is Result.FAILED


def test_a_verified_release_needs_airflows_word_and_a_receipt_of_its_mode() -> None:
    assert end(receipt(), closed("verified"), state="failed").result is Result.FAILED
    assert end(closed("verified")).result is Result.FAILED
    assert end(receipt("shadow"), closed("verified")).result is Result.FAILED


def test_a_rejection_before_the_trial_and_on_it() -> None:
    """On trial the run is taken out first; without a decision to stop, that is a failure."""
    before = end(REJECTED, closed("rejected"), state="failed")
    assert (before.result, before.reason) == (Result.REJECTED, "worse by 0.08")
    assert end(closed("rejected")).result is Result.REJECTED  # passed over instead of failed: as green as a release
    assert end(PASSED, REJECTED, receipt("shadow"), closed("put_back"), state="failed").result is Result.REJECTED
    assert end(PASSED, receipt(), closed("put_back"), state="failed").result is Result.FAILED


def test_a_dry_run_needs_the_gates_pass() -> None:
    assert end(PASSED, closed("passed"), dry_run=True).result is Result.RELEASED
    assert end(closed("passed"), dry_run=True).result is Result.FAILED
    assert end(PASSED, closed("passed"), state="failed", dry_run=True).result is Result.FAILED


def test_values_of_other_tasks_are_passed_over() -> None:
    strange = [(VALUE_KEY, value) for value in (None, 3, "text", ["a"], {"phase": "done", "release_id": "r"})]
    assert end(*strange, receipt(), closed("verified")).result is Result.RELEASED
