"""Join what was served on a day with what people then did: ``python -m pipeline.reconcile [--date DATE]``.

Compares hit rate and recall of each run with what its evaluation promised of a day, the ledger with the runs that the
answers name, with the registry and with the replicas, and the exposure log with what Prometheus counted.  Writes
``data/evaluation/reconciliation_<date>.json``, whole or not at all.  How far things may lie apart, the release policy
says.

Exit status: 0 agrees, 3 something differs, 4 something is missing, so that it can't be told, 1 could not be done, 2
wrong usage (configuration and policy too).
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_release.adapters.files import write_atomic
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.sources import Sources
from model_release.command import DONE, attempt, checked, parser_of, usage
from model_release.contract import utc_now
from model_release.errors import InvalidInputError
from model_release.paths import ReleasePaths
from model_release.policy import Tolerance, default_policy_path, load_policy
from model_release.reconciling.document import Document, TakenFacts, render, schema
from model_release.reconciling.verdict import conclude, of_counts
from model_release.reconciling.words import describe
from pipeline.config import PipelineConfig, load_config
from pipeline.progress import log_to_terminal, step
from pipeline.reconciliation.day import Day, newest_complete, parse_date

if TYPE_CHECKING:
    from model_release.fleet import Replica
    from pipeline.reconciliation.join import Joined
    from pipeline.reconciliation.log import DayLog
    from pipeline.reconciliation.taken import Interactions

_STATUS = {"agrees": DONE, "differs": 3, "missing": 4}
_COMPARED = {"serving": "ledger", "registry": "registry", "replicas": "replicas", "metrics": "metrics"}


def reconcile(
    config: PipelineConfig,
    paths: ReleasePaths,
    tolerance: Tolerance,
    date: dt.date,
    *,
    now: dt.datetime,
    replicas: Sequence[Replica] = (),
    sources: Sources | None = None,
    so_far: bool = False,
) -> Document:
    """Reconcile one day and write its file, in the place of one that is there.

    Args:
        config: the pipeline's configuration.
        paths: the installation.
        tolerance: how far things may lie apart.
        date: a day in ``source.timezone``.
        now: the time now.
        replicas: whom to ask what they serve.
        sources: where Prometheus is; None: nothing is asked.
        so_far: allow a day that has not ended.

    Raises:
        InvalidInputError: the day has not ended, or not even begun.
        OSError: the file, or what is laid aside for the join, can't be written; the file from before is there still.
    """
    from pipeline.reconciliation import counters, runs, state
    from pipeline.reconciliation.join import join

    day = Day(date, config.source.zone)
    check_day(day, now, so_far=so_far)
    with _read(config, paths, day, state.names(replicas, day, now)) as (log, given):
        settings = config.reconciliation
        rows = given.rows.clear() if settings.outcomes == "events" else given.rows
        with step("join answers with what was taken") as doing:
            joined = join(log, rows, types=settings.outcome_types, use_events=settings.outcomes != "interactions")
            doing.rows = joined.taken.height
        found = runs.facts(config, paths, log, joined, tolerance)
    did, missing = _did(config, day, given, joined, now)
    states = state.compare(paths, log.named(), day, replicas, now)
    metrics = of_counts(log.facts(), counters.counted(sources or Sources(), day, now), tolerance)
    parts = {
        "log": log.facts(), "taken": did, "runs": found, "serving": states.serving, "registry": states.registry,
        "replicas": states.replicas, "metrics": metrics,
    }  # fmt: skip
    document = _document(day, now, tolerance, parts, missing)
    write_atomic(paths.reconciliation_of(date), render(document))
    return document


@contextmanager
def _read(
    config: PipelineConfig, paths: ReleasePaths, day: Day, names: Sequence[str]
) -> Iterator[tuple[DayLog, Interactions]]:
    """Give the log of the day, laid aside as long as it is used, and the interactions."""
    from pipeline.reconciliation import taken
    from pipeline.reconciliation.log import DayLog

    paths.evaluation.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".reconciliation-", dir=paths.evaluation) as folder:
        with step("read the exposure log") as doing:
            log = DayLog.read(paths, day, Path(folder), expected=[*config.reconciliation.replicas, *names])
            doing.rows = log.answers
        yield log, taken.interactions(config, day)


def _document(
    day: Day, now: dt.datetime, tolerance: Tolerance, parts: Mapping[str, Any], missing: Sequence[str]
) -> Document:
    """Return the whole of the parts, by their keys in the document."""
    compared = [(name, parts[key]) for key, name in _COMPARED.items()]
    status, problems = conclude(
        parts["log"], parts["taken"], parts["runs"], compared, tolerance=tolerance, missing=missing
    )
    return Document(
        schema_version=1,
        date=day.date,
        written_at=now.astimezone(day.zone),
        status=status,
        problems=problems,
        complete=day.over(now),
        zone=day.zone.key,
        window_start=day.start.astimezone(day.zone),
        window_end=day.end.astimezone(day.zone),
        tolerance=tolerance,
        **parts,
    )


def check_day(day: Day, now: dt.datetime, *, so_far: bool) -> None:
    """Refuse a day that has not begun, or, without ``so_far``, not ended.

    Raises:
        InvalidInputError: it has not.
    """
    if day.start > now:
        raise InvalidInputError(f"{day.date} has not begun yet in {day.zone.key}")
    if not so_far and not day.over(now):
        raise InvalidInputError(f"{day.date} has not ended yet in {day.zone.key}; --so-far takes what is there")


def _did(
    config: PipelineConfig, day: Day, given: Interactions, joined: Joined, now: dt.datetime
) -> tuple[TakenFacts, list[str]]:
    """Return what people did as the document says it, and what is missing of it."""
    wanted, latest = config.reconciliation.outcomes, dt.timedelta(hours=config.reconciliation.latest_hours)
    interactions = given.rows.height or None
    events = joined.events or None
    missing = []
    if wanted in {"interactions", "both"} and interactions is None:
        missing.append(f"no interactions: {given.problem}")
    if wanted in {"events", "both"} and events is None:
        missing.append(f"no events of {day.date} in the exposure log")
    if wanted == "any" and interactions is None and events is None:
        missing.append(f"nothing is known of what people did: {given.problem}, and there are no events")
    end = min(day.end, now)
    if interactions is not None and wanted != "events" and given.newest is not None and given.newest < end - latest:
        missing.append(
            f"the interactions end {given.newest.astimezone(day.zone):%Y-%m-%d %H:%M}, more than {latest.total_seconds() / 3600:g} "
            "hours before the day does: the rest may still come"
        )
    use_interactions = wanted != "events" and interactions is not None
    use_events = wanted != "interactions" and events is not None
    pairs = (("interactions", use_interactions), ("events", use_events))
    return TakenFacts(
        used=tuple(name for name, there in pairs if there),
        interactions=interactions,
        events=events,
        users=joined.takers,
        newest_interaction=given.newest,
    ), missing


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    found = parser_of("pipeline.reconcile", __doc__)
    found.add_argument(
        "--date",
        metavar="DATE",
        type=checked(parse_date),
        help="a day in source.timezone; default: the last one that is over",
    )
    found.add_argument("--so-far", action="store_true", help="take a day that has not ended as it is now")
    found.add_argument("--report-only", action="store_true", help="exit 0 whatever is found")
    found.add_argument(
        "--replica", metavar="URL", action="append", default=[], help="ask this replica what it serves; repeatable"
    )
    found.add_argument("--schema", action="store_true", help="print the JSON Schema of the file, and do nothing else")
    found.add_argument("--config", type=Path, help="default: $PIPELINE_CONFIG, else config/pipeline.yaml")
    found.add_argument("--policy", type=Path, help="default: $RELEASE_POLICY, else config/release_policy.yaml")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    command = parser()
    options = command.parse_args(arguments)
    if options.schema:
        sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
        return DONE
    log_to_terminal()
    now = utc_now()
    with usage(command):
        config = load_config(options.config)
        tolerance = load_policy(options.policy or default_policy_path()).tolerance
        sources = Sources.from_environment()
        replicas = [RecommendationApiClient(url) for url in options.replica]
        date = options.date or newest_complete(now, config.source.zone)
        check_day(Day(date, config.source.zone), now, so_far=options.so_far)

    def work() -> int:
        document = reconcile(
            config, ReleasePaths.from_environment(), tolerance, date,
            now=now, replicas=replicas, sources=sources, so_far=options.so_far,
        )  # fmt: skip
        sys.stdout.write(describe(document) + "\n")
        return DONE if options.report_only else _STATUS[document.status]

    with ExitStack() as opened:
        for replica in replicas:
            opened.enter_context(replica)
        return attempt(work)


if __name__ == "__main__":
    sys.exit(main())
