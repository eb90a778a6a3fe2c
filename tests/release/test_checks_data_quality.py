"""The check ``data_quality``."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from model_release.checks import data_quality
from model_release.evidence import DataQuality, Missing
from model_release.policy import DataQualityPolicy
from model_release.verdict import CheckResult, Verdict
from tests.gate_evidence import check, evidence, policy

GOOD = evidence()


def judged(scores: dict[str, float], **changes: object) -> dict[str, CheckResult]:
    """Return the result per table."""
    rule = policy(check("data_quality", **changes)).checks[0]
    assert isinstance(rule, DataQualityPolicy)
    quality = DataQuality(scores=scores, data_age_seconds=dict.fromkeys(scores, 0.0), measured_at=1.0)
    return {result.subject: result for result in data_quality.check(rule, replace(GOOD, data_quality=quality))}


@pytest.mark.parametrize(
    ("score", "verdict"),
    [
        (100.0, Verdict.PASS),
        (90.0, Verdict.PASS),
        (math.nextafter(90.0, 0), Verdict.FAIL),
        (0.0, Verdict.FAIL),
        (math.nan, Verdict.ERROR),
        (math.inf, Verdict.ERROR),
        (-math.inf, Verdict.ERROR),
        (-0.1, Verdict.ERROR),
        (100.1, Verdict.ERROR),
    ],
)
def test_a_score_is_held_against_the_minimum(score: float, verdict: Verdict) -> None:
    """At the minimum: PASS; below: FAIL; what is no score, NaN above all: ERROR."""
    assert judged({"interactions": score})["interactions"].verdict is verdict


def test_a_score_below_the_minimum_says_what_pulled_it_down() -> None:
    """The check, where its numbers stand, and the key of the policy; a pass needs no explanation."""
    rule = policy(check("data_quality")).checks[0]
    assert isinstance(rule, DataQualityPolicy)
    scores = {"interactions": 80.0, "items": 10.0}
    worst = {"interactions": "ranges: price"}
    quality = DataQuality(scores=scores, data_age_seconds={}, measured_at=1.0, worst_checks=worst)
    rows, items = data_quality.check(rule, replace(GOOD, data_quality=quality))
    assert rows.reason == (
        "score 80.0, at least 90 is wanted (minimum_score); pulled down by 'ranges: price', see data_quality_report.json"
    )
    assert items.reason == "score 10.0, at least 90 is wanted (minimum_score)"
    assert "minimum_score" not in judged({"interactions": 95.0})["interactions"].reason


def test_a_table_that_the_policy_names_must_be_there() -> None:
    """A table without a score was not checked: ERROR, not a pass."""
    found = judged({"items": 100.0})
    assert found["interactions"].verdict is Verdict.ERROR
    assert "interactions" in found["interactions"].reason
    assert found["items"].verdict is Verdict.PASS


def test_a_table_that_nobody_named_counts_too() -> None:
    """Whatever has a score must reach the minimum."""
    assert judged({"interactions": 100.0, "surprise": 10.0})["surprise"].verdict is Verdict.FAIL


def test_without_a_measurement_there_is_no_pass() -> None:
    """A missing file is an ERROR that gives its reason, and may be there later."""
    rule = policy(check("data_quality")).checks[0]
    assert isinstance(rule, DataQualityPolicy)
    (result,) = data_quality.check(rule, replace(GOOD, data_quality=Missing("it was cut")))
    assert (result.verdict, result.reason, result.settled) == (Verdict.ERROR, "it was cut", False)


def test_the_result_has_the_numbers() -> None:
    """Value and limit stand in the result."""
    result = judged({"interactions": 80.0})["interactions"]
    assert (result.value, result.limit, result.direction) == (80.0, 90.0, "at_least")
