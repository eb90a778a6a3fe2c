"""How many replicas have to be there for a change of what is served: all, a share, or a count."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import PlainValidator, TypeAdapter, WithJsonSchema

from model_release.errors import InvalidInputError, QuorumError

EVERYONE = "all"
_SHARE = re.compile(r"(100|[1-9][0-9]?)%")
_SCHEMA = {
    "anyOf": [{"type": "string", "pattern": f"^({EVERYONE}|{_SHARE.pattern})$"}, {"type": "integer", "minimum": 1}]
}


def _check(value: Any) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    if isinstance(value, str) and (value == EVERYONE or _SHARE.fullmatch(value)):
        return value
    raise ValueError(f"{value!r} is no quorum: all, a share from 1% to 100% such as 80%, or a count from 1 on")


Quorum = Annotated[int | str, PlainValidator(_check), WithJsonSchema(_SCHEMA)]
QUORUM: TypeAdapter[int | str] = TypeAdapter(Quorum)


def needed(quorum: int | str, replicas: int) -> int:
    """Return how many of ``replicas`` have to be there: at least one; a share is rounded up.

    Args:
        quorum: ``all``, a share such as ``80%``, or a count.
        replicas: how many there are.

    Raises:
        InvalidInputError: there are no replicas: nobody is no quorum, whatever is asked.
        QuorumError: more are asked for than there are.
    """
    if replicas < 1:
        raise InvalidInputError("there are no replicas: nobody is no quorum")
    match quorum:
        case str() if quorum == EVERYONE:
            return replicas
        case str():
            return -(-replicas * int(quorum.removesuffix("%")) // 100)  # in whole numbers: 0.07 * 100 is above 7
        case count:
            if count > replicas:
                raise QuorumError(count=count, replicas=replicas)
            return count
