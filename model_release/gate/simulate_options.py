"""Numbers on the command line of simulate: what can't be meant is wrong usage."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

_MOST_REPEATS = 1_000_000


def counted(text: str) -> int:
    """Return a whole number from 1 on."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= _MOST_REPEATS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {_MOST_REPEATS}")
    return value


def share(text: str) -> float:
    """Return a number between 0 and 1."""
    value = _number(text)
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def above(limit: float) -> Callable[[str], float]:
    """Return the type of an option that is a finite number above ``limit``."""

    def convert(text: str) -> float:
        value = _number(text)
        if not (math.isfinite(value) and value > limit):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above {limit:g}")
        return value

    return convert


def share_of_check(text: str) -> tuple[str, float]:
    """Return the name of a check and a share: ``errors=0.002``."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not CHECK=SHARE, such as errors=0.002")
    return name, share(value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
