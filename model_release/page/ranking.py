"""How differently two runs rank: the lists of the same sample of users, the most popular items, and a shadow trial.

References:
    Kendall's tau: M. G. Kendall, "A new measure of rank correlation", Biometrika 30 (1938).
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence

from model_release.artifact import Frozen
from model_release.page.comparison import Movers
from model_release.page.one_release import Check, check_shown
from model_release.page.part import Part
from model_release.ranking import overlap, rank_biased_overlap
from model_release.verdict import Decision

_SHADOW_METRICS = "recommendation_shadow_"


class UserLists(Frozen):
    """How much both lists of one user agree, 0 to 1: in the items they name, and in their ranks."""

    user_id: str
    overlap: float
    rbo: float


class ListsDiffer(Frozen):
    """Both runs' lists of a sample of users, cut at ``depth``; the user whose lists differ most first.

    Attributes:
        overlap, rbo: means over the users.
        popular: how many of the most popular items of each run were looked at.
        popular_shared: how many of them both runs name.
        popular_tau: rank correlation of those, -1 to 1; left out below two.
    """

    depth: int
    users: tuple[UserLists, ...]
    overlap: float
    rbo: float
    popular: int
    popular_shared: int
    popular_tau: float | None


class Ranking(Frozen):
    """What is known of how differently a run ranks than the one before it.

    ``shadow``: what the gate found on live traffic, if the last trial that it judged was a shadow.
    """

    shadow: tuple[Check, ...]
    lists: Part[ListsDiffer]
    movers: Part[Movers]


def shadow_checks(decision: Decision | None) -> tuple[Check, ...]:
    """Return the results that were asked of the metrics of a shadow trial."""
    if decision is None:
        return ()
    return tuple(
        check_shown(result)
        for result in decision.results
        if any(_SHADOW_METRICS in str(query) for query in _queries(result.details.get("queries")))
    )


def _queries(found: object) -> Sequence[object]:
    if isinstance(found, Mapping):
        return list(found.values())
    return found if isinstance(found, list | tuple) else [found]


def lists_differ(
    lists: Mapping[str, tuple[Sequence[str], Sequence[str]]],
    popular: tuple[Sequence[str], Sequence[str]],
    depth: int,
) -> ListsDiffer | None:
    """Return how much the lists of the same users differ; None: no user has a list.

    Args:
        lists: both runs' item ids by user, best first.
        popular: the most popular item ids of both runs, best first.
        depth: where lists are cut.
    """
    cut = {user: (one[:depth], other[:depth]) for user, (one, other) in lists.items() if one[:depth] or other[:depth]}
    if not cut:
        return None
    users = [
        UserLists(user_id=user, overlap=overlap(*both), rbo=rank_biased_overlap(*both)) for user, both in cut.items()
    ]
    users.sort(key=lambda one: (one.rbo, one.user_id))
    one, other = popular
    return ListsDiffer(
        depth=depth,
        users=tuple(users),
        overlap=statistics.fmean(user.overlap for user in users),
        rbo=statistics.fmean(user.rbo for user in users),
        popular=max(len(one), len(other)),
        popular_shared=len(set(one) & set(other)),
        popular_tau=kendall(one, other),
    )


def kendall(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Return Kendall's tau of the items that both rankings name, -1 to 1; None: fewer than two."""
    place = {item: rank for rank, item in enumerate(other)}
    ranks = [place[item] for item in dict.fromkeys(one) if item in place]
    pairs = list(itertools.combinations(ranks, 2))
    if not pairs:
        return None
    return sum(1 if first < second else -1 for first, second in pairs) / len(pairs)
