"""Steps of a rollout: read from text or code, named, and only forward."""

from __future__ import annotations

import pytest

from model_release.errors import InvalidInputError
from model_release.steps import Step, rank, read_steps


def test_steps_are_read_from_text() -> None:
    """What an environment variable holds: separated by spaces or commas, with a lease if one is given."""
    steps = read_steps("shadow:0.1, canary:0.05:600  canary:0.255")
    assert [(step.mode, step.rollout, step.lease_seconds) for step in steps] == [
        ("shadow", 0.1, 300),
        ("canary", 0.05, 600),
        ("canary", 0.255, 300),
    ]
    assert [step.name for step in steps] == ["shadow_10", "canary_5", "canary_25_5"]
    assert read_steps("") == ()


def test_steps_may_be_given_as_steps() -> None:
    """In Python, mixed with text."""
    assert read_steps([Step(mode="shadow", rollout=1.0), "canary:0.5"]) == read_steps("shadow:1 canary:0.5")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("canary", "'canary' is no step: write mode:rollout"),
        ("canary:0.1:60:1", "is no step"),
        ("primary:1", "mode"),
        ("canary:0", "rollout"),
        ("canary:1.5", "rollout"),
        ("canary:nan", "rollout"),
        ("canary:five", "rollout"),
        ("canary:0.5:0", "lease_seconds"),
        ("canary:0.25 canary:0.05", "canary_5 can't follow canary_25"),
        ("canary:0.25 canary:0.25", "canary_25 can't follow canary_25"),
        ("canary:0.25 shadow:0.5", "shadow_50 can't follow canary_25"),
    ],
)
def test_what_makes_no_rollout_is_refused(text: str, said: str) -> None:
    """With the value and the way out."""
    with pytest.raises(InvalidInputError, match=said):
        read_steps(text)


def test_primary_is_the_end() -> None:
    """Further than every trial."""
    assert rank("shadow", 1.0) < rank("canary", 0.01) < rank("canary", 1.0) < rank("primary", None)
