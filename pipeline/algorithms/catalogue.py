"""The algorithms by name, with their parameters checked."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from model_release.errors import ConfigurationError
from pipeline.algorithms.als import Als
from pipeline.algorithms.ease import Ease
from pipeline.algorithms.item_knn import ItemKnn
from pipeline.algorithms.next_basket import NextBasket
from pipeline.algorithms.personal_frequency import PersonalFrequency
from pipeline.algorithms.popular import Popular
from pipeline.algorithms.protocol import Algorithm
from pipeline.config import ALGORITHMS

_KINDS: dict[str, type[Popular | PersonalFrequency | ItemKnn | Als | NextBasket | Ease]] = {
    "popular": Popular,
    "personal_frequency": PersonalFrequency,
    "item_knn": ItemKnn,
    "als": Als,
    "next_basket": NextBasket,
    "ease": Ease,
}
if set(_KINDS) != set(ALGORITHMS):
    raise AssertionError("the configuration and the catalogue name different algorithms")


def make(name: str, parameters: Mapping[str, Any]) -> Algorithm:
    """Return the algorithm ``name`` with ``parameters`` on top of its defaults.

    Raises:
        ConfigurationError: no such algorithm or parameter, or a value that is no positive number.
    """
    if name not in _KINDS:
        raise ConfigurationError(f"no algorithm {name!r}; there are {', '.join(ALGORITHMS)}, and auto")
    known = {field.name: field.default for field in dataclasses.fields(_KINDS[name])}
    for key, value in parameters.items():
        if key not in known:
            raise ConfigurationError(f"{name} has no parameter {key!r}; it has {', '.join(known)}")
        whole = isinstance(known[key], int)
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 < value < math.inf:
            raise ConfigurationError(
                f"{name}.{key} is {value!r}, expected a positive {'whole ' if whole else ''}number"
            )
    return _KINDS[name](**parameters)


def parameters_of(algorithm: Algorithm) -> dict[str, float | int]:
    """Return all parameters of an algorithm, defaults included: for the manifest."""
    return dataclasses.asdict(algorithm)  # type: ignore[call-overload,no-any-return]
