"""When the couriers send, with a clock of their own: pauses, the rate of a robot, order, age."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from alert_bridge.compose import Form
from alert_bridge.courier import Courier, Pace
from alert_bridge.database import Database, NotStoredError
from alert_bridge.intake import Intake
from alert_bridge.metrics import Metrics
from alert_bridge.outbox import Outbox, depth, forget
from alert_bridge.targets import Target
from alert_bridge.webhook import parse
from alert_bridge.words import Links
from model_release.adapters.wecom_parts import Part
from model_release.errors import MessageNotSentError, Refusal
from tests.bridge.webhooks import alert, over, webhook

START = 1_800_000_000.0
DAY = 86_400.0


class World:
    """A courier, a service that does as it is told, and time that passes only when somebody waits."""

    def __init__(self, folder: Path, *, repeatable_seconds: float = 0.0, hours: float = 24.0) -> None:
        self.folder = folder
        self.now = START
        self.sent: list[tuple[float, str]] = []
        self.tried: list[tuple[float, str]] = []
        self.broken: dict[str, Refusal] = {}
        self.database = Database(folder)
        self.outbox = Outbox(self.database, "ops")
        self.intake = Intake(self.database, 1000, lambda: self.now)
        self.courier = Courier(
            Target("ops", self, Form(4096, 20), repeatable_seconds),
            self.outbox,
            Metrics(),
            links=Links(),
            pace=Pace(per_minute=20, retry_seconds=1.0, throttled_seconds=60.0, hours=hours),
            clock=lambda: self.now,
        )

    def send(self, part: Part) -> None:
        title = part.content.splitlines()[0].strip("*")
        self.tried.append((self.now - START, title))
        for name, kind in self.broken.items():
            if name in title:
                raise MessageNotSentError("no", code=None, kind=kind)
        self.sent.append((self.now - START, title))

    def close(self) -> None:
        self.database.close()

    def fire(self, *names: str, end: bool = False) -> None:
        for name in names:
            one = alert(name, fingerprint=name)
            self.intake.take(parse(json.dumps(webhook(over(one) if end else one))), ["ops"])

    def run(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        while self.now <= until:
            pause = self.courier.step()
            assert pause >= 0
            self.now += pause

    @property
    def waiting(self) -> int:
        return depth(self.database)[0]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_twenty_in_any_minute(world: World) -> None:
    """However many wait, no window of sixty seconds holds more than twenty."""
    world.fire(*(f"A{number}" for number in range(50)))
    world.run(200)
    times = [at for at, _ in world.sent]
    assert len(times) == 50
    assert all(later - earlier >= 60.0 for earlier, later in zip(times, times[20:], strict=False))
    assert times[-1] < 121


def test_a_clock_that_is_set_back_stops_nobody(world: World) -> None:
    """What seems to have been sent in the future does not count."""
    world.fire(*(f"A{number}" for number in range(20)))
    world.run(1)
    world.now -= 3600.0
    world.fire("B")
    world.run(1)
    assert len(world.sent) == 21


@pytest.mark.parametrize("kind", [Refusal.BUSY, Refusal.THROTTLED])
def test_a_clock_that_is_set_back_makes_no_pause_longer(world: World, kind: Refusal) -> None:
    """Neither that of the target nor that of the message."""
    world.broken = {"A": kind}
    world.fire("A")
    world.run(40)
    world.now -= 3600.0
    world.broken = {}
    world.fire("B")
    world.run(61)
    assert sorted(title for _, title in world.sent) == ["🚨 A", "🚨 B"]


@pytest.mark.parametrize(
    ("kind", "heads"),
    [
        (None, ["🚨 A"]),
        (Refusal.IN_DOUBT, ["🚨 A", "❔ May be missing above: message 1"]),
        (Refusal.PERMANENT, ["🚨 A"]),
        (Refusal.BUSY, ["🚨 A", "🚨 A"]),
    ],
)
def test_what_was_sent_while_the_disk_took_nothing_is_not_sent_again(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: Refusal | None, heads: list[str]
) -> None:
    """What became of it is written down as soon as the disk takes it, before anything else."""
    world.fire("A")
    other = sqlite3.connect(world.folder / "queue.sqlite", isolation_level=None)
    send = world.send

    def send_and_lose_the_disk(part: Part) -> None:
        monkeypatch.setattr(world, "send", send)
        world.broken = {"A": kind} if kind is not None else {}
        other.execute("BEGIN IMMEDIATE")
        try:
            send(part)
        finally:
            world.broken = {}

    monkeypatch.setattr(world, "send", send_and_lose_the_disk)
    assert world.courier.step() == 0.0  # it is composed
    for _ in range(2):
        with pytest.raises(NotStoredError):
            world.courier.step()
    other.execute("ROLLBACK")
    other.close()
    world.run(30)
    assert [title for _, title in world.tried] == heads
    assert world.waiting == 0


@pytest.mark.parametrize("kind", [Refusal.BUSY, Refusal.UNREACHABLE])
def test_pauses_double_up_to_a_minute(world: World, kind: Refusal) -> None:
    """Nobody is asked all the time, nor too seldom."""
    world.fire("A")
    world.broken = {"A": kind}
    world.run(600)
    times = [at for at, _ in world.tried]
    gaps = [round(later - earlier) for earlier, later in itertools.pairwise(times)]
    assert gaps[:6] == [2, 4, 8, 16, 32, 60]
    assert set(gaps[5:]) == {60}
    world.broken = {}
    world.run(61)
    assert len(world.sent) == 1


def test_throttled_is_a_minute(world: World) -> None:
    """The service counts by the minute; nobody else is told meanwhile either."""
    world.fire("A", "B")
    world.broken = {"A": Refusal.THROTTLED}
    world.run(30)
    assert len(world.tried) == 1
    world.broken = {}
    world.run(61)
    assert [title for _, title in world.sent] == ["🚨 A", "🚨 B"]


def test_one_that_can_not_be_digested_holds_up_nobody(world: World) -> None:
    """Those behind it overtake, except what belongs to it."""
    world.broken = {"A": Refusal.UNREACHABLE}
    world.fire("A", "B")
    world.fire("A", end=True)
    world.fire("B", end=True)
    world.run(30)
    assert [title for _, title in world.sent] == ["🚨 B", "✅ Resolved: B"]
    world.broken = {}
    world.run(120)
    assert [title for _, title in world.sent][2:] == ["🚨 A", "✅ Resolved: A"]


def test_the_end_of_what_was_given_up_is_no_news(tmp_path: Path) -> None:
    """Neither of what grew too old nor of what was refused; and both ends leave the queue."""
    world = World(tmp_path, hours=0.01)
    world.broken = {"🚨 A": Refusal.UNREACHABLE, "🚨 B": Refusal.PERMANENT}
    world.fire("A", "B")
    world.fire("A", "B", end=True)
    world.run(60)
    world.broken = {}
    world.run(600)
    assert world.sent == []
    assert world.waiting == 0
    world.close()


def test_a_lost_answer_of_an_app_is_asked_again_while_it_knows_the_message(tmp_path: Path) -> None:
    """And no longer: then it would be a second message."""
    world = World(tmp_path, repeatable_seconds=100.0)
    world.broken = {"A": Refusal.IN_DOUBT}
    world.fire("A")
    world.run(400)
    tries = [at for at, title in world.tried if title == "🚨 A"]
    assert len(tries) > 3
    assert tries[-2] <= 100.0
    assert [title for _, title in world.sent] == ["❔ May be missing above: message 1"]
    world.close()


def test_what_was_told_is_remembered_as_long_as_it_is_spoken_of(world: World) -> None:
    """And forgotten later; what waits is never forgotten."""
    world.fire("A", "B")
    world.run(1)
    world.broken = {"C": Refusal.UNREACHABLE}
    world.fire("C")
    world.now += 20 * DAY
    world.fire("A")
    world.now += 20 * DAY
    forget(world.database, world.now - 30 * DAY)
    with world.database.transaction() as connection:
        left = {name for (name,) in connection.execute("SELECT fingerprint FROM alerts")}
    assert left == {"A", "C"}
