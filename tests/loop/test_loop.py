"""A bad release is seen, said, undone, stopped and got over, by real processes; see ``story.py`` for what is asked of each step."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import monitoring
from tests.loop.stack import Loop, loop
from tests.loop.story import Story

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.long]


def airflow_says(made: Loop, name: str) -> float:
    """Return what Prometheus has scraped of Airflow's own counter ``name``."""
    query = {"query": f'sum(collectd_statsd_derive_total{{job="airflow-metrics",statsd="{name}"}})'}
    (found,) = made.watch.prometheus.http.get("/api/v1/query", params=query).raise_for_status().json()["data"]["result"]
    return float(found["value"][1])


def test_a_bad_release_is_undone_and_stops_the_next_until_a_person_says_so(tmp_path: Path) -> None:
    """Every wait of the story has an end, and its last step counts what happened twice."""
    monitoring.need("prometheus", "alertmanager", "node_exporter", "blackbox_exporter")
    with loop(tmp_path) as made:
        story = Story(made, print)
        story.run()
        assert story.seconds > 0.0
        if "collectd" in made.watch.servers:  # not every system has it
            assert airflow_says(made, "airflow.scheduler_heartbeat") > 10
            assert airflow_says(made, "airflow.triggerer_heartbeat") > 10
            assert airflow_says(made, "airflow.ti_successes") > 10
        assert len([text for text in made.told_by_alerts if "RecommendationErrors" in text]) == 2
