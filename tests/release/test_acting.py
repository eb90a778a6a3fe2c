"""What an alert starts: once, only what it names, and never back from where it went back to."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_release.acting import react, to_start, waiting
from model_release.changes import run_of
from model_release.contract import Mode
from model_release.evidence import Alert
from model_release.firings import name_of
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.registry import clear_latch, promote, set_latch
from model_release.reversal import rollback_target
from model_release.rollout import Move, conclude
from tests.fake_replicas import NOW
from tests.release.world import World

DAG = "recommendation_rollback"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """``run-a`` served, ``run-b`` is current since ``NOW``."""
    made = World(tmp_path)
    made.release("run-a", "r1")
    made.release("run-b", "r2")
    return made


def minutes(count: float) -> dt.datetime:
    return NOW + dt.timedelta(minutes=count)


def alert(run_id: str = "run-b", *, began: float = 1, **changes: Any) -> Alert:
    """Return a critical alert about a run, which began so many minutes after ``NOW``."""
    labels = {"alertname": "RecommendationErrors", "severity": "critical", "run_id": run_id, "slot": "current"}
    labels = {name: text for name, text in {**labels, **changes.pop("labels", {})}.items() if text}
    found = Alert(
        labels=labels,
        state="active",
        silenced=False,
        starts_at=minutes(began),
        summary="12 % of the answers of run-b are errors",
        fingerprint=f"f{abs(hash(tuple(sorted(labels.items())))):x}",
    )
    return replace(found, **changes)


def decide(world: World, *alerts: Alert, at: float = 2) -> list[LedgerEntry]:
    """Decide, and let the ledger learn of it; return what was news."""
    registry, entries = world.store.read(), world.ledger.read()
    news = react(alerts, registry, entries, rollback_dag=DAG, by="airflow:act", at=minutes(at))
    assert all(world.ledger.append(entry) for entry in news)
    return news


def open_firings(world: World, *alerts: Alert, at: float = 2) -> list[str]:
    return waiting(alerts, world.store.read(), world.ledger.read(), now=minutes(at))


def carry_out(world: World, entry: LedgerEntry, *, at: float = 3) -> None:
    """Do what ``recommendation_rollback`` does: choose, latch, make current."""
    target = rollback_target(
        world.store.read(),
        world.ledger.read(),
        release_id=entry.release_id,
        asked_at=entry.at,
        away_from=entry.run_id,
    )
    assert target is not None
    world.store.update(lambda state: set_latch(state, reason="alert", by="airflow", at=minutes(at)))
    move = Move(run_id=target, release_id=entry.release_id)
    done = world.commit(move, cause="rollback", at=minutes(at + 0.1))
    conclude(world.ledger, move, done.registry, by="test", at=minutes(at + 0.2), cause="rollback")


def try_run(world: World, run_id: str, release_id: str, *, mode: Mode = "shadow", at: float = 0.5) -> None:
    move = Move(run_id=run_id, release_id=release_id, mode=mode, rollout=0.1, lease_seconds=600)
    world.gate(move)
    world.commit(move, at=minutes(at))


def words(entries: list[LedgerEntry]) -> list[tuple[str, str]]:
    return [(entry.event.value, entry.reason) for entry in entries]


def test_a_critical_alert_that_names_the_current_run_rolls_it_back_once(world: World) -> None:
    """The ledger says so, under the name of the rollback; the rollback's form says what and why."""
    firing = alert()
    (entry,) = decide(world, firing)
    assert (entry.event, entry.run_id, entry.generation) == (Event.ALERT_ACTED, "run-b", 2)
    assert entry.release_id == f"{DAG}:{name_of(firing)}"
    (start,) = to_start(world.ledger.read(), world.store.read(), now=minutes(2))
    assert start.dag_run_id == name_of(firing)
    assert start.conf == {
        "reason": f"alert RecommendationErrors fires since {minutes(1):%Y-%m-%d %H:%M:%S} UTC, run run-b is current: it is "
        "rolled back. 12 % of the answers of run-b are errors",
        "away_from": "run-b",
        "set_latch": True,
    }
    carry_out(world, entry)
    assert world.current == "run-a"
    assert to_start(world.ledger.read(), world.store.read(), now=minutes(4)) == []


def test_a_name_is_fingerprint_and_start_in_utc(world: World) -> None:
    """To the microsecond, whatever the zone; nothing in it that an id may not hold."""
    shanghai = dt.timezone(dt.timedelta(hours=8))
    began = dt.datetime(2026, 3, 1, 8, 0, 5, 123456, tzinfo=shanghai)
    assert name_of(alert(fingerprint="0123abc", starts_at=began)) == "alert__0123abc__20260301T000005123456Z"
    assert name_of(alert(fingerprint="a/b", starts_at=began)).startswith("alert__a_b__")
    assert world.current == "run-b"


