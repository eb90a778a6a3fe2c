"""``scripts/automate_release.py``: ask, follow, prove, tell."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, assert_never

from model_release.adapters.airflow_api import AirflowApi
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.step_summary import SUMMARY_VARIABLE, append_summary, append_text
from model_release.asking import Asked
from model_release.automation import options as command_line
from model_release.automation.clock import Clock
from model_release.automation.follow import Followed, Follower, Patience
from model_release.automation.page import Told, head
from model_release.automation.proof import Asking, Proof, Standing, prove
from model_release.automation.settings import Settings
from model_release.command import usage
from model_release.contract import utc_now
from model_release.ending import Receipt, Result
from model_release.errors import (
    AirflowRefusedError,
    AirflowUnreachableError,
    ConfigurationError,
    DagRunGoneError,
    DagRunTimeoutError,
    ModelReleaseError,
)
from model_release.fleet import read_all
from model_release.report.neutral import one_line

_REFUSED = {
    HTTPStatus.UNAUTHORIZED: "the login is not taken: check AIRFLOW_USERNAME and AIRFLOW_PASSWORD, or AIRFLOW_TOKEN",
    HTTPStatus.FORBIDDEN: "this user may not do that, or is not known: check the login, and its role in Airflow",
}


def say(text: str) -> None:
    """Print one line with the time: nothing from outside can begin a line, which GitHub might take for a command."""
    sys.stdout.write(f"{utc_now():%H:%M:%S}Z {one_line(text)}\n")
    sys.stdout.flush()


@dataclass
class Automation:
    """One release from outside, with its settings."""

    settings: Settings
    asked: Asked
    airflow: AirflowApi
    replicas: Sequence[Asking]
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        """Start the time."""
        patience = Patience(self.settings.timeout_seconds, self.settings.poll_seconds, self.settings.patience_seconds)
        self._follower = Follower(self.airflow, patience, say, self.clock)
        self._followed: Followed | None = None

    def run(self, *, again: bool) -> Told:
        """Ask, follow, prove; return how it ended, whatever happened."""
        try:
            self._followed = self._follower.release(self.asked, again=again)
            result, reason = self._proved(self._followed)
        except KeyboardInterrupt:
            result, reason = Result.INTERRUPTED, "interrupted"
        except ModelReleaseError as error:
            result, reason = meaning(error), explained(error)
        return self._told(result, reason)

    def look(self) -> tuple[Result, str]:
        """Ask everything and start nothing."""
        try:
            say(self._follower.look(self.asked))
            reports, errors = read_all(self.replicas)
            for url, report in reports.items():
                say(f"{url}: {_serves(report)}")
            if errors:
                return Result.UNREACHABLE, "; ".join(map(str, errors))
        except KeyboardInterrupt:
            return Result.INTERRUPTED, "interrupted"
        except ModelReleaseError as error:
            return meaning(error), explained(error)
        return Result.RELEASED, "everything answers; nothing was started"

    def write(self, told: Told, summary: Path) -> None:
        """Append to the page of the CI job."""
        append_text(summary, head(told, self._follower.tasks))
        ended = self._followed.ended if self._followed else None
        for decision in (*ended.passed, *ended.rejected) if ended else ():
            append_summary(summary, decision)

    def _proved(self, followed: Followed) -> tuple[Result, str]:
        end = followed.ending
        if end.result is not Result.RELEASED:
            hint = "; it ended before this call: --again asks anew" if followed.earlier else ""
            return end.result, end.reason + hint
        if end.serving is None:  # a rehearsal
            return Result.RELEASED, end.reason
        say(f"{end.reason}; asking {len(self.replicas)} replicas for the proof")
        proof = prove(self.replicas, end.serving, seconds=self.settings.patience_seconds, say=say, clock=self.clock)
        return proved(proof, end.serving, end.reason, len(self.replicas))

    def _told(self, result: Result, reason: str) -> Told:
        asked = self._follower.following or self.asked
        where = self.airflow.run_url(asked.dag_id, asked.dag_run_id)
        if self._follower.following is not None and self._followed is None:
            reason += f"; the DAG run may go on: see {where}, or give the same command again to follow it"
        return Told(result, reason, asked, where)


def proved(proof: Proof, serving: Receipt, reason: str, replicas: int) -> tuple[Result, str]:
    """Return what a proof, or its lack, makes of a release that Airflow calls done."""
    said = "; ".join(proof.objections)
    match proof.standing:
        case Standing.SERVED:
            return Result.RELEASED, f"{reason}; every worker of {replicas} replicas serves it"
        case Standing.SUPERSEDED:
            hint = f"; to bring it back: --run-id {serving.run_id}" if serving.mode == "primary" else ""
            return Result.FAILED, f"it was released, and something else since: {said}{hint}"
        case Standing.NOT_SERVED:
            return Result.FAILED, f"Airflow calls it released, but that is not what is served: {said}"
        case Standing.UNREACHABLE:
            return Result.UNREACHABLE, f"Airflow calls it released, but nobody could prove it: {said}"
        case standing:
            assert_never(standing)


def meaning(error: ModelReleaseError) -> Result:
    """Return how an error ends the command."""
    match error:
        case AirflowUnreachableError():
            return Result.UNREACHABLE
        case DagRunTimeoutError():
            return Result.TIMED_OUT
        case AirflowRefusedError() | ConfigurationError():
            return Result.CONFIGURATION
        case DagRunGoneError():
            return Result.FAILED
        case _:
            return Result.FAILED


def explained(error: ModelReleaseError) -> str:
    """Return an error with what to do about it."""
    hint = _REFUSED.get(HTTPStatus(error.status)) if isinstance(error, AirflowRefusedError) else None
    return f"{error}; {hint}" if hint else str(error)


def main(
    arguments: Sequence[str] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    commit: Callable[[], str | None] = lambda: None,
    clock: Clock | None = None,
    transport: Any = None,
) -> int:
    """Run the command; return its exit status.

    Args:
        arguments: of the command line.
        env: the environment.
        commit: gives the commit that is checked out.
        clock: another one, for tests.
        transport: another one of HTTP, for tests.
    """
    env = os.environ if env is None else env
    parser = command_line.parser()
    options = parser.parse_args(arguments)
    with usage(parser):
        settings = Settings.from_environment(env)
        asked = command_line.asked_for(options, settings.dag_id, env, commit)
    with _interruptible(), ExitStack() as opened:
        airflow = opened.enter_context(AirflowApi(settings.airflow_url, settings.login, transport=transport))
        replicas = [
            opened.enter_context(RecommendationApiClient(url, token=settings.reload_token, transport=transport))
            for url in settings.replicas
        ]
        automation = Automation(settings, asked, airflow, replicas, clock or Clock())
        if options.dry_run:
            result, reason = automation.look()
        else:
            told = automation.run(again=options.again)
            result, reason = told.result, told.reason
            summary = env.get(SUMMARY_VARIABLE)
            if summary:
                automation.write(told, Path(summary))
    say(f"{'DRY RUN' if options.dry_run else result.name.replace('_', ' ')}: {reason}")
    return int(result)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, which ends a cancelled CI job, do what ctrl-C does; a shell starts jobs in the background without it."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _serves(report: Any) -> str:
    if report.problem is not None:
        return f"can't read the registry: {report.problem}"
    runs = sorted({worker.current or "no run" for worker in report.workers})
    return f"{len(report.workers)} of {report.workers_expected} workers serve {', '.join(runs)}"
