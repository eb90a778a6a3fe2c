"""From the parts of a day to its status: what differs counts before what is missing, and missing is never agreement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from model_release.policy import Tolerance
from model_release.reconciling.document import Compared, Counted, LogFacts, Measured, RunFacts, TakenFacts

Status = Literal["agrees", "differs", "missing"]
MOST_PROBLEMS, LONGEST_PROBLEM = 1000, 1000  # what the gate reads


def of_counts(log: LogFacts, counted: Counted, tolerance: Tolerance) -> Counted:
    """Return ``counted`` with its verdict: whether the log has the answers that were counted, lost ones aside."""
    if counted.status != "agrees" or counted.answers is None:
        return counted
    most = max(counted.answers, float(log.answers))
    lost = abs(counted.answers - log.answers) / most if most else 0.0
    if lost <= tolerance.maximum_lost_share:
        return counted
    told = (
        f"the exposure log has {log.answers:,} answers, Prometheus counted about {counted.answers:,.0f}: "
        f"{lost:.1%} apart, {tolerance.maximum_lost_share:.1%} are allowed"
    )
    return counted.model_copy(update={"status": "differs", "problems": (told,)})


def conclude(
    log: LogFacts,
    taken: TakenFacts,
    runs: Sequence[RunFacts],
    compared: Sequence[tuple[str, Compared]],
    *,
    tolerance: Tolerance,
    missing: Sequence[str],
) -> tuple[Status, tuple[str, ...]]:
    """Return status and problems of a day.

    Args:
        log: the exposure log.
        taken: what people did.
        runs: what each run showed, and what came of it.
        compared: the other parts, each with its name.
        tolerance: of the policy.
        missing: what else is known not to be there, in whole sentences.
    """
    differs = [f"{_named(run)}: {name} {found.reason}" for run in runs for name, found in _with(run, "broken")]
    differs += [f"{name}: {told}" for name, part in compared for told in part.problems if part.status == "differs"]
    lacking = [*_of_log(log, tolerance), *missing]
    lacking += [f"{name}: {part.reason}" for name, part in compared if part.status == "missing"]
    if log.answers and taken.used:
        lacking += _of_runs(runs, tolerance)
    problems = tuple(told[:LONGEST_PROBLEM] for told in (*differs, *lacking))[:MOST_PROBLEMS]
    return ("differs" if differs else "missing" if lacking else "agrees"), problems


def _of_log(log: LogFacts, tolerance: Tolerance) -> list[str]:
    if not log.files:
        return ["there is no exposure log of that day: nothing is known of what was served"]
    found = [f"log gap: {gap}" for gap in log.gaps]
    if log.unreadable_files:
        found.append(f"{log.unreadable_files} files of the exposure log can't be read")
    lines = log.answers + log.outcomes + log.unreadable_lines
    if lines and log.unreadable_lines / lines > tolerance.maximum_lost_share:
        found.append(f"{log.unreadable_lines:,} of {lines:,} lines of the exposure log can't be read")
    if not log.answers and not found:
        found.append("the exposure log has no answer of that day")
    return found


def _of_runs(runs: Sequence[RunFacts], tolerance: Tolerance) -> list[str]:
    """Say what could not be judged: a run that enough users had without a promise, or no run at all."""
    found = [
        f"{_named(run)}: {told}"
        for run in runs
        if _with(run, "not_comparable")
        for told in run.not_comparable
    ]  # fmt: skip
    judged = any(_with(run, "kept", "broken", "unclear") for run in runs)
    if not judged and not found:
        found.append(
            f"too few users: of no run did {tolerance.minimum_users} take something after an answer that can be compared"
        )
    return found


def _with(run: RunFacts, *results: str) -> list[tuple[str, Measured]]:
    return [(name, found) for name, found in run.metrics.items() if found.result in results]


def _named(run: RunFacts) -> str:
    return f"{run.run_id or 'no run'} ({run.variant})"
