"""A decision as GitHub shows it on the page of a CI job: all results in a table, all details folded away."""

from __future__ import annotations

import json

from model_release.report.figures import (
    NOTHING,
    SIGNS,
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
from model_release.report.neutral import cut, for_html
from model_release.verdict import CheckResult, Decision

SUMMARY_BYTES = 1 << 20  # GitHub's limit for the summary of one step
_REASON_BYTES, _DETAILS_BYTES = 2000, 8000


def step_summary(decision: Decision, *, max_bytes: int = SUMMARY_BYTES) -> str:
    """Return the decision as GitHub's markdown, in at most ``max_bytes`` UTF-8 bytes: details go first, then passes."""
    results = worst_first(decision.results)
    details = [_details(result) for result in results]
    while True:
        text = "\n".join([*_head(decision), *_table(decision, results), *_folded(details), *_foot(decision), ""])
        if len(text.encode()) <= max_bytes:
            return text
        if details:
            details = details[: len(details) // 2]
        elif results:
            results = results[: len(results) // 2]
        else:
            return f"## Gate: {decision.verdict.upper()}\n"


def _head(decision: Decision) -> list[str]:
    about = (
        f"{decision.stage}, run {_bold(decision.run_id)} against {_bold(against(decision))}, "
        f"generation {or_nothing(decision.generation)}, release {for_html(decision.release_id or NOTHING)}"
    )
    lines = [
        f"## Gate: {decision.verdict.upper()} {SIGNS[decision.verdict]}",
        "",
        about,
        "",
        for_html(cut(decision.summary, _REASON_BYTES)),
        "",
    ]
    trial = trial_of(decision)
    return lines if trial is None else [*lines, f"Trial: {for_html(trial)}", ""]


def _table(decision: Decision, results: list[CheckResult]) -> list[str]:
    titles = ["", "verdict", "check", "about", "found", "wanted", counted(decision), "confidence", "reason"]
    lines = [_row(titles), _row(["---"] * len(titles))]
    for result in results:
        cells = [
            word(result), result.check, result.subject or NOTHING, found(result), wanted(result), samples(result),
            certainty(result), cut(result.reason, _REASON_BYTES),
        ]  # fmt: skip
        lines.append(_row([SIGNS[result.verdict], *map(for_html, cells)]))
    left_out = len(decision.results) - len(results)
    return [*lines, "", f"{left_out} more results had no room.", ""] if left_out else [*lines, ""]


def _folded(details: list[str]) -> list[str]:
    told = [text for text in details if text]
    if not told:
        return []
    return ["<details><summary>Every number</summary>", "", *told, "</details>", ""]


def _details(result: CheckResult) -> str:
    """Return the details of a result as a list item; a block of code could be closed by what is in it."""
    if not result.details:
        return ""
    text = json.dumps(dict(result.details), ensure_ascii=False, default=str, sort_keys=True)
    return f"<p>{for_html(named(result))}</p><pre>{for_html(cut(text, _DETAILS_BYTES))}</pre>\n"


def _foot(decision: Decision) -> list[str]:
    facts = (
        f"policy {decision.policy_name} {decision.policy_sha256}, code {decision.code_version}, "
        f"decided {decision.decided_at.isoformat(timespec='seconds')}"
    )
    files = [f"<li>{for_html(f'{name} {digest}')}</li>" for name, digest in sorted(decision.evidence.items())]
    folded = ["<details><summary>Files that were read</summary>", "", "<ul>", *files, "</ul>", "", "</details>"]
    return [f"<sub>{for_html(facts)}</sub>", "", *(folded if files else [])]


def _bold(text: str) -> str:
    return f"<b>{for_html(text)}</b>"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
