"""``GET /metrics``: every family is described, its labels are bounded, and it counts what happened."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.api.home import UNKNOWN, alter_a_byte
from tests.api.replica import Replica, wait_until

PAIR = ("current", "candidate")

# name without the suffix that a counter's samples have, kind, labels
FAMILIES: Mapping[str, tuple[str, set[str]]] = {
    "recommendation_requests": ("counter", {"endpoint", "variant", "status"}),
    "recommendation_answers": ("counter", {"endpoint", "variant"}),
    "recommendation_outcomes": ("counter", {"variant", "type"}),
    "recommendation_trial_users": ("gauge", {"variant"}),
    "recommendation_latency_seconds": ("histogram", {"endpoint", "variant"}),
    "recommendation_degraded": ("counter", {"endpoint", "variant", "reason"}),
    "recommendation_shed": ("counter", {"reason"}),
    "recommendation_exposures": ("counter", {"variant"}),
    "recommendation_exposures_dropped": ("counter", {"reason"}),
    "recommendation_events": ("counter", {"outcome"}),
    "recommendation_workers": ("gauge", {"state"}),
    "recommendation_empty": ("counter", {"endpoint", "variant"}),
    "recommendation_model_info": ("gauge", {"run_id", "slot"}),
    "recommendation_model_generation": ("gauge", set()),
    "recommendation_registry_readable": ("gauge", set()),
    "recommendation_reloads": ("counter", {"outcome"}),
    "recommendation_reload_seconds": ("histogram", {"outcome"}),
    "recommendation_shadow_requests": ("counter", {*PAIR, "outcome"}),
    "recommendation_shadow_overlap": ("histogram", {*PAIR}),
    "recommendation_shadow_rbo": ("histogram", {*PAIR}),
    "recommendation_shadow_empty": ("counter", {*PAIR, "variant"}),
    "recommendation_shadow_items": ("counter", {*PAIR, "variant"}),
    "recommendation_shadow_popular_items": ("counter", {*PAIR, "variant"}),
    "recommendation_shadow_latency_seconds": ("histogram", {*PAIR}),
    "recommendation_shadow_served_latency_seconds": ("histogram", {*PAIR}),
    "recommendation_shadow_distinct_items": ("gauge", {*PAIR, "variant"}),
}


def families(replica: Replica) -> dict[str, Metric]:
    answer = replica.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found = {family.name: family for family in text_string_to_metric_families(answer.text)}
    # the client library adds the time at which each counter and histogram began
    return {name: family for name, family in found.items() if not name.endswith("_created")}


def test_every_family_has_its_name_its_kind_and_a_help_text(replica: Replica) -> None:
    """Alert rules and dashboards are written against these names; there are no others."""
    found = families(replica)
    assert set(found) == set(FAMILIES)
    for name, (kind, _) in FAMILIES.items():
        assert found[name].type == kind
        assert found[name].documentation
    text = replica.http.get("/metrics").text
    for line in ("requests_total", "degraded_total", "empty_total", "reloads_total", "shadow_requests_total"):
        assert f"# HELP recommendation_{line} " in text


def test_labels_are_few_and_users_are_never_among_them(replica: Replica) -> None:
    """A hundred users and items, known or not, add no series."""
    replica.recommend("u1")
    replica.http.get("/similar/i1")
    before = {name: len(family.samples) for name, family in families(replica).items()}
    for number in range(100):
        replica.recommend(f"customer-{number}")
        replica.http.get(f"/similar/product-{number}", params={"k": 1 + number % 50})
    found = families(replica)
    assert {name: len(family.samples) for name, family in found.items()} == before
    for name, (_, labels) in FAMILIES.items():
        for sample in found[name].samples:
            assert set(sample.labels) - {"le"} == labels
    text = replica.http.get("/metrics").text
    assert not [word for word in ("customer-", "product-", "u1", "i1", UNKNOWN) if f'"{word}' in text]


def test_label_values_come_from_a_fixed_set(replica: Replica) -> None:
    """Whatever was asked for, also what is wrong."""
    for path in ("/recommend/u1?k=0", f"/similar/{'x' * 300}", "/no-such-path", "/recommend/"):
        replica.http.get(path)
    replica.refuse(404, run_id="run-x")
    values: dict[str, set[str]] = {}
    for family in families(replica).values():
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    assert values["endpoint"] == {"recommend", "similar"}
    assert values["variant"] <= {"current", "candidate", "degraded", "none", "unknown"}
    assert values["type"] == {"view", "click", "cart", "purchase", "other"}
    assert values["status"] <= {"200", "422"}
    assert values["reason"] == {"model_error", "no_model", "timeout", "late", "busy", "queue_full", "disk", "invalid"}
    assert values["slot"] <= {"current", "candidate"}
    assert all(value.replace("_", "").isalpha() for value in values["outcome"])


@pytest.mark.parametrize(
    ("path", "endpoint", "variant", "status"),
    [
        ("/recommend/u1", "recommend", "current", "200"),
        ("/similar/i1", "similar", "current", "200"),
        ("/recommend/u1?k=0", "recommend", "none", "422"),
        ("/similar/", "similar", "none", "422"),
    ],
)
def test_requests_are_counted_and_answers_timed(
    replica: Replica, path: str, endpoint: str, variant: str, status: str
) -> None:
    """One request is one count; what was refused has no latency."""

    def counts() -> tuple[float, float]:
        labels = {"endpoint": endpoint, "variant": variant}
        return (
            replica.metric("recommendation_requests_total", **labels, status=status),
            replica.metric("recommendation_latency_seconds_count", **labels),
        )

    before = counts()
    for _ in range(3):
        assert replica.http.get(path).status_code == int(status)
    after = counts()
    assert after[0] - before[0] == 3
    assert after[1] - before[1] == (3 if status == "200" else 0)


def test_answers_of_a_candidate_are_counted_apart(replica: Replica) -> None:
    """The gate compares the two."""
    replica.reload(run_id="run-b", mode="canary", rollout=1.0)
    labels = {"endpoint": "recommend", "variant": "candidate"}
    before = replica.metric("recommendation_requests_total", **labels, status="200")
    replica.recommend("u1")
    assert replica.metric("recommendation_requests_total", **labels, status="200") == before + 1
    assert replica.metric("recommendation_latency_seconds_count", **labels) >= 1


def test_answers_without_items_are_counted(replica: Replica) -> None:
    """Nothing is like an item that nobody knows."""
    before = replica.metric("recommendation_empty_total", endpoint="similar", variant="current")
    replica.http.get("/similar/no-such-item")
    replica.http.get("/similar/i1")
    assert replica.metric("recommendation_empty_total", endpoint="similar", variant="current") == before + 1


def test_reloads_are_counted_by_outcome(replica: Replica) -> None:
    """What went well, and what was refused and why."""
    home = replica.home
    alter_a_byte(home.publish("run-broken") / "popular.npy")
    calls: dict[str, Callable[[], object]] = {
        "ok": lambda: replica.reload(run_id="run-b"),
        "unknown_run": lambda: replica.refuse(404, run_id="run-x"),
        "artifact_unusable": lambda: replica.refuse(424, run_id="run-broken"),
        "generation_conflict": lambda: replica.refuse(409, generation=0),
        "registry_behind": lambda: replica.refuse(503, generation=home.generation + 1),
    }
    for outcome, call in calls.items():
        before = replica.metric("recommendation_reloads_total", outcome=outcome)
        timed = replica.metric("recommendation_reload_seconds_count", outcome=outcome)
        call()
        assert replica.metric("recommendation_reloads_total", outcome=outcome) == before + 1
        assert replica.metric("recommendation_reload_seconds_count", outcome=outcome) == timed + 1


def test_the_served_runs_and_their_generation_are_shown(replica: Replica) -> None:
    """One series for each slot; a run that is gone leaves none behind."""

    def served() -> dict[str, str]:
        samples = families(replica)["recommendation_model_info"].samples
        assert {sample.value for sample in samples} == {1.0}
        return {sample.labels["slot"]: sample.labels["run_id"] for sample in samples}

    replica.reload(run_id="run-b", mode="shadow", rollout=0.1)
    assert served() == {"current": "run-a", "candidate": "run-b"}
    replica.reload(run_id="run-b")
    assert served() == {"current": "run-b"}
    assert replica.metric("recommendation_model_generation") == replica.home.generation
    replica.home.commit("run-c")
    wait_until("the watcher follows", lambda: served() == {"current": "run-c"})
    assert replica.metric("recommendation_model_generation") == replica.home.generation
