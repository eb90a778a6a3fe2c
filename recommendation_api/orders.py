"""What the worker that received a call asks of every worker of its replica, and what they answer.

PREPARE may fail and changes nothing; SWITCH replaces a pointer and can't fail but by death.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import Field

from model_release import errors
from model_release.artifact import Frozen, RunId
from model_release.contract import WorkerReport
from model_release.registry import Registry
from recommendation_api.arms import TrialUsers
from recommendation_api.shadow_exposition import PairState

_KINDS: dict[str, type[errors.ArtifactError]] = {
    kind.__name__: kind
    for kind in (
        errors.ArtifactError,
        errors.RunNotFoundError,
        errors.RunExistsError,
        errors.ArtifactInvalidError,
        errors.GoldenMismatchError,
    )
}


class Failure(Frozen):
    """Why a worker can't serve a run; ``kind`` is the error's class."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: errors.ArtifactError) -> Failure:
        """Return what travels of an error."""
        return cls(kind=type(error).__name__, message=str(error))


class Prepare(Frozen):
    """Load these runs, check them and keep them, serving what is served now."""

    order: Literal["prepare"] = "prepare"
    registry: Registry  # pins the manifests
    run_ids: tuple[RunId, ...]
    source: Literal["models", "staging"] = "models"


class Prepared(Frozen):
    """What came of it.

    Attributes:
        pid: who answers.
        failures: why a run can't be served, by run id; empty: all can.
        fresh: runs that were not in memory before.
    """

    pid: int
    failures: dict[str, Failure] = Field(default_factory=dict)
    fresh: tuple[RunId, ...] = ()


class Switch(Frozen):
    """Serve this state from now on.

    Attributes:
        registry: the desired state, as :func:`recommendation_api.serving.wanted_of` makes it.
        with_candidate: whether its candidate can be served by every worker.
        problem: why not.
    """

    order: Literal["switch"] = "switch"
    registry: Registry
    with_candidate: bool = True
    problem: str | None = None


class Unusable(Frozen):
    """The current run of this state can't be served: go on with what there is, and say why."""

    order: Literal["unusable"] = "unusable"
    registry: Registry
    problem: str


class Report(Frozen):
    """Say what you serve."""

    order: Literal["report"] = "report"


class Pulse(Frozen):
    """Say whether you can still answer requests."""

    order: Literal["pulse"] = "pulse"


class Beat(Frozen):
    """A sign of life.

    Attributes:
        silent_seconds: how long ago the event loop, which answers the requests, last had its turn.
    """

    silent_seconds: float


class Trials(Frozen):
    """Say what you know of the trials, shadow and canary."""

    order: Literal["trials"] = "trials"


class TrialStates(Frozen):
    """What a worker knows of trials.

    Attributes:
        states: of the shadow trials that it saw last.
        users: of the canary under way.
    """

    states: tuple[PairState, ...] = ()
    users: TrialUsers | None = None


class Member(Protocol):
    """One worker process of this replica, near or far."""

    @property
    def slot(self) -> int:
        """Its place in the replica."""

    def prepare(self, order: Prepare) -> Prepared:
        """Load and check; change nothing."""

    def switch(self, order: Switch) -> WorkerReport:
        """Replace the pointer; raises ``GenerationConflictError`` if it serves a later state."""

    def unusable(self, order: Unusable) -> WorkerReport:
        """Note why the desired run is not served."""

    def report(self) -> WorkerReport:
        """Return what it serves."""

    def pulse(self) -> Beat:
        """Return a sign of life."""

    def trials(self) -> TrialStates:
        """Return what it knows of trials."""


def failure_of(answers: Sequence[Prepared], run_id: str) -> errors.ArtifactError | None:
    """Return why a run can't be served by every worker, naming the workers that can't; None: all can."""
    found = [(answer.pid, answer.failures[run_id]) for answer in answers if run_id in answer.failures]
    if not found:
        return None
    kind = _KINDS.get(found[0][1].kind, errors.ArtifactError)
    if len(answers) == 1:
        return kind(found[0][1].message)
    reasons = "; ".join(f"worker {pid}: {failure.message}" for pid, failure in found)
    return kind(f"{len(found)} of {len(answers)} workers can't serve run {run_id!r}: {reasons}")
