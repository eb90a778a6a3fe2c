"""The data's quality, and a day that was reconciled: one promise kept, one broken, one that nobody can tell yet."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from typing import Any

from model_release.paths import ReleasePaths
from model_release.policy import Tolerance
from model_release.reconciling.document import (
    Compared,
    Counted,
    Document,
    LogFacts,
    Measured,
    RunFacts,
    Serving,
    TakenFacts,
    render,
)


def measured(mean: float, half: float, promised: float, result: Any, users: int = 1200) -> Measured:
    """Return one metric."""
    return Measured(
        users=users, mean=mean, lower=mean - half, upper=mean + half, standard_error=half / 2, promised=promised,
        promised_standard_error=0.002, floor=promised * 0.8, result=result, reason=f"{result}: made up for a test",
    )  # fmt: skip


def write_yesterday(paths: ReleasePaths, now: dt.datetime, run_id: str) -> None:
    """Write ``data_quality_metrics.prom`` and the reconciliation of the day before ``now``."""
    paths.evaluation.mkdir(parents=True, exist_ok=True)
    paths.data_quality_metrics.write_text(
        'data_quality_score{table="interactions"} 96.5\n'
        'data_quality_score{table="items"} 74.0\n'
        'data_quality_check_score{table="items",check="completeness"} 74.0\n'
        'data_quality_data_age_seconds{table="interactions"} 5400.0\n'
        f"data_quality_last_run_timestamp_seconds {now.timestamp() - 1800:.0f}\n"
        "data_quality_tables 2\n"
    )
    start = now.replace(hour=0, minute=0, second=0, microsecond=0) - dt.timedelta(days=1)
    metrics = {
        "hit_rate_at_10": measured(0.171, 0.011, 0.18, "kept"),
        "recall_at_10": measured(0.081, 0.006, 0.12, "broken"),
        "recall_at_20": measured(0.15, 0.04, 0.17, "unclear", 90),
    }
    write_day(paths, start, run_id, metrics, ("recall_at_10 is 0.0810 [0.0750, 0.0870], promised 0.1200",))


def write_days_before(paths: ReleasePaths, now: dt.datetime, run_of: Callable[[dt.datetime], str | None]) -> None:
    """Write the reconciliations of the days before yesterday, but for one; ``run_of`` says which run was current."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    for ago in range(2, 14):
        start = today - dt.timedelta(days=ago)
        run_id = run_of(start + dt.timedelta(hours=12))
        if ago == 7 or run_id is None:
            continue
        wave = 0.01 * math.sin(ago * 1.7)
        hit, ten, twenty = 0.178 + wave, 0.118 - 0.0025 * (12 - ago), 0.169 + wave
        metrics = {
            "hit_rate_at_10": measured(hit, 0.012, 0.18, "kept"),
            "recall_at_10": measured(ten, 0.008, 0.12, "broken" if ten + 0.008 < 0.1 else "kept"),
            "recall_at_20": measured(twenty, 0.01, 0.17, "kept"),
        }
        write_day(paths, start, run_id, metrics)


def write_day(
    paths: ReleasePaths,
    start: dt.datetime,
    run_id: str | None,
    metrics: dict[str, Measured],
    problems: tuple[str, ...] = (),
) -> None:
    """Write the reconciliation of the day that begins at ``start``."""
    end = start + dt.timedelta(days=1)
    facts = RunFacts(
        run_id=run_id, variant="current", answers=90_000, similar_answers=4_000, users=9_000, first_at=start, last_at=end,
        followed_users=1200, items_shown=800, catalogue_items=1000, coverage=0.8, promised_coverage=0.75,
        metrics=metrics, not_comparable=(),
    )  # fmt: skip
    document = Document(
        schema_version=1, date=start.date(), written_at=end, status="differs" if problems else "agrees", problems=problems,
        complete=True, zone="UTC",
        window_start=start, window_end=end, tolerance=Tolerance(),
        log=LogFacts(files=2, replicas=("api-1",), gaps=(), answers=94_000, outcomes=7_000, unreadable_files=0, unreadable_lines=0),
        taken=TakenFacts(used=("events",), interactions=None, events=7_000, users=1500, newest_interaction=end),
        runs=(facts,), serving=Serving(status="agrees"), registry=Compared(status="agrees"),
        replicas=Compared(status="agrees"), metrics=Counted(status="agrees"),
    )  # fmt: skip
    paths.evaluation.mkdir(parents=True, exist_ok=True)
    paths.reconciliation_of(start.date()).write_text(render(document))
