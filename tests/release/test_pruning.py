"""Which runs may go: never one that anything speaks for, whatever state and policy are."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_release import registry as transitions
from model_release.artifact import FoundRun
from model_release.errors import ModelReleaseError
from model_release.holds import hold_entry, holds
from model_release.ledger import Event, LedgerEntry
from model_release.open_releases import open_releases
from model_release.policy.retention import Retention
from model_release.pruning import Why, plan, plan_staging
from model_release.registry import Registry

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
RUNS = tuple(f"run-{number}" for number in range(12))
TIGHT = Retention(newest=1, days=0.0, past_currents=2, staging_hours=1.0)


def days_ago(days: float) -> dt.datetime:
    return NOW - dt.timedelta(days=days)


def found(*run_ids: str, days: float = 100.0) -> list[FoundRun]:
    return [FoundRun(run_id, days_ago(days - place / 1000), 10) for place, run_id in enumerate(run_ids)]


def registered(*run_ids: str) -> Registry:
    registry = Registry()
    for run_id in run_ids:
        registry = transitions.register(
            registry, run_id=run_id, manifest_sha256="0" * 64, release_id="r", at=days_ago(100)
        )
    return registry


def released(registry: Registry, *run_ids: str, days: float = 90.0) -> Registry:
    for place, run_id in enumerate(run_ids):
        at = days_ago(days - place / 10)
        registry = transitions.promote(registry, run_id=run_id, release_id=f"of-{run_id}-{place}", at=at)
    return registry


def entry(event: Event, run_id: str, *, days: float = 80.0, release_id: str = "r", previous: str | None = None) -> LedgerEntry:  # fmt: skip
    return LedgerEntry(
        at=days_ago(days), event=event, release_id=release_id, by="test", run_id=run_id, previous_run_id=previous
    )


def test_what_nothing_speaks_for_goes_and_every_reason_is_told() -> None:
    registry = released(registered(*RUNS), "run-0", "run-1", "run-2", "run-3", "run-4")
    registry = transitions.start_trial(
        registry, run_id="run-5", mode="shadow", rollout=0.1, release_id="t", at=days_ago(70)
    )
    entries = [
        hold_entry("run-6", held=True, reason="why", by="me", at=days_ago(60)),
        entry(Event.REGISTERED, "run-7", release_id="open", previous="run-8"),
        entry(Event.NOTIFIED, "run-9", days=0.0),
    ]
    result = plan(Retention(newest=1, days=10, past_currents=2), registry, entries, found(*RUNS), now=NOW)
    assert result.kept == {
        "run-2": Why.PAST_CURRENT,
        "run-3": Why.PREVIOUS,
        "run-4": Why.CURRENT,
        "run-5": Why.CANDIDATE,
        "run-6": Why.HELD,
        "run-7": Why.OPEN_RELEASE,
        "run-8": Why.OPEN_RELEASE,
        "run-9": Why.YOUNG,
        "run-11": Why.NEWEST,
    }
    assert [run.run_id for run in result.doomed] == ["run-0", "run-1", "run-10"]


def test_the_age_counts_from_the_end_as_current_not_from_the_training() -> None:
    """A run that served for half a year and was superseded yesterday is young."""
    registry = released(registered("a", "b", "c", "d", "e"), "a")
    for place, run_id in enumerate("bcde"):
        registry = transitions.promote(registry, run_id=run_id, release_id=run_id, at=days_ago(1 - place / 10))
    result = plan(Retention(newest=1, days=2, past_currents=2), registry, [], found("a", "b", "c", "d", "e"), now=NOW)
    assert result.kept["a"] is Why.YOUNG


def test_a_run_that_served_well_is_kept_behind_those_that_were_rolled_back() -> None:
    """A row of bad releases must not push out the runs that one would go back to."""
    registry = released(registered("good-1", "good-2", "bad-1", "bad-2", "bad-3"), "good-1", "good-2")
    for number in (1, 2, 3):
        registry = released(registry, f"bad-{number}", days=50 - number)
        registry = transitions.promote(
            registry, run_id="good-2", release_id=f"back-{number}", at=days_ago(49.5 - number), cause="rollback"
        )
    result = plan(TIGHT, registry, [], found("good-1", "good-2", "bad-1", "bad-2", "bad-3"), now=NOW)
    assert result.kept["good-1"] is Why.PREVIOUS


def test_the_last_word_about_a_hold_counts() -> None:
    held = hold_entry("a", held=True, reason="x", by="me", at=days_ago(3))
    ended = hold_entry("a", held=False, reason="y", by="me", at=days_ago(2))
    again = hold_entry("a", held=True, reason="x", by="me", at=days_ago(1))
    assert not holds([held, ended])
    assert holds([held, ended, again]) == {"a": again}
    assert len({one.key for one in (held, ended, again)}) == 3  # the ledger takes each


def test_a_hold_that_ended_does_not_make_a_run_young() -> None:
    entries = [hold_entry("run-0", held=False, reason="y", by="me", at=NOW)]
    result = plan(Retention(newest=1, days=10), registered(), entries, found("run-0", "run-1"), now=NOW)
    assert [run.run_id for run in result.doomed] == ["run-0"]


def test_an_unfinished_run_goes_when_nobody_writes_to_it_and_nobody_names_it() -> None:
    entries = [entry(Event.REGISTERED, "named", release_id="open")]
    runs = [FoundRun("old", days_ago(1), 1), FoundRun("named", days_ago(1), 1), FoundRun("new", NOW, 1)]
    result = plan_staging(TIGHT, Registry(), entries, runs, now=NOW)
    assert [run.run_id for run in result.doomed] == ["old"]
    assert result.kept == {"new": Why.YOUNG, "named": Why.OPEN_RELEASE}


@pytest.mark.parametrize("change", [{"newest": 0}, {"past_currents": 1}, {"days": -1.0}, {"staging_hours": 0.5}])
def test_a_policy_can_not_take_the_ways_back_away(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="greater than or equal to"):
        Retention.model_validate({"newest": 1, **change})


def test_what_is_pruned_is_no_way_back() -> None:
    registry = released(registered("a", "b", "c"), "a", "b", "c")
    assert registry.last_good_run_id() == "b"
    assert transitions.forget(registry, {"b"}).last_good_run_id() == "a"
    assert transitions.forget(registry, {"b"}).generation == registry.generation
    with pytest.raises(ModelReleaseError, match="is current or on trial"):
        transitions.forget(registry, {"c"})


moves = st.lists(
    st.tuples(
        st.sampled_from(["promote", "rollback", "trial", "end", "withdraw", "hold", "unhold", "register", "reject"]),
        st.sampled_from(RUNS),
    ),
    max_size=40,
)
retentions = st.builds(
    Retention,
    newest=st.integers(1, 4),
    days=st.sampled_from([0.0, 1.0, 30.0]),
    past_currents=st.integers(2, 4),
    staging_hours=st.just(1.0),
)


def lived(history: list[tuple[str, str]]) -> tuple[Registry, list[LedgerEntry]]:
    """Return registry and ledger after a life of releases; a move that is refused changes nothing."""
    registry, entries = registered(*RUNS), list[LedgerEntry]()
    for place, (move, run_id) in enumerate(history):
        at, name = days_ago(60 - place), f"release-{place}"
        try:
            match move:
                case "promote" | "rollback":
                    cause = "release" if move == "promote" else "rollback"
                    registry = transitions.promote(registry, run_id=run_id, release_id=name, at=at, cause=cause)  # type: ignore[arg-type]
                case "trial":
                    registry = transitions.start_trial(
                        registry, run_id=run_id, mode="canary", rollout=0.1, release_id=name, at=at
                    )
                case "end":
                    registry = transitions.end_trial(registry)
                case "withdraw":
                    registry = transitions.withdraw(registry, at=at)
                case "hold" | "unhold":
                    entries.append(hold_entry(run_id, held=move == "hold", reason="why", by="me", at=at))
                case _:
                    event = Event.REGISTERED if move == "register" else Event.REJECTED
                    entries.append(entry(event, run_id, release_id=f"release-of-{run_id}", days=60 - place))
        except ModelReleaseError:
            continue
    return registry, entries


@settings(max_examples=300, deadline=None)
@given(history=moves, retention=retentions)
def test_never_removes_anything_that_is_protected(history: list[tuple[str, str]], retention: Retention) -> None:
    """Said once more, in other words than the rule's: by following rollbacks to their end and re-reading the ledger."""
    registry, entries = lived(history)
    result = plan(retention, registry, entries, found(*RUNS), now=NOW)
    gone = {run.run_id for run in result.doomed}
    assert gone.isdisjoint(result.kept)
    assert gone | set(result.kept) == set(RUNS)
    assert gone.isdisjoint(part.run_id for part in (registry.current, registry.candidate) if part is not None)
    assert gone.isdisjoint(holds(entries))
    assert gone.isdisjoint(one.run_id for one in entries if one.release_id in open_releases(entries))
    after, steps = transitions.forget(registry, gone), 0
    while (target := after.last_good_run_id()) is not None and steps < retention.past_currents:
        assert target in result.kept
        assert target == registry.last_good_run_id()  # pruning changes no way back
        after = transitions.promote(after, run_id=target, release_id=f"back-{steps}", at=NOW, cause="rollback")
        registry = transitions.promote(registry, run_id=target, release_id=f"back-{steps}", at=NOW, cause="rollback")
        steps += 1
    assert len(result.kept) >= min(retention.newest, len(RUNS))
    last_two = list(dict.fromkeys(past.run_id for past in registry.history))[: 2 if steps == 0 else 0]
    assert gone.isdisjoint(last_two)
