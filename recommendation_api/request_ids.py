"""The name of one request: the caller's own ``X-Request-Id``, or one made here.  Outcomes refer to it."""

from __future__ import annotations

import itertools
import os
import re
import secrets
from collections.abc import Iterable

from model_release.exposures import REQUEST_ID_PATTERN

HEADER = b"x-request-id"
_USABLE = re.compile(REQUEST_ID_PATTERN.encode())


class RequestIds:
    """Names for the requests of one process: they begin with its number in hexadecimal, and no other one makes the same."""

    def __init__(self) -> None:
        self._prefix = f"{os.getpid():x}-{secrets.token_hex(6)}"
        self._numbers = itertools.count(1)

    def new(self, mark: str = "") -> str:
        """Return a new name that ends with ``mark``."""
        return f"{self._prefix}-{next(self._numbers):x}{mark}"


def given(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the name that a request brings in its headers, if it is one."""
    for name, value in headers:
        if name == HEADER and _USABLE.fullmatch(value):
            return value.decode()
    return None
