"""A reconciliation in words: for a terminal, and as the message of the day."""

from __future__ import annotations

import hashlib

from model_release.messages import MARKDOWN_BYTES, Message, link_to
from model_release.reconciling.document import Document, Measured, RunFacts
from model_release.report.neutral import cut, for_robot

_TITLES = {
    "agrees": "✅ Reconciled",
    "differs": "⚠️ Not what was promised or desired",
    "missing": "❓ Could not be reconciled",
}
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


def message(document: Document, *, link: str) -> Message:
    """Return the message of the day; the same findings make the same ``fact``, whoever reconciles again."""
    title = f"{_TITLES[document.status]}: {document.date}"
    lines = [f"**{title}**", _summary(document)]
    lines += [
        cut(for_robot(f"{_run(run)}: {name} {_figures(found)}"), _LINE_BYTES)
        for run in document.runs[:_MOST_RUNS]
        for name, found in run.metrics.items()
        if found.mean is not None
    ]  # fmt: skip
    told = document.problems[:_MOST_PROBLEMS]
    lines += [f"- {cut(for_robot(problem), _LINE_BYTES)}" for problem in told]
    if len(document.problems) > len(told):
        lines.append(f"- and {len(document.problems) - len(told)} more")
    foot = link_to(link)
    while len("\n".join([*lines, "", foot]).encode()) > MARKDOWN_BYTES:
        lines.pop()
    return Message(
        title=title,
        markdown="\n".join([*lines, "", foot]),
        good=document.status == "agrees",
        fact=fact(document),
    )


def fact(document: Document) -> str:
    """Return what the message of a document reports, once."""
    said = hashlib.sha256("\n".join(document.problems).encode()).hexdigest()[:12]
    return f"reconciliation of {document.date}: {document.status} {said}"


def _summary(document: Document) -> str:
    log, taken = document.log, document.taken
    return (
        f"{log.answers:,} answers, {taken.users:,} users took something ({' and '.join(taken.used) or 'from nothing'})"
    )
