"""A decision for people: a table for the terminal, plain text for logs, markdown for messages."""

from __future__ import annotations

import io

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from model_release.verdict import CheckResult, Decision, Verdict

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.ERROR: "magenta",
    Verdict.FAIL: "red",
}
_SIGNS = {Verdict.PASS: "✅", Verdict.INCONCLUSIVE: "⏳", Verdict.ERROR: "⚠️", Verdict.FAIL: "❌"}
_COMPARED = {"at_least": "≥", "at_most": "≤"}
_NOTHING = "–"
_MOST_LINES = 8  # of a message; the rest is counted


def table(decision: Decision) -> RenderableType:
    """Return the decision with every number it stands on, to be printed by a ``rich`` console."""
    head = Text.assemble(
        ("Gate: ", "bold"),
        (decision.verdict.upper(), f"bold {_COLOURS[decision.verdict]}"),
        f"   run {decision.run_id}   against {_against(decision)}   generation {_or_nothing(decision.generation)}",
    )
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("verdict", "check", "about", "found", "wanted", "users"):
        rows.add_column(title, justify="right" if title in {"found", "wanted", "users"} else "left", overflow="fold")
    for result in decision.results:
        rows.add_row(
            Text(_word(result), _COLOURS[result.verdict]),
            Text(result.check),
            Text(result.subject or _NOTHING),
            Text(found(result)),
            Text(wanted(result)),
            Text(_samples(result)),
        )
    foot = Text(
        f"policy {decision.policy_name} {decision.policy_sha256[:12]}   code {decision.code_version}   "
        f"decided {decision.decided_at:%Y-%m-%d %H:%M:%S %Z}   release {decision.release_id or _NOTHING}",
        "dim",
    )
    return Group(head, rows, *_reasons(decision), foot)


def _reasons(decision: Decision) -> list[Text]:
    """Return why each result is what it is, where the numbers of the table do not say it: the worst first."""
    spoken = [result for result in decision.results if result.verdict is not Verdict.PASS or result.value is None]
    spoken.sort(key=lambda result: (-result.blocking.badness, -result.verdict.badness))
    return [
        Text.assemble((f"{_word(result)} ", _COLOURS[result.verdict]), f"{_named(result)}: {result.reason}")
        for result in spoken
    ]


def plain(decision: Decision, *, width: int = 160) -> str:
    """Return :func:`table` as text without colours, ``width`` columns wide: for a log."""
    console = Console(file=io.StringIO(), width=width, force_terminal=False, color_system=None)
    with console.capture() as captured:
        console.print(table(decision))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def markdown(decision: Decision) -> str:
    """Return the decision in a few lines: what did not pass first, each with its numbers; then how many passed."""
    against = _NOTHING if decision.against is None else f"`{decision.against}`"
    about = (
        f"run `{decision.run_id}` against {'no_baseline' if decision.no_baseline else against}, "
        f"generation {_or_nothing(decision.generation)}, policy {decision.policy_name} `{decision.policy_sha256[:12]}`"
    )
    lines = [f"**Gate: {decision.verdict.upper()}** {_SIGNS[decision.verdict]}", about]
    order = sorted(decision.results, key=lambda result: (-result.blocking.badness, -result.verdict.badness))
    loud = [result for result in order if result.verdict is not Verdict.PASS]
    lines += [f"- {_SIGNS[result.verdict]} {_line(result)}" for result in loud[:_MOST_LINES]]
    if len(loud) > _MOST_LINES:
        lines.append(f"- and {len(loud) - _MOST_LINES} more that did not pass")
    passed = len(decision.results) - len(loud)
    if passed:
        lines.append(f"- {_SIGNS[Verdict.PASS]} {passed} of {len(decision.results)} results passed")
    return "\n".join(lines) + "\n"


def found(result: CheckResult) -> str:
    """Return the value of a result, with its interval if it has one."""
    if result.value is None:
        return _NOTHING
    value = f"{_number(result.value, signed=result.interval is not None)}{_unit(result)}"
    if result.interval is None:
        return value
    low, high = result.interval
    ends = ("" if end is None else _number(end, signed=True) for end in (low, high))
    return f"{value} [{', '.join(ends)}]"


def wanted(result: CheckResult) -> str:
    """Return the limit of a result: what its value, or the end of its interval, was held against."""
    if result.limit is None or result.direction is None:
        return _NOTHING
    if result.interval is not None:
        sign = ">" if result.direction == "at_least" else "<"
        return f"{sign} {_number(result.limit, signed=True)}{_unit(result)}"
    return f"{_COMPARED[result.direction]} {_number(result.limit)}{_unit(result)}"


def _word(result: CheckResult) -> str:
    return f"{result.verdict.upper()} (dry run)" if result.dry_run else result.verdict.upper()


def _named(result: CheckResult) -> str:
    return f"{result.check} {result.subject}" if result.subject else result.check


def _line(result: CheckResult) -> str:
    return f"{_named(result)}: {result.reason}{' (dry run)' if result.dry_run else ''}"


def _samples(result: CheckResult) -> str:
    if result.samples is None:
        return _NOTHING
    if result.minimum_samples is None:
        return str(result.samples)
    sign = "≥" if result.samples >= result.minimum_samples else "<"
    return f"{result.samples} {sign} {result.minimum_samples}"


def _number(value: float, *, signed: bool = False) -> str:
    return f"{value:+.4f}" if signed else f"{value:.4g}"


def _unit(result: CheckResult) -> str:
    return f" {result.unit}" if result.unit else ""


def _against(decision: Decision) -> str:
    return "no_baseline" if decision.no_baseline else decision.against or _NOTHING


def _or_nothing(value: object) -> str:
    return _NOTHING if value is None else str(value)
