"""One thread for each target: takes the oldest message, sends it part by part, and decides by the answer what follows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from alert_bridge.compose import parts_of, text_of
from alert_bridge.database import NotStoredError
from alert_bridge.metrics import Metrics
from alert_bridge.outbox import Outbox, Waiting
from alert_bridge.targets import Target
from alert_bridge.words import Links
from model_release.errors import MessageNotSentError, Refusal

_LONGEST_PAUSE = 60.0
_HOUR = 3600.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How fast, and for how long.

    Attributes:
        per_minute: messages at most.
        retry_seconds: first pause after a failure; it doubles up to a minute.
        throttled_seconds: pause after the service said that there were too many.
        hours: after which a message is given up.
    """

    per_minute: int
    retry_seconds: float
    throttled_seconds: float
    hours: float


class Courier:
    """Sends what waits for one target.

    A failure that may pass stops the target for a while, and the message for twice as long: so one that the service can't
    digest does not hold up those behind it.
    """

    def __init__(
        self,
        target: Target,
        outbox: Outbox,
        metrics: Metrics,
        *,
        links: Links,
        pace: Pace,
        clock: Callable[[], float],
    ) -> None:
        self._target = target
        self._outbox = outbox
        self._metrics = metrics
        self._links = links
        self._pace = pace
        self._clock = clock
        self._failures = 0  # in a row, whichever message
        self._closed_until = 0.0
        self._longest_pause = max(_LONGEST_PAUSE, pace.throttled_seconds)
        self._unwritten: Callable[[], None] | None = None

    def recover(self) -> None:
        """Decide about messages that were under way when the process was ended."""
        for waiting in self._outbox.interrupted():
            self._lost(waiting, "the bridge was ended before WeCom's answer came")

    def run(self, wake: threading.Event, stop: threading.Event) -> None:
        """Send until ``stop`` is set; ``wake`` is set with it, and when there is something new."""
        while not stop.is_set():
            wake.clear()
            try:
                pause = self.step()
            except NotStoredError as error:  # nothing is sent that can't be remembered
                _log.error("%s: %s", self._target.name, error)
                pause = self._pace.retry_seconds
            if pause > 0:
                wake.wait(pause)

    def step(self) -> float:
        """Do the next thing; return in how many seconds there may be another one.

        Raises:
            NotStoredError: the disk took nothing; what became of a part that was sent is written down by the next step.
        """
        self._write_down()
        now = self._clock()
        for old in self._outbox.old(now - self._pace.hours * _HOUR):
            self._give_up_old(old)
        closed_for = self._closed_until - now
        if 0 < closed_for <= self._longest_pause:  # more is no pause: the clock was set back
            return closed_for
        waiting = self._outbox.next(now, self._longest_pause)
        if isinstance(waiting, float):
            return waiting
        if waiting.parts is None:
            self._compose(waiting)
            return 0.0
        pause = self._outbox.room_in(now, self._pace.per_minute)
        if pause > 0:
            return pause
        self._outbox.begin(waiting, now)
        self._send(waiting)
        return 0.0

    def _compose(self, waiting: Waiting) -> None:
        told = self._outbox.told(waiting.number) if waiting.kind == "resolved" else set()
        found = text_of(waiting.kind, waiting.body, told, self._links)
        if found is None:
            _log.info("%s: message %d says nothing: its alerts were never told", self._target.name, waiting.number)
            self._outbox.drop(waiting)
            return
        text, titles = found
        self._outbox.compose(waiting, parts_of(text, waiting.number, self._target.form), titles or [text.title])

    def _send(self, waiting: Waiting) -> None:
        part = (waiting.parts or ())[waiting.next_part]
        try:
            self._target.sender.send(part)
        except MessageNotSentError as error:
            self._metrics.attempt(error.kind)
            self._unwritten = partial(self._failed, waiting, error)
        else:
            self._metrics.attempt(None)
            self._failures = 0
            self._unwritten = partial(self._go_on, waiting, in_doubt=False)
        self._write_down()

    def _write_down(self) -> None:
        """Write what became of the part that was sent last; until the disk takes that, it would be sent once more."""
        if self._unwritten is not None:
            self._unwritten()
            self._unwritten = None

    def _go_on(self, waiting: Waiting, *, in_doubt: bool) -> None:
        if self._outbox.done_with_part(waiting, self._clock(), in_doubt=in_doubt):
            lost = in_doubt or waiting.in_doubt
            self._metrics.message("unknown" if lost else "delivered")
            what = "may have been told" if lost else "told"
            _log.info("%s: %s: message %d: %s", self._target.name, what, waiting.number, "; ".join(waiting.titles))

    def _failed(self, waiting: Waiting, error: MessageNotSentError) -> None:
        match error.kind:
            case Refusal.BUSY | Refusal.UNREACHABLE:
                self._try_later(waiting, self._pause(self._failures), str(error))
            case Refusal.THROTTLED:
                self._try_later(waiting, self._pace.throttled_seconds, str(error))
            case Refusal.IN_DOUBT:
                self._lost(waiting, str(error))
            case Refusal.PERMANENT:
                self._outbox.refuse(waiting)
                self._failures = 0
                self._metrics.message("refused")
                _log.error(
                    "%s: given up, nobody was told: message %d: %s: %s",
                    self._target.name,
                    waiting.number,
                    error,
                    "; ".join(waiting.titles),
                )
            case kind:
                assert_never(kind)

    def _lost(self, waiting: Waiting, why: str) -> None:
        """Decide about a message that may have arrived: again where the service would know it, else never."""
        now = self._clock()
        first = waiting.first_try if waiting.first_try is not None else now
        if now - first < self._target.repeatable_seconds:
            self._try_later(waiting, self._pause(self._failures), why)
            return
        _log.warning("%s: message %d is not sent again: %s", self._target.name, waiting.number, why)
        self._go_on(waiting, in_doubt=True)

    def _try_later(self, waiting: Waiting, pause: float, why: str) -> None:
        now = self._clock()
        self._outbox.later(waiting, now + max(pause, min(self._pause(waiting.tries) * 2, _LONGEST_PAUSE)))
        self._failures += 1
        self._closed_until = now + pause
        level = logging.WARNING if waiting.tries == 0 else logging.DEBUG  # the queue's age shows that it goes on
        _log.log(level, "%s: message %d waits %.1f s: %s", self._target.name, waiting.number, pause, why)

    def _pause(self, failures: int) -> float:
        return min(self._pace.retry_seconds * 2.0 ** min(failures, 20), _LONGEST_PAUSE)

    def _give_up_old(self, waiting: Waiting) -> None:
        self._outbox.drop(waiting)
        self._metrics.message("expired")
        _log.error(
            "%s: given up after %g hours, nobody was told: message %d, %s: %s",
            self._target.name,
            self._pace.hours,
            waiting.number,
            waiting.kind,
            "; ".join(waiting.titles) or "not composed yet",
        )
