"""What ratio and latency share: counts of answers, block by block, and verdicts from e-processes.

FAIL if the process against "not worse by more than the margin" has ever reached 1/alpha: that it fell again later
does not undo it.  PASS if the one against "worse by the margin or more" is there now, with enough answers and after
enough time; it may fall again, for what counts is the trial as a whole.  In between INCONCLUSIVE.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from model_release import blocks
from model_release.blocks import Floats, Life, Process, Series
from model_release.checks.freshness import CLOCK_SKEW_SECONDS
from model_release.checks.results import result
from model_release.checks.trials import TrialView
from model_release.errors import UnmeasurableError
from model_release.evidence import Missing, RangeQuery
from model_release.policy.online import SequentialPolicy
from model_release.sequential import needed
from model_release.verdict import CheckResult, Verdict

_MOST_IMPOSSIBLE = 0.02  # share of blocks that count more than there was; more than one, and of them, is no accident
_NEVER = "not at the present rates"


@dataclass(frozen=True)
class Group:
    """What several selectors found of one arm, and what they are called in reasons."""

    queries: tuple[RangeQuery, ...]
    series: tuple[Series, ...]

    @property
    def name(self) -> str:
        """The selectors."""
        return ", ".join(query.selector for query in self.queries)


@dataclass(frozen=True)
class Evidenced:
    """An e-process on either side, as logarithms after each block, and what they must reach."""

    harm: Floats
    safe: Floats
    enough: float

    @property
    def harmful(self) -> bool:
        """Whether the harm was ever proved."""
        return bool((self.harm >= self.enough).any())

    @property
    def safe_now(self) -> bool:
        """Whether the safe side is proved now."""
        return bool(self.safe[-1] >= self.enough)


@dataclass(frozen=True)
class Course:
    """How a check went, block by block; ``answers`` of the smaller arm so far: (blocks,)."""

    evidenced: Evidenced
    answers: Floats


@dataclass(frozen=True)
class Compared:
    """What a result tells: a value and its interval against a limit.

    Attributes:
        text: what was compared, up to "between ... and ...".
        value: share or difference of shares, None without answers.
        limit: what the interval is held against.
        direction: on which side of ``limit`` the interval should lie.
        interval: always-valid bounds of the value.
        smaller: (blocks,), answers of the arm that has fewer.
        impossible: blocks that counted more than there was.
        minutes: for how long there was something to see.
        queries: that brought the counts.
        details: what only this kind of check has.
        sign: how numbers are written: with their sign if they are differences.
    """

    text: str
    value: float | None
    limit: float
    direction: Literal["at_least", "at_most"]
    interval: tuple[float, float]
    smaller: Floats
    impossible: int
    minutes: float
    queries: tuple[RangeQuery, ...]
    details: Mapping[str, Any]
    sign: Literal["+", "-"] = "+"


def gathered(view: TrialView, queries: Sequence[RangeQuery]) -> Group:
    """Return the series of some queries, once each.

    Raises:
        UnmeasurableError: a query was not answered, found nothing, or something that does not fit the blocks or is no count.
    """
    found: list[Series] = []
    for query in dict.fromkeys(queries):
        history = view.online.histories.get(query, Missing(f"Prometheus was not asked for {query.selector}"))
        if isinstance(history, Missing):
            raise UnmeasurableError(history.reason, settled=history.settled)
        found += history.series
    group = Group(tuple(dict.fromkeys(queries)), tuple(found))
    problem = _unfit(group, len(view.online.bounds))
    if problem is not None:
        raise UnmeasurableError(problem)
    return group


def _unfit(group: Group, bounds: int) -> str | None:
    if not group.series:
        return f"no series of {group.name}: nothing counts them, or the selector is wrong"
    if any(len(one.values) != bounds for one in group.series):
        return f"the series of {group.name} are not sampled at the bounds of the blocks"
    labels = [tuple(sorted(one.labels.items())) for one in group.series]
    if len(set(labels)) != len(labels):
        return f"a series of {group.name} is there twice: it would be counted twice"
    return blocks.unusable(group.series)


def require_blocks(view: TrialView) -> int:
    """Return how many complete blocks there are.

    Raises:
        UnmeasurableError: the bounds are not those that follow from the start of the trial, or do not reach until now.
    """
    bounds, started = view.online.bounds, view.trial.started_at.timestamp()
    offset = view.online.clock_offset_seconds
    until = view.now.timestamp() + (0.0 if isinstance(offset, Missing) else offset)
    if not len(bounds):
        if until - started > view.policy.maximum_age_seconds + view.policy.step_seconds:
            if isinstance(view.online.scrapes, Missing):
                raise UnmeasurableError(view.online.scrapes.reason, settled=view.online.scrapes.settled)
            raise UnmeasurableError("no block of answers, although the trial has been going on for longer than one")
        return 0
    fixed = blocks.bounds(started, float(bounds[-1]) + view.policy.step_seconds / 2.0, view.policy.step_seconds)
    if len(fixed) != len(bounds) or not np.abs(fixed - bounds).max() < 1e-3:  # noqa: PLR2004  (a millisecond)
        raise UnmeasurableError("the blocks are not those that follow from the start of the trial")
    age = until - float(bounds[-1])
    limit = 2.0 * float(bounds[-1] - bounds[-2]) + view.policy.maximum_age_seconds
    if not -CLOCK_SKEW_SECONDS <= age <= limit:
        raise UnmeasurableError(f"the newest block ended {age:.0f} seconds ago, at most {limit:.0f} are allowed")
    return len(bounds) - 1


def require_alive(view: TrialView, groups: Iterable[Group], known: Mapping[Process, Life]) -> None:
    """Raise unless every process that is scraped has samples of every group up to the last bound.

    Raises:
        UnmeasurableError: a process that is scraped does not count, or has stopped to.
    """
    scrapes = view.online.scrapes
    if isinstance(scrapes, Missing):
        raise UnmeasurableError(scrapes.reason, settled=scrapes.settled)
    alive = [blocks.process_of(scrape.labels) for scrape in scrapes if scrape.up == 1.0]
    for group in groups:
        silent = blocks.lacking(group.series, alive)
        if silent:
            named = ", ".join(process[-1] or str(process) for process in silent[:3])
            raise UnmeasurableError(f"{named}: scraped, but without {group.name}")
        gone = blocks.vanished(group.series, alive, known)
        if gone:
            raise UnmeasurableError(f"{gone[0]} has vanished, although its process goes on")


def require_plausible(impossible: np.ndarray[Any, np.dtype[np.bool_]]) -> int:
    """Return how many blocks count more than there was.

    Raises:
        UnmeasurableError: they are too many to be an accident.
    """
    found = int(impossible.sum())
    if found > max(1.0, _MOST_IMPOSSIBLE * len(impossible)):
        raise UnmeasurableError(f"in {found} of {len(impossible)} blocks more answers count than there were")
    return found


def measured_minutes(view: TrialView, known: Mapping[Process, Life]) -> float:
    """Return for how long there was something to see: what Prometheus has lost, or never had, is no trial."""
    first = min((life.first for life in known.values()), default=len(view.online.bounds) - 1)
    return view.minutes - float(view.online.bounds[first] - view.online.bounds[0]) / 60.0


def verdict_of(
    policy: SequentialPolicy, view: TrialView, found: Evidenced, *, samples: float, minutes: float
) -> Verdict:
    """Return the verdict; FAIL goes before all else."""
    if found.harmful:
        return Verdict.FAIL
    enough = samples >= policy.minimum_requests and minutes >= view.policy.minimum_minutes
    return Verdict.PASS if found.safe_now and enough else Verdict.INCONCLUSIVE


def lacks(
    policy: SequentialPolicy, view: TrialView, found: Evidenced, *, counted: Floats, measured: float
) -> tuple[str, int | None]:
    """Say how many more answers are needed, and when they may be there; and how many, None if no number is enough.

    Args:
        policy: says what is needed.
        view: the trial.
        found: its e-processes, after at least one block.
        counted: (blocks,), answers of the smaller arm.
        measured: minutes for which there was something to see.
    """
    have = float(counted.sum())
    if not have > 0.0:
        return f"no answers yet, at least {policy.minimum_requests} are needed", policy.minimum_requests
    needs = max(_until_safe(found, counted), policy.minimum_requests - have, 0.0)
    if math.isinf(needs):
        return f"the present rates do not show it to be safe: {_NEVER}", None
    per_minute = have / max(measured, 1e-9)
    minutes = max(needs / per_minute, view.policy.minimum_minutes - measured)
    when = view.now + dt.timedelta(minutes=minutes) if minutes < 1e6 else None  # noqa: PLR2004  (two years)
    at = f"at {when:%Y-%m-%d %H:%M:%S} UTC" if when else _NEVER
    if needs < 1.0:
        return f"no trial passes within {view.policy.minimum_minutes:g} minutes; this one may {at}", math.ceil(needs)
    return f"about {math.ceil(needs)} more answers of the smaller arm, which may be {at}", math.ceil(needs)


def _until_safe(found: Evidenced, counted: Floats) -> float:
    """Return how many answers the safe side still needs if it goes on as in the last three quarters of them."""
    missing = found.enough - float(found.safe[-1])
    if missing <= 0.0:
        return 0.0
    so_far = np.cumsum(counted)
    learned = int(np.searchsorted(so_far, so_far[-1] / 4.0))  # the first quarter also learns the current rate
    gained, answers = float(found.safe[-1] - found.safe[learned]), float(so_far[-1] - so_far[learned])
    if not answers > 0.0:
        gained, answers = float(found.safe[-1]), float(so_far[-1])
    return missing * answers / gained if gained > 0.0 else math.inf


def told(
    policy: SequentialPolicy, view: TrialView, found: Evidenced, verdict: Verdict, compared: Compared
) -> CheckResult:
    """Return the result with every number it stands on, and with what is lacking where it is INCONCLUSIVE."""
    low, high, limit = (f"{number:{compared.sign}.4f}" for number in (*compared.interval, compared.limit))
    reason = (
        f"{compared.text} between {low} and {high} (each bound with {100 * policy.confidence:.5g} % "
        f"confidence, at any time), {compared.direction.replace('_', ' ')} {limit} is allowed"
    )
    more: int | None = None
    if verdict is Verdict.INCONCLUSIVE:
        text, more = lacks(policy, view, found, counted=compared.smaller, measured=compared.minutes)
        reason = f"{reason}; {text}"
    ends = view.online.bounds[[0, -1]].tolist()
    return result(
        policy,
        verdict,
        reason,
        value=compared.value,
        limit=compared.limit,
        direction=compared.direction,
        interval=compared.interval,
        samples=int(compared.smaller.sum()),
        minimum_samples=policy.minimum_requests,
        details={
            "queries": [query.selector for query in compared.queries],
            "window": [dt.datetime.fromtimestamp(end, dt.UTC).isoformat(timespec="seconds") for end in ends],
            "blocks": len(view.online.bounds) - 1,
            "measured_minutes": round(compared.minutes, 3),
            "impossible_blocks": compared.impossible,
            "confidence": policy.confidence,
            "cluster_size": policy.cluster_size,
            "log_e_harm": float(found.harm.max()),
            "log_e_safe": float(found.safe[-1]),
            "log_e_needed": found.enough,
            "more_answers_needed": more,
            **compared.details,
        },
    )


def waiting(policy: SequentialPolicy) -> CheckResult:
    """Return INCONCLUSIVE: the first block is not complete."""
    reason = "no block of answers is complete yet"
    return result(policy, Verdict.INCONCLUSIVE, reason, samples=0, minimum_samples=policy.minimum_requests)


def evidenced(policy: SequentialPolicy, harm: Floats, safe: Floats) -> Evidenced:
    """Return both sides with what the confidence of the policy asks of them."""
    return Evidenced(harm, safe, needed(policy.confidence))


def percent(share: float | None) -> str:
    """Return a share for people."""
    return "no answers" if share is None else f"{100 * share:.3g} %"


def chained(groups: Iterable[Group]) -> list[Series]:
    """Return the series of all groups, each once."""
    return list({id(one): one for one in itertools.chain.from_iterable(group.series for group in groups)}.values())
