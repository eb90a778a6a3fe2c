"""What of the shadow metrics is exported: the pairs that were on trial last, over all processes of a replica.

Counters add up over processes by themselves.  Which pairs are the last ones, and the sketches of distinct items, are state
of each process: :func:`merge` takes that of all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from pydantic import BaseModel, ConfigDict

from model_release.ranking import DistinctCount
from recommendation_api.shadow_counts import MOST_PAIRS
from recommendation_api.shadow_families import PAIR, PREFIX


class PairState(BaseModel):
    """What one process knows of one pair; JSON, for the way from one worker process to another.

    Attributes:
        seen: Unix time at which a request was last drawn for this pair.
        distinct: ``DistinctCount.dump`` by variant.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    current: str
    candidate: str
    seen: float
    distinct: Mapping[str, str]

    @property
    def pair(self) -> tuple[str, str]:
        """The values of the labels ``current`` and ``candidate``."""
        return self.current, self.candidate


def merge(states: Iterable[PairState]) -> list[PairState]:
    """Return one state per pair from those of several processes: the last ``MOST_PAIRS`` pairs, newest first."""
    of_pair: dict[tuple[str, str], list[PairState]] = {}
    for state in states:
        of_pair.setdefault(state.pair, []).append(state)
    last = sorted(of_pair.values(), key=lambda same: max(state.seen for state in same), reverse=True)
    return [_together(same) for same in last[:MOST_PAIRS]]


def keep(families: Iterable[Metric], pairs: Collection[tuple[str, str]]) -> Iterator[Metric]:
    """Yield ``families``, those of shadow trials with the samples of ``pairs`` only."""
    for family in families:
        if not family.name.startswith(PREFIX):
            yield family
            continue
        kept = Metric(family.name, family.documentation, family.type, family.unit)
        kept.samples = [sample for sample in family.samples if tuple(map(sample.labels.get, PAIR)) in pairs]
        yield kept


def distinct_items(merged: Iterable[PairState]) -> Metric:
    """Return ``recommendation_shadow_distinct_items`` of states that :func:`merge` returned."""
    family = GaugeMetricFamily(
        f"{PREFIX}distinct_items", "Different items of the lists, estimated", labels=[*PAIR, "variant"]
    )
    for state in merged:
        for variant, sketch in state.distinct.items():
            family.add_metric([*state.pair, variant], DistinctCount.load(sketch).estimate())
    return family


def _together(same: list[PairState]) -> PairState:
    variants = {variant for state in same for variant in state.distinct}
    distinct = {
        variant: DistinctCount.merge(
            DistinctCount.load(state.distinct[variant]) for state in same if variant in state.distinct
        ).dump()
        for variant in sorted(variants)
    }
    return same[0].model_copy(update={"seen": max(state.seen for state in same), "distinct": distinct})
