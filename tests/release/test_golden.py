"""Golden requests."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from model_release import golden
from model_release.artifact import GoldenRequest
from model_release.errors import ArtifactInvalidError, GoldenMismatchError


class Lists:
    """A served model from plain dictionaries."""

    def __init__(self, users: dict[str, list[str]], items: dict[str, list[str]], popular: list[str]) -> None:
        self._users, self._items, self._popular = users, items, popular

    @property
    def depth(self) -> int:
        """Longest list."""
        return 3

    @property
    def blocking(self) -> bool:
        """Never."""
        return False

    def prefault(self) -> None:
        """Everything is in memory."""

    def recommend(self, user_id: str, k: int) -> Sequence[str] | None:
        """Answer for a known user."""
        return self._users[user_id][:k] if user_id in self._users else None

    def similar(self, item_id: str, k: int) -> Sequence[str] | None:
        """Answer for a known item."""
        return self._items[item_id][:k] if item_id in self._items else None

    def popular(self, k: int) -> Sequence[str]:
        """Answer for everybody else."""
        return self._popular[:k]


MODEL = Lists({"u": ["a", "b", "c"]}, {"a": ["b", "c"]}, ["c", "a"])
REQUESTS = [("recommend", "u", 2), ("recommend", "nobody", 2), ("similar", "a", 1), ("similar", "nothing", 5)]


def test_it_records_what_the_api_would_answer() -> None:
    """Unknown users get popular items, unknown items an empty list, and k cuts."""
    answers = [request.expected for request in golden.record(MODEL, REQUESTS)]
    assert answers == [("a", "b"), ("c", "a"), ("b",), ()]


def test_a_run_that_answers_as_recorded_passes() -> None:
    """Every request is compared, and their number is reported."""
    assert golden.check(MODEL, golden.record(MODEL, REQUESTS)) == len(REQUESTS)


@pytest.mark.parametrize(
    "other",
    [
        Lists({"u": ["b", "a", "c"]}, {"a": ["b", "c"]}, ["c", "a"]),
        Lists({"u": ["a", "b", "c"]}, {"a": ["b", "c"]}, ["a", "c"]),
        Lists({"u": ["a", "b", "c"]}, {"a": ["c", "b"]}, ["c", "a"]),
        Lists({"u": ["a", "b", "c"]}, {"a": ["b"], "nothing": ["a"]}, ["c", "a"]),
        Lists({"u": ["a"]}, {"a": ["b", "c"]}, ["c", "a"]),
    ],
)
def test_any_other_answer_is_noticed(other: Lists) -> None:
    """Another order, another item, a shorter or a longer list: each is a mismatch that names the request."""
    with pytest.raises(GoldenMismatchError, match="golden request"):
        golden.check(other, golden.record(MODEL, REQUESTS))


def test_nothing_to_compare_is_not_a_pass() -> None:
    """A run without golden requests is invalid."""
    with pytest.raises(ArtifactInvalidError, match="nothing would be checked"):
        golden.check(MODEL, [])


def test_an_unknown_endpoint_can_not_be_recorded() -> None:
    """Only what the API has is recorded."""
    with pytest.raises(ValueError, match="endpoint"):
        golden.record(MODEL, [("popular", "u", 2)])
    assert GoldenRequest(endpoint="similar", id="a", k=1, expected=("b",)).endpoint == "similar"
