"""A policy in words: what each check asks, from whom, when it says which verdict, and how often it may be wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from model_release.evidence import NumberQuery, TrialFacts, questions_of
from model_release.policy import (
    AbsolutePolicy,
    AlertsPolicy,
    AnyCheck,
    ComparisonPolicy,
    DataQualityPolicy,
    FreshnessPolicy,
    LatencyPolicy,
    NonInferiorityPolicy,
    OnlineCheckPolicy,
    Policy,
    QueryPolicy,
    RatioPolicy,
    ReconciliationPolicy,
    SampleRatioPolicy,
    SequentialPolicy,
    SuperiorityPolicy,
)
from model_release.policy.base import Limits


@dataclass(frozen=True)
class CheckWords:
    """One check in words.

    Attributes:
        asks: the question, as a sentence.
        needs: files, queries and numbers of observations.
        verdicts: when it says PASS, FAIL, INCONCLUSIVE and ERROR.
    """

    name: str
    kind: str
    blocks: str
    asks: str
    needs: tuple[str, ...]
    verdicts: tuple[str, ...]


def check_words(check: AnyCheck, trial: TrialFacts) -> CheckWords:
    """Return a check in words; queries are filled with the runs of ``trial``."""
    return CheckWords(
        name=check.name,
        kind=check.kind,
        blocks=_blocks(check),
        asks=_asks(check),
        needs=(*_needs(check, trial), *_modes(check)),
        verdicts=_verdicts(check),
    )


def error_budget(policy: Policy) -> list[str]:
    """Return how often the gate may be wrong: sums over its checks, which hold however they depend on each other."""
    told = []
    comparisons = [check for check in policy.checks if isinstance(check, ComparisonPolicy) and check.blocks]
    if comparisons:
        worst = max(1.0 - check.confidence for check in comparisons)
        told.append(
            f"Before a trial: a run that is worse by exactly a margin passes with probability at most {worst:.3g}, since "
            f"every one of {len(comparisons)} comparisons must pass; how often an equal run passes depends on the users "
            "(simulate says it)."
        )
    for mode in ("shadow", "canary"):
        sequential, levels = _trial_levels(policy, mode)
        if sequential or levels:
            told.append(
                f"On trial as {mode}: a run that is no worse than allowed is ever rejected by a statistical check with "
                f"probability at most {sum(sequential) + sum(levels):.3g}, the sum over {len(sequential) + len(levels)} "
                f"checks, however often it is looked at; one that is worse by a margin passes that check with probability "
                f"at most {max(sequential, default=0.0):.3g}."
            )
    return told


def _trial_levels(policy: Policy, mode: str) -> tuple[list[float], list[float]]:
    checks = () if policy.online is None else policy.online.checks
    made = [check for check in checks if check.blocks and isinstance(check, OnlineCheckPolicy) and mode in check.modes]
    sequential = [1.0 - check.confidence for check in made if isinstance(check, SequentialPolicy)]
    return sequential, [check.level for check in made if isinstance(check, SampleRatioPolicy)]


def _blocks(check: AnyCheck) -> str:
    if check.dry_run:
        return "dry run: reported, never blocks"
    return "warning: told, never blocks" if check.severity == "warning" else "blocks"


def _asks(check: AnyCheck) -> str:  # noqa: C901, PLR0911, PLR0912  (one sentence per kind)
    match check:
        case DataQualityPolicy():
            return f"Does every table have a data-quality score of at least {check.minimum_score:g} of 100?"
        case FreshnessPolicy():
            return f"Is everything fresh: {', '.join(_ages(check))}?"
        case AbsolutePolicy():
            return f"Is {check.metric} of the run itself {_between(check)}?"
        case NonInferiorityPolicy():
            allowed = (
                f"{check.margin:g}" if check.margin is not None else f"{100 * (check.relative_margin or 0):g} % of it"
            )
            return (
                f"Is the mean {check.metric} not worse than the current run's by {allowed} or more, on the same users?"
            )
        case SuperiorityPolicy():
            gain = f"{check.gain:g}" if check.gain is not None else f"{100 * (check.relative_gain or 0):g} % of it"
            return f"Is the mean {check.metric} better than the current run's by more than {gain}, on the same users?"
        case RatioPolicy():
            return _asks_ratio(check)
        case LatencyPolicy():
            bounds = "any bound of the histogram"
            if check.slower_than is not None:
                bounds = " or ".join(f"{bound:g} s" for bound in check.slower_than)
            return (
                f"Is the share of answers slower than {bounds} not larger than the current run's by {check.margin:g}?"
            )
        case SampleRatioPolicy():
            return "Does the candidate get the share of users that the trial asks for?"
        case QueryPolicy():
            return f"Is the number that the query gives {_between(check)}{f' {check.unit}' if check.unit else ''}?"
        case AlertsPolicy():
            silenced = "silenced ones count" if check.silenced == "count" else "silenced ones do not count"
            return f"Is no alert firing that one of {len(check.matchers)} matchers matches ({silenced})?"
        case ReconciliationPolicy():
            return (
                f"Did the newest reconciliation, at most {check.maximum_age_hours:g} hours old, find what was promised?"
            )
        case _:
            assert_never(check)


def _asks_ratio(check: RatioPolicy) -> str:
    if check.margin is None:
        limit = f"at most {check.at_most:g}" if check.at_most is not None else f"at least {check.at_least:g}"
        return f"Is the candidate's share {limit}?"
    worse = "larger" if check.worse == "higher" else "smaller"
    return f"Is the candidate's share not {worse} than the current run's by {check.margin:g} or more?"


def _ages(check: FreshnessPolicy) -> list[str]:
    ages = (
        ("data", check.maximum_data_age_hours),
        ("its last check", check.maximum_check_age_hours),
        ("the evaluation", check.maximum_evaluation_age_hours),
    )
    return [f"{what} at most {hours:g} hours old" for what, hours in ages if hours is not None]


def _between(check: Limits) -> str:
    limits = (("at least", check.at_least), ("at most", check.at_most))
    return " and ".join(f"{word} {limit:g}" for word, limit in limits if limit is not None)


def _needs(check: AnyCheck, trial: TrialFacts) -> tuple[str, ...]:  # noqa: PLR0911  (one list per kind)
    match check:
        case DataQualityPolicy():
            return (f"data_quality_metrics.prom with the tables {', '.join(check.tables)}",)
        case FreshnessPolicy():
            return ("data_quality_metrics.prom and summary.json of the evaluation",)
        case AbsolutePolicy():
            return (f"summary.json of the evaluation, of at least {check.minimum_users} users",)
        case NonInferiorityPolicy() | SuperiorityPolicy():
            slices = ", ".join(part.label for part in check.slices)
            return (f"per_user.parquet with at least {check.minimum_users} users in each slice: {slices}",)
        case RatioPolicy() | LatencyPolicy():
            return (*_queries(check, trial), f"at least {check.minimum_requests} answers of each run")
        case SampleRatioPolicy():
            return (*_queries(check, trial), f"at least {check.minimum_users} users")
        case QueryPolicy():
            enough = () if check.minimum_samples is None else (f"at least {check.minimum_samples} samples",)
            return (*_queries(check, trial), *enough)
        case AlertsPolicy():
            matchers = [", ".join(f"{key}: {value}" for key, value in matcher.items()) for matcher in check.matchers]
            watchdog = () if check.watchdog is None else (f"the alert {check.watchdog}, which must always fire",)
            return (f"Alertmanager: {' | '.join(matchers)}", *watchdog)
        case ReconciliationPolicy():
            return ("reconciliation_<date>.json",)
        case _:
            assert_never(check)


def _queries(check: RatioPolicy | LatencyPolicy | SampleRatioPolicy | QueryPolicy, trial: TrialFacts) -> Sequence[str]:
    return [
        f"Prometheus: {one.query if isinstance(one, NumberQuery) else one.selector}"
        for one in questions_of(check, trial)
    ]


def _modes(check: AnyCheck) -> tuple[str, ...]:
    return (f"a trial in mode {' or '.join(check.modes)}",) if isinstance(check, OnlineCheckPolicy) else ()


def _verdicts(check: AnyCheck) -> tuple[str, ...]:
    error = "ERROR: what it needs is missing, stale, doubled, or no number"
    match check:
        case NonInferiorityPolicy() | SuperiorityPolicy():
            sure = f"{100 * check.confidence:g} % confidence"
            return (
                f"PASS: the lower bound of the mean difference ({sure}) lies above the limit",
                f"FAIL: the upper bound ({sure}) lies below it",
                f"INCONCLUSIVE: the limit lies between, or fewer than {check.minimum_users} users",
                error,
            )
        case RatioPolicy() | LatencyPolicy():
            needed = f"1/{1.0 - check.confidence:.3g}"
            return (
                f"PASS: the e-value against 'worse than allowed' is at least {needed}, with enough answers",
                f"FAIL: the e-value against 'as good as allowed' has ever reached {needed}",
                "INCONCLUSIVE: neither yet; the result says how many more answers are needed, and when they may be there",
                error,
            )
        case SampleRatioPolicy():
            return (
                "PASS: the shares fit what was asked for",
                f"FAIL: the e-value against the share that was asked for reaches 1/{check.level:g}",
                f"INCONCLUSIVE: fewer than {check.minimum_users} users",
                error,
            )
        case AbsolutePolicy() | QueryPolicy():
            return ("PASS: it is", "FAIL: it is not", "INCONCLUSIVE: too few observations", error)
        case DataQualityPolicy() | FreshnessPolicy() | AlertsPolicy() | ReconciliationPolicy():
            return ("PASS: yes", "FAIL: no", error)
        case _:
            assert_never(check)
