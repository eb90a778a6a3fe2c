"""The name of one request: the caller's own ``X-Request-Id``, or one made here.  Outcomes refer to it."""

from __future__ import annotations

import itertools
import re
import secrets

from starlette.requests import Request

from model_release.exposures import REQUEST_ID_PATTERN

HEADER = "X-Request-Id"
_USABLE = re.compile(REQUEST_ID_PATTERN, re.ASCII)


class RequestIds:
    """Names for the requests of one process; no other process makes the same."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count(1)

    def of(self, request: Request) -> str:
        """Return the name that the request brings, if it is one, else a new one."""
        given = request.headers.get(HEADER)
        if given is not None and _USABLE.fullmatch(given):
            return given
        return f"{self._prefix}-{next(self._numbers):x}"
