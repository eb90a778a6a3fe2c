"""The main job, to watch: start everything, release a freshly trained run, show what is served, and a day of it.

Exit status with ``--once``: 0 released, 3 rejected by the gate, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import datetime as dt
import graphlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich import box
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from model_release.adapters.decisions import read_decision
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.run_store import RunStore
from model_release.errors import ModelReleaseError
from model_release.identifiers import release_id_for
from model_release.ledger import of_release
from model_release.paths import ReleasePaths
from model_release.report import table
from pipeline.config import ALGORITHMS, load_config
from scripts.demo_traffic import events_token, show
from scripts.local_stack import LocalStack
from scripts.services import PROJECT, StackError

DAG_ID = "recommendation_pipeline"
FIRST_AS_OF = dt.datetime(2017, 11, 12, tzinfo=dt.UTC)
LAST_AS_OF = dt.datetime(2017, 12, 24, tzinfo=dt.UTC)  # the log ends a week later
WEEK = dt.timedelta(days=7)
FINISHED = {"success", "failed"}
SIGNS = {
    "success": ("✔", "green"),
    "failed": ("✘", "red"),
    "upstream_failed": ("·", "dim"),
    "skipped": ("–", "yellow"),
    "removed": ("·", "dim"),
}
RUN_SECONDS = 900.0
RELEASED, FAILED, REJECTED = 0, 1, 3
_LOG_COLUMNS = 140  # when the output is no terminal


@dataclass
class DagRun:
    """A DAG run as the REST API shows it."""

    dag_run_id: str
    order: Sequence[str] = ()
    state: str = "queued"
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)

    def refresh(self, rest: httpx.Client) -> None:
        """Read the state of the run and of its tasks."""
        base = f"/dags/{DAG_ID}/dagRuns/{self.dag_run_id}"
        self.state = rest.get(base).raise_for_status().json()["state"]
        found = rest.get(f"{base}/taskInstances").raise_for_status().json()["task_instances"]
        self.tasks = {task["task_id"]: task for task in found}

    def render(self, started: float) -> Table:
        """Return the tasks with their state and time, as they stand."""
        rows = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        for task_id in self.order:
            task = self.tasks.get(task_id, {})
            state = task.get("state")
            sign, colour = SIGNS.get(state or "", ("", "cyan"))
            waiting = state in {None, "scheduled", "queued"}
            mark = Text(sign or "·", colour if sign else "dim") if sign or waiting else Spinner("dots", style="cyan")
            seconds = task.get("duration")
            rows.add_row(
                mark, Text(task_id, "dim" if waiting else ""), Text(state or "", colour if sign else "dim"),
                Text(f"{seconds:.1f} s" if seconds else "", "dim"),
            )  # fmt: skip
        rows.add_row("", Text(f"{time.monotonic() - started:.0f} s", "dim"), "", "")
        return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit status."""
    options = _parser().parse_args(arguments)
    console = Console()
    console = console if console.is_terminal else Console(width=_LOG_COLUMNS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts jobs in the background without it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that everything is stopped
    try:
        token, told = events_token(os.environ)
        stack = LocalStack(options.home, extra=told)
        paths = ReleasePaths(stack.home)
        as_of = options.as_of or next_as_of(paths)
        console.rule("[bold]Model Release for Airflow: from training to serving")
        with console.status("starting") as status:
            stack.start(progress=status.update)
        try:
            result = _release(console, stack, paths, as_of, options)
            if result != FAILED and FileRegistry(paths).read().current is not None:
                show(console, stack.api_url, paths, load_config(None), as_of, token)
            _show_addresses(console, stack)
            if options.once:
                return result
            console.print("\n[bold]ctrl-C stops everything.[/bold]  Look around as long as you like.")
            _wait(stack)
        finally:
            with console.status("stopping"):
                stack.stop()
            console.print(Text(f"Stopped.  State is kept in {options.home}; delete it to start over."))
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 128 + signal.SIGINT if options.once else 0
    except (StackError, ModelReleaseError, httpx.HTTPError) as error:
        console.print(f"[red]The demo failed:[/red] {type(error).__name__}: {error}", highlight=False)
        return FAILED
    return result


def next_as_of(paths: ReleasePaths) -> dt.datetime:
    """Return the training cutoff of the next release: a week after the newest run's, as a weekly job would have it."""
    store = RunStore(paths)
    seen = [store.manifest(run_id).as_of for run_id in store.run_ids()]
    return min(max(seen) + WEEK, LAST_AS_OF) if seen else FIRST_AS_OF


def _release(
    console: Console, stack: LocalStack, paths: ReleasePaths, as_of: dt.datetime, options: argparse.Namespace
) -> int:
    conf = {"as_of": as_of.strftime("%Y-%m-%d")}
    conf |= {name: getattr(options, name) for name in ("algorithm", "mode", "rollout") if getattr(options, name)}
    dag_run_id = f"demo__{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}"
    command = ["dags", "trigger", DAG_ID, "--run-id", dag_run_id, "--conf", json.dumps(conf)]
    console.print(f"Training on purchases before [bold]{as_of:%Y-%m-%d}[/bold], judging on the week after.")
    with console.status("waiting for the DAG"), stack.rest() as rest:
        _wait_for_dag(rest)
        stack.airflow("dags", "unpause", DAG_ID)
        console.print(Text(f"$ airflow dags trigger {DAG_ID} --conf '{json.dumps(conf)}'", "bold cyan"))
        stack.airflow(*command)
    with stack.rest() as rest:
        run = _follow(console, rest, dag_run_id)
    release_id = release_id_for(DAG_ID, dag_run_id)
    decision = read_decision(paths, release_id)
    console.rule("The decision")
    if decision is None:
        console.print("[yellow]No decision was taken: the run failed before the gate.")
    else:
        console.print(table(decision))
    for entry in of_release(FileLedger(paths).read(), release_id):
        console.print(
            f"  {entry.at:%H:%M:%S}  [bold]{entry.event}[/bold]  {entry.reason or entry.run_id or ''}", highlight=False
        )
    served = _show_served(console, stack, paths)
    if run.state != "success":
        rejected = decision is not None and not decision.released
        console.print(f"\n[yellow]The run ended as {run.state}; users still get run {served}.")
        return REJECTED if rejected else FAILED
    return RELEASED


def in_order(tasks: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """Return the ids of a DAG's tasks in the order in which they run, steps of a rollout included."""
    sorter = graphlib.TopologicalSorter[str]()
    for task in tasks:
        sorter.add(task["task_id"])
        for after in task["downstream_task_ids"]:
            sorter.add(after, task["task_id"])
    return tuple(sorter.static_order())


def _wait_for_dag(rest: httpx.Client) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if rest.get(f"/dags/{DAG_ID}").is_success:
            return
        time.sleep(0.5)
    errors = rest.get("/importErrors").json().get("import_errors", [])
    raise StackError(f"Airflow does not know the DAG {DAG_ID}; import errors: {errors or 'none'}")


def _follow(console: Console, rest: httpx.Client, dag_run_id: str) -> DagRun:
    tasks = rest.get(f"/dags/{DAG_ID}/tasks").raise_for_status().json()["tasks"]
    run = DagRun(dag_run_id, in_order(tasks))
    started = time.monotonic()
    with Live(console=console, refresh_per_second=8, transient=not console.is_terminal) as live:
        while run.state not in FINISHED:
            if time.monotonic() - started > RUN_SECONDS:
                raise StackError(f"the run {dag_run_id} did not finish in {RUN_SECONDS:g} s")
            run.refresh(rest)
            live.update(run.render(started))
            time.sleep(0.7)
    if not console.is_terminal:
        console.print(run.render(started))
    return run


def _show_served(console: Console, stack: LocalStack, paths: ReleasePaths) -> str | None:
    """Ask the API itself what it serves, and for one household's recommendations."""
    console.rule("What users get now")
    with RecommendationApiClient(stack.api_url) as api:
        report = api.models()
        answer = api.recommend("1", k=5)
    workers = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("worker", "generation", "current", "candidate"):
        workers.add_column(title)
    for worker in report.workers:
        trial = worker.candidate
        shown = f"{trial.run_id} ({trial.mode} {trial.rollout:.0%})" if trial else "–"
        workers.add_row(str(worker.pid), str(worker.generation), worker.current or "–", shown)
    console.print("GET /models", style="bold")
    console.print(workers)
    console.print("GET /recommend/1?k=5", style="bold")
    console.print_json(answer.model_dump_json(), indent=None)
    if answer.run_id is not None:
        model = RankedLists(RunStore(paths).folder(answer.run_id))
        for item in answer.items:
            console.print(f"  {item:>10}  {model.item_name(item) or ''}", highlight=False)
    return answer.run_id


def _show_addresses(console: Console, stack: LocalStack) -> None:
    console.rule("Look around")
    for what, where, how in (
        ("Airflow", f"{stack.airflow_url}/dags/{DAG_ID}", f"login {stack.username} / {stack.password}"),
        ("Recommendation API", f"{stack.api_url}/docs", "try /recommend/1, /models, /metrics"),
        ("Airflow's command", str(stack.command), f"try: {stack.command} dags trigger recommendation_rollback -c ..."),
        ("State", str(stack.home), "models/, data/evaluation/, logs/"),
    ):
        console.print(f"{what:<20}[bold]{where}[/bold]\n{'':<20}[dim]{how}[/dim]", soft_wrap=True, highlight=False)


def _wait(stack: LocalStack) -> None:
    while True:
        time.sleep(1)
        for service in stack.services.values():
            service.check()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/demo.sh", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--once", action="store_true", help="exit with the result instead of staying up")
    parser.add_argument("--home", type=Path, default=PROJECT / ".demo", help="folder for all state (default: .demo)")
    parser.add_argument("--as-of", type=_date, help="training cutoff (default: a week after the newest run's)")
    parser.add_argument(
        "--algorithm",
        choices=[*ALGORITHMS, "auto"],
        help="instead of the configured one, e.g. popular, to see a rejection",
    )
    parser.add_argument("--mode", choices=("primary", "shadow", "canary"), help="try the run beside the current one")
    parser.add_argument("--rollout", type=float, help="share of requests (shadow) or users (canary), 0 to 1")
    return parser


def _date(text: str) -> dt.datetime:
    try:
        return dt.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2017-12-10") from error


if __name__ == "__main__":
    sys.exit(main())
