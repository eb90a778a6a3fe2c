"""When an alert about the data is silenced, for how long, and when it is heard again: rules alone, no Alertmanager."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from model_release import quiet_words
from model_release.errors import InvalidInputError
from model_release.evidence import Alert, DataQuality, Missing
from model_release.ledger import Event, LedgerEntry
from model_release.quieting import Rules, Seen, firings, notes, plan
from model_release.silences import OWNER, Silence, Wanted, extended
from tests.fakes import MemoryLedger

NOW = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
RULES = Rules()
DAG = "recommendation_alert_silences"
WATCHDOG = Alert({"alertname": "Watchdog"}, "active", False, NOW - dt.timedelta(days=1), fingerprint="w")


def hours(count: float) -> dt.datetime:
    return NOW + dt.timedelta(hours=count)


def low(*, since: float = -0.1, table: str = "interactions", name: str = "DataQualityLow", **changes: Any) -> Alert:
    labels = {"alertname": name, "severity": "warning", "table": table}
    return replace(Alert(labels, "active", False, hours(since), fingerprint=f"{name}-{table}"), **changes)


def silence(alert: Alert, *, start: float, end: float, **changes: Any) -> Silence:
    made = Silence("s1", alert.labels, OWNER, "because", hours(start), hours(end), "active")
    return replace(made, **changes)


class Shop:
    """What a run sees, and what it leaves behind: Alertmanager's silences, and the ledger."""

    def __init__(self) -> None:
        self.silences: list[Silence] = []
        self.ledger = MemoryLedger()
        self.quality: DataQuality | Missing = DataQuality({"interactions": 97.5, "items": 99.0}, {}, 0.0)

    def seen(self, *alerts: Alert, at: float = 0.0, dog: bool = True) -> Seen:
        found = (*alerts, WATCHDOG) if dog else alerts
        self.silences = [replace(one, state="expired") if one.ends_at <= hours(at) else one for one in self.silences]
        return Seen(found, list(self.silences), self.ledger.read(), self.quality, hours(at))

    def run(self, *alerts: Alert, at: float = 0.0, dog: bool = True) -> list[str]:
        """Do what one DAG run does; return what is news."""
        for entry in firings(self.seen(*alerts, at=at, dog=dog), dag=DAG, by="airflow"):
            self.ledger.append(entry)
        while todo := plan(self.seen(*alerts, at=at, dog=dog), RULES):
            for wanted in todo.wanted:
                self._set(wanted)
            self.silences = [
                replace(one, state="expired", ends_at=hours(at)) if one.id in todo.expired else one
                for one in self.silences
            ]
        found = notes(self.seen(*alerts, at=at, dog=dog), dag=DAG, by="airflow")
        return [entry.event.value for entry in found if self.ledger.append(entry)]

    def _set(self, wanted: Wanted) -> None:
        number = wanted.id or f"s{len(self.silences) + 1}"
        made = Silence(
            number, wanted.labels, wanted.created_by, wanted.comment, wanted.starts_at, wanted.ends_at, "active"
        )
        self.silences = [one for one in self.silences if one.id != number] + [made]

    @property
    def active(self) -> list[Silence]:
        return [one for one in self.silences if one.state == "active"]


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_an_alert_that_fires_for_long_is_silenced_once(shop: Shop) -> None:
    """For exactly its labels, by model-release, with the reason, for 12 hours; looked at again, nothing is new."""
    assert shop.run(low(since=-1.9)) == []
    assert shop.run(low(since=-2.1)) == ["alert_silenced"]
    (made,) = shop.active
    assert (made.labels, made.created_by, made.ends_at) == (low().labels, "model-release", hours(12))
    assert made.comment.startswith("DataQualityLow of table interactions fires for more than 2 h")
    for minutes in range(5, 60, 5):
        assert shop.run(low(since=-2.1, silenced=True), at=minutes / 60) == []
    assert len(shop.silences) == 1


def test_three_firings_within_a_day_are_a_repetition(shop: Shop) -> None:
    """Each counted once, however often it is seen; those of the day before yesterday do not count."""
    for start in (-40.0, -20.0, -10.0):
        for _ in range(3):
            assert shop.run(low(since=start), at=start + 0.1) == []
    assert shop.run(low(since=-0.5), at=-0.4) == ["alert_silenced"]
    assert "fired 3 times within 24 h" in shop.active[0].comment