def test_the_same_firing_sent_a_hundred_times_is_decided_once(world: World) -> None:
    """Before, while and after it is carried out, whatever its annotations say by then."""
    (entry,) = decide(world, alert())
    for count in range(40):
        assert decide(world, alert(summary=f"{count} %")) == []
    carry_out(world, entry)
    for count in range(60):
        assert decide(world, alert(summary=f"{count} %"), at=10) == []
    assert [one.event for one in world.ledger.read()].count(Event.ALERT_ACTED) == 1


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"severity": "warning"}, "its severity is 'warning', not 'critical'"),
        ({"severity": ""}, "it has no severity"),
        ({"run_id": ""}, "it names no run"),
        ({"run_id": "run-c"}, "it names run 'run-c': current is run-b, on trial is none"),
        ({"run_id": "run-a"}, "it names run 'run-a': current is run-b, on trial is none"),
        ({"run_id": "../run-b"}, "it names run '../run-b': current is run-b, on trial is none"),
    ],
)
def test_an_alert_that_starts_nothing_is_left_alone_and_the_ledger_says_why(
    world: World, labels: dict[str, str], reason: str
) -> None:
    assert words(decide(world, alert(labels=labels))) == [("alert_left", reason)]
    assert decide(world, alert(labels=labels)) == []
    assert to_start(world.ledger.read(), world.store.read(), now=minutes(2)) == []


def test_alerts_about_no_run_that_are_not_critical_are_not_looked_at(world: World) -> None:
    """A watchdog always fires, and data quality is another matter."""
    others = [
        alert(labels={"severity": "none", "run_id": "", "alertname": "Watchdog"}),
        alert(labels={"severity": "warning", "run_id": "", "table": "interactions"}),
    ]
    assert decide(world, *others) == []
    assert open_firings(world, *others) == []


@pytest.mark.parametrize(
    ("kept_back", "reason"),
    [
        ({"silenced": True, "state": "suppressed"}, "it is silenced"),
        ({"inhibited": True, "state": "suppressed"}, "it is inhibited"),
        ({"state": "suppressed"}, "it is inhibited"),
    ],
)
def test_an_alert_that_is_kept_back_acts_once_it_is_so_no_more(
    world: World, kept_back: dict[str, Any], reason: str
) -> None:
    """Left alone once, however often it is looked at; when the silence is over and it still fires, it acts."""
    firing = alert()
    assert words(decide(world, replace(firing, **kept_back))) == [("alert_left", reason)]
    assert decide(world, replace(firing, **kept_back)) == []
    assert open_firings(world, replace(firing, **kept_back)) == []
    assert open_firings(world, firing) == [name_of(firing)]
    (entry,) = decide(world, firing)
    assert entry.event is Event.ALERT_ACTED
    assert decide(world, replace(firing, **kept_back)) == []


def test_an_alert_that_alertmanager_has_not_looked_at_yet_is_decided_later(world: World) -> None:
    """It may be silenced: nobody knows."""
    assert decide(world, alert(state="unprocessed")) == []
    assert open_firings(world, alert(state="unprocessed")) == []
    assert len(decide(world, alert())) == 1


def test_an_alert_that_began_before_the_run_became_current_is_left_alone(world: World) -> None:
    """It is about an earlier time of the same run, or about its trial."""
    assert words(decide(world, alert(began=-1))) == [
        ("alert_left", f"it began before run run-b became current, at {NOW:%Y-%m-%d %H:%M:%S} UTC")
    ]


def test_two_alerts_about_one_run_start_one_rollback(world: World) -> None:
    """Together, or one after the other; also if Alertmanager lost its memory and sends another start."""
    errors, slow = alert(began=1), alert(began=1.5, labels={"alertname": "RecommendationSlow"})
    first, second = decide(world, slow, errors)
    assert (first.event, first.details["alertname"]) == (Event.ALERT_ACTED, "RecommendationErrors")
    assert words([second]) == [("alert_left", f"run run-b is being rolled back already, by {name_of(errors)}")]
    assert words(decide(world, alert(began=2))) == words([second])


def test_the_run_that_was_gone_back_to_is_not_rolled_back_while_the_latch_is_set(world: World) -> None:
    """An alert that names it then, whose labels are others, is for a person; the first one names nothing any more."""
    (entry,) = decide(world, alert())
    carry_out(world, entry)
    (left,) = decide(world, alert("run-a", began=5), at=6)
    assert left.event is Event.ALERT_LEFT
    assert left.reason.startswith("the latch is set since")
    (stale,) = decide(world, alert("run-b", began=5), at=6)
    assert stale.reason == "it names run 'run-b': current is run-a, on trial is none"
    assert world.current == "run-a"


