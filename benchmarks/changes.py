"""Did an answer come from a run that was served no more when the request was sent?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """A reload; times in seconds of ``time.monotonic()`` in the process that asks.

    Attributes:
        started: when its request was sent.
        finished: when its answer was read.
        run_id: the run to be served.
        status: of its answer; None: there was none.
    """

    started: float
    finished: float
    run_id: str
    status: int | None

    @property
    def true(self) -> bool:
        """Whether the replica says that it is so."""
        return self.status == 200  # noqa: PLR2004  (OK)


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer to a user: when its request was sent, when it was read, and the run that it names."""

    sent: float
    finished: float
    run_id: str | None


def stale(changes: Sequence[Change], seen: Iterable[Seen], *, first: str) -> list[Seen]:
    """Return the answers that no order of events explains.

    A request that was sent after the 200 of a reload must be answered by that run, or by one whose reload had begun
    before the answer was there; also by one whose reload failed, for it may have been committed.

    Args:
        changes: one after the other, none overlapping.
        seen: answers, in any order.
        first: the run that was served before all changes.
    """
    true = [(index, change) for index, change in enumerate(changes) if change.true]
    finished = [change.finished for _, change in true]
    found = []
    for answer in seen:
        place = bisect_left(finished, answer.sent) - 1  # the last reload that was true before it was sent
        index, run_id = (true[place][0], true[place][1].run_id) if place >= 0 else (-1, first)
        allowed = {run_id}
        for change in changes[index + 1 :]:
            if change.started > answer.finished:
                break
            allowed.add(change.run_id)
        if answer.run_id not in allowed:
            found.append(answer)
    return found
