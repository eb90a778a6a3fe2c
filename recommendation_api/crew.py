"""All workers of this replica as one: ask every one at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from model_release.contract import WorkerReport
from model_release.errors import StateBusyError
from recommendation_api.control import RemoteMember
from recommendation_api.orders import Member, TrialStates
from recommendation_api.problems import WorkerLostError
from recommendation_api.runtime import Runtime

_T = TypeVar("_T")
_CHANGE_SECONDS = 60.0  # how long a call waits for the change before it
_DYING_SECONDS = 1.0  # from the end of a connection to the end of its process
_POLL_SECONDS = 0.01


class Crew:
    """The members of one replica: this process, and those behind the control sockets of ``runtime``.

    Args:
        me: this process.
        runtime: the shared folder; None: this process is the whole replica.
    """

    def __init__(self, me: Member, runtime: Runtime | None = None) -> None:
        self._me = me
        self._runtime = runtime
        self._here = threading.Lock()  # one change at a time in this process

    @property
    def expected(self) -> int:
        """How many workers there should be."""
        return self._runtime.workers if self._runtime else 1

    @contextmanager
    def changing(self, *, seconds: float = _CHANGE_SECONDS) -> Iterator[None]:
        """Be the only one in this replica who changes what is served, or joins.

        Raises:
            StateBusyError: somebody else was for ``seconds``.
        """
        if not self._here.acquire(timeout=seconds):
            raise StateBusyError(f"another change of this replica was under way for more than {seconds:g} s; retry")
        try:
            if self._runtime is None:
                yield
            else:
                with self._runtime.changing(seconds=seconds):
                    yield
        finally:
            self._here.release()

    def members(self) -> list[Member]:
        """Return everybody who is alive, this process first."""
        return [self._me, *(member for slot in self._others() if (member := self._alive(slot)) is not None)]

    def everywhere(
        self, action: Callable[[Member], _T], members: Sequence[Member], *, need_all: bool = True
    ) -> list[_T]:
        """Do ``action`` with all members at once, and wait for every one.

        Args:
            action: what to do.
            members: with whom, from :meth:`members`.
            need_all: whether a member that has died meanwhile is an error, too.

        Raises:
            WorkerLostError: a member did not answer.
        """
        found: list[_T] = []
        errors: list[Exception] = []
        for member, outcome in zip(members, _outcomes(action, members), strict=True):
            if not isinstance(outcome, Exception):
                found.append(outcome)
            elif need_all or not isinstance(outcome, WorkerLostError) or not self._dead(member.slot):
                errors.append(outcome)
        if errors:
            raise errors[0]
        return found

    def reports(self) -> list[WorkerReport]:
        """Ask everybody what they serve; who does not answer is missing."""
        outcomes = _outcomes(lambda member: member.report(), self.members())
        return [outcome for outcome in outcomes if isinstance(outcome, WorkerReport)]

    def trials(self) -> list[TrialStates]:
        """Ask everybody what they know of trials; who does not answer is missing."""
        outcomes = _outcomes(lambda member: member.trials(), self.members())
        return [outcome for outcome in outcomes if isinstance(outcome, TrialStates)]

    def serving_elsewhere(self) -> bool:
        """Whether another worker of this replica has a current run to answer with."""
        outcomes = _outcomes(lambda member: member.report(), self.members()[1:])
        return any(isinstance(outcome, WorkerReport) and outcome.current is not None for outcome in outcomes)

    def _others(self) -> list[int]:
        return [slot for slot in range(self.expected) if slot != self._me.slot]

    def _alive(self, slot: int) -> Member | None:
        if self._runtime is None or not self._runtime.occupied(slot):
            return None
        return RemoteMember(self._runtime, slot)

    def _dead(self, slot: int) -> bool:
        deadline = time.monotonic() + _DYING_SECONDS
        while time.monotonic() < deadline:
            if self._alive(slot) is None:
                return True
            time.sleep(_POLL_SECONDS)
        return False


def _outcomes(action: Callable[[Member], _T], members: Sequence[Member]) -> list[_T | Exception]:
    """Return what came of ``action`` with each member: its result, or its error."""

    def attempt(member: Member) -> _T | Exception:
        try:
            return action(member)
        except Exception as error:  # noqa: BLE001  (handed to the caller, who knows whether it matters)
            return error

    if not members:
        return []
    if len(members) == 1:  # a thread would cost more than the answer
        return [attempt(members[0])]
    with ThreadPoolExecutor(max_workers=len(members)) as pool:
        return list(pool.map(attempt, members))
