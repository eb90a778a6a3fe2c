"""What the entries of a ledger tell."""

from __future__ import annotations

import datetime as dt

import pytest
from pydantic import ValidationError

from model_release.ledger import Event, LedgerEntry, of_release, served_at

NOW = dt.datetime(2026, 1, 5, 12, tzinfo=dt.UTC)


def commit(generation: int, run_id: str | None, minutes: int, mode: str = "primary") -> LedgerEntry:
    """Return the commit of a run at some minute."""
    return LedgerEntry.model_validate(
        {
            "at": NOW + dt.timedelta(minutes=minutes),
            "event": Event.COMMITTED,
            "release_id": f"release-{generation}",
            "by": "test",
            "run_id": run_id,
            "generation": generation,
            "mode": mode,
        }
    )


ENTRIES = [commit(1, "run-a", 0), commit(2, "run-b", 10, "canary"), commit(3, "run-b", 20), commit(4, "run-a", 30)]


@pytest.mark.parametrize(
    ("minutes", "run_id"), [(-1, None), (0, "run-a"), (15, "run-a"), (20, "run-b"), (29, "run-b"), (99, "run-a")]
)
def test_the_ledger_says_what_served_when(minutes: int, run_id: str | None) -> None:
    """The last commit of a primary run before the time; a trial serves nobody."""
    found = served_at(ENTRIES, NOW + dt.timedelta(minutes=minutes))
    assert (found.run_id if found else None) == run_id


def test_of_two_commits_in_one_instant_the_later_generation_counts() -> None:
    """Clocks are coarse; generations are not."""
    found = served_at([commit(6, "run-b", 0), commit(5, "run-a", 0)], NOW)
    assert found is not None
    assert found.run_id == "run-b"


def test_the_entries_of_a_release_keep_their_order() -> None:
    """Only its own, oldest first."""
    entries = [*ENTRIES, commit(5, "run-c", 40).model_copy(update={"release_id": "release-1"})]
    assert [entry.generation for entry in of_release(entries, "release-1")] == [1, 5]


@pytest.mark.parametrize(
    "change",
    [{"at": "2026-01-05T12:00:00"}, {"run_id": "../a"}, {"event": "maybe"}, {"by": ""}, {"rollout": 1.5}, {"x": 1}],
)
def test_an_entry_says_only_what_can_be(change: dict[str, object]) -> None:
    """Times without zone, paths, unknown events, nobody, shares above one and unknown keys are errors."""
    with pytest.raises(ValidationError):
        LedgerEntry.model_validate({**ENTRIES[0].model_dump(), **change})
