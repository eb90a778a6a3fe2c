"""Airflow's own client of metrics, in processes of their own, as scheduler, triggerer and dag-processor are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

HEARTBEATS = ("scheduler_heartbeat", "triggerer_heartbeat", "dag_processor_heartbeat")
COUNTS = (*HEARTBEATS, "ti_successes", "ti_failures")
_SENDS = """
import sys
from airflow.observability import stats
from airflow.observability.metrics import stats_utils
stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=True)
for name in sys.argv[1:]:
    stats.incr(name)
"""


def count(settings: Mapping[str, str], *names: str) -> None:
    """Let a new process of Airflow count one more of each of ``names``.

    Args:
        settings: environment variables that say where metrics go.
        names: as Airflow calls them, without its prefix.
    """
    subprocess.run([sys.executable, "-c", _SENDS, *names], env={**os.environ, **settings}, check=True, timeout=120)