def test_without_the_latch_the_next_incident_acts_again(world: World) -> None:
    """Cleared by a person, another firing about the run that is current then goes back further, if there is somewhere."""
    world.release("run-c", "r3")
    (entry,) = decide(world, alert("run-c"))
    carry_out(world, entry)
    assert world.current == "run-b"
    world.store.update(clear_latch)
    (again,) = decide(world, alert("run-b", began=10), at=11)
    assert again.event is Event.ALERT_ACTED


def test_a_latch_that_no_rollback_left_behind_takes_nothing_away_from_the_current_run(world: World) -> None:
    """Set by a person, or with the end of a trial: no release goes on, and the run that serves is watched as before."""
    try_run(world, "run-c", "r3")
    (ended,) = decide(world, alert("run-c"))
    carry_out(world, ended)
    assert world.store.read().latch is not None
    (entry,) = decide(world, alert(began=600), at=601)
    assert (entry.event, entry.details["action"]) == (Event.ALERT_ACTED, "rollback")
    carry_out(world, entry, at=602)
    assert world.current == "run-a"
    (left,) = decide(world, alert("run-a", began=603), at=604)
    assert left.reason.startswith("the latch is set since")
    assert "run run-a is what was gone back to" in left.reason


def test_a_run_that_a_person_made_current_in_spite_of_the_latch_is_covered_again(world: World) -> None:
    """It is no way back: the incident that set the latch was another one."""
    (entry,) = decide(world, alert())
    carry_out(world, entry)
    world.store.update(lambda state: promote(state, run_id="run-c", release_id="p", at=minutes(5), cause="person"))
    (again,) = decide(world, alert("run-c", began=6), at=7)
    assert again.event is Event.ALERT_ACTED


def test_the_same_run_released_again_may_be_rolled_back_again(world: World) -> None:
    """Another time as current is another case; the old firing, which began before it, is not about that."""
    (entry,) = decide(world, alert())
    carry_out(world, entry)
    world.store.update(clear_latch)
    world.store.update(lambda state: promote(state, run_id="run-b", release_id="p", at=minutes(20), cause="person"))
    assert decide(world, alert(), at=21) == []
    (again,) = decide(world, alert(began=22), at=23)
    assert again.event is Event.ALERT_ACTED


def test_without_an_earlier_run_there_is_nothing_to_go_back_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.release("run-a", "r1")
    (left,) = decide(world, alert("run-a"))
    assert words([left]) == [("alert_left", "there is no earlier run that served well: nothing to go back to")]


def test_an_alert_about_the_candidate_ends_its_trial_and_nothing_else(world: World) -> None:
    """Users keep the current run; the latch is set; told as the end of a trial."""
    try_run(world, "run-c", "r3")
    (entry,) = decide(world, alert("run-c"))
    assert (entry.event, entry.details["action"]) == (Event.ALERT_ACTED, "end_trial")
    before = world.store.read()
    carry_out(world, entry)
    after = world.store.read()
    assert after.candidate is None
    assert after.current == before.current
    assert after.latch is not None
    assert decide(world, alert("run-c", began=4), at=5)[0].reason.startswith("it names run 'run-c'")


def test_a_step_of_the_rollout_does_not_hide_that_the_trial_began_earlier(world: World) -> None:
    """The candidate of the next step is newer than the alert, which is about this trial all the same."""
    try_run(world, "run-c", "r3", at=0.5)
    try_run(world, "run-c", "r3", mode="canary", at=1.5)
    candidate = world.store.read().candidate
    assert candidate is not None
    assert candidate.since == minutes(1.5)
    (entry,) = decide(world, alert("run-c", began=1))
    assert entry.event is Event.ALERT_ACTED
    (second,) = decide(world, alert("run-c", began=1.2))
    assert second.reason.startswith("the trial of run run-c is being ended already, by alert__")


def test_an_alert_from_before_the_trial_is_left_alone(world: World) -> None:
    try_run(world, "run-c", "r3", at=0.5)
    (left,) = decide(world, alert("run-c", began=0.2))
    assert left.reason == f"it began before run run-c went on trial, at {minutes(0.5):%Y-%m-%d %H:%M:%S} UTC"


def test_current_and_candidate_in_trouble_are_both_acted_on(world: World) -> None:
    """The second rollback finds nothing left to do once the first has ended the trial with it."""
    try_run(world, "run-c", "r3")
    first, second = decide(world, alert("run-b", began=1), alert("run-c", began=1.5))
    carry_out(world, first)
    chosen = rollback_target(
        world.store.read(), world.ledger.read(), release_id=second.release_id, asked_at=second.at, away_from="run-c"
    )
    assert chosen is None


