"""Judge a run on the days after its training data: ``python -m pipeline.evaluate [--run RUN_ID] [--against current]``.

What is measured are the lists that would be served, read from the published run.  The candidate and the run it is
compared with answer the same users about the same days.  Writes ``data/evaluation/<run_id>/``: ``summary.json``,
``per_user.parquet`` (for paired statistics) and ``comparison.svg``.

Exit status: 0 measured, 1 could not measure, 2 wrong usage (the configuration too).
"""

from __future__ import annotations

import datetime as dt
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.files import write_atomic
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import Manifest, ServedModel
from model_release.command import DONE, attempt, checked, parser_of, usage
from model_release.errors import RunNotFoundError
from model_release.evidence import NO_CURRENT, PER_USER_MARKS
from model_release.identifiers import check_run_id
from model_release.paths import ReleasePaths
from pipeline.config import PipelineConfig, load_config
from pipeline.daily import Daily
from pipeline.progress import log_to_terminal, step
from pipeline.window import Window, minute

if TYPE_CHECKING:
    import polars as pl

CURRENT = "current"


class Side(BaseModel):
    """Values of the candidate and of the run it is compared with."""

    model_config = ConfigDict(frozen=True)

    candidate: dict[str, float]
    current: dict[str, float] | None = None


class EvaluationSummary(BaseModel):
    """``summary.json``; what the keys mean stands in docs/reference/evaluation.md."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    run_id: str
    against: str | None
    against_reason: str
    comparable: bool
    as_of: AwareDatetime
    window_start: AwareDatetime
    window_end: AwareDatetime
    evaluated_at: AwareDatetime
    algorithm: str
    k: dict[str, int]
    users: int
    users_without_interactions: int
    unknown_users: dict[str, int]
    metrics: Side
    slices: dict[str, Any]
    catalogue: Side
    daily: Daily | None = None
    candidate_manifest_sha256: str
    current_manifest_sha256: str | None


def evaluate(
    config: PipelineConfig,
    paths: ReleasePaths,
    run_id: str | None = None,
    against: str | None = CURRENT,
) -> EvaluationSummary:
    """Measure a run, and the run it is compared with, on the candidate's test window.

    Args:
        config: the pipeline's configuration.
        paths: where runs are and reports go.
        run_id: the candidate; None: the run that was trained last.
        against: ``current``, a run id, or None for no comparison.

    Raises:
        RunNotFoundError: no such run.
        ArtifactInvalidError: a run's files are not what its manifest says.
        InvalidInputError: there is nothing to judge on.
    """
    from pipeline.judging import Judged, Truth
    from pipeline.plot import comparison

    store = RunStore(paths)
    candidate = _candidate(store, run_id)
    window = Window(candidate.as_of.astimezone(config.source.zone), config.horizon_days)
    other, reason = _other(paths, store, against, window)
    truth = Truth.of(config, window)
    with step(f"judge {candidate.run_id}") as doing:
        judged = Judged.of(truth, "candidate", _open(store, candidate), candidate)
        doing.rows = truth.users
    sides = [judged]
    if other is not None:
        with step(f"judge {other.run_id}") as doing:
            sides.append(Judged.of(truth, "current", _open(store, other), other))
            doing.rows = truth.users
    per_user = truth.per_user(sides)
    summary = EvaluationSummary(
        run_id=candidate.run_id,
        against=other.run_id if other else None,
        against_reason=reason,
        comparable=other is not None,
        as_of=window.as_of,
        window_start=window.local(window.start),
        window_end=window.local(window.end),
        evaluated_at=dt.datetime.now(dt.UTC),
        algorithm=candidate.algorithm.name,
        k=dict(truth.cutoffs),
        users=truth.users,
        users_without_interactions=truth.silent_users,
        unknown_users={side.name: side.unknown_users for side in sides},
        metrics=Side.model_validate(truth.means(per_user, sides)),
        slices=truth.slices(per_user, sides),
        catalogue=Side.model_validate({side.name: side.catalogue for side in sides}),
        daily=judged.daily,
        candidate_manifest_sha256=store.manifest_sha256(candidate.run_id),
        current_manifest_sha256=store.manifest_sha256(other.run_id) if other else None,
    )
    _write(paths, summary, per_user, comparison(summary.model_dump(mode="json")))
    return summary


def _candidate(store: RunStore, run_id: str | None) -> Manifest:
    if run_id is not None:
        return store.manifest(run_id)
    known = store.run_ids()
    if not known:
        raise RunNotFoundError("no run to evaluate: train one first with python -m pipeline.train_models")
    return store.manifest(known[0])


def _other(paths: ReleasePaths, store: RunStore, against: str | None, window: Window) -> tuple[Manifest | None, str]:
    """Return the run to compare with, or None and why there is no comparison."""
    if against is None:
        return None, "no comparison was asked for"
    if against == CURRENT:
        current = FileRegistry(paths).read().current
        if current is None:
            return None, NO_CURRENT
        against = current.run_id
    other = store.manifest(against)
    if other.trained_inside(window.start):
        return None, (
            f"run {other.run_id} was trained on data inside the test window: up to {minute(window.local(other.as_of))}, "
            f"the window begins {minute(window.as_of)}; it would be judged on what it has seen"
        )
    return other, ""


def _open(store: RunStore, manifest: Manifest) -> ServedModel:
    with store.opened(manifest.run_id) as run:
        return open_model(run.files, run.manifest)


def _write(paths: ReleasePaths, summary: EvaluationSummary, per_user: pl.DataFrame, picture: bytes) -> None:
    """Write the three files, the summary last: it is what says that the others belong to it."""
    folder = paths.evaluation_of(summary.run_id)
    buffer = io.BytesIO()
    per_user.write_parquet(buffer, metadata=_marks(summary))
    write_atomic(folder / "per_user.parquet", buffer.getvalue())
    write_atomic(folder / "comparison.svg", picture)
    write_atomic(folder / "summary.json", summary.model_dump_json(indent=2) + "\n")


def _marks(summary: EvaluationSummary) -> dict[str, str]:
    """Return what ``per_user.parquet`` says of itself, as the summary says it: both runs, their files and the window."""
    said = summary.model_dump(mode="json", include=set(PER_USER_MARKS))
    return {name: said[name] or "" for name in PER_USER_MARKS}


def describe(summary: EvaluationSummary) -> str:
    """Return the summary in a few lines for a terminal or a log."""
    window = f"{summary.window_start:%Y-%m-%d} to {summary.window_end:%Y-%m-%d}"
    lines = [
        f"run {summary.run_id} ({summary.algorithm}) on {window}, {summary.users} users",
        f"against {summary.against}" if summary.comparable else f"not compared: {summary.against_reason}",
    ]
    lines += _rows(summary.metrics.candidate, summary.metrics.current)
    lines += _rows(summary.catalogue.candidate, summary.catalogue.current)
    return "\n".join(lines)


def _rows(candidate: Mapping[str, float], current: Mapping[str, float] | None) -> list[str]:
    rows = []
    for name, value in candidate.items():
        line = f"  {name:<16}{value:>10.4f}"
        if current is not None:
            line += f"   current {current[name]:>10.4f}   {value - current[name]:>+10.4f}"
        rows.append(line)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = parser_of("pipeline.evaluate", __doc__)
    parser.add_argument(
        "--run",
        metavar="RUN_ID",
        type=checked(check_run_id),
        help="the run to judge; default: the one that was trained last",
    )
    parser.add_argument(
        "--against",
        metavar="RUN_ID",
        type=checked(check_run_id),
        default=CURRENT,
        help="current, a run id, or none; default: current",
    )
    parser.add_argument("--config", type=Path, help="default: $PIPELINE_CONFIG, else config/pipeline.yaml")
    options = parser.parse_args(arguments)
    log_to_terminal()
    with usage(parser):
        config = load_config(options.config)

    def work() -> int:
        against = None if options.against == "none" else options.against
        summary = evaluate(config, ReleasePaths.from_environment(), options.run, against)
        sys.stdout.write(describe(summary) + "\n")
        return DONE

    return attempt(work)


if __name__ == "__main__":
    sys.exit(main())
