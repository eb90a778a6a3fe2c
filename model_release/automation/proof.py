"""Does every worker of every replica serve what was released?  Those that lag are told to follow the registry."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from model_release.automation.clock import Clock
from model_release.contract import Answer, Desired, ObservedModels, ReloadRequest
from model_release.ending import Receipt
from model_release.errors import InvalidInputError, ReplicaError, ReplicaRefusedError
from model_release.fleet import Replica, State, differences, read_all, run_of, tell
from model_release.verification import UNKNOWN_USER, objection, serving_runs

READS = 2  # that agree, one after the other
_PAUSE_SECONDS = 1.0
_FOLLOW = ReloadRequest()  # an empty body: what the registry desires, so it can bring nothing old back


class Asking(Replica, Protocol):
    """A replica that answers shops, too."""

    def recommend(self, user_id: str, k: int = 10) -> Answer:
        """Ask for recommendations; raises as the others do."""


class Standing(enum.Enum):
    """What is served."""

    SERVED = "served"
    NOT_SERVED = "not served"
    SUPERSEDED = "superseded"  # something else is desired since
    UNREACHABLE = "unreachable"  # nobody says otherwise, but not everybody says anything


@dataclass(frozen=True)
class Proof:
    """How it stands, and why it is not proved; ``objections`` is empty only if it is."""

    standing: Standing
    objections: tuple[str, ...] = ()


def look(replicas: Sequence[Asking], serving: Receipt) -> tuple[Proof, list[Asking]]:
    """Read every replica once; return how it stands, and who lags behind the registry.

    Raises:
        InvalidInputError: there are no replicas.
    """
    reports, errors = read_all(replicas)
    unreachable = [str(error) for error in errors]
    refused = any(isinstance(error, ReplicaRefusedError) for error in errors)
    desired = _newest(reports)
    if desired is None:
        unread = [f"{url}: can't read the registry: {report.problem}" for url, report in reports.items()]
        standing = Standing.NOT_SERVED if refused or unread else Standing.UNREACHABLE
        return Proof(standing, (*unread, *unreachable)), []
    if desired.generation < serving.generation:
        older = f"the registry is at generation {desired.generation}, older than the release's {serving.generation}"
        return Proof(Standing.NOT_SERVED, (older, *unreachable)), []
    superseded = _superseded(desired, serving)
    if superseded is not None:
        return Proof(Standing.SUPERSEDED, (superseded,)), []
    found = [(url, one.text) for url, report in reports.items() for one in differences(url, report, desired)]
    lagging = [replica for replica in replicas if any(replica.url == url for url, _ in found)]
    if not found and not errors:
        found = _wrong_answers(replicas, serving, desired)
    said = [f"{url}: {text}" for url, text in found]
    if not said and not errors:
        return Proof(Standing.SERVED), []
    standing = Standing.NOT_SERVED if said or refused else Standing.UNREACHABLE
    return Proof(standing, (*said, *unreachable)), lagging


def prove(
    replicas: Sequence[Asking], serving: Receipt, *, seconds: float, say: Callable[[str], None], clock: Clock
) -> Proof:
    """Look until all agree :data:`READS` times in a row, something else is desired, or time is up.

    Each replica that lags is told to follow the registry, once, and again only if it was out of reach.

    Raises:
        InvalidInputError: there are no replicas.
    """
    deadline = clock.now() + seconds
    agreed, told, before = 0, set[str](), Proof(Standing.SERVED)
    while True:
        proof, lagging = look(replicas, serving)
        agreed = agreed + 1 if proof.standing is Standing.SERVED else 0
        if agreed >= READS or proof.standing is Standing.SUPERSEDED:
            return proof
        if proof.objections and proof != before:
            say(f"not proved yet: {'; '.join(proof.objections)}")
        before = proof
        told |= _told([replica for replica in lagging if replica.url not in told], say)
        if clock.now() >= deadline:
            unsettled = "it was read once, and time is up"
            return proof if proof.objections else Proof(Standing.NOT_SERVED, (unsettled,))
        clock.sleep(_PAUSE_SECONDS)


def _told(lagging: Sequence[Asking], say: Callable[[str], None]) -> set[str]:
    """Tell those that lag; return who has heard it."""
    if not lagging:
        return set()
    errors = {error.replica: error for error in tell(lagging, _FOLLOW)}
    for replica in lagging:
        error = errors.get(replica.url)
        say(f"{replica.url} lags: {'told to follow the registry' if error is None else f'can not be told: {error}'}")
    heard = {replica.url for replica in lagging if replica.url not in errors}
    return heard | {url for url, error in errors.items() if isinstance(error, ReplicaRefusedError)}


def _newest(reports: Mapping[str, ObservedModels]) -> Desired | None:
    known = [report.desired for report in reports.values() if report.desired is not None]
    return max(known, key=lambda desired: desired.generation, default=None)


def _superseded(desired: State, serving: Receipt) -> str | None:
    """Return what is desired instead of the released run; None: that is it.  A newer generation may still desire it."""
    trial = desired.candidate
    if serving.mode == "primary":
        found, slot, same = run_of(desired), "current", run_of(desired) == serving.run_id
    else:
        found, slot = trial.run_id if trial else None, f"on trial ({serving.mode})"
        same = trial is not None and (trial.run_id, trial.mode) == (serving.run_id, serving.mode)
    if same:
        return None
    return f"run {serving.run_id} is no longer {slot}; at generation {desired.generation} that is {found or 'none'}"


def _wrong_answers(replicas: Sequence[Asking], serving: Receipt, desired: State) -> list[tuple[str, str]]:
    """Ask each replica as a shop would; return whose answer users should not get."""
    try:
        allowed = serving_runs(desired, run_id=serving.run_id, trial=serving.mode != "primary")
    except InvalidInputError as error:
        return [(replica.url, str(error)) for replica in replicas]
    found = []
    for replica in replicas:
        try:
            wrong = objection(replica.recommend(UNKNOWN_USER), allowed)
        except ReplicaError as error:
            wrong = str(error)
        if wrong is not None:
            found.append((replica.url, wrong))
    return found