def test_a_new_firing_under_the_same_silence_is_no_news(shop: Shop) -> None:
    """Over and back within five minutes: nobody saw it recover, it is silent already."""
    shop.run(low(since=-3))
    assert shop.run(low(since=0.5, silenced=True), at=0.6) == []
    assert len(shop.silences) == 1


def test_firings_of_another_table_do_not_count(shop: Shop) -> None:
    for number, table in enumerate(("interactions", "items", "interactions", "items")):
        assert shop.run(low(since=number - 10, table=table), at=number - 9.9) == []
    assert shop.active == []


@pytest.mark.parametrize(
    "alert",
    [
        low(since=-9, name="RecommendationErrors"),
        low(since=-9, table=""),
        low(since=-9, name="DataQualityUnreadable", table=""),
    ],
    ids=["no data quality", "no table", "not measured at all"],
)
def test_other_alerts_are_never_silenced(shop: Shop, alert: Alert) -> None:
    assert shop.run(alert) == []
    assert shop.silences == []


def test_what_a_person_has_silenced_is_theirs(shop: Shop) -> None:
    """Neither silenced again nor extended, nor ended when it is over."""
    theirs = silence(low(), start=-1, end=1, created_by="zhang san", id="theirs")
    shop.silences = [theirs]
    assert shop.run(low(since=-9, silenced=True)) == []
    assert shop.run() == []
    assert shop.silences == [theirs]


def test_a_silence_is_extended_when_half_of_it_is_over_and_never_beyond_24_hours(shop: Shop) -> None:
    """The same silence; then it runs out, is told, and the alert is heard for four hours before the next one."""
    alert = low(since=-3)
    shop.run(alert)
    assert shop.run(alert, at=5.9) == []
    assert shop.active[0].ends_at == hours(12)
    shop.run(alert, at=6.1)
    assert [(one.id, one.ends_at) for one in shop.active] == [("s1", hours(18.1))]
    for hour in range(7, 24):
        shop.run(alert, at=hour)
    assert [(one.id, one.ends_at) for one in shop.active] == [("s1", hours(24))]
    assert shop.run(alert, at=24.1) == ["alert_unsilenced"]
    for later in (24.2, 26, 28.0):
        assert shop.run(alert, at=later) == []
        assert shop.active == []
    assert shop.run(alert, at=28.2) == ["alert_silenced"]


def test_a_silence_that_a_person_ended_is_not_set_again_at_once(shop: Shop) -> None:
    alert = low(since=-3)
    shop.run(alert)
    shop.silences = [replace(one, state="expired", ends_at=hours(0.5)) for one in shop.silences]
    assert shop.run(alert, at=0.6) == ["alert_unsilenced"]
    assert shop.run(alert, at=1) == []
    assert shop.active == []


def test_when_the_data_is_good_again_the_silence_ends_and_it_is_told_once(shop: Shop) -> None:
    """With the score; a second look says nothing."""
    shop.run(low(since=-3))
    assert shop.run(at=1) == ["alert_recovered"]
    assert shop.active == []
    assert shop.run(at=1.1) == []
    entry = shop.ledger.read()[-1]
    assert entry.reason == "DataQualityLow of table interactions: is over (silence s1)"
    assert entry.details["score"] == 97.5


@pytest.mark.parametrize(
    "how", ["no watchdog", "watchdog just began", "unreadable", "stale", "no file", "no score", "NaN"]
)
def test_that_an_alert_is_gone_is_no_proof_that_the_data_is_good(shop: Shop, how: str) -> None:
    """Prometheus may be down, the file cut, the measurement old: the silence stays, and is told once it is certain."""
    shop.run(low(since=-3))
    sound, others = shop.quality, []
    match how:
        case "unreadable":
            others = [low(name="DataQualityUnreadable", table="")]
        case "stale":
            others = [low(name="DataQualityStale")]
        case "no file":
            shop.quality = Missing("cut")
        case "no score":
            shop.quality = DataQuality({"items": 99.0}, {}, 0.0)
        case "NaN":
            shop.quality = DataQuality({"interactions": float("nan")}, {}, 0.0)
        case "watchdog just began":
            others = [replace(WATCHDOG, starts_at=hours(1 - 4 / 60))]
    assert shop.run(*others, at=1, dog="watchdog" not in how) == []
    assert [one.id for one in shop.active] == ["s1"]
    shop.quality = sound
    assert shop.run(at=2) == ["alert_recovered"]


