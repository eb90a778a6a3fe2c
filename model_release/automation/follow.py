"""Ask Airflow for one release and follow it to its end, over lost connections."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, TypeVar

from model_release.adapters.airflow_api import AirflowApi, DagRun, TaskInstance
from model_release.asking import Asked
from model_release.automation.clock import Clock
from model_release.automation.progress import by_key, changes
from model_release.ending import ENDED, REJECTION_KEY, VALUE_KEY, Ended, Ending, Result, ending, read_ended
from model_release.errors import (
    AirflowRefusedError,
    AirflowUnreachableError,
    ConfigurationError,
    DagRunGoneError,
    DagRunTimeoutError,
)

_Answer = TypeVar("_Answer")
_LEAVES = frozenset({"success", "failed", "skipped"})  # states of tasks that may have left something
_FIRST = dt.datetime.min.replace(tzinfo=dt.UTC)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds before asking again who did not answer


@dataclass(frozen=True)
class Patience:
    """How long, in seconds: for the whole DAG run, between two looks, and without an answer."""

    timeout_seconds: float
    poll_seconds: float
    patience_seconds: float


@dataclass(frozen=True)
class Followed:
    """A DAG run at its end.

    Attributes:
        asked: what it was asked for; its attempt may be a later one than was asked for first.
        earlier: it had ended before somebody followed it now.
    """

    asked: Asked
    ended: Ended
    ending: Ending
    tasks: tuple[TaskInstance, ...]
    earlier: bool


class Follower:
    """Asks one Airflow for releases.

    Attributes:
        following: what is followed now, for who has to end before it does; None: nothing was started, as far as is known.
    """

    def __init__(self, airflow: AirflowApi, patience: Patience, say: Callable[[str], None], clock: Clock) -> None:
        self._airflow = airflow
        self._patience = patience
        self._say = say
        self._clock = clock
        self._deadline = clock.now() + patience.timeout_seconds
        self.following: Asked | None = None
        self.tasks: tuple[TaskInstance, ...] = ()

    def look(self, asked: Asked) -> str:
        """Return how things stand, for people; start nothing.

        Raises:
            ConfigurationError: Airflow does not know the DAG.
            AirflowUnreachableError, AirflowRefusedError: as the client says.
        """
        paused = self._is_paused(asked.dag_id)
        run = self._existing(asked)
        if run is not None:
            return f"DAG run {asked.dag_run_id} is there already and {run.state}: it would be followed"
        if paused:
            raise _paused(asked.dag_id)
        return f"DAG run {asked.dag_run_id} would be started"

    def release(self, asked: Asked, *, again: bool) -> Followed:
        """Start the DAG run, or find it, and follow it to its end.

        Args:
            asked: what for.
            again: if one of that name has ended without a release, ask anew under the next attempt's name.

        Raises:
            ConfigurationError: Airflow does not know the DAG, or it is paused.
            DagRunTimeoutError, DagRunGoneError: as they say.
            AirflowUnreachableError: for longer than patience allows.
            AirflowRefusedError: Airflow said no.
        """
        while True:
            made = self._start(asked)
            self.following = asked
            followed = self._follow(asked, made=made)
            if not (again and followed.earlier) or followed.ending.result is Result.RELEASED:
                return followed
            self._say(f"{followed.ending.result.name.lower()} before ({followed.ending.reason}): asking anew")
            asked = dataclasses.replace(asked, attempt=asked.attempt + 1)

    def _start(self, asked: Asked) -> bool:
        """Return whether the DAG run is new."""
        if self._is_paused(asked.dag_id):
            if self._existing(asked) is None:
                raise _paused(asked.dag_id)
            self._say(f"DAG {asked.dag_id} is paused: unpause it, else what is not done yet stays undone")
        made = self._patiently(lambda: self._airflow.trigger(asked.dag_id, asked.dag_run_id, asked.conf))
        said = "started" if made else "is there already, following it"
        self._say(f"DAG run {asked.dag_run_id} {said}: {self._airflow.run_url(asked.dag_id, asked.dag_run_id)}")
        return made

    def _follow(self, asked: Asked, *, made: bool) -> Followed:
        known = by_key(())
        said: str | None = None
        first = True
        while True:
            run = self._known(asked, lambda: self._airflow.dag_run(asked.dag_id, asked.dag_run_id))
            # after the run's state: once that is final, so are they
            self.tasks = tuple(self._known(asked, lambda: self._airflow.tasks(asked.dag_id, asked.dag_run_id)))
            for text in changes(known, self.tasks):
                self._say(text)
            known = by_key(self.tasks)
            if run.state != said:
                self._say(f"DAG run is {run.state}")
                said = run.state
            if run.state in ENDED:
                return self._ended(asked, run.state, earlier=first and not made)
            first = False
            self._wait(self._patience.poll_seconds, asked)

    def _ended(self, asked: Asked, state: str, *, earlier: bool) -> Followed:
        left: list[tuple[str, Any]] = []
        for task in sorted(self.tasks, key=lambda task: task.end_date or _FIRST):
            if task.state in _LEAVES and task.map_index < 0:
                left += [(key, self._left(asked, task.task_id, key)) for key in (VALUE_KEY, REJECTION_KEY)]
        failed = [task.task_id for task in self.tasks if task.state == "failed"]
        ended = read_ended(state, failed, [(key, value) for key, value in left if value is not None])
        meaning = ending(ended, mode=asked.mode, dry_run=asked.dry_run)
        return Followed(asked, ended, meaning, self.tasks, earlier)

    def _left(self, asked: Asked, task_id: str, key: str) -> Any:
        return self._known(asked, lambda: self._airflow.xcom(asked.dag_id, asked.dag_run_id, task_id, key))

    def _is_paused(self, dag_id: str) -> bool:
        try:
            return self._patiently(lambda: self._airflow.dag(dag_id)).is_paused
        except AirflowRefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise ConfigurationError(f"{self._airflow.url} knows no DAG {dag_id!r}: {error}") from error
            raise

    def _existing(self, asked: Asked) -> DagRun | None:
        try:
            return self._patiently(lambda: self._airflow.dag_run(asked.dag_id, asked.dag_run_id))
        except AirflowRefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def _known(self, asked: Asked, call: Callable[[], _Answer]) -> _Answer:
        """Ask about the DAG run, which was there."""
        try:
            return self._patiently(call)
        except AirflowRefusedError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise DagRunGoneError(f"DAG run {asked.dag_run_id} is gone: somebody deleted it") from error
            raise

    def _patiently(self, call: Callable[[], _Answer]) -> _Answer:
        """Ask, and ask again as long as nobody answers and patience lasts."""
        since: float | None = None
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = call()
            except AirflowUnreachableError as error:
                now = self._clock.now()
                if since is None:
                    since = now
                    self._say(f"no answer, asking again for {self._patience.patience_seconds:g} s: {error}")
                if now - since >= self._patience.patience_seconds:
                    raise
                self._wait(pause, self.following)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if since is not None:
                    self._say(f"Airflow answers again, after {self._clock.now() - since:.0f} s")
                return answer

    def _wait(self, seconds: float, asked: Asked | None) -> None:
        left = self._deadline - self._clock.now()
        if left <= 0:
            what = f"DAG run {asked.dag_run_id} has not ended" if asked else "nothing is known to have been started"
            raise DagRunTimeoutError(f"{what} within {self._patience.timeout_seconds:g} s")
        self._clock.sleep(min(seconds, left))


def _paused(dag_id: str) -> ConfigurationError:
    return ConfigurationError(
        f"DAG {dag_id!r} is paused, so a run of it would wait for ever: unpause it in the UI, or with "
        f"airflow dags unpause {dag_id}"
    )
