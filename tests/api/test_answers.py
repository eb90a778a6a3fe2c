"""What a shop gets: the lists of one run, under the name of that run."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from model_release.contract import Answer
from tests.api.home import UNKNOWN
from tests.api.replica import Replica
from tests.runs import USERS


@pytest.mark.parametrize("user", USERS)
def test_a_known_user_gets_the_list_of_the_current_run(replica: Replica, user: str) -> None:
    """The list stands in the run's files; the answer names the run and the variant."""
    answer = replica.recommend(user)
    assert answer == {
        "run_id": "run-a",
        "variant": "current",
        "items": replica.home.expected("run-a", user),
        "known": True,
        "degraded": None,
    }
    Answer.model_validate(answer)


def test_an_unknown_user_gets_popular_items(replica: Replica) -> None:
    """The answer says that the run does not know this user."""
    answer = replica.recommend(UNKNOWN)
    assert answer["items"] == replica.home.expected("run-a", UNKNOWN)
    assert (answer["run_id"], answer["variant"], answer["known"]) == ("run-a", "current", False)


def test_a_known_item_has_similar_items(replica: Replica) -> None:
    """Best first; names outside ASCII work."""
    answer = replica.http.get("/similar/苹果").json()
    assert answer["items"] == ["i1", "i2", "i3"]
    assert (answer["run_id"], answer["variant"], answer["known"]) == ("run-a", "current", True)


def test_an_unknown_item_has_none(replica: Replica) -> None:
    """Popular items are not like it."""
    answer = replica.http.get("/similar/no-such-item").json()
    assert (answer["items"], answer["known"], answer["run_id"]) == ([], False, "run-a")


def test_k_is_the_length_of_the_list(replica: Replica) -> None:
    """The beginning of the same list."""
    whole = replica.recommend("u1")["items"]
    assert [replica.recommend("u1", k=k)["items"] for k in (1, 2, 100)] == [whole[:1], whole[:2], whole]
    assert replica.http.get("/similar/i1", params={"k": 1}).json()["items"] == ["i2"]


@pytest.mark.parametrize("k", ["0", "-1", "101", "1.5", "ten", "", "99999999999999999999", "１"])
def test_a_k_out_of_range_is_refused(replica: Replica, k: str) -> None:
    """The message names the range."""
    for path in ("/recommend/u1", "/similar/i1"):
        answer = replica.http.get(path, params={"k": k})
        assert answer.status_code == 422
        assert "whole number from 1 to 100" in answer.json()["detail"]


@pytest.mark.parametrize("user", ["a/b", "a b", "100%", "?k=1", "#", "u1\n", "u1\nu2", "✓", "x" * 256])
def test_any_id_may_be_asked_for(replica: Replica, user: str) -> None:
    """An id is text, not a path: with its special characters escaped it arrives as it is."""
    answer = replica.http.get(f"/recommend/{quote(user, safe='')}")
    assert answer.status_code == 200
    assert answer.json()["known"] is False


def test_the_openapi_document_describes_the_hot_path(replica: Replica) -> None:
    """Plain routes are not forgotten there."""
    document = replica.http.get("/openapi.json").json()
    assert {"/recommend/{user_id}", "/similar/{item_id}", "/models/reload", "/models/lease", "/models"} <= set(
        document["paths"]
    )
    assert set(document["components"]["schemas"]["Answer"]["properties"]) == set(Answer.model_fields)
