"""A decision as a table: for a terminal with colours, for a log without."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from model_release.report.figures import (
    NOTHING,
    against,
    certainty,
    counted,
    found,
    named,
    or_nothing,
    samples,
    trial_of,
    wanted,
    word,
    worst_first,
)
from model_release.report.neutral import one_line
from model_release.verdict import CheckResult, Decision, Verdict

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "magenta",
    Verdict.FAIL: "red",
}
_NUMERIC = frozenset({"found", "wanted", "users", "answers"})


def table(decision: Decision) -> RenderableType:
    """Return the decision with every number it stands on, to be printed by a ``rich`` console."""
    foot = Text(
        f"policy {decision.policy_name} {decision.policy_sha256[:12]}   code {decision.code_version}   "
        f"decided {decision.decided_at:%Y-%m-%d %H:%M:%S %Z}   release {decision.release_id or NOTHING}",
        "dim",
    )
    return Group(*_head(decision), _rows(decision), *_reasons(decision), foot)


def plain(decision: Decision, *, width: int = 160) -> str:
    """Return :func:`table` as text without colours, ``width`` columns wide: for a log."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table(decision))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _head(decision: Decision) -> list[Text]:
    head = Text.assemble(
        ("Gate: ", "bold"),
        (decision.verdict.upper(), f"bold {_COLOURS[decision.verdict]}"),
        f"   {decision.stage}   run {one_line(decision.run_id)}   against {one_line(against(decision))}   "
        f"generation {or_nothing(decision.generation)}",
    )
    trial = trial_of(decision)
    return [head] if trial is None else [head, Text(f"Trial: {one_line(trial)}")]


def _rows(decision: Decision) -> Table:
    with_certainty = any(certainty(result) != NOTHING for result in decision.results)
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    titles = ["verdict", "check", "about", "found", "wanted", counted(decision)]
    for title in [*titles, "confidence"] if with_certainty else titles:
        rows.add_column(title, justify="right" if title in _NUMERIC else "left", overflow="fold")
    for result in decision.results:
        cells = [result.check, result.subject or NOTHING, found(result), wanted(result), samples(result)]
        cells += [certainty(result)] if with_certainty else []
        rows.add_row(Text(word(result), _COLOURS[result.verdict]), *(Text(one_line(cell)) for cell in cells))
    return rows


def _reasons(decision: Decision) -> list[Text]:
    """Return why each result is what it is, where the numbers of the table do not say it: the worst first."""
    return [
        Text.assemble((f"{word(result)} ", _COLOURS[result.verdict]), one_line(f"{named(result)}: {result.reason}"))
        for result in worst_first(decision.results)
        if _must_be_told(result)
    ]


def _must_be_told(result: CheckResult) -> bool:
    if result.kind == "trial" and result.verdict is Verdict.PASS:
        return False  # the head has it
    return result.verdict is not Verdict.PASS or result.value is None
