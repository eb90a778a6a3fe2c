"""Online policies: what they say of a trial, and what they refuse to say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.errors import ConfigurationError
from model_release.policy import OnlineCheckPolicy, Policy, RatioPolicy
from model_release.policy.base import RESERVED
from model_release.sequential import Blocks, log_e_difference, log_e_share
from tests.gate_evidence import check, policy

ONLINE_KINDS = ("ratio", "latency", "sample_ratio", "query", "alerts", "reconciliation")


def online_check(kind: str, **changes: Any) -> dict[str, Any]:
    """Return a usual check of each online kind."""
    usual: dict[str, dict[str, Any]] = {
        "ratio": {
            "count": ['bad_total{variant="$arm"}'],
            "of": ['all_total{variant="$arm"}'],
            "margin": 0.02,
            "worse": "higher",
            "minimum_requests": 1000,
        },
        "latency": {"histogram": 'seconds{variant="$arm"}', "margin": 0.02, "minimum_requests": 1000},
        "sample_ratio": {"users": 'users{variant="$arm"}', "minimum_users": 1000},
        "query": {"query": "a / b", "at_least": 0.5, "samples": "b", "minimum_samples": 100},
        "alerts": {"matchers": [{"severity": "critical"}]},
        "reconciliation": {"maximum_age_hours": 48},
    }
    return {"name": kind.replace("_", "-"), "kind": kind, **usual[kind], **changes}


def online(*checks: dict[str, Any], **changes: Any) -> Policy:
    """Return a policy with this online section."""
    section = {"replicas": "up", **({"checks": list(checks)} if checks else {}), **changes}
    return policy(check("absolute"), online={key: value for key, value in section.items() if value is not None})


def test_online_checks_have_defaults_that_suit_their_kind() -> None:
    """A canary for what needs two arms of users; both modes for the rest."""
    section = online(*(online_check(kind) for kind in ONLINE_KINDS)).online
    assert section is not None
    modes = {one.kind: one.modes for one in section.checks if isinstance(one, OnlineCheckPolicy)}
    both = ("shadow", "canary")
    assert modes == {"ratio": both, "query": both, "latency": ("canary",), "sample_ratio": ("canary",)}


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        ("ratio", {"margn": 0.1}, ["margn", "unknown key", "'margin'"]),
        ("ratio", {"at_most": 0.1}, ["margin and at_most exclude each other"]),
        ("ratio", {"margin": None, "worse": None}, ["margin, at_most or at_least"]),
        ("ratio", {"worse": None}, ["margin and worse"]),
        ("ratio", {"margin": None, "at_most": 0.1}, ["margin and worse"]),
        ("ratio", {"worse": "up"}, ["worse is 'up', expected 'higher' or 'lower'"]),
        ("ratio", {"margin": 1.0}, ["margin", "below 1"]),
        ("ratio", {"margin": 1.5e-9}, ["margin 1.5e-09", "confidence 0.99", "cluster_size 1", "3.1e+09 answers"]),
        ("ratio", {"margin": 0.0001, "cluster_size": 1e5}, ["margin 0.0001", "cluster_size 100000"]),
        (
            "ratio",
            {"margin": None, "worse": None, "at_most": 1.5e-9},
            ["at_most 1.5e-09", "confidence 0.99", "cluster_size 1"],
        ),
        (
            "ratio",
            {"margin": None, "worse": None, "at_least": 0.999999999},
            ["at_least 1", "confidence 0.99", "cluster_size 1"],
        ),
        ("ratio", {"confidence": 0.5}, ["confidence", "above 0.5"]),
        ("ratio", {"minimum_requests": 0}, ["minimum_requests"]),
        ("ratio", {"cluster_size": 0.5}, ["cluster_size"]),
        ("ratio", {"count": []}, ["count", "at least 1 entries"]),
        ("ratio", {"count": ["x_total"]}, ["count has no $arm or $run"]),
        ("ratio", {"of": ["x_total"]}, ["of has no $arm or $run"]),
        ("ratio", {"of": ["x_total"], "modes": ["canary"]}, ["of has no $arm or $run"]),
        ("ratio", {"count": ["x_total"], "modes": ["shadow"]}, ["count has no $arm or $run"]),
        ("ratio", {"count": ['all_total{variant="$arm"}']}, ["count and of are the same"]),
        ("ratio", {"count": ['x{v="$arm"}', 'x{v="$arm"}']}, ["count holds", "twice"]),
        ("ratio", {"of": ['x{v="$arm"}', 'x{v="$arm"}']}, ["of holds", "twice"]),
        ("ratio", {"count": ['rate(x{v="$arm"}[5m])']}, ["count.0", "no selector"]),
        ("ratio", {"count": ['x{v="$arn"}']}, ["count.0", "unknown placeholder $arn", "$arm"]),
        ("ratio", {"count": ['x{v="$"}']}, ["count.0", "$$"]),
        ("ratio", {"modes": ["canary", "canary"]}, ["modes holds 'canary' twice"]),
        ("ratio", {"modes": []}, ["modes"]),
        ("ratio", {"modes": ["primary"]}, ["modes.0", "'shadow' or 'canary'"]),
        ("ratio", {"dry_run": True, "severity": "warning"}, ["dry_run true", "severity warning"]),
        ("ratio", {"severity": "info"}, ["severity", "'critical' or 'warning'"]),
        ("latency", {"margin": 1.5e-12}, ["margin 1.5e-12", "confidence 0.99"]),
        ("latency", {"histogram": "seconds"}, ["histogram has no $arm or $run"]),
        ("latency", {"slower_than": [0.1, 0.1]}, ["slower_than holds 0.1 twice"]),
        ("latency", {"slower_than": [0]}, ["slower_than.0", "above 0"]),
        ("latency", {"slower_than": []}, ["slower_than"]),
        ("sample_ratio", {"modes": ["shadow", "canary"]}, ["modes shadow"]),
        ("sample_ratio", {"users": "users"}, ["users has no $arm or $run"]),
        ("sample_ratio", {"level": 0.5}, ["level", "up to 0.05"]),
        ("sample_ratio", {"minimum_users": 1}, ["minimum_users"]),
        ("query", {"query": ""}, ["'query' query: an empty query"]),
        ("query", {"query": 5}, ["'query' query is 5, expected text"]),
        ("query", {"querry": "up"}, ["'query' querry: unknown key, did you mean 'query'?"]),
        ("query", {"at_least": "1"}, ["'query' at_least is '1', expected a number"]),
        ("query", {"query": 'x{v="$arm"}'}, ["query has $arm", "$candidate"]),
        ("query", {"samples": None}, ["samples and minimum_samples"]),
        ("query", {"samples": 'x{v="$run"}'}, ["samples has $run", "$candidate"]),
        ("query", {"at_least": None}, ["at_least or at_most"]),
        ("query", {"at_most": 0.1}, ["at_least 0.5", "at_most 0.1"]),
        ("alerts", {"matchers": []}, ["matchers"]),
        ("alerts", {"matchers": [{}]}, ["matchers.0", "empty"]),
        ("alerts", {"matchers": [{"severity": "=~.*"}]}, ["matchers.0", "every alert"]),
        ("alerts", {"matchers": [{"team": ""}]}, ["matchers.0", "every alert"]),
        ("alerts", {"matchers": [{"a-b": "c"}]}, ["matchers.0", "'a-b' is not a label"]),
        ("alerts", {"matchers": [{"severity": "=~("}]}, ["matchers.0", "not a regular expression"]),
        ("alerts", {"matchers": [{"a": "b", "c": "d"}, {"c": "d", "a": "b"}]}, ["matchers holds", "twice"]),
        ("alerts", {"matchers": [{"severity": 1}]}, ["matchers.0.severity is 1, expected text"]),
        ("alerts", {"silenced": "no"}, ["silenced", "'count' or 'ignore'"]),
        ("alerts", {"watchdog": ""}, ["watchdog"]),
        (
            "alerts",
            {"matchers": [{"alertname": "=~Watch.*"}], "watchdog": "Watchdog"},
            ["matchers {'alertname': '=~Watch.*'}", "watchdog 'Watchdog'"],
        ),
        ("reconciliation", {"maximum_age_hours": 0}, ["maximum_age_hours", "above 0"]),
    ],
)
def test_an_online_check_that_can_not_be_meant_is_refused_by_name(
    kind: str, change: dict[str, Any], named: list[str]
) -> None:
    """As above; the message says that it is an online check."""
    wanted = {key: value for key, value in online_check(kind, **change).items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        online(online_check("query", name="other"), wanted)
    for part in (f"online check {wanted['name']!r}", *named):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"replicas": None}, ["online.replicas is missing"]),
        ({"replicas": 'up{run="$run"}'}, ["replicas has $run"]),
        ({"checks": []}, ["online.checks is []"]),
        ({"checks": [{"name": "z", "kind": "nope"}]}, ["online check 'z'", "'kind' one of 'ratio', 'latency'"]),
        ({"minimum_minute": 1}, ["online.minimum_minute: unknown key", "'minimum_minutes'"]),
        (
            {"minimum_minutes": 30, "budgets": {"inconclusive_minutes": 20}},
            ["minimum_minutes 30", "inconclusive_minutes 20"],
        ),
        (
            {"step_seconds": 60, "minimum_minutes": 0, "budgets": {"inconclusive_minutes": 1}},
            ["step_seconds 60", "budgets.inconclusive_minutes 1"],
        ),
        ({"step_seconds": 0.5}, ["online.step_seconds"]),
        ({"maximum_age_seconds": 0}, ["online.maximum_age_seconds"]),
        ({"budgets": {"error_minutes": -1}}, ["online.budgets.error_minutes"]),
    ],
)
def test_an_online_section_that_can_not_be_meant_is_refused(change: dict[str, Any], named: list[str]) -> None:
    """Contradictory pairs and impossible values of the section itself."""
    with pytest.raises(ConfigurationError) as caught:
        online(**{"checks": [online_check("query")], **change})
    for part in named:
        assert part in str(caught.value)


def test_a_trial_that_one_missed_scrape_would_reject_is_refused() -> None:
    """After 19 hours blocks of 5 seconds have become blocks of 640, and a gap at a seam is an ERROR until the next."""
    budgets = {"inconclusive_minutes": 1440, "error_minutes": 5}
    with pytest.raises(ConfigurationError, match="steps of 640 seconds"):
        online(online_check("ratio"), budgets=budgets)
    online(online_check("ratio"), budgets=budgets | {"error_minutes": 11})
    online(online_check("ratio"), budgets=budgets | {"error_minutes": 0})  # who waits for nothing knows
    online(online_check("query"), budgets=budgets)
    online(online_check("ratio"))


@pytest.mark.parametrize(
    ("checks", "named"),
    [
        ([{"dry_run": True}], "online.checks: every check has dry_run: true or severity: warning"),
        ([{"severity": "warning"}], "online.checks: every check has dry_run: true or severity: warning"),
        ([{}, {}], "online.checks: two checks have the name 'query'"),
        ([{"severity": "warning"}, {"kind": "alerts"}], "online.checks: no check that can block is about the trial"),
    ],
)
def test_a_trial_can_be_rejected_for_what_it_shows(checks: list[dict[str, Any]], named: str) -> None:
    """Two names for two checks, and one at least that looks at the trial and blocks."""
    with pytest.raises(ConfigurationError, match=named):
        online(*(online_check(change.pop("kind", "query"), **change) for change in checks))


def test_both_runs_may_share_what_a_shadow_counts_of() -> None:
    """They answer the same requests."""
    assert online(online_check("ratio", of=["x_total"], modes=["shadow"])).online is not None


@pytest.mark.parametrize("name", RESERVED)
def test_names_of_checks_that_are_always_made_are_taken(name: str) -> None:
    """Two results under one name could not be told apart."""
    with pytest.raises(ConfigurationError, match=f"'{name}' is that of a check that is always made"):
        policy(check("absolute", name=name))


def test_a_confidence_that_no_bootstrap_reaches_is_refused() -> None:
    """Unless Student's interval is asked for."""
    wanted = {"metric": "m", "margin": 0.1, "minimum_users": 2, "confidence": 0.999999}
    with pytest.raises(ConfigurationError, match=r"confidence 0\.999999 and method bootstrap .* 1000000"):
        policy(check("non_inferiority", method="bootstrap", **wanted))
    with pytest.raises(ConfigurationError, match=r"resamples 1000000 and confidence 0\.999999"):
        policy(check("non_inferiority", method="bootstrap", resamples=1_000_000, **wanted))
    assert policy(check("non_inferiority", method="t", **wanted)).checks[0].blocks


@given(
    distance=st.floats(0.001, 0.5),
    confidence=st.floats(0.6, 0.999),
    ratio=st.floats(0.1, 10.0),
    blocks=st.integers(2, 20),
)
def test_no_trial_of_equal_runs_passes_with_fewer_answers_than_the_fewest(
    distance: float, confidence: float, ratio: float, blocks: int
) -> None:
    """The bound that impossible margins are refused by is one of the test that judges."""
    found = RatioPolicy.model_validate(online_check("ratio", confidence=confidence), strict=False)
    n1 = np.full(blocks, 0.999 * found.fewest_requests(distance) / blocks)
    none = np.zeros(blocks)
    needed = -np.log1p(-confidence)
    assert log_e_difference(Blocks(n1, none, n1 * ratio, none), distance, "at_least", scale=distance)[-1] < needed
    assert log_e_share(none, n1, distance, "at_least")[-1] < needed
    assert log_e_share(n1, n1, 1.0 - distance, "at_most")[-1] < needed
    enough = np.array([1e6 / distance, found.fewest_requests(distance) * 1.01])
    assert log_e_share(np.zeros(2), enough, distance, "at_least")[-1] >= needed
