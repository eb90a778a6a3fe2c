"""What was found, as Markdown: written into docs/chaos.md between two marks, from the lines that a run left behind."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.services import PROJECT

PAGE = PROJECT / "docs" / "chaos.md"
Line = Mapping[str, Any]


def read_lines(file: Path) -> list[Line]:
    """Return what a run wrote, one line of JSON per release or round."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def matrix_tables(released: Sequence[Line], steps: Sequence[str]) -> str:
    """Return one table by kind of fault, one of the times by kind and step, and the list of what failed."""
    injected = [one for line in released for one in line["injected"]]
    failing = [line for line in released if line["violations"]]
    kinds = list(dict.fromkeys(one["fault"] for one in injected))
    rows = [_kind_row("none", [], [line for line in released if not line["injected"]])]
    for kind in kinds:
        faults = [one for one in injected if one["fault"] == kind]
        rows.append(
            _kind_row(kind, faults, [line for line in released if any(one in faults for one in line["injected"])])
        )
    head = [
        "fault",
        "faults",
        "releases",
        "pieces disturbed",
        "ended new",
        "ended old",
        "agreed after s, median",
        "most",
        "release s, median",
        "most",
        "failing",
    ]
    cells = [[kind, *(_times(injected, kind, step) for step in steps)] for kind in kinds]
    parts = [
        f"{len(injected)} faults in {len(released)} releases; {len(failing)} releases with something wrong.",
        "A release stands in the row of each kind of fault that hit it.",
        _table(head, rows),
        "Seconds until all agreed, at each step: median / most; empty: that step was not reached, or the fault is not done there.",
        _table(["fault", *(f"`{step}`" for step in steps)], cells),
        "What failed:\n\n" + ("\n".join(_failures(failing)) if failing else "- nothing"),
    ]
    return "\n\n".join(parts)


def services_table(released: Sequence[Line]) -> str:
    """Return one row for each release: what was killed when, and how it ended."""
    rows = [
        [
            line["label"],
            ", ".join(f"`{one['step']}`" for one in line["injected"]) or "nowhere",
            line["outcome"],
            line["state"],
            ", ".join(_seconds(one["agreed_seconds"]) for one in line["injected"]),
            f"{line['seconds']:.0f}",
            "; ".join(line["violations"]) or "nothing",
        ]
        for line in released
    ]
    return _table(["killed", "at", "ended", "DAG run", "agreed after s", "release s", "wrong"], rows)


def _seconds(found: float | None) -> str:
    return "never" if found is None else f"{found:.1f}"


def lease_table(rounds: Sequence[Line]) -> str:
    """Return the table of the rounds in which all of Airflow was killed."""
    count = max(len(line["back_after"]) for line in rounds)
    head = [
        "round",
        "killed s before the lease's end",
        "renewed before",
        *(f"replica {place + 1} back, s after it" for place in range(count)),
        "wrong",
    ]
    rows = [
        [
            str(line["number"]),
            f"{line['killed_before']:.1f}",
            "yes" if line["renewed"] else "no",
            *(f"{after:.2f}" for after in line["back_after"]),
            "; ".join(line["violations"]) or "nothing",
        ]
        for line in rounds
    ]
    well = sum(not line["violations"] for line in rounds)
    most = max(after for line in rounds for after in line["back_after"])
    return (
        f"{well} of {len(rounds)} rounds as promised; the slowest replica was back {most:.2f} s after its lease ran out.\n\n"
        + _table(head, rows)
    )


def write_page(part: str, text: str, page: Path = PAGE) -> None:
    """Put ``text`` between the marks of ``part`` in the page."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no marks {begin} and {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


def _kind_row(kind: str, faults: Sequence[Line], lines: Sequence[Line]) -> list[str]:
    """Return the row of a kind of fault: of its faults, and of the releases that they hit."""
    agreed = [one["agreed_seconds"] for one in faults if one["agreed_seconds"] is not None]
    seconds = [line["seconds"] for line in lines]
    ended = [line["outcome"] for line in lines]
    return [
        kind,
        str(len(faults)),
        str(len(lines)),
        str(sum(line["disturbed"] for line in lines) or ""),
        str(ended.count("new")),
        str(ended.count("old")),
        f"{statistics.median(agreed):.1f}" if agreed else "",
        f"{max(agreed):.1f}" if agreed else "",
        f"{statistics.median(seconds):.0f}" if seconds else "",
        f"{max(seconds):.0f}" if seconds else "",
        str(sum(bool(line["violations"]) for line in lines)),
    ]


def _times(injected: Iterable[Line], kind: str, step: str) -> str:
    found = [one["agreed_seconds"] for one in injected if (one["fault"], one["step"]) == (kind, step)]
    agreed = [seconds for seconds in found if seconds is not None]
    if not found:
        return ""
    never = len(found) - len(agreed)
    return (f"{statistics.median(agreed):.1f} / {max(agreed):.1f}" if agreed else "") + (
        f" never: {never}" if never else ""
    )


def _failures(lines: Iterable[Line]) -> list[str]:
    return [f"- {line['label']}, release `{line['dag_run_id']}`: {'; '.join(line['violations'])}" for line in lines]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
