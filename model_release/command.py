"""The frame of every ``python -m`` command: its parser, and what its exit status means.

2 is wrong usage: an option, or a configuration that it names, can't be used as it is written; a repetition would end
the same.  1 is a command that could not do its work.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from model_release.errors import InvalidInputError, ModelReleaseError

DONE, FAILED, USAGE = 0, 1, 2
_Read = TypeVar("_Read")


def parser_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return the parser of ``python -m module``; its help is the module's docstring, as it is written."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def checked(rule: Callable[[str], _Read]) -> Callable[[str], _Read]:
    """Return ``rule`` as the ``type`` of an option: what it refuses is wrong usage, in its own words."""

    def convert(text: str) -> _Read:
        try:
            return rule(text)
        except InvalidInputError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


@contextmanager
def usage(parser: argparse.ArgumentParser) -> Iterator[None]:
    """Read what the options name: input that can't be used ends the command with status 2."""
    try:
        yield
    except InvalidInputError as error:
        parser.error(str(error))


def attempt(work: Callable[[], int]) -> int:
    """Do the work and return its status; 1, with the reason on stderr, if it could not be done."""
    try:
        return work()
    except (ModelReleaseError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return FAILED
