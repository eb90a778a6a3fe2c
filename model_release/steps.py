"""The steps of a rollout: how a run is tried before everybody gets it, first unseen, then by more and more users."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from model_release.artifact import Frozen
from model_release.contract import LeaseSeconds, Mode
from model_release.errors import InvalidInputError
from model_release.explain import explain
from model_release.registry import TrialMode

_ORDER: tuple[Mode, ...] = ("shadow", "canary", "primary")
DEFAULT_LEASE_SECONDS = 300


class Step(Frozen):
    """One trial of a rollout: a ``rollout`` share of requests (shadow) or users (canary), above 0 and at most 1.

    While the gate watches, the lease is renewed at a third of ``lease_seconds``; without it the trial ends then.
    """

    mode: TrialMode
    rollout: Annotated[float, Field(gt=0.0, le=1.0)]
    lease_seconds: LeaseSeconds = DEFAULT_LEASE_SECONDS

    @property
    def name(self) -> str:
        """``canary_5`` for 5 % of the users: what its tasks are called."""
        return f"{self.mode}_{self.rollout * 100:g}".replace(".", "_")

    @classmethod
    def of(cls, text: str) -> Self:
        """Read ``canary:0.05``, or ``canary:0.05:600`` with a lease in seconds.

        Raises:
            InvalidInputError: it is no such text; the message says what is wrong.
        """
        mode, *rest = text.split(":")
        if len(rest) not in {1, 2}:
            raise InvalidInputError(f"{text!r} is no step: write mode:rollout or mode:rollout:lease_seconds")
        values: dict[str, object] = {"mode": mode, "rollout": rest[0]}
        if len(rest) > 1:
            values["lease_seconds"] = rest[1]
        try:
            return cls.model_validate_strings(values)
        except ValidationError as error:
            raise InvalidInputError(f"step {text!r}: {explain(error, cls)}") from error


class Steps(Frozen):
    """The trials of a rollout, in their order: shadow before canary, and never fewer users than before."""

    steps: tuple[Step, ...] = ()

    @model_validator(mode="after")
    def _forward(self) -> Steps:
        for before, after in itertools.pairwise(self.steps):
            if rank(after.mode, after.rollout) <= rank(before.mode, before.rollout):
                raise ValueError(f"{after.name} can't follow {before.name}: a rollout only goes forward")
        return self


def read_steps(steps: str | Iterable[Step | str]) -> tuple[Step, ...]:
    """Return the steps of a rollout; text is separated by spaces or commas: ``shadow:0.1 canary:0.05 canary:0.25``.

    Raises:
        InvalidInputError: one is no step, or they do not go forward.
    """
    given = steps.replace(",", " ").split() if isinstance(steps, str) else steps
    found = tuple(step if isinstance(step, Step) else Step.of(step) for step in given)
    try:
        return Steps(steps=found).steps
    except ValidationError as error:
        raise InvalidInputError(f"steps of a rollout: {explain(error, Steps)}") from error


def rank(mode: Mode, rollout: float | None) -> tuple[int, float]:
    """Return how far a rollout is: more is nearer to everybody."""
    return _ORDER.index(mode), 1.0 if rollout is None else rollout
