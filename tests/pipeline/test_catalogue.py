"""Algorithms by name: parameters are checked before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest

from model_release.errors import ConfigurationError
from pipeline.algorithms.catalogue import make, parameters_of
from pipeline.algorithms.ease import Ease
from pipeline.algorithms.popular import Popular
from pipeline.config import ALGORITHMS


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_name_makes_an_algorithm_with_its_defaults(name: str) -> None:
    """All parameters are told, so that the manifest can hold them."""
    made = make(name, {})
    assert type(made).__name__.lower() == name.replace("_", "")
    assert parameters_of(made)
    assert make(name, parameters_of(made)) == made


def test_parameters_replace_defaults() -> None:
    """The others stay; a whole number will do where a fraction may stand."""
    assert make("ease", {"l2": 10}) == Ease(l2=10)
    assert parameters_of(make("ease", {"l2": 10})) == {"l2": 10, "maximum_items": 5000}
    assert make("popular", {"window_days": 3.5}) == Popular(3.5)


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("magic", {}, ["'magic'", "popular", "ease", "auto"]),
        ("auto", {}, ["'auto'"]),
        ("popular", {"days": 3}, ["popular", "'days'", "window_days"]),
        ("als", {"factors": 0}, ["als.factors", "0", "whole"]),
        ("als", {"factors": -4}, ["als.factors", "-4"]),
        ("ease", {"l2": float("inf")}, ["ease.l2", "inf"]),
        ("next_basket", {"own_share": 1.5}, ["next_basket.own_share", "1.5"]),
        ("als", {"factors": 1.5}, ["als.factors", "1.5", "whole"]),
        ("als", {"factors": True}, ["als.factors", "True"]),
        ("als", {"alpha": "10"}, ["als.alpha", "'10'"]),
        ("popular", {"window_days": float("nan")}, ["popular.window_days", "nan"]),
        ("popular", {"window_days": None}, ["popular.window_days", "None"]),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(name: str, parameters: dict[str, Any], words: list[str]) -> None:
    """The message names algorithm, parameter and value, and what there is."""
    with pytest.raises(ConfigurationError) as caught:
        make(name, parameters)
    for word in words:
        assert word in str(caught.value)
