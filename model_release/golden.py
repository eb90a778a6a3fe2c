"""Golden requests: does a loaded run still answer as it did on the day it was trained?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import ValidationError

from model_release import limits
from model_release.artifact import GoldenRequest, ServedModel
from model_release.errors import ArtifactInvalidError, GoldenMismatchError


def answer(model: ServedModel, endpoint: str, identifier: str, k: int) -> Sequence[str]:
    """Answer one request as the API would: unknown users get popular items, unknown items nothing."""
    if endpoint == "recommend":
        found = model.recommend(identifier, k)
        return model.popular(k) if found is None else found
    return model.similar(identifier, k) or ()


def record(model: ServedModel, requests: Iterable[tuple[str, str, int]]) -> tuple[GoldenRequest, ...]:
    """Record the answers of ``model`` to ``(endpoint, id, k)`` requests."""
    return tuple(
        GoldenRequest.model_validate(
            {"endpoint": endpoint, "id": identifier, "k": k, "expected": tuple(answer(model, endpoint, identifier, k))}
        )
        for endpoint, identifier, k in requests
    )


def parse(data: bytes, name: str) -> list[GoldenRequest]:
    """Read ``golden.jsonl``.

    Args:
        data: its content.
        name: for messages.

    Raises:
        ArtifactInvalidError: a line is malformed, or there are too many.
    """
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if lines > limits.GOLDEN_LINES:
        raise ArtifactInvalidError(f"{name} has {lines} lines, allowed are {limits.GOLDEN_LINES}")
    try:
        return [GoldenRequest.model_validate_json(line) for line in data.split(b"\n") if line]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"])) or "line"
        raise ArtifactInvalidError(f"{name} is malformed: {place}: {first['msg']}") from error


def check(model: ServedModel, requests: Sequence[GoldenRequest]) -> int:
    """Compare the answers of ``model`` with the recorded ones; return how many were compared.

    Raises:
        ArtifactInvalidError: there is nothing to compare, which is not a pass.
        GoldenMismatchError: an answer differs; the message names the request and both answers.
    """
    if not requests:
        raise ArtifactInvalidError("the run has no golden requests: nothing would be checked; train it again")
    for request in requests:
        got = tuple(answer(model, request.endpoint, request.id, request.k))
        if got != request.expected:
            raise GoldenMismatchError(
                f"golden request {request.endpoint}/{request.id}?k={request.k} answered {list(got[:5])}..., "
                f"recorded was {list(request.expected[:5])}...: the files or the code that reads them changed"
            )
    return len(requests)
