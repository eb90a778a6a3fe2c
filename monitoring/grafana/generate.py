"""Write the dashboards of ``dashboards/``.

    python -m monitoring.grafana.generate

A dashboard is changed here, never in Grafana: what is not in this file is lost with the container.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from monitoring.grafana.parts import Panel, dashboard

FOLDER = Path(__file__).parent / "dashboards"
_PAIR = "by (current, candidate)"
_RUN = "{{run_id}} ({{slot}})"
_OUTCOMES_PER_ANSWER = (
    'sum by (variant, type) (rate(recommendation_outcomes_total{variant!="unknown"}[1h]))'
    " / on (variant) group_left ()"
    ' sum by (variant) (rate(recommendation_answers_total{endpoint="recommend"}[1h]))'
)


def _share(name: str, title: str, description: str) -> Panel:
    return Panel(
        title, [(f"run_slot:recommendation_{name}:ratio1m", _RUN)], "percentunit", 0.05, description=description
    )


def _quantile(q: float) -> str:
    buckets = "sum by (variant, le) (rate(recommendation_latency_seconds_bucket[$__rate_interval]))"
    return f"histogram_quantile({q}, {buckets})"


def _mean(metric: str) -> str:
    """Return the mean of a histogram, for each pair of a shadow trial."""
    both = (f"sum {_PAIR} (rate(recommendation_shadow_{metric}_{part}[$__rate_interval]))" for part in ("sum", "count"))
    return " / ".join(both)


def _airflow(matcher: str) -> str:
    """Return how often a minute each of Airflow's own counters moves."""
    series = f'collectd_statsd_derive_total{{job="airflow-metrics",statsd{matcher}}}'
    return f"60 * sum by (statsd) (rate({series}[$__rate_interval]))"


def _popular(variant: str) -> str:
    """Return the share of popular items in the lists of one run of a shadow trial."""
    both = (
        f'sum {_PAIR} (rate(recommendation_shadow_{part}_total{{variant="{variant}"}}[$__rate_interval]))'
        for part in ("popular_items", "items")
    )
    return " / ".join(both)


SERVICE = (
    Panel("Alerts that fire", [('ALERTS{alertstate="firing",alertname!="Watchdog"}', "")], kind="table"),
    Panel(
        "Replicas that answer",
        [('up{job="recommendation-api"}', "{{instance}}")],
        kind="stat",
        description="0: Prometheus does not reach it.",
    ),
    Panel("Airflow", [('max by (component) (probe_success{job="airflow"})', "{{component}}")], kind="stat"),
    Panel("Answers per second, by run", [("run_slot:recommendation_seen:rate15s", _RUN)], "reqps"),
    _share("failed", "Answers for which the run raised an error", "RecommendationErrors fires above the line."),
    _share("degraded", "Answers that are not the run's own", "RecommendationDegraded fires above the line."),
    _share("slow", "Answers that took more than 0.2 s", "RecommendationSlow fires above the line."),
    _share("empty", "Empty lists", "RecommendationEmpty fires above the line."),
    Panel(
        "Time to answer, half and 99 %",
        [(_quantile(0.5), "{{variant}} 50 %"), (_quantile(0.99), "{{variant}} 99 %")],
        "s",
    ),
    Panel(
        "Requests per second, by status",
        [("sum by (status) (rate(recommendation_requests_total[$__rate_interval]))", "{{status}}")],
        "reqps",
    ),
    Panel(
        "Refused requests per second",
        [("sum by (reason) (rate(recommendation_shed_total[$__rate_interval]))", "{{reason}}")],
        "reqps",
    ),
    Panel(
        "Reasons of degraded answers, per second",
        [
            (
                "sum by (variant, reason) (rate(recommendation_degraded_total[$__rate_interval]))",
                "{{variant}} {{reason}}",
            )
        ],
        "reqps",
    ),
    Panel(
        "Answers and exposures per second",
        [
            ("sum(rate(recommendation_answers_total[$__rate_interval]))", "answers"),
            ("sum(rate(recommendation_exposures_total[$__rate_interval]))", "exposures written"),
            ("sum by (reason) (rate(recommendation_exposures_dropped_total[$__rate_interval]))", "dropped: {{reason}}"),
        ],
        "reqps",
    ),
    Panel("Workers", [("sum by (instance, state) (recommendation_workers)", "{{instance}} {{state}}")]),
    Panel(
        "Heartbeats of Airflow per minute",
        [(_airflow('=~"airflow.(scheduler|triggerer|dag_processor)_heartbeat"'), "{{statsd}}")],
        description="By Airflow's own metrics. The alert AirflowDown asks its health page instead.",
    ),
    Panel(
        "Tasks of Airflow per minute",
        [
            (_airflow('="airflow.ti_successes"'), "succeeded"),
            (_airflow('="airflow.ti_failures"'), "failed, tried again or not"),
        ],
    ),
    Panel(
        "Messages that wait",
        [("max(alert_bridge_queue_messages)", "waiting")],
        description="In the queue of the alert bridge. MessagesNotDelivered fires if the oldest one waits for 5 minutes.",
    ),
)

