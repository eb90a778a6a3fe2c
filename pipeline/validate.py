"""Would the stages run?  ``python -m pipeline.validate`` finds out without making anything.

Looks at the imports, the configuration with the parameters of every algorithm it names, the release policy, the
sources with their columns and times, the registry, and whether results can be written; at ``--as-of``, ``--algorithm``
and ``--run``, the latter with every byte of its files.  All problems are named.

Exit status: 0 no problem, 1 problems, 2 wrong usage: an option says what can't be meant.
"""

from __future__ import annotations

import datetime as dt
import importlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.command import DONE, FAILED, USAGE, parser_of
from model_release.errors import ConfigurationError, ModelReleaseError
from model_release.paths import ReleasePaths
from model_release.policy import default_policy_path, load_policy
from pipeline.config import PipelineConfig, default_config_path, load_config
from pipeline.options import NO_OPTIONS, Options
from pipeline.window import minute, parse_as_of

_NEEDED = (
    "pipeline.data_quality_v2",
    "pipeline.train_models",
    "pipeline.evaluate",
    "model_release.gate.__main__",
    "pipeline.algorithms.catalogue",
    "pipeline.judging",
    "pipeline.plot",
    "pipeline.data_quality.tables",
)


@dataclass(frozen=True)
class Finding:
    """What one check found; ``problem`` is None if all is well, ``usage`` whether an option can't be meant."""

    what: str
    detail: str
    problem: str | None = None
    usage: bool = False


def validate(
    paths: ReleasePaths,
    *,
    config_path: Path | None = None,
    policy_path: Path | None = None,
    options: Options = NO_OPTIONS,
) -> list[Finding]:
    """Make every check that can be made; one that fails does not stop the others.

    Args:
        paths: where results would go.
        config_path: None: as ``load_config`` finds it.
        policy_path: None: as the gate finds it.
        options: what the stages would be told.
    """
    wrong = options.problems()
    options = options.without(wrong)
    findings = [Finding(name, "", problem, usage=True) for name, problem in wrong.items()]
    findings.append(_try("imports", _imports))
    try:
        config: PipelineConfig | None = load_config(config_path)
        findings.append(Finding("configuration", str(config_path or default_config_path())))
    except ConfigurationError as error:
        config = None
        findings.append(Finding("configuration", "", str(error)))
    findings.append(_try("release policy", lambda: _policy(policy_path or default_policy_path())))
    if config is not None:
        findings.extend(_of_config(config, options))
    findings.append(_try("registry", lambda: _registry(paths)))
    if options.run is not None:
        findings.append(_try("run", partial(_run, paths, options.run)))
    findings.extend(_try("output", partial(_writable, folder)) for folder in (paths.models, paths.evaluation))
    return findings


def _of_config(config: PipelineConfig, options: Options) -> Iterator[Finding]:
    training = config.training
    chosen = options.algorithm or training.algorithm
    named: tuple[str, ...] = training.auto if chosen == "auto" else (chosen,)
    for name in sorted({*named, *training.algorithms}):
        yield _try("algorithm", partial(_algorithm, config, name))
    tables = ["interactions"] if config.source.items is None else ["interactions", "items"]
    sources = [_try(f"source {table}", partial(_source, config, table)) for table in tables]
    yield from sources
    if sources[0].problem is None:
        yield _try("window", lambda: _window(config, options.as_of))


def _try(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, check())
    except (ModelReleaseError, OSError, ImportError) as error:
        return Finding(what, "", str(error))


def _imports() -> str:
    for name in _NEEDED:
        importlib.import_module(name)
    return f"{len(_NEEDED)} modules"


def _policy(path: Path) -> str:
    return f"{path}: {len(load_policy(path).checks)} checks"


def _algorithm(config: PipelineConfig, name: str) -> str:
    from pipeline.algorithms.catalogue import make, parameters_of

    chosen = make(name, config.training.algorithms.get(name, {}))  # type: ignore[call-overload]
    parameters = ", ".join(f"{key} {value}" for key, value in parameters_of(chosen).items())
    return f"{name}: {parameters}"


def _run(paths: ReleasePaths, run_id: str) -> str:
    """Read every byte of the run, as the stages do, and compare it with what was registered."""
    registered = FileRegistry(paths).read().registered(run_id)
    pinned = None if registered is None else registered.manifest_sha256
    manifest = RunStore(paths).verify(run_id, manifest_sha256=pinned)
    return f"{run_id}: {len(manifest.files)} files are what its manifest says"


def _source(config: PipelineConfig, table: str) -> str:
    from pipeline import ingest

    missing = ingest.missing_columns(config, table)
    if missing:
        raise ConfigurationError(f"source.{table} has no column {', '.join(map(repr, missing))}")
    frame = ingest.scan_interactions(config) if table == "interactions" else ingest.scan_items(config)
    if frame is None:
        raise ConfigurationError(f"source.{table} is not configured")
    rows = ingest.collect(frame.head(1000), f"source.{table}")
    return f"{rows.width} columns"


def _window(config: PipelineConfig, as_of: str | None) -> str:
    from pipeline import ingest

    cutoff: dt.datetime | None = parse_as_of(as_of, config.source.zone) if as_of else None
    window = ingest.resolve_window(config, cutoff)
    return f"train before {minute(window.as_of)}, judge on the {window.horizon_days} days after"


def _registry(paths: ReleasePaths) -> str:
    registry = FileRegistry(paths).read()
    entries = len(FileLedger(paths).read())
    current = registry.current.run_id if registry.current else "no run"
    return f"generation {registry.generation}, {current} is current, {entries} ledger entries"


def _writable(folder: Path) -> str:
    """Write a file there, or where it would be made, and take it away again."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=there):
            return str(folder)
    except OSError as error:
        raise OSError(f"{folder} can't be written: {error.strerror or error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = parser_of("pipeline.validate", __doc__)
    parser.add_argument("--as-of", metavar="DATE", help="training cutoff; default: the last whole horizon")
    parser.add_argument("--algorithm", metavar="NAME", help="for training; default: as configured")
    parser.add_argument(
        "--run", metavar="RUN_ID", help="the run to evaluate or judge; default: the one that is trained"
    )
    parser.add_argument("--config", type=Path, help="default: $PIPELINE_CONFIG, else config/pipeline.yaml")
    parser.add_argument("--policy", type=Path, help="default: $RELEASE_POLICY, else config/release_policy.yaml")
    given = parser.parse_args(arguments)
    findings = validate(
        ReleasePaths.from_environment(),
        config_path=given.config,
        policy_path=given.policy,
        options=Options(as_of=given.as_of, algorithm=given.algorithm, run=given.run),
    )
    for finding in findings:
        sign, said = ("ok    ", finding.detail) if finding.problem is None else ("FAILED", finding.problem)
        sys.stdout.write(f"{sign}  {finding.what:<20} {said}\n")
    if any(finding.usage for finding in findings):
        return USAGE
    return FAILED if any(finding.problem is not None for finding in findings) else DONE


if __name__ == "__main__":
    sys.exit(main())
