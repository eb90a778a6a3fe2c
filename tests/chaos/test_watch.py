"""Times to agree are read off what was seen; the tables say what the lines of a run say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.chaos.matrix import mixed
from tests.chaos.tables import lease_table, matrix_tables, services_table, write_page
from tests.chaos.watch import Sample, seconds_to_agree

BAD = ("replica 1 does not answer",)


def _samples(*problems: tuple[str, ...]) -> list[Sample]:
    """One sample per second from second 10."""
    return [(10.0 + place, found) for place, found in enumerate(problems)]


@pytest.mark.parametrize(
    ("seen", "over", "seconds"),
    [
        (((), (), (), ()), 11.0, 0.0),  # nothing ever disagreed
        (((), BAD, BAD, (), ()), 11.0, 3.0),
        (((), BAD, (), (), (), ()), 14.0, 2.0),  # it agreed before the fault was over, and still does
        (((), BAD, (), BAD, (), ()), 11.0, 4.0),  # by two looks in a row
        (((), BAD, BAD), 11.0, None),
        (((), BAD, ()), 11.0, None),  # one look is not enough
        (((), ()), 14.0, None),  # the fault is not over
    ],
)
def test_seconds_to_agree(seen: tuple[tuple[str, ...], ...], over: float, seconds: float | None) -> None:
    assert seconds_to_agree(_samples(*seen), 10.0, over) == seconds


def test_what_was_seen_before_the_fault_does_not_count() -> None:
    assert seconds_to_agree(_samples(BAD, (), (), ()), 10.5, 11.0) == 0.0


def _line(label: str, outcome: str, agreed: float | None, *violations: str) -> dict[str, Any]:
    injected = [{"fault": label, "step": "verify", "agreed_seconds": agreed}]
    about = {"label": label, "dag_run_id": "chaos_7", "outcome": outcome, "seconds": 31.4, "disturbed": 3}
    return {**about, "injected": injected, "violations": list(violations)}


def test_the_tables_say_what_was_found() -> None:
    """A case that failed is counted and listed; a time that was never reached is not left out silently."""
    lines = [_line("slow", "new", 2.0), _line("slow", "old", 4.0), _line("reset", "neither", None, "it ended neither")]
    text = matrix_tables(lines, ("register", "verify"))
    assert "3 faults in 3 releases; 1 releases with something wrong." in text
    assert "| slow | 2 | 2 | 6 | 1 | 1 | 3.0 | 4.0 | 31 | 31 | 0 |" in text
    assert "| reset | 1 | 1 | 3 | 0 | 0 |  |  | 31 | 31 | 1 |" in text
    assert "| slow |  | 3.0 / 4.0 |" in text
    assert "never: 1" in text
    assert "- reset, release `chaos_7`: it ended neither" in text


@pytest.mark.parametrize("kinds", [3, 4, 5, 20])
def test_mixed_releases_do_each_kind_once_at_each_step(kinds: int) -> None:
    """Whether or not the number of kinds and that of steps have a divisor in common."""
    steps = [f"step {number}" for number in range(11 if kinds != 4 else 8)]
    planned = [faults for _, faults in mixed([f"kind {number}" for number in range(kinds)], steps)]
    assert len(planned) == kinds
    assert len({(step, kind) for faults in planned for step, kind in faults.items()}) == kinds * len(steps)


def test_the_lease_table_counts_the_rounds_that_kept_the_promise() -> None:
    rounds = [
        {"number": 1, "killed_before": 12.0, "renewed": True, "back_after": [0.2, 0.4], "violations": []},
        {"number": 2, "killed_before": 11.0, "renewed": False, "back_after": [0.2, 7.0], "violations": ["late"]},
    ]
    text = lease_table(rounds)
    assert text.startswith("1 of 2 rounds as promised; the slowest replica was back 7.00 s")
    assert "| 2 | 11.0 | no | 0.20 | 7.00 | late |" in text


def test_the_table_of_services_says_what_failed() -> None:
    """Also that a fault was never over, or never done."""
    lines = [_line("Redis killed", "new", 2.0) | {"state": "success"}]
    lines += [_line("PostgreSQL killed", "neither", None, "told twice") | {"state": "failed"}]
    lines += [_line("worker killed", "new", None) | {"state": "success", "injected": []}]
    text = services_table(lines)
    assert "| Redis killed | `verify` | new | success | 2.0 | 31 | nothing |" in text
    assert "| PostgreSQL killed | `verify` | neither | failed | never | 31 | told twice |" in text
    assert "| worker killed | nowhere | new | success |  | 31 | nothing |" in text


def test_a_page_takes_its_part_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- lease: begin -->\nold\n<!-- lease: end -->\nafter\n")
    write_page("lease", "new", page)
    assert page.read_text() == "before\n<!-- lease: begin -->\nnew\n<!-- lease: end -->\nafter\n"
    with pytest.raises(ValueError, match="no marks"):
        write_page("matrix", "new", page)
