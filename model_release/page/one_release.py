"""One release: its steps, and what the gate decided at each stage, check by check."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import AwareDatetime

from model_release.artifact import Frozen
from model_release.identifiers import task_of
from model_release.ledger import Event, LedgerEntry
from model_release.page.part import Part
from model_release.page.releases import Release
from model_release.report import figures
from model_release.report.scale import equal, place
from model_release.verdict import CheckResult, Decision

MOST_STEPS = 300


class Place(Frozen):
    """Where a result lies, in margins or shares of its limit from the limit on, better to the right."""

    value: float
    low: float | None
    high: float | None
    equal: float | None  # where no difference lies


class Check(Frozen):
    """One result of a decision; ``found`` and ``wanted`` are its numbers as they are written everywhere."""

    check: str
    kind: str
    subject: str
    verdict: str
    blocks: bool
    remark: str
    reason: str
    found: str
    wanted: str
    samples: str
    certainty: str
    difference: bool
    place: Place | None


class Judgement(Frozen):
    """A decision of the gate, the worst results first."""

    stage: str
    verdict: str
    run_id: str
    against: str | None
    no_baseline: bool
    decided_at: AwareDatetime
    policy_name: str
    policy_sha256: str
    code_version: str
    generation: int | None
    summary: str
    counted: str
    checks: tuple[Check, ...]
    evidence: tuple[str, ...]


class Step(Frozen):
    """One entry of the ledger; ``task_id``: the task of the release's own DAG run that wrote it."""

    at: AwareDatetime
    event: Event
    by: str
    run_id: str | None
    mode: str | None
    rollout: float | None
    generation: int | None
    verdict: str | None
    stage: str | None
    reason: str
    task_id: str | None


class OneRelease(Frozen):
    """A release, its steps, oldest first, and its last decision of each stage; ``graph``: Prometheus' own of that time."""

    release: Release
    steps: tuple[Step, ...]
    cut: bool
    judgements: Mapping[str, Part[Judgement]]
    graph: Part[str]


def one_release(
    release: Release,
    entries: Iterable[LedgerEntry],
    judgements: Mapping[str, Part[Judgement]],
    graph: Part[str],
) -> OneRelease:
    """Return a release with its last ``MOST_STEPS`` steps; ``entries`` may be the whole ledger."""
    own = [entry for entry in entries if entry.release_id == release.release_id]
    steps = tuple(_step(entry, release.dag_id) for entry in own[-MOST_STEPS:])
    return OneRelease(release=release, steps=steps, cut=len(own) > len(steps), judgements=judgements, graph=graph)


def judgement(decision: Decision) -> Judgement:
    """Return a decision as it is shown."""
    return Judgement(
        stage=decision.stage,
        verdict=decision.verdict,
        run_id=decision.run_id,
        against=decision.against,
        no_baseline=decision.no_baseline,
        decided_at=decision.decided_at,
        policy_name=decision.policy_name,
        policy_sha256=decision.policy_sha256,
        code_version=decision.code_version,
        generation=decision.generation,
        summary=decision.summary,
        counted=figures.counted(decision),
        checks=tuple(map(check_shown, figures.worst_first(decision.results))),
        evidence=tuple(sorted(decision.evidence)),
    )


def check_shown(result: CheckResult) -> Check:
    """Return a result as it is shown."""
    certainty = figures.certainty(result)
    return Check(
        check=result.check,
        kind=result.kind,
        subject=result.subject,
        verdict=result.verdict,
        blocks=result.severity == "critical" and not result.dry_run,
        remark=figures.remark(result).strip(),
        reason=result.reason,
        found=figures.found(result),
        wanted=figures.wanted(result),
        samples=figures.samples(result),
        certainty="" if certainty == figures.NOTHING else certainty,
        difference=figures.is_difference(result),
        place=placed(result),
    )


def placed(result: CheckResult) -> Place | None:
    """Return where a result lies; None: it has no number to draw."""
    found = place(result)
    return None if found is None else Place(value=found[0], low=found[1], high=found[2], equal=equal(result))


def _step(entry: LedgerEntry, dag_id: str | None) -> Step:
    task = task_of(entry.by)
    return Step(
        at=entry.at,
        event=entry.event,
        by=entry.by,
        run_id=entry.run_id,
        mode=entry.mode,
        rollout=entry.rollout,
        generation=entry.generation,
        verdict=_text(entry.details.get("verdict")),
        stage=_text(entry.details.get("stage")),
        reason=entry.reason,
        task_id=task[1] if task is not None and task[0] == dag_id else None,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
