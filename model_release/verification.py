"""Do real requests get the answers of the run that was released?"""

from __future__ import annotations

from collections.abc import Sequence

from model_release.artifact import GoldenRequest
from model_release.contract import Answer
from model_release.errors import ArtifactInvalidError, InvalidInputError
from model_release.fleet import State, run_of

UNKNOWN_USER = "nobody-has-this-id"  # gets what the run has for everybody


def questions(golden: Sequence[GoldenRequest], count: int) -> list[GoldenRequest]:
    """Return the first ``count`` recorded requests for users: their answers are known from the day of training.

    Raises:
        ArtifactInvalidError: none was recorded; a proof without questions is none.
    """
    found = [request for request in golden if request.endpoint == "recommend"]
    if not found:
        raise ArtifactInvalidError("the run has no recorded requests for users: its answers can't be checked")
    return found[: max(1, count)]


def serving_runs(desired: State, *, run_id: str, trial: bool) -> dict[str, str]:
    """Return which run each variant of an answer may name while ``run_id`` is released, or on trial.

    Raises:
        InvalidInputError: that is not desired: somebody changed it since.
    """
    current, candidate = run_of(desired), desired.candidate
    if not trial:
        if current != run_id:
            raise InvalidInputError(f"run {run_id!r} is not current, {current or 'no run'} is")
        if candidate is None or candidate.mode != "canary":
            return {"current": run_id}
        return {"current": run_id, "candidate": candidate.run_id}  # on trial by another release, which began since
    if candidate is None or candidate.run_id != run_id or current is None:
        raise InvalidInputError(f"run {run_id!r} is not on trial, {candidate.run_id if candidate else 'no run'} is")
    return {"current": current} | ({"candidate": run_id} if candidate.mode == "canary" else {})


def objection(answer: Answer, allowed: dict[str, str], *, expected: Sequence[str] | None = None) -> str | None:
    """Return why an answer is not what users should get; None: it is.

    Args:
        answer: what was answered.
        allowed: from :func:`serving_runs`.
        expected: the recorded answer of the current run; None: there is none to compare with.
    """
    if answer.degraded is not None or answer.variant == "degraded":
        return f"the answer is degraded: {answer.degraded or 'no reason given'}"
    run = allowed.get(answer.variant)
    if run is None or answer.run_id != run:
        return f"variant {answer.variant} came from run {answer.run_id}, allowed are {allowed}"
    if not answer.items:
        return "the answer is empty"
    if expected is not None and answer.variant == "current" and answer.items != tuple(expected):
        return f"the answer begins {list(answer.items[:3])}, recorded was {list(expected[:3])}"
    return None
