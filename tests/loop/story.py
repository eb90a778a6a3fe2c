"""A bad release and what becomes of it: seen, said, undone, stopped, and begun again; each step is waited for and timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.ledger import Event
from tests.gate_live.faulty_api import Fault
from tests.gate_live.trial import visitors
from tests.live.installation import PIPELINE, ROLLBACK, Ended
from tests.loop.stack import Loop

RATE = 30.0  # requests per second
WEEKS = ("2026-02-08", "2026-02-15", "2026-02-22")  # each run is trained on a week more
FAULT = Fault(fail_share=0.6)
PROMISED_SECONDS = 60.0  # from the first bad answers until every replica serves the run from before
LATCH = "recommendation_latch"


class LoopBrokenError(AssertionError):
    """Something did not happen as it should; the message says what."""


@dataclass
class Story:
    """What happened, and when.

    Attributes:
        loop: where it happens.
        say: is told each line as it happens.
        lines: seconds since the bad run was committed, and what happened; before that, seconds are negative.
        seconds: from the commit of the bad run until every worker of every replica served the run from before.
    """

    loop: Loop
    say: Callable[[str], None]
    lines: list[tuple[float, str]] = field(default_factory=list)
    seconds: float = 0.0
    _zero: float = field(default_factory=time.time)

    def tell(self, what: str, at: float | None = None) -> None:
        """Note what happened, at Unix time ``at`` or now."""
        seconds = (time.time() if at is None else at) - self._zero
        self.lines.append((seconds, what))
        self.say(f"{seconds:8.1f} s  {what}")

    def run(self) -> None:
        """Carry it out.

        Raises:
            LoopBrokenError: something did not happen as it should.
        """
        good = self._release("a good run is released", as_of=WEEKS[0], algorithm="personal_frequency")
        bad = self.loop.prepare(WEEKS[1], "next_basket")
        self.loop.stack.break_run(bad, FAULT)
        with visitors(self.loop.stack.replicas[0], RATE), visitors(self.loop.stack.replicas[1], RATE):
            self._wait("people come, nothing but Watchdog fires", self._calm, 90.0)
            self._fall(bad)
            self._back_on(good, bad)
            self._stopped(good)
            self._cleared()
            last = self._release("the next run is released", as_of=WEEKS[2], algorithm="next_basket")
            self._wait("its alert is over, which people are told", lambda: self._alert_messages(bad) == 2, 180.0)
        self._nothing_twice(last)

    def _fall(self, bad: str) -> None:
        ended = self.loop.shop.run(PIPELINE, run_id=bad)
        _need(ended.state == "success", f"the release of {bad} ended as {ended.state}: {ended.tasks}")
        committed = next(entry for entry in ended.entries if entry.event is Event.COMMITTED)
        self._zero = committed.at.timestamp()
        self.tell(f"{bad} is current: it passed, and now fails for 60 % of the people", self._zero)
        self.tell("verified and told as released")
        self._wait("a critical alert that names it fires in Alertmanager", lambda: self._fires(bad))

    def _back_on(self, good: str, bad: str) -> None:
        self._wait("Airflow has decided to roll back", lambda: self._has(Event.ALERT_ACTED, bad))
        self._wait("every worker of every replica serves the run from before", lambda: self._served_everywhere(good))
        self.seconds = self.lines[-1][0]
        (started,) = self.loop.shop.rest.get(f"/dags/{ROLLBACK}/dagRuns").raise_for_status().json()["dag_runs"]
        ended: Ended = self.loop.shop.ended(ROLLBACK, started["dag_run_id"])
        _need(ended.state == "success", f"the rollback ended as {ended.state}: {ended.tasks}")
        self.tell(f"the rollback {started['dag_run_id']} is verified")
        _need(FileRegistry(self.loop.shop.paths).read().latch is not None, "the rollback set no latch")
        self._wait("people were told of the alert", lambda: self._alert_messages(bad) >= 1)
        self._wait("people were told of the rollback", lambda: bool(self._told("↩️ Rolled back")))

    def _stopped(self, good: str) -> None:
        ended = self.loop.shop.run(PIPELINE, as_of=WEEKS[2], algorithm="next_basket")
        _need(ended.state == "failed", f"a release went ahead although the latch is set: {ended.tasks}")
        _need(ended.tasks["quality_gate"] == "failed", f"not the gate stopped it: {ended.tasks}")
        reason = next(entry.reason for entry in ended.entries if entry.event is Event.REJECTED)
        _need("latch" in reason, f"it was stopped for another reason: {reason}")
        _need(self.loop.shop.current == good, f"{self.loop.shop.current} is current")
        self.tell("the next release is rejected: the latch is set")

    def _cleared(self) -> None:
        reason = "next_basket failed for unknown users; fixed"
        ended = self.loop.shop.run(LATCH, action="clear", reason=reason)
        _need(ended.state == "success", f"clearing the latch ended as {ended.state}")
        entry = next(one for one in ended.entries if one.event is Event.LATCH_CLEARED)
        _need(entry.reason == reason and "admin" in entry.by, f"the ledger does not say who and why: {entry}")
        self.tell(f"{entry.by} clears the latch: {reason}")

    def _release(self, what: str, **form: str) -> str:
        ended = self.loop.shop.run(PIPELINE, **form)
        why = [entry.reason for entry in ended.entries if entry.reason]
        _need(ended.state == "success", f"{what}: no, it ended as {ended.state}: {ended.tasks}, {why}")
        current = self.loop.shop.current
        _need(current is not None, f"{what}: no run is current")
        self.tell(f"{what}: {current}")
        return str(current)

    def _nothing_twice(self, last: str) -> None:
        acted = [entry for entry in FileLedger(self.loop.shop.paths).read() if entry.event is Event.ALERT_ACTED]
        _need(len(acted) == 1, f"{len(acted)} alerts were acted on: {[entry.reason for entry in acted]}")
        runs = self.loop.shop.rest.get(f"/dags/{ROLLBACK}/dagRuns").raise_for_status().json()["dag_runs"]
        _need(len(runs) == 1, f"{len(runs)} rollbacks were started")
        _need(self.loop.shop.current == last, f"{self.loop.shop.current} is current, not {last}")
        heads = [text.splitlines()[0] for text in self.loop.told_by_releases]
        _need(len(set(self.loop.told_by_releases)) == len(heads), f"something was told twice: {heads}")
        self.tell(f"one alert acted on, one rollback, {len(heads)} messages about releases, none twice")

    def _calm(self) -> bool:
        names = {alert["labels"]["alertname"] for alert in self._alerts()}
        return names == {"Watchdog"}

    def _fires(self, run_id: str) -> bool:
        return any(
            alert["labels"].get("run_id") == run_id and alert["labels"]["severity"] == "critical"
            for alert in self._alerts()
        )

    def _alerts(self) -> list[dict[str, dict[str, str]]]:
        found = self.loop.watch.alertmanager.http.get("/api/v2/alerts").raise_for_status().json()
        return list(found)

    def _has(self, event: Event, run_id: str) -> bool:
        entries = FileLedger(self.loop.shop.paths).read()
        return any(entry.event is event and entry.run_id == run_id for entry in entries)

    def _served_everywhere(self, run_id: str) -> bool:
        for address in self.loop.stack.replicas:
            with RecommendationApiClient(f"http://{address}") as api:
                workers = api.models().workers
            if not workers or {worker.current for worker in workers} != {run_id}:
                return False
        return True

    def _alert_messages(self, run_id: str) -> int:
        return sum(run_id in text and "RecommendationErrors" in text for text in self.loop.told_by_alerts)

    def _told(self, headline: str) -> list[str]:
        return [text for text in self.loop.told_by_releases if headline in text.splitlines()[0]]

    def _wait(self, what: str, holds: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                names = [alert["labels"] for alert in self._alerts()]
                raise LoopBrokenError(f"not in {seconds:g} s: {what}; alerts: {names}")
            time.sleep(0.25)
        self.tell(what)


def _need(holds: bool, otherwise: str) -> None:
    if not holds:
        raise LoopBrokenError(otherwise)
