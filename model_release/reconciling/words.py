"""A reconciliation in words: for a terminal, and as the message of the day."""

from __future__ import annotations

import datetime as dt
import hashlib

from model_release.evidence import Reconciliation
from model_release.messages import MARKDOWN_BYTES, Message, linked
from model_release.reconciling.document import Document, Measured, RunFacts
from model_release.report.neutral import cut, for_robot

_TITLES = {
    "agrees": "✅ Reconciled",
    "differs": "⚠️ Not what was promised or desired",
    "missing": "❓ Could not be reconciled",
}
_NEWS = dt.timedelta(hours=48)  # after the end of what it is about
_LINE_BYTES, _MOST_PROBLEMS, _MOST_RUNS = 400, 5, 3


def describe(document: Document) -> str:
    """Return the document in a few lines for a terminal or a log."""
    log, taken = document.log, document.taken
    files = f"{log.files} files of {len(log.replicas)} replicas, {log.unreadable_lines:,} lines unreadable"
    lines = [
        f"{document.date} ({document.zone}): {document.status}{'' if document.complete else ', so far'}",
        f"  log        {log.answers:,} answers, {log.outcomes:,} outcomes, {files}",
        f"  taken      by {taken.users:,} users, from {' and '.join(taken.used) or 'nothing'}",
    ]
    for name in ("serving", "registry", "replicas", "metrics"):
        part = getattr(document, name)
        lines.append(f"  {name:<10} {part.status}{f': {part.reason}' if part.reason else ''}")
    for run in document.runs:
        lines.append(f"  {_run(run)}: {run.answers:,} answers to {run.users:,} users")
        lines += [f"    {name:<16}{_figures(found)}" for name, found in run.metrics.items()]
    return "\n".join([*lines, *(f"  ! {problem}" for problem in document.problems)])


def _run(run: RunFacts) -> str:
    return f"{run.run_id or 'no run'} ({run.variant})"


def _figures(found: Measured) -> str:
    if found.mean is None or found.lower is None:
        return found.reason
    promised = "" if found.promised is None else f", promised {found.promised:.4f}"
    return f"{found.mean:.4f} [{found.lower:.4f}, {found.upper:.4f}] of {found.users:,} users{promised}: {found.result}"


def message(found: Reconciliation, *, link: str) -> Message:
    """Return the message of a day, with figures if it has any; the same findings make the same ``fact``."""
    so_far = isinstance(found, Document) and not found.complete
    title = f"{_TITLES[found.status]}: {found.date}{', so far' if so_far else ''}"
    lines = [f"**{title}**", *(_facts(found) if isinstance(found, Document) else [])]
    told = found.problems[:_MOST_PROBLEMS]
    lines += [f"- {cut(for_robot(problem), _LINE_BYTES)}" for problem in told]
    if len(found.problems) > len(told):
        lines.append(f"- and {len(found.problems) - len(told)} more")
    foot = linked(link)
    while len("\n".join([*lines, "", foot]).encode()) > MARKDOWN_BYTES:
        lines.pop()
    said = hashlib.sha256("\n".join([title, *found.problems]).encode()).hexdigest()[:12]
    return Message(
        title=title,
        markdown="\n".join([*lines, "", foot]),
        good=found.status == "agrees",
        fact=f"reconciliation of {found.date}: {found.status} {said}",
    )


def failure(*, link: str) -> Message:
    """Return the message that a day could not be reconciled at all."""
    title = "❌ The reconciliation failed"
    text = f"**{title}**\nno file was written; the task's log says why\n\n{linked(link)}"
    return Message(title=title, markdown=text, good=False, fact="the reconciliation failed")


def is_news(ended: dt.datetime, now: dt.datetime) -> bool:
    """Whether something that is about the time up to ``ended`` is still told: a backfill's findings are in its files."""
    return now - ended <= _NEWS


def _facts(document: Document) -> list[str]:
    figures = [
        cut(for_robot(f"{_run(run)}: {name} {_figures(found)}"), _LINE_BYTES)
        for run in document.runs[:_MOST_RUNS]
        for name, found in run.metrics.items()
        if found.mean is not None
    ]
    return [_summary(document), *figures]


def _summary(document: Document) -> str:
    log, taken = document.log, document.taken
    return (
        f"{log.answers:,} answers, {taken.users:,} users took something ({' and '.join(taken.used) or 'from nothing'})"
    )
