"""Options that several stages have, checked before a stage begins."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from model_release.errors import InvalidInputError
from model_release.identifiers import check_run_id
from pipeline.config import ALGORITHMS
from pipeline.window import parse_as_of


@dataclass(frozen=True)
class Options:
    """Options as they were written on the command line; None: not given."""

    as_of: str | None = None
    algorithm: str | None = None
    run: str | None = None

    def problems(self) -> dict[str, str]:
        """Return what can't be meant, by the option's name."""
        rules: tuple[tuple[str, str | None, Callable[[str], object]], ...] = (
            ("as_of", self.as_of, lambda text: parse_as_of(text, dt.UTC)),
            ("algorithm", self.algorithm, check_algorithm),
            ("run", self.run, check_run_id),
        )
        found = {}
        for name, value, rule in rules:
            try:
                if value is not None:
                    rule(value)
            except InvalidInputError as error:
                found[name] = str(error)
        return found

    def without(self, names: Iterable[str]) -> Options:
        """Return the options as if those of ``names`` had not been given."""
        return dataclasses.replace(self, **dict.fromkeys(names))


NO_OPTIONS = Options()


def check_algorithm(name: str) -> str:
    """Return ``name`` unchanged if it is an algorithm, or ``auto``.

    Raises:
        InvalidInputError: it is neither.
    """
    if name not in {*ALGORITHMS, "auto"}:
        raise InvalidInputError(f"no algorithm {name!r}; there are {', '.join(ALGORITHMS)}, and auto")
    return name