def test_an_alert_that_recovered_while_nobody_looked_is_told_all_the_same(shop: Shop) -> None:
    """Its silence ran out by itself; Alertmanager says nothing of a silenced alert that is over."""
    shop.run(low(since=-3))
    assert shop.run(at=13) == ["alert_recovered"]


def test_after_a_recovery_repetitions_are_counted_anew(shop: Shop) -> None:
    """The next firing is heard."""
    for start in (-9.0, -6.0, -3.0):
        shop.run(low(since=start), at=start + 0.1)
    assert len(shop.active) == 1
    assert shop.run(at=-2) == ["alert_recovered"]
    assert shop.run(low(since=-1), at=-0.9) == []
    assert shop.active == []


def test_two_runs_at_once_leave_one_silence_and_one_message(shop: Shop) -> None:
    """Both set one before either saw the other's; both keep the first, and end the other."""
    alert = low(since=-3)
    first = silence(alert, start=0, end=12, id="b")
    second = silence(alert, start=0.001, end=12, id="a")
    shop.silences = [second, first]
    todo = plan(shop.seen(alert), RULES)
    assert (todo.wanted, todo.expired) == ((), ("a",))
    news = shop.run(alert), shop.run(alert)
    assert news == (["alert_silenced"], [])
    assert [one.id for one in shop.active] == ["b"]
    seen = shop.seen(alert)
    racing = [notes(replace(seen, entries=[]), dag=DAG, by=by)[0] for by in ("one", "other")]
    assert racing[0].key == racing[1].key


def test_a_run_that_died_after_it_set_a_silence_is_made_good_by_the_next(shop: Shop) -> None:
    shop.silences = [silence(low(), start=0, end=12)]
    assert shop.run(low(since=-3, silenced=True), at=0.1) == ["alert_silenced"]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"firings": 1}, "firings"),
        ({"silence_hours": 25}, "silence_hours"),
        ({"silence_hours": float("nan")}, "silence_hours"),
        ({"pause_hours": 0}, "pause_hours"),
        ({"within_hours": -1}, "within_hours"),
        ({"longer_than_hours": 10_000}, "longer_than_hours"),
    ],
)
def test_rules_that_make_no_sense_are_refused_by_name(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        Rules(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {}},
        {"labels": {"alertname": ""}},
        {"created_by": " "},
        {"comment": ""},
        {"ends_at": hours(24.01)},
        {"ends_at": NOW},
    ],
)
def test_no_silence_without_an_owner_a_reason_labels_and_an_end_within_a_day(changes: dict[str, Any]) -> None:
    good: dict[str, Any] = {
        "labels": {"alertname": "X"}, "created_by": "a", "comment": "b", "starts_at": NOW, "ends_at": hours(24)
    }  # fmt: skip
    Wanted(**good)
    with pytest.raises(ValueError, match="silence"):
        Wanted(**{**good, **changes})


def test_a_silence_with_a_pattern_is_never_extended_as_if_it_had_none() -> None:
    assert extended(silence(low(), start=0, end=1, labels=None), ends_at=hours(5)) is None


# What is told


def test_each_is_told_once_in_one_message_that_is_short_enough(shop: Shop) -> None:
    shop.run(low(since=-3), low(since=-3, table="items"))
    entries = shop.ledger.read()
    news = quiet_words.untold(entries)
    message = quiet_words.compose(news, entries, link="http://airflow/run")
    assert message.title == "🔕 An alert about the data repeats: silenced, releases wait"
    assert not message.good
    assert message.markdown.count("🔕 until 2026-03-02 00:00 UTC") == 2
    for entry in news:
        assert shop.ledger.append(quiet_words.claim(entry, by="one", at=NOW))
        assert not shop.ledger.append(quiet_words.claim(entry, by="other", at=hours(1)))
    assert quiet_words.untold(shop.ledger.read()) == []
    shop.run(at=1)
    recovered = quiet_words.untold(shop.ledger.read())
    message = quiet_words.compose(recovered, [], link="http://airflow/run")
    assert (message.title, message.good) == ("✅ Recovered: the data is good again", True)
    assert "the score is 97.5" in message.markdown
    many = quiet_words.compose([told(text="长" * 2000)] * 40, [], link="http://airflow/run")
    assert len(many.markdown.encode()) < 4096
    assert "and 35 more" in many.markdown


def told(*, text: str) -> LedgerEntry:
    details = {"silence_id": "s", "until": NOW.isoformat()}
    return LedgerEntry(at=NOW, event=Event.ALERT_SILENCED, release_id="r", by="b", reason=text, details=details)