def test_what_was_decided_and_never_begun_is_started_again(world: World) -> None:
    """A worker that died between ledger and start loses nothing; within an hour, and while the run still stands."""
    firing = alert()
    (entry,) = decide(world, firing)
    assert open_firings(world, firing) == [name_of(firing)]
    assert decide(world, firing) == []
    assert [one.dag_run_id for one in to_start(world.ledger.read(), world.store.read(), now=minutes(30))] == [
        name_of(firing)
    ]
    assert to_start(world.ledger.read(), world.store.read(), now=minutes(63)) == []
    world.ledger.append(
        LedgerEntry(at=minutes(3), event=Event.LATCH_SET, release_id=entry.release_id, by="airflow", reason="alert")
    )
    assert open_firings(world, firing) == []
    assert to_start(world.ledger.read(), world.store.read(), now=minutes(4)) == []


def test_what_no_longer_stands_is_not_started(world: World) -> None:
    """Somebody went first, with another run."""
    decide(world, alert())
    world.store.update(lambda state: promote(state, run_id="run-c", release_id="p", at=minutes(2), cause="person"))
    assert open_firings(world, alert()) == []
    assert to_start(world.ledger.read(), world.store.read(), now=minutes(3)) == []


def test_a_run_that_became_current_again_is_not_what_was_decided_on(world: World) -> None:
    """Within the hour, by a person's hand: what was never begun is not caught up with."""
    decide(world, alert())
    world.store.update(lambda state: promote(state, run_id="run-a", release_id="p", at=minutes(4), cause="person"))
    world.store.update(lambda state: promote(state, run_id="run-b", release_id="q", at=minutes(5), cause="person"))
    assert world.current == "run-b"
    assert to_start(world.ledger.read(), world.store.read(), now=minutes(6)) == []


def test_what_was_to_end_a_trial_goes_back_if_the_run_was_released_meanwhile(world: World) -> None:
    try_run(world, "run-c", "r3")
    decide(world, alert("run-c"))
    world.store.update(lambda state: promote(state, run_id="run-c", release_id="r3", at=minutes(3)))
    (start,) = to_start(world.ledger.read(), world.store.read(), now=minutes(4))
    assert start.conf["away_from"] == "run-c"


def test_the_text_of_an_alert_is_no_template(world: World) -> None:
    """Airflow renders what a trigger is given."""
    decide(world, alert(summary="{{ conn.secret }} {% raw %}" + "x" * 1000))
    (start,) = to_start(world.ledger.read(), world.store.read(), now=minutes(2))
    assert not set("{}") & set(start.conf["reason"])
    assert len(start.conf["reason"]) <= 500


# The rollback itself


def target(world: World, release_id: str, away_from: str | None, run_id: str | None = None) -> str | None:
    return rollback_target(
        world.store.read(),
        world.ledger.read(),
        release_id=release_id,
        asked_at=minutes(2),
        run_id=run_id,
        away_from=away_from,
    )


def test_away_from_a_run_that_serves_no_more_nothing_is_left_to_do(world: World) -> None:
    """Neither further back, nor an error: somebody was faster."""
    assert target(world, "back", "run-b") == "run-a"
    assert target(world, "back", "run-a") is None
    assert target(world, "back", "run-c") is None


def test_where_to_go_and_what_to_leave_exclude_each_other(world: World) -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        target(world, "back", "run-b", "run-a")


def test_a_repeated_end_of_a_trial_leaves_the_next_trial_alone(world: World) -> None:
    """Cleared after the latch was cleared and another trial began, it ends nothing; retried at once, it is done."""
    try_run(world, "run-c", "r3")
    (entry,) = decide(world, alert("run-c"))
    carry_out(world, entry)
    assert target(world, entry.release_id, "run-c") == "run-b"
    world.store.update(clear_latch)
    try_run(world, "run-c", "r4", at=10)
    with pytest.raises(Exception, match="put run-c on trial since"):
        target(world, entry.release_id, "run-c")
    with pytest.raises(Exception, match="put run-c on trial since"):
        world.commit(Move(run_id="run-b", release_id=entry.release_id), cause="rollback", at=minutes(11))
    candidate = world.store.read().candidate
    assert candidate is not None
    assert candidate.release_id == "r4"


def test_the_whole_story_of_an_alert_stands_under_one_name(world: World) -> None:
    """Silenced, then acted on, then rolled back."""
    firing = alert()
    decide(world, replace(firing, silenced=True, state="suppressed"))
    (entry,) = decide(world, firing)
    carry_out(world, entry)
    events = [one.event.value for one in of_release(world.ledger.read(), f"{DAG}:{name_of(firing)}")]
    assert events == ["alert_left", "alert_acted", "committed", "rolled_back"]
    assert run_of(world.store.read()) == "run-a"
