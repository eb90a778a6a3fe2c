"""Measure the data a model would be trained on: ``python -m pipeline.data_quality_v2 [--as-of DATE]``.

Writes ``data/evaluation/data_quality_report.json`` for people and ``data_quality_metrics.prom`` for Prometheus and the
gate.  What is good enough is the release policy's to say: the highest ``minimum_score`` of its data-quality checks.

Exit status: 0 good enough, 3 a table's score is below the policy's minimum, 1 could not measure, 2 wrong usage
(configuration and policy too).
"""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_release.adapters.files import write_atomic
from model_release.command import DONE, attempt, parser_of, usage
from model_release.contract import utc_now
from model_release.errors import InvalidInputError
from model_release.paths import ReleasePaths
from model_release.policy import Policy, default_policy_path, load_policy
from pipeline.config import PipelineConfig, load_config
from pipeline.progress import log_to_terminal, step
from pipeline.window import minute, parse_as_of

if TYPE_CHECKING:
    from pipeline.data_quality.report import QualityReport, TableQuality

INTERACTIONS, ITEMS = "interactions", "items"
_BELOW = 3


def check_data(config: PipelineConfig, paths: ReleasePaths, as_of: dt.datetime | None = None) -> QualityReport:
    """Measure every configured table and write the report.

    Args:
        config: the pipeline's configuration.
        paths: where reports go.
        as_of: training cutoff of the run that is planned; rows after its test window are not looked at.  None: the
            newest possible.

    Raises:
        ConfigurationError: a source is not there or can't be read.
        InvalidInputError: ``as_of`` leaves nothing to train on, or nothing to judge on.
    """
    from pipeline import ingest
    from pipeline.data_quality.exposition import exposition
    from pipeline.data_quality.report import QualityReport

    measured_at = utc_now()
    missing = {table: ingest.missing_columns(config, table) for table in (INTERACTIONS, ITEMS)}
    clock = _Clock.of(config, as_of, measured_at, readable=not missing[INTERACTIONS])
    report = QualityReport(
        source=config.source.name,
        measured_at=measured_at,
        now=clock.now,
        visible_until=clock.until.astimezone(config.source.zone),
        tables=_tables(config, missing, clock),
    )
    write_atomic(paths.data_quality_report, report.model_dump_json(indent=2) + "\n")
    write_atomic(paths.data_quality_metrics, exposition(report))
    return report


@dataclass(frozen=True)
class _Clock:
    """What "now" is, and where the log ends for a planned run."""

    now: dt.datetime
    until: dt.datetime

    @classmethod
    def of(cls, config: PipelineConfig, as_of: dt.datetime | None, wall: dt.datetime, *, readable: bool) -> _Clock:
        from pipeline import ingest

        span = _span(config) if readable else None
        if span is None:
            return cls(now=wall, until=wall)
        if as_of is None and config.clock == "wall_time":
            return cls(now=wall, until=wall + ingest.CLOCK_SKEW)
        end = ingest.resolve_window(config, as_of, span=span).end
        return cls(now=wall if config.clock == "wall_time" else end, until=end)


def _span(config: PipelineConfig) -> tuple[dt.datetime, dt.datetime] | None:
    """Return the times of the log's first and last usable row; None: there is none."""
    from pipeline import ingest

    try:
        return ingest.log_span(config)
    except InvalidInputError:
        return None


def _tables(config: PipelineConfig, missing: dict[str, list[str]], clock: _Clock) -> dict[str, TableQuality]:
    from pipeline import ingest
    from pipeline.data_quality import tables

    source = config.source
    found, items = {}, None
    if source.items is not None and missing[ITEMS]:
        found[ITEMS] = tables.lacking(missing[ITEMS], _names(source.items.path, config))
    elif (lazy := ingest.scan_items(config)) is not None:
        with step("measure items") as doing:
            items = ingest.collect(lazy, "source.items")
            doing.rows = items.height
            found[ITEMS] = tables.catalogue(items)
    if missing[INTERACTIONS]:
        found[INTERACTIONS] = tables.lacking(missing[INTERACTIONS], _names(source.interactions.path, config))
        return found
    with step("measure interactions") as doing:
        rows = ingest.collect(ingest.scan_interactions(config, given=True), source.interactions.path)
        doing.rows = rows.height
        found[INTERACTIONS] = tables.interactions(config, rows, items, now=clock.now, until=clock.until)
    return found


def _names(path: str, config: PipelineConfig) -> list[str]:
    from pipeline import ingest

    return ingest.scan(path, config.folder).collect_schema().names()


def describe(report: QualityReport) -> str:
    """Return the report in a few lines for a terminal or a log."""
    lines = [f"{report.source}, rows before {minute(report.visible_until)}"]
    for name, table in sorted(report.tables.items()):
        age = "" if table.age_seconds is None else f", newest row {table.age_seconds / 3600:.1f} h old"
        lines.append(f"  {name:<14} score {table.score:>6.2f}  {table.rows:>10,} rows{age}")
        worst = [part for part in table.measurements if part.score is not None and part.bad]
        lines += [f"    {part.name:<26} {part.score:>6.2f}  {part.detail}" for part in worst]
        lines += [f"    odd: {said}" for said in table.anomalies]
    return "\n".join(lines)


def too_bad(report: QualityReport, policy: Policy) -> list[str]:
    """Return a line for each table whose score is below what ``policy`` demands: why, and what could be changed."""
    from pipeline.data_quality.advice import pulled_down

    demanded = policy.strictest_data_quality
    if demanded is None:
        return []
    return [
        f"{name}: score {table.score:.2f} is below {demanded.minimum_score:g}, minimum_score of the release policy's "
        f"check {demanded.name!r}; {pulled_down(name, table)}"
        for name, table in report.tables.items()
        if table.score < demanded.minimum_score
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = parser_of("pipeline.data_quality_v2", __doc__)
    parser.add_argument("--as-of", metavar="DATE", help="training cutoff of the planned run; default: the newest")
    parser.add_argument("--report-only", action="store_true", help="exit 0 whatever the scores are")
    parser.add_argument("--config", type=Path, help="default: $PIPELINE_CONFIG, else config/pipeline.yaml")
    parser.add_argument("--policy", type=Path, help="default: $RELEASE_POLICY, else config/release_policy.yaml")
    options = parser.parse_args(arguments)
    log_to_terminal()
    with usage(parser):
        config = load_config(options.config)
        policy = load_policy(options.policy or default_policy_path())
        as_of = parse_as_of(options.as_of, config.source.zone) if options.as_of is not None else None

    def work() -> int:
        report = check_data(config, ReleasePaths.from_environment(), as_of)
        sys.stdout.write(describe(report) + "\n")
        below = too_bad(report, policy)
        sys.stdout.writelines(f"{line}\n" for line in below)
        return _BELOW if below and not options.report_only else DONE

    return attempt(work)


if __name__ == "__main__":
    sys.exit(main())
