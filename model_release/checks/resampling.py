"""Intervals and p-values of all comparisons of a policy: what is about the same users is resampled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from model_release import bootstrap, statistics
from model_release.checks.contrast import Contrast
from model_release.policy import ComparisonPolicy, Slice
from model_release.statistics import Floats, Interval

_Key = TypeVar("_Key")


@dataclass(frozen=True)
class Tested:
    """What is known of the mean of a contrast.

    Attributes:
        interval: of the mean of the contrast's values: of the mean difference - limit.
        p_below: p-value of "that mean is at least 0"; small: the difference is below the limit.
    """

    interval: Interval
    p_below: float


@dataclass(frozen=True)
class Asked:
    """A contrast, and how it is to be tested."""

    policy: ComparisonPolicy
    part: Slice
    contrast: Contrast


def tested(asked: Mapping[_Key, Asked]) -> dict[_Key, Tested]:
    """Test every contrast in the way that its policy says.

    All of them are of one evaluation: the contrasts of a slice are about the same users in the same order.
    """
    found: dict[_Key, Tested] = {}
    alike: dict[tuple[Slice, int, int], list[_Key]] = {}
    for key, each in asked.items():
        if each.policy.method == "t":
            interval = statistics.t_interval(each.contrast.values, each.policy.confidence)
            found[key] = Tested(interval, statistics.t_p_below(interval))
        else:
            resampling = (each.part, each.policy.bootstrap_resamples, each.policy.seed or 0)
            alike.setdefault(resampling, []).append(key)
    for (_, resamples, seed), keys in alike.items():
        found |= zip(keys, _bootstrap([asked[key] for key in keys], resamples, seed), strict=True)
    return found


def _outer(asked: Asked, pivots: Floats) -> Tested:
    """Return the outer of bootstrap and Student's t on either side: each is too narrow for some differences."""
    values, confidence = asked.contrast.values, asked.policy.confidence
    by_t = statistics.t_interval(values, confidence)
    interval = bootstrap.pivot_interval(values, pivots, confidence).widened(by_t)
    return Tested(interval, max(bootstrap.pivot_p_below(interval, pivots), statistics.t_p_below(by_t)))


def _bootstrap(asked: Sequence[Asked], resamples: int, seed: int) -> list[Tested]:
    columns: Floats = np.column_stack([each.contrast.values for each in asked])
    pivots = bootstrap.pivots(columns, resamples=resamples, seed=seed)
    results = []
    for each, found in zip(asked, pivots.T, strict=True):
        results.append(_outer(each, found))
    return results
