"""What simulate found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from model_release.report.figures import NOTHING
from model_release.report.neutral import one_line
from model_release.simulation.replay import Replayed, changes
from model_release.simulation.tally import CONFIDENCE, Ending, Share, Tally, worst_reach

_WORDS = {
    Ending.PASSED: "passed",
    Ending.FAILED: "failed",
    Ending.UNDECIDED: "undecided, rejected",
    Ending.UNMEASURED: "not measured, rejected",
}


def replay_table(replayed: Sequence[Replayed]) -> list[RenderableType]:
    """Return every past decision, then the counts of those that could be made again."""
    rows = _table("release", "stage", "run", "then", "now", "became", "because")
    for one in replayed:
        now = "not replayable" if one.now is None else one.now.upper()
        past = one.past
        cells = (past.release_id, past.stage, past.run_id, past.verdict.upper(), now, one.became, one.because)
        rows.add_row(*(Text(one_line(cell)) for cell in cells))
    counts = changes(replayed)
    again = sum(counts.values())
    summary = _table("stage", "then", "now", "became", "releases")
    for (stage, then, now_, outcome), count in sorted(counts.items()):
        summary.add_row(stage, then.upper(), now_.upper(), outcome, str(count))
    left_out = len(replayed) - again
    head = f"Past releases: {again} decisions judged again, {left_out} not replayable and not counted"
    return [Text(head, "bold"), rows, *([summary] if again else [])]


def tally_table(title: str, about: str, tallies: Sequence[Tally]) -> list[RenderableType]:
    """Return how often each scenario ended how, and after how long."""
    timed = any(attempt.minutes is not None for tally in tallies for attempt in tally.attempts)
    endings = [ending for ending in Ending if ending in set(list(Ending)[:3]) or _any(tallies, ending)]
    rows = _table("candidate", *(_WORDS[ending] for ending in endings), *(("minutes: median", "90 %") if timed else ()))
    for tally in tallies:
        times = [_minutes(tally.minutes(0.5)), _minutes(tally.minutes(0.9))] if timed else []
        rows.add_row(tally.scenario, *(_share(tally.share(ending)) for ending in endings), *times)
    repeats = len(tallies[0].attempts)
    exact = (
        f"{repeats} simulated releases per line; in brackets the interval that holds the true share with "
        f"{100 * CONFIDENCE:g} % confidence (Clopper and Pearson), at most ±{100 * worst_reach(repeats):.1f} %."
    )
    waited = " Minutes are of those that passed or failed." if timed else ""
    return [Text(f"{title}: {one_line(about)}", "bold"), rows, Text(exact + waited, "dim")]


def _any(tallies: Sequence[Tally], ending: Ending) -> bool:
    return any(tally.share(ending).count for tally in tallies)


def _share(share: Share) -> str:
    low, high = share.interval
    return f"{100 * share.value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def _minutes(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"


def _table(*titles: str) -> Table:
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        rows.add_column(title, overflow="fold")
    return rows
