"""Train a run: ``python -m pipeline.train_models [--as-of DATE] [--algorithm NAME]``.

Learns from what lies before ``as_of`` and publishes ``models/<run_id>/``.  The same data, parameters, seed and code
give the same run id: a retried job finds the run that it has published already.

Exit status: 0 published (or there already), 1 failed, 2 wrong usage (the configuration too).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_release import __version__
from model_release.adapters.run_store import RunStore
from model_release.artifact import (
    Algorithm,
    DataSnapshot,
    FactorsFormat,
    FileEntry,
    Manifest,
    ServingFormat,
)
from model_release.command import DONE, attempt, checked, parser_of, usage
from model_release.errors import RunExistsError
from model_release.identifiers import new_run_id
from model_release.paths import ReleasePaths
from pipeline.config import PipelineConfig, check_servable, load_config
from pipeline.options import check_algorithm
from pipeline.progress import log_to_terminal, step
from pipeline.run_files import write_golden, write_run
from pipeline.window import Window, parse_as_of

if TYPE_CHECKING:
    import polars as pl

COMMIT_VARIABLE = "MODEL_RELEASE_GIT_COMMIT"


@dataclass(frozen=True)
class TrainedRun:
    """What training made, as JSON-able values.

    Attributes:
        run_id: the run, in ``models/``.
        algorithm: its algorithm; with ``auto`` the one that was chosen.
        as_of: training cutoff, ISO 8601 in the zone of the data.
        rows: interactions it learned from.
        users: users it has lists for.
        items: size of its catalogue.
        validation: ``training.metric`` of each algorithm that ``auto`` tried.
        new: False if the run was there already.
    """

    run_id: str
    algorithm: str
    as_of: str
    rows: int
    users: int
    items: int
    validation: dict[str, float]
    new: bool


def train(
    config: PipelineConfig,
    paths: ReleasePaths,
    as_of: dt.datetime | None = None,
    algorithm: str | None = None,
) -> TrainedRun:
    """Train one run and publish it.

    Args:
        config: the pipeline's configuration.
        paths: where runs are kept.
        as_of: training cutoff; None: see ``pipeline.ingest.resolve_window``.
        algorithm: a name, or ``auto``; None: as configured.

    Raises:
        InvalidInputError: the data or parameters can't be used.
    """
    from pipeline import ingest
    from pipeline.algorithms.catalogue import make, parameters_of
    from pipeline.validation import choose

    window = ingest.resolve_window(config, as_of)
    rows = ingest.load_interactions(config, before=window.start)
    name, validation = algorithm or config.training.algorithm, dict[str, float]()
    for one in config.training.auto if name == "auto" else (name,):
        check_servable(config.training.serving, one)
    if name == "auto":
        name, validation = choose(config, rows, window)
    model = make(name, config.training.algorithms.get(name, {}))  # type: ignore[call-overload]
    with step("describe the data"):
        data = ingest.snapshot(config, rows)
    described = Algorithm(name=name, parameters=parameters_of(model), seed=config.training.seed)
    items = ingest.load_items(config)
    run_id = new_run_id(name, window.as_of, _content(config, window, described, data, items))
    store = RunStore(paths)
    new = run_id not in store.run_ids()
    if new:
        plan = _Plan(run_id, window, described, data, validation, _serving(config))
        new = _publish(config, store, plan, rows, items, model)
    return TrainedRun(
        run_id=run_id,
        algorithm=name,
        as_of=window.as_of.isoformat(),
        rows=data.rows,
        users=data.users,
        items=data.items,
        validation=validation,
        new=new,
    )


@dataclass(frozen=True)
class _Plan:
    """Everything about a run that is known before it is trained."""

    run_id: str
    window: Window
    algorithm: Algorithm
    snapshot: DataSnapshot
    validation: dict[str, float]
    serving: ServingFormat | FactorsFormat

    def manifest(self, files: tuple[FileEntry, ...]) -> Manifest:
        """Return the manifest with ``files``."""
        return Manifest(
            run_id=self.run_id,
            created_at=dt.datetime.now(dt.UTC),
            git_commit=_git_commit(),
            as_of=self.window.as_of,
            algorithm=self.algorithm,
            data=self.snapshot,
            metrics={f"validation_{name}": value for name, value in self.validation.items()},
            serving=self.serving,
            files=files,
        )


def _publish(
    config: PipelineConfig, store: RunStore, plan: _Plan, rows: pl.DataFrame, items: pl.DataFrame, model: Any
) -> bool:
    """Train, write and publish; return False if somebody else published the same run meanwhile."""
    from pipeline.algorithms.protocol import TrainingData

    with step("code users and items"):
        data = TrainingData.of(rows, cutoff=plan.window.start)
    with step(f"train {plan.algorithm.name}"):
        fitted = model.fit(data, seed=plan.algorithm.seed)
    try:
        with store.staging(plan.run_id) as folder:
            write_run(config, folder, plan.serving, data, items, fitted)
            write_golden(folder, plan.manifest(store.entries(folder)), data)
            with step(f"publish run {plan.run_id}"):
                store.publish(plan.manifest(store.entries(folder)))
    except RunExistsError:
        return False
    return True


def _serving(config: PipelineConfig) -> ServingFormat | FactorsFormat:
    if config.training.serving == "factors":
        return FactorsFormat(exclude_seen=not config.repeat_purchases, depth=config.training.user_list_length)
    return ServingFormat(format="ranked_lists")


def _content(
    config: PipelineConfig, window: Window, algorithm: Algorithm, data: DataSnapshot, items: pl.DataFrame
) -> str:
    """Return everything that determines a run, as text."""
    parts = {
        "as_of": window.start.isoformat(),
        "algorithm": algorithm.model_dump(mode="json"),
        "data": data.content_sha256,
        "names": hashlib.sha256(items.select("item_id", "name").write_csv().encode()).hexdigest(),
        "repeat_purchases": config.repeat_purchases,
        "serving": config.training.serving,
        "lengths": [config.training.user_list_length, config.training.similar_list_length],
        "code": [__version__, _git_commit()],
    }
    return json.dumps(parts, sort_keys=True)


def _git_commit() -> str | None:
    """Return the commit this code is at; an image says it by a variable, and has no git; None: not known."""
    if named := os.environ.get(COMMIT_VARIABLE):
        return named
    command = ["git", "-C", str(Path(__file__).resolve().parent), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = parser_of("pipeline.train_models", __doc__)
    parser.add_argument("--as-of", metavar="DATE", help="train on what is before; default: the last whole horizon")
    parser.add_argument("--algorithm", metavar="NAME", type=checked(check_algorithm), help="default: as configured")
    parser.add_argument("--config", type=Path, help="default: $PIPELINE_CONFIG, else config/pipeline.yaml")
    options = parser.parse_args(arguments)
    log_to_terminal()
    with usage(parser):
        config = load_config(options.config)
        as_of = parse_as_of(options.as_of, config.source.zone) if options.as_of is not None else None

    def work() -> int:
        run = train(config, ReleasePaths.from_environment(), as_of, options.algorithm)
        sys.stdout.write(json.dumps(asdict(run), indent=2) + "\n")
        return DONE

    return attempt(work)


if __name__ == "__main__":
    sys.exit(main())
