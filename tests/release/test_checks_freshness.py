"""The check ``freshness``."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import pytest

from model_release.checks import freshness
from model_release.evidence import DataQuality, Evaluation, Evidence, Missing
from model_release.policy import FreshnessPolicy
from model_release.verdict import CheckResult, Verdict
from tests.gate_evidence import NOW, check, evidence, policy

GOOD = evidence()


def judged(found: Evidence, **changes: object) -> dict[str, CheckResult]:
    """Return the result per subject."""
    wanted = {key: value for key, value in check("freshness", **changes).items() if value is not None}
    rule = policy(wanted).checks[0]
    assert isinstance(rule, FreshnessPolicy)
    return {result.subject: result for result in freshness.check(rule, found, NOW)}


def aged(data: float = 0.0, measured: float = 0.0) -> Evidence:
    """Return evidence whose data and measurement are so many seconds old."""
    quality = DataQuality(
        scores={"interactions": 100.0}, data_age_seconds={"interactions": data}, measured_at=NOW.timestamp() - measured
    )
    return replace(GOOD, data_quality=quality)


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (0.0, Verdict.PASS),
        (48 * 3600.0, Verdict.PASS),
        (48 * 3600.0 + 1, Verdict.FAIL),
        (-1.0, Verdict.ERROR),
        (math.nan, Verdict.ERROR),
        (math.inf, Verdict.ERROR),
    ],
)
def test_old_data_fails(seconds: float, verdict: Verdict) -> None:
    """Data at the limit passes, older fails; data from the future and no number are errors."""
    assert judged(aged(data=seconds))["data of interactions"].verdict is verdict


@pytest.mark.parametrize(
    ("seconds", "verdict"),
    [
        (0.0, Verdict.PASS),
        (24 * 3600.0, Verdict.PASS),
        (24 * 3600.0 + 1, Verdict.ERROR),
        (-59.0, Verdict.PASS),
        (-61.0, Verdict.ERROR),
        (math.nan, Verdict.ERROR),
    ],
)
def test_an_old_measurement_is_no_measurement(seconds: float, verdict: Verdict) -> None:
    """Stale is ERROR, not FAIL: it says nothing about today.  A minute between two clocks is forgiven."""
    assert judged(aged(measured=seconds))["data quality run"].verdict is verdict


@pytest.mark.parametrize(
    ("hours", "verdict"), [(0.0, Verdict.PASS), (24.0, Verdict.PASS), (24.1, Verdict.ERROR), (-0.1, Verdict.ERROR)]
)
def test_an_old_evaluation_is_no_evaluation(hours: float, verdict: Verdict) -> None:
    """The same for the evaluation of the run."""
    assert isinstance(GOOD.evaluation, Evaluation)
    evaluation = GOOD.evaluation.model_copy(update={"evaluated_at": NOW - dt.timedelta(hours=hours)})
    assert judged(replace(GOOD, evaluation=evaluation))["evaluation"].verdict is verdict


def test_what_is_not_there_is_not_fresh() -> None:
    """Missing evidence: ERROR for each age that was asked for."""
    found = judged(replace(GOOD, data_quality=Missing("a"), evaluation=Missing("b")))
    assert {result.verdict for result in found.values()} == {Verdict.ERROR}
    assert [result.reason for result in found.values()] == ["a", "a", "b"]


def test_a_table_that_the_policy_names_must_have_an_age() -> None:
    """A table of things has no age and needs none; the one that should have it can't lose it unnoticed."""
    assert isinstance(GOOD.data_quality, DataQuality)
    quality = replace(GOOD.data_quality, data_age_seconds={"items": 0.0})
    found = judged(replace(GOOD, data_quality=quality))
    assert found["data of interactions"].verdict is Verdict.ERROR
    assert found["data of items"].verdict is Verdict.PASS


def test_only_what_is_asked_for_is_looked_at() -> None:
    """One limit, one kind of result; every table has its own."""
    found = judged(GOOD, maximum_check_age_hours=None, maximum_evaluation_age_hours=None)
    assert set(found) == {"data of interactions", "data of items"}
