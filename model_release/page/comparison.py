"""Two runs beside each other: how they were made, what was measured, and what became popular or no longer is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import AwareDatetime

from model_release.artifact import Frozen, Manifest
from model_release.evidence import Evaluation
from model_release.page.one_release import Judgement
from model_release.page.part import Part

MOST_MOVERS = 20
_LONGEST_VALUE = 200


class RunMade(Frozen):
    """How a run was made."""

    run_id: str
    created_at: AwareDatetime
    as_of: AwareDatetime
    algorithm: str
    seed: int
    git_commit: str | None
    serving: str
    source: str
    rows: int
    users: int
    items: int
    first_data: AwareDatetime
    last_data: AwareDatetime
    data_sha256: str
    bytes: int


class Parameter(Frozen):
    """A parameter of both runs, as JSON; left out where a run has none of that name."""

    name: str
    left: str | None
    right: str | None
    same: bool


class Metric(Frozen):
    """A metric of both runs."""

    name: str
    left: float | None
    right: float | None


class Measured(Frozen):
    """Metrics of both runs.

    ``together``: measured on the same users and days, of which there were ``users``; else each on its own, which proves nothing.
    """

    together: bool
    metrics: tuple[Metric, ...]
    users: int | None = None
    window_start: AwareDatetime | None = None
    window_end: AwareDatetime | None = None


class Mover(Frozen):
    """An item and its place among the most popular of each run, from 1 on; left out: not among them."""

    item_id: str
    name: str | None
    left: int | None
    right: int | None


class Movers(Frozen):
    """Items whose place among the ``depth`` most popular changed most."""

    depth: int
    unchanged: int
    movers: tuple[Mover, ...]


class Comparison(Frozen):
    """Two runs; ``judgement`` is the gate's, where it compared exactly these two, the right one as the candidate.

    ``users``: some whose lists may be looked at.
    """

    left: Part[RunMade]
    right: Part[RunMade]
    parameters: tuple[Parameter, ...]
    measured: Part[Measured]
    judgement: Part[Judgement]
    movers: Part[Movers]
    users: tuple[str, ...]


class Listed(Frozen):
    """An item of a list; ``name`` where the run knows one."""

    item_id: str
    name: str | None


class OneList(Frozen):
    """What one run recommends to a user; ``known``: the run knows the user, else it is what everybody unknown gets."""

    run_id: str
    known: bool
    items: tuple[Listed, ...]


class Lists(Frozen):
    """What two runs recommend to the same user."""

    user_id: str
    left: Part[OneList]
    right: Part[OneList]


def run_made(manifest: Manifest) -> RunMade:
    """Return how a run was made."""
    data = manifest.data
    return RunMade(
        run_id=manifest.run_id,
        created_at=manifest.created_at,
        as_of=manifest.as_of,
        algorithm=manifest.algorithm.name,
        seed=manifest.algorithm.seed,
        git_commit=manifest.git_commit,
        serving=f"{manifest.serving.format} {manifest.serving.version}",
        source=data.source,
        rows=data.rows,
        users=data.users,
        items=data.items,
        first_data=data.first_timestamp,
        last_data=data.last_timestamp,
        data_sha256=data.content_sha256,
        bytes=sum(file.bytes for file in manifest.files),
    )


def parameters(left: Mapping[str, Any], right: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """Return the parameters of both runs, those that differ first."""
    one, other = ({name: _json(value) for name, value in side.items()} for side in (left, right))
    found = [
        Parameter(name=name, left=one.get(name), right=other.get(name), same=one.get(name) == other.get(name))
        for name in sorted({*one, *other})
    ]
    return tuple(sorted(found, key=lambda parameter: parameter.same))


def measured_together(evaluation: Evaluation, candidate: Literal["left", "right"]) -> Measured:
    """Return what an evaluation measured of both runs; ``candidate`` is the side of the run it is of."""
    current = evaluation.metrics.current or {}
    mine, others = ("left", "right") if candidate == "left" else ("right", "left")
    pairs = {
        **{name: (value, current.get(name)) for name, value in evaluation.metrics.candidate.items()},
        **{
            f"catalogue.{name}": (value, (evaluation.catalogue.current or {}).get(name))
            for name, value in evaluation.catalogue.candidate.items()
        },
    }
    metrics = [Metric.model_validate({"name": name, mine: one, others: two}) for name, (one, two) in pairs.items()]
    return Measured(
        together=True,
        metrics=tuple(metrics),
        users=evaluation.users,
        window_start=evaluation.window_start,
        window_end=evaluation.window_end,
    )


def measured_apart(left: Mapping[str, float], right: Mapping[str, float]) -> Measured:
    """Return the metrics that each run brought along from its own training."""
    metrics = [Metric(name=name, left=left.get(name), right=right.get(name)) for name in sorted({*left, *right})]
    return Measured(together=False, metrics=tuple(metrics))


def movers(
    left: Sequence[str], right: Sequence[str], names: Mapping[str, str | None], most: int = MOST_MOVERS
) -> Movers:
    """Return the items whose place changed most.

    Args:
        left: the most popular items of one run, best first.
        right: those of the other; both to the same depth.
        names: of the items.
        most: how many are told.
    """
    depth = max(len(left), len(right))
    one, other = ({item: place for place, item in enumerate(side, start=1)} for side in (left, right))
    moved = [(item, one.get(item), other.get(item)) for item in dict.fromkeys([*right, *left])]
    changed = [row for row in moved if row[1] != row[2]]
    # an item that is not among them stands right behind the last one: it moved that far at least
    changed.sort(key=lambda row: (-abs((row[1] or depth + 1) - (row[2] or depth + 1)), row[2] or depth + 1, row[0]))
    told = [Mover(item_id=item, name=names.get(item), left=a, right=b) for item, a, b in changed[:most]]
    return Movers(depth=depth, unchanged=len(moved) - len(changed), movers=tuple(told))


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
