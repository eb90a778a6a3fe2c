"""Runs as the page reads them: a run never changes, so what was read of one is kept."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, ValidationError

from model_release import golden, limits
from model_release.adapters.catalogue import Catalogue
from model_release.adapters.past_releases import read_evaluation
from model_release.adapters.run_files import RunFiles
from model_release.adapters.serving_formats import open_model
from model_release.artifact import GOLDEN_NAME, MANIFEST_NAME, Frozen, GoldenRequest, Manifest, ServedModel
from model_release.errors import ArtifactInvalidError, InvalidInputError, ModelReleaseError, RunNotFoundError
from model_release.identifiers import check_run_id
from model_release.ledger import Event
from model_release.page.comparison import (
    Comparison,
    Listed,
    Lists,
    Measured,
    Movers,
    OneList,
    RunMade,
    measured_apart,
    measured_together,
    movers,
    parameters,
    run_made,
)
from model_release.page.one_release import Judgement
from model_release.page.part import Part, attempt, lacking, there
from model_release.page.ranking import ListsDiffer, lists_differ
from model_release.registry import Registry
from model_release_airflow.page.desk import Desk

MOST_RUNS, POPULAR, LIST, DEPTH, USERS = 50, 100, 20, 10, 8


class KnownRun(Frozen):
    """A registered run, for somebody who chooses one."""

    run_id: str
    registered_at: AwareDatetime
    state: Literal["current", "candidate", "superseded", "rolled_back", "withdrawn", "registered"]


class KnownRuns(Frozen):
    """Registered runs, the newest first; ``total`` counts all that fit."""

    runs: tuple[KnownRun, ...]
    total: int


def known_runs(registry: Registry, *, find: str, skip: int) -> KnownRuns:
    """Return a page of the runs whose id holds ``find``."""
    fitting = [run for run in registry.runs if find.lower() in run.run_id.lower()]
    shown = fitting[skip : skip + MOST_RUNS]
    ended = {past.run_id: past.ended for past in reversed(registry.history)}
    states: dict[str, str] = {**ended}
    for part, state in ((registry.candidate, "candidate"), (registry.current, "current")):
        if part is not None:
            states[part.run_id] = state
    return KnownRuns(
        runs=tuple(
            KnownRun.model_validate(
                {
                    "run_id": run.run_id,
                    "registered_at": run.registered_at,
                    "state": states.get(run.run_id, "registered"),
                }
            )
            for run in shown
        ),
        total=len(fitting),
    )


def compare(desk: Desk, left: str, right: str) -> Comparison:
    """Return two runs beside each other; each part may be lacking alone.

    Raises:
        InvalidInputError: an id is none, or both are the same.
    """
    if check_run_id(left) == check_run_id(right):
        raise InvalidInputError(f"run {left!r} differs from itself in nothing: choose two runs")
    models = desk.paths.models
    one, other = (attempt(functools.partial(_manifest, models, run_id)) for run_id in (left, right))
    given = [side.data.algorithm.parameters if side.data is not None else {} for side in (one, other)]
    return Comparison(
        left=_made(one),
        right=_made(other),
        parameters=parameters(*given),
        measured=_measured(desk, one, other, left, right),
        judgement=_judgement(desk, left, right),
        movers=attempt(lambda: run_movers(models, left, right)),
        users=tuple(_users(models, right) or _users(models, left)),
    )


def lists(desk: Desk, left: str, right: str, user_id: str) -> Lists:
    """Return what both runs recommend to ``user_id``.

    Raises:
        InvalidInputError: an id is none.
    """
    models = desk.paths.models
    one, other = (attempt(functools.partial(_list, models, check_run_id(run_id), user_id)) for run_id in (left, right))
    return Lists(user_id=user_id, left=one, right=other)


def _made(part: Part[Manifest]) -> Part[RunMade]:
    return Part(state=part.state, why=part.why, data=None if part.data is None else run_made(part.data))


def _measured(desk: Desk, one: Part[Manifest], other: Part[Manifest], left: str, right: str) -> Part[Measured]:
    why = ""
    sides: tuple[tuple[str, str, Literal["left", "right"]], ...] = ((right, left, "right"), (left, right, "left"))
    for mine, against, side in sides:
        try:
            evaluation = read_evaluation(desk.paths, mine)
        except (ModelReleaseError, OSError) as error:
            why = why or str(error)
            continue
        if evaluation.comparable and evaluation.against == against:
            return there(measured_together(evaluation, side))
    if one.data is None or other.data is None:
        return lacking("missing", why or "a run is not there")
    return there(measured_apart(one.data.metrics, other.data.metrics))


def _judgement(desk: Desk, left: str, right: str) -> Part[Judgement]:
    history = attempt(desk.history)
    if history.data is None:
        return lacking("broken", history.why)
    for entry in reversed(history.data.entries):
        if entry.event is Event.GATE_DECIDED and entry.run_id == right and entry.previous_run_id == left:
            found = desk.judgement(entry.release_id, "offline")
            if found.data is not None and (found.data.run_id, found.data.against) == (right, left):
                return found
    return lacking("missing", f"no kept decision of the gate is about {right} against {left}")


@functools.lru_cache(maxsize=512)
def _manifest(models: Path, run_id: str) -> Manifest:
    path = models / run_id / MANIFEST_NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise RunNotFoundError(f"no run {run_id!r} in {models.name}: it may have been removed") from error
    except ValidationError as error:
        raise ArtifactInvalidError(f"the manifest of run {run_id!r} is not valid") from error


@functools.lru_cache(maxsize=64)
def _popular(models: Path, run_id: str) -> tuple[tuple[str, ...], Mapping[str, str | None]]:
    with RunFiles.below(models, run_id) as files:
        catalogue = Catalogue(files)
        popular = catalogue.popular(POPULAR)
        return tuple(popular), {item: catalogue.item_name(item) for item in popular}


def run_movers(models: Path, left: str, right: str) -> Movers:
    """Return the items whose place among the most popular changed most.

    Raises:
        ArtifactInvalidError: a run is not there, or damaged.
    """
    (one, names), (other, more) = (_popular(models, run_id) for run_id in (left, right))
    return movers(one, other, {**names, **more})


def sample_lists(models: Path, left: str, right: str) -> ListsDiffer:
    """Return how much both runs' lists of the users of the right run's golden requests differ.

    Raises:
        ArtifactInvalidError: a run is not there, or damaged.
        RunNotFoundError: the right run recorded no lists.
    """
    (one, _), (other, _) = (_opened(models, run_id) for run_id in (left, right))
    lists = {
        request.id: (golden.answer(one, "recommend", request.id, DEPTH), request.expected[:DEPTH])
        for request in _golden(models, right)
        if other.recommend(request.id, 1) is not None
    }
    found = lists_differ(lists, (_popular(models, left)[0], _popular(models, right)[0]), DEPTH)
    if found is None:
        raise RunNotFoundError(f"run {right!r} recorded no lists of users")
    return found


@functools.lru_cache(maxsize=64)
def _golden(models: Path, run_id: str) -> tuple[GoldenRequest, ...]:
    """Return the lists that a run recorded when it was made; one without any has none."""
    with RunFiles.below(models, run_id) as files:
        if GOLDEN_NAME not in files.names():
            return ()
        file = files.open(GOLDEN_NAME)
        if file.size > limits.GOLDEN_BYTES:
            raise ArtifactInvalidError(f"{file.path} has {file.size} bytes, allowed are {limits.GOLDEN_BYTES}")
        found = golden.parse(file.map()[:], str(file.path))
    return tuple(request for request in found if request.endpoint == "recommend")


def _users(models: Path, run_id: str) -> list[str]:
    """Return users whose lists are worth a look, as the run recorded them; none, if it can't be read."""
    try:
        return [request.id for request in _golden(models, run_id)][:USERS]
    except (ModelReleaseError, OSError):
        return []


@functools.lru_cache(maxsize=4)
def _opened(models: Path, run_id: str) -> tuple[ServedModel, Catalogue]:
    manifest = _manifest(models, run_id)
    with RunFiles.below(models, run_id) as files:
        catalogue = Catalogue(files)
    return open_model(models / run_id, manifest), catalogue


def _list(models: Path, run_id: str, user_id: str) -> OneList:
    model, catalogue = _opened(models, run_id)
    found = model.recommend(user_id, LIST)
    items = model.popular(LIST) if found is None else found
    return OneList(
        run_id=run_id,
        known=found is not None,
        items=tuple(Listed(item_id=item, name=catalogue.item_name(item)) for item in items),
    )
