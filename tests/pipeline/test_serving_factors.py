"""``serving: factors``: the vectors are served, the lists are the same, everything after training works as ever."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from model_release import golden
from model_release.adapters.factors import Factors
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import FactorsFormat
from model_release.errors import ConfigurationError
from model_release.paths import ReleasePaths
from pipeline.evaluate import evaluate
from pipeline.train_models import train
from tests.pipeline.logs import AS_OF, USERS, Source

VECTORS: dict[str, Any] = {"training__algorithm": "als", "training__serving": "factors"}


def served(paths: ReleasePaths, run_id: str) -> Factors:
    """Open a run as the API does."""
    with RunStore(paths).opened(run_id) as run:
        model = open_model(run.files, run.manifest)
        assert isinstance(model, Factors)
        assert golden.check(model, run.golden()) == 31
        return model


def test_the_run_says_what_it_is(grocery: Source, paths: ReleasePaths) -> None:
    """Manifest and files; the format is part of what determines the run."""
    run = train(grocery.config(**VECTORS), paths, AS_OF)
    manifest = RunStore(paths).verify(run.run_id)
    assert manifest.serving == FactorsFormat(exclude_seen=False, depth=20)
    assert {"user_factors.npy", "item_factors.npy"} < {entry.name for entry in manifest.files}
    assert "user_lists.npy" not in {entry.name for entry in manifest.files}
    lists = train(grocery.config(training__algorithm="als"), paths, AS_OF)
    assert lists.run_id != run.run_id


@pytest.mark.parametrize("repeat_purchases", [True, False])
def test_the_answers_are_those_of_precomputed_lists(
    grocery: Source, paths: ReleasePaths, repeat_purchases: bool
) -> None:
    """The same factors, scored at request time or beforehand: the same items for every user, seen ones left out."""
    config = {"training__algorithm": "als", "repeat_purchases": repeat_purchases}
    lists = train(grocery.config(**config), paths, AS_OF)
    vectors = train(grocery.config(**config, training__serving="factors"), paths, AS_OF)
    store = RunStore(paths)
    expected = RankedLists(store.folder(lists.run_id))
    model = served(paths, vectors.run_id)
    had: dict[str, set[str]] = {}
    for who, what in grocery.rows.filter(pl.col("when") < AS_OF).select("who", "what").iter_rows():
        had.setdefault(str(who), set()).add(str(what))
    assert len(had) == USERS
    for user, items in had.items():
        answer = model.recommend(user, 20)
        assert answer is not None
        assert answer == expected.recommend(user, 20)
        assert repeat_purchases or not items & set(answer)
    assert model.popular(20) == expected.popular(20)
    assert model.item_name("104") == expected.item_name("104") == "kind 4 house"


def test_it_is_evaluated_like_any_run(grocery: Source, paths: ReleasePaths) -> None:
    """Against precomputed lists of the same algorithm there is no difference for any metric."""
    lists = train(grocery.config(training__algorithm="als"), paths, AS_OF)
    config = grocery.config(**VECTORS)
    summary = evaluate(config, paths, train(config, paths, AS_OF).run_id, lists.run_id)
    assert summary.comparable
    assert summary.metrics.candidate == summary.metrics.current


def test_an_algorithm_without_vectors_is_refused_before_it_trains(grocery: Source, paths: ReleasePaths) -> None:
    """Also when the command line names it, or ``auto``, against the configuration."""
    config = grocery.config(**VECTORS)
    for name in ("popular", "auto"):
        with pytest.raises(ConfigurationError, match=r"needs vectors.*als"):
            train(config, paths, AS_OF, name)
    assert RunStore(paths).run_ids() == []


def test_a_run_that_somebody_published_meanwhile_leaves_no_leftovers(
    grocery: Source, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The later of two workers finds the run, and clears what it staged."""
    first = train(grocery.config(**VECTORS), paths, AS_OF)
    monkeypatch.setattr(RunStore, "run_ids", lambda _self: [])
    again = train(grocery.config(**VECTORS), paths, AS_OF)
    assert (again.run_id, again.new) == (first.run_id, False)
    assert not list(paths.models.glob("staging/*"))
