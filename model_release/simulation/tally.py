"""What became of many simulated releases, and how exactly that is known.

The interval of a share is exact: C. Clopper, E. Pearson, "The use of confidence or fiducial limits", Biometrika 26 (1934).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from model_release.policy import Stage
from model_release.verdict import Verdict

CONFIDENCE = 0.95  # of the interval of a share, both sides together


class Ending(enum.StrEnum):
    """How a simulated release ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNDECIDED = "undecided"  # the wait ended without an answer: rejected
    UNMEASURED = "unmeasured"  # the same, because something could not be measured

    @classmethod
    def of(cls, verdict: Verdict) -> Ending:
        """Return the ending of a release whose last verdict was this."""
        return {
            Verdict.PASS: cls.PASSED,
            Verdict.FAIL: cls.FAILED,
            Verdict.INCONCLUSIVE: cls.UNDECIDED,
            Verdict.ERROR: cls.UNMEASURED,
        }[verdict]


@dataclass(frozen=True)
class Attempt:
    """One simulated release; ``minutes`` until it ended, None before a trial, where nobody waits."""

    ending: Ending
    minutes: float | None = None


@dataclass(frozen=True)
class Share:
    """So many of so many, with the interval in which the true share lies with 95 % confidence."""

    count: int
    of: int

    @property
    def value(self) -> float:
        """The share that was seen."""
        return self.count / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends; each is wrong with probability at most 2.5 %."""
        from scipy.special import betaincinv

        tail = (1.0 - CONFIDENCE) / 2.0
        rest = self.of - self.count
        low = 0.0 if self.count == 0 else float(betaincinv(self.count, rest + 1, tail))
        high = 1.0 if rest == 0 else float(betaincinv(self.count + 1, rest, 1.0 - tail))
        return low, high


@dataclass(frozen=True)
class Tally:
    """All simulated releases of one kind.

    Attributes:
        stage: where they were judged.
        scenario: what was done to the candidate.
        attempts: at least one.
    """

    stage: Stage
    scenario: str
    attempts: Sequence[Attempt]

    def share(self, ending: Ending) -> Share:
        """Return how many ended so."""
        return Share(sum(attempt.ending is ending for attempt in self.attempts), len(self.attempts))

    def minutes(self, quantile: float, among: Literal["all", "decided"] = "decided") -> float | None:
        """Return within how many minutes that share of the releases ended; None: nobody waits, or none was decided."""
        open_ended = {Ending.UNDECIDED, Ending.UNMEASURED} if among == "decided" else set()
        times = [
            attempt.minutes
            for attempt in self.attempts
            if attempt.minutes is not None and attempt.ending not in open_ended
        ]
        return float(np.quantile(times, quantile, method="higher")) if times else None

    def document(self) -> dict[str, object]:
        """Return all of it for machines."""
        shares = {}
        for ending in Ending:
            share = self.share(ending)
            shares[ending.value] = {"count": share.count, "share": share.value, "interval": list(share.interval)}
        return {
            "stage": self.stage,
            "scenario": self.scenario,
            "repeats": len(self.attempts),
            "confidence_of_intervals": CONFIDENCE,
            "endings": shares,
            "minutes_to_decision": {"median": self.minutes(0.5), "90%": self.minutes(0.9)},
        }


def worst_reach(repeats: int) -> float:
    """Return the half width of the widest interval that so many repeats can give."""
    low, high = Share(repeats // 2, repeats).interval
    return math.ceil(1000.0 * (high - low) / 2.0) / 1000.0