RELEASES = (
    Panel("Current run", [("model_release_current_info", "{{run_id}}")], kind="stat"),
    Panel("Candidate", [("model_release_candidate_info", "{{run_id}} ({{mode}})")], kind="stat"),
    Panel(
        "Latched",
        [("max(model_release_latched)", "latched")],
        limit=1,
        kind="stat",
        description="1: no automatic release.",
    ),
    Panel(
        "Time since the last release",
        [("time() - (max(model_release_last_released_timestamp_seconds) > 0)", "since")],
        "s",
        8 * 86400,
        kind="stat",
    ),
    Panel(
        "Open releases",
        [("time() - model_release_open_timestamp_seconds", "{{release_id}}")],
        "s",
        12 * 3600,
        kind="stat",
    ),
    Panel(
        "Seconds left of the lease",
        [("model_release_candidate_lease_timestamp_seconds - time()", "{{run_id}}")],
        "s",
        description="Below 0: CandidatePastLease.",
    ),
    Panel(
        "Generation",
        [("model_release_generation", "registry"), ("recommendation_model_generation", "{{instance}}")],
        description="All the same, but for moments: else ReplicasDisagree.",
    ),
    Panel("Workers by run", [("sum by (run_id, slot) (recommendation_model_info)", _RUN)]),
    Panel(
        "Reloads per minute",
        [("60 * sum by (outcome) (rate(recommendation_reloads_total[$__rate_interval]))", "{{outcome}}")],
    ),
    Panel(
        "Time of a reload, half and 99 %",
        [
            (
                f"histogram_quantile({q}, sum by (le) (rate(recommendation_reload_seconds_bucket[$__rate_interval])))",
                name,
            )
            for q, name in ((0.5, "50 %"), (0.99, "99 %"))
        ],
        "s",
    ),
    Panel(
        "Canary: share of users with the candidate",
        [('sum(recommendation_trial_users{variant="candidate"}) / sum(recommendation_trial_users)', "users")],
        "percentunit",
    ),
    Panel("Shadow: overlap", [(_mean("overlap"), "{{candidate}}")], "percentunit"),
    Panel("Shadow: rank-biased overlap", [(_mean("rbo"), "{{candidate}}")], "percentunit"),
    Panel(
        "Shadow: share of popular items",
        [(_popular("candidate"), "candidate {{candidate}}"), (_popular("current"), "current {{current}}")],
        "percentunit",
    ),
    Panel(
        "Shadow: different items",
        [("max by (current, candidate, variant) (recommendation_shadow_distinct_items)", "{{variant}}")],
    ),
    Panel(
        "Shadow: requests per second",
        [
            (
                "sum by (candidate, outcome) (rate(recommendation_shadow_requests_total[$__rate_interval]))",
                "{{candidate}} {{outcome}}",
            )
        ],
        "reqps",
    ),
)

DATA_QUALITY = (
    Panel("Score", [("data_quality_score", "{{table}}")], description="DataQualityLow fires below 90."),
    Panel("Score of each check", [("data_quality_check_score", "{{table}} {{check}}")]),
    Panel("The file can be read", [("node_textfile_scrape_error", "error")], limit=1, kind="stat"),
    Panel("Rows", [("data_quality_rows", "{{table}}")]),
    Panel("Anomalies", [("data_quality_anomalies", "{{table}}")]),
    Panel("Schema violations", [("data_quality_schema_violations", "{{table}}")]),
    Panel("Age of the newest row, when measured", [("data_quality_data_age_seconds", "{{table}}")], "s", 48 * 3600),
    Panel(
        "Time since it was measured", [("time() - data_quality_last_run_timestamp_seconds", "since")], "s", 26 * 3600
    ),
    Panel("Drift (PSI)", [("data_quality_drift_psi", "{{table}} {{what}}")], limit=0.25),
)

RECONCILIATION = (
    Panel("Last reconciliation", [("model_release_reconciliation_status == 1", "{{status}}")], kind="stat"),
    Panel("Its age", [("time() - model_release_reconciliation_timestamp_seconds", "age")], "s", 36 * 3600, kind="stat"),
    Panel(
        "Exposures of the last day",
        [("sum by (variant) (increase(recommendation_exposures_total[1d]))", "{{variant}}")],
        kind="stat",
    ),
    Panel(
        "Records dropped in the last day",
        [("sum by (reason) (increase(recommendation_exposures_dropped_total[1d]))", "{{reason}}")],
        limit=1,
        kind="stat",
    ),
    Panel(
        "Outcomes per second",
        [("sum by (outcome) (rate(recommendation_events_total[$__rate_interval]))", "{{outcome}}")],
        "reqps",
    ),
    Panel(
        "Outcomes per answer, by arm",
        [
            (
                _OUTCOMES_PER_ANSWER,
                "{{variant}} {{type}}",
            )
        ],
        "percentunit",
    ),
)


def dashboards() -> Iterator[dict[str, Any]]:
    """Return all dashboards."""
    yield dashboard("recommendation-service", "Recommendation: service", SERVICE)
    yield dashboard("recommendation-releases", "Recommendation: releases", RELEASES)
    yield dashboard("recommendation-data-quality", "Recommendation: data quality", DATA_QUALITY)
    yield dashboard("recommendation-reconciliation", "Recommendation: reconciliation", RECONCILIATION)


def render(one: dict[str, Any]) -> str:
    """Return a dashboard as its file has it."""
    return json.dumps(one, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all dashboards."""
    for one in dashboards():
        (FOLDER / f"{one['uid']}.json").write_text(render(one), encoding="utf-8")


if __name__ == "__main__":
    main()
