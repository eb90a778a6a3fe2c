"""Which arm of a canary an answer belongs to: noted in the name of the request, and in a count of each arm's users.

docs/decisions/0062-arms-of-a-trial.md says why the name carries it.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from pydantic import BaseModel, ConfigDict

from model_release.ranking import DistinctCount
from model_release.registry import Candidate
from recommendation_api.serving import Serving

Arm = Literal["current", "candidate"]
ARMS: tuple[Arm, ...] = ("current", "candidate")
UNKNOWN = "unknown"
_PARTS = ("recommendation_requests", "recommendation_degraded")
_MARKS: Mapping[str, Arm] = {"cur": "current", "can": "candidate"}
_MARKED = re.compile(r"[0-9a-f]{1,8}-[0-9a-f]{12}-[0-9a-f]{1,16}\.(cur|can)([0-9a-f]{1,16})")


class _Trial(NamedTuple):
    """A canary, as one worker process sees it."""

    release_id: str
    generation: int  # in which it began; a renewed lease does not change it, another rollout does
    marks: Mapping[str, str]  # what is added to the name of a request, by arm
    users: Mapping[str, DistinctCount]  # by arm


class TrialUsers(BaseModel):
    """What one process knows of the users of the canary under way; JSON, for the way to another worker process.

    Attributes:
        distinct: ``DistinctCount.dump`` by arm; an arm that is missing answered nobody.
    """

    model_config = ConfigDict(frozen=True)

    release_id: str
    generation: int
    distinct: Mapping[Arm, str]


class Arms:
    """Follows the canary of one worker process.

    :meth:`note` belongs to the thread of the event loop, the other methods to any.

    Args:
        serving: says what is served now.
    """

    def __init__(self, serving: Callable[[], Serving]) -> None:
        self._now_served = serving
        self._serving: Serving | None = None  # what ``_trial`` is of
        self._trial: _Trial | None = None

    def note(self, serving: Serving, user_id: str, arm: str, now: float) -> str:
        """Note that ``user_id`` was answered in its arm at ``now`` (Unix seconds).

        Returns:
            What the name of the request must end with, so that :meth:`arm_of` finds the arm again; empty without a canary.
        """
        if serving is not self._serving and not self._follow(serving):
            return ""
        trial = self._trial
        if trial is None or now >= serving.lease_until:
            return ""
        trial.users[arm].add((user_id,))
        return trial.marks[arm]

    def arm_of(self, request_id: str | None) -> str:
        """Return the arm of the canary under way that an answer belongs to, or ``unknown``."""
        found = _MARKED.fullmatch(request_id) if request_id is not None else None
        canary = _canary(self._now_served(), time.time())
        if found is None or canary is None or int(found[2], 16) != canary.generation:
            return UNKNOWN
        return _MARKS[found[1]]

    def users(self) -> TrialUsers | None:
        """Return what this process knows of the users of the canary under way; None: there is no canary."""
        canary, trial = _canary(self._now_served(), time.time()), self._trial
        if canary is None:
            return None
        known = trial is not None and (trial.release_id, trial.generation) == (canary.release_id, canary.generation)
        distinct = {arm: trial.users[arm].dump() for arm in ARMS} if trial is not None and known else {}
        return TrialUsers(release_id=canary.release_id, generation=canary.generation, distinct=distinct)

    def _follow(self, serving: Serving) -> bool:
        """Find the trial of another ``serving``: the rare part of :meth:`note`; return whether it is none of the past.

        A slow answer may come after the switch; it must not bring a trial back, nor end one whose lease was renewed.
        """
        if self._serving is not None and serving.generation < self._serving.generation:
            return False
        canary, old = _canary(serving, float("-inf")), self._trial
        self._serving = serving
        if canary is None:
            self._trial = None
        elif old is None or (old.release_id, old.generation) != (canary.release_id, canary.generation):
            marks: dict[str, str] = {arm: f".{mark}{canary.generation:x}" for mark, arm in _MARKS.items()}
            self._trial = _Trial(canary.release_id, canary.generation, marks, {arm: DistinctCount() for arm in ARMS})
        return True


def answers(families: Iterable[Metric]) -> Metric:
    """Return ``recommendation_answers_total`` from what is counted anyway: a run's own answers, and the degraded in its turn.

    A counter of its own would cost each request a microsecond.
    """
    counts: defaultdict[tuple[str, str], float] = defaultdict(float)
    for sample in (sample for family in families if family.name in _PARTS for sample in family.samples):
        own = sample.name == "recommendation_requests_total" and sample.labels["status"] == "200"
        if own or sample.name == "recommendation_degraded_total":
            counts[sample.labels["endpoint"], sample.labels["variant"]] += sample.value
    family = CounterMetricFamily(
        "recommendation_answers", "Answers with status 200, by whose turn it was", labels=["endpoint", "variant"]
    )
    for (endpoint, variant), value in sorted(counts.items()):
        if variant in ARMS:
            family.add_metric([endpoint, variant], value)
    return family


def trial_users(found: Iterable[TrialUsers]) -> Metric:
    """Return ``recommendation_trial_users`` of all processes of a replica: of the newest trial that any of them serves."""
    family = GaugeMetricFamily(
        "recommendation_trial_users", "Different users answered since the canary began, estimated", labels=["variant"]
    )
    states = list(found)
    newest = max((state.generation for state in states), default=None)
    if newest is None:
        return family
    for arm in ARMS:
        dumps = [state.distinct[arm] for state in states if state.generation == newest and arm in state.distinct]
        family.add_metric([arm], round(DistinctCount.merge(map(DistinctCount.load, dumps)).estimate()))
    return family


def _canary(serving: Serving, now: float) -> Candidate | None:
    candidate = serving.candidate_at(now)
    return candidate if candidate is not None and candidate.mode == "canary" else None
