"""``auto`` takes the algorithm that was best on earlier weeks, and never looks at the week it will be judged on."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from model_release.errors import InvalidInputError
from pipeline import ingest, metrics
from pipeline.algorithms.catalogue import make
from pipeline.algorithms.protocol import TrainingData
from pipeline.config import PipelineConfig
from pipeline.ranking import rank_users
from pipeline.validation import choose, coded_truth, measure
from pipeline.window import Window
from tests.pipeline.logs import AS_OF, DAY, END, START, Source

WINDOW = Window(AS_OF, 7)


def habits(source: Source) -> None:
    """Everybody takes their own two items every day: own habits foresee everything, popularity little."""
    plant(source, lambda who, day: [who * 2 % 30, (who * 2 + 1) % 30][day % 2])


def fashion(source: Source) -> None:
    """Everybody takes the same items, other ones each week; the week before AS_OF began with those of the week before."""
    plant(source, lambda who, day: (day // 14 * 4 + (who + day) % 4) % 30)


def plant(source: Source, what: object) -> None:
    """Replace the log by one in which ``what(user, day)`` is taken."""
    rows = [
        (who + 1, 100 + what(who, day), START + day * DAY + dt.timedelta(hours=9, minutes=who), 1, 1.0)  # type: ignore[operator]
        for day in range(80)
        for who in range(45)
    ]
    source.rows = pl.DataFrame(rows, schema=source.rows.schema, orient="row")


def chosen(config: PipelineConfig, window: Window = WINDOW) -> tuple[str, dict[str, float]]:
    """Choose from what lies before the window."""
    return choose(config, ingest.load_interactions(config, before=window.start), window)


@pytest.mark.parametrize("order", [["popular", "personal_frequency"], ["personal_frequency", "popular"]])
def test_the_algorithm_that_fits_is_chosen_whatever_the_order(grocery: Source, order: list[str]) -> None:
    """Own habits in a log of habits, popularity in a log of fashions."""
    habits(grocery)
    name, means = chosen(grocery.config(training__auto=order, training__validation_windows=2))
    assert name == "personal_frequency"
    assert set(means) == set(order)
    assert means["personal_frequency"] > means["popular"]
    fashion(grocery)
    config = grocery.config(training__auto=order, training__algorithms={"popular": {"window_days": 3}})
    assert chosen(config)[0] == "popular"


def test_the_means_are_those_of_the_windows_before(grocery: Source) -> None:
    """Worked out anew, window by window and user by user."""
    config = grocery.config(training__auto=["popular", "item_knn"], training__validation_windows=3)
    _, means = chosen(config)
    log = ingest.load_interactions(config)
    for name in ("popular", "item_knn"):
        values = []
        for number in (1, 2, 3):
            start = AS_OF - number * 7 * DAY
            data = TrainingData.of(log.filter(pl.col("timestamp") < start), cutoff=start)
            fitted = make(name, {}).fit(data, seed=0)
            lists = rank_users(fitted, data, depth=20, repeat_purchases=True)
            values.append(naive_ndcg(data, lists.tolist(), log, start))
        assert means[name] == pytest.approx(np.mean(values))


def naive_ndcg(data: TrainingData, lists: list[list[int]], log: pl.DataFrame, start: dt.datetime) -> float:
    """Mean nDCG@10 of the known users who took something in the week after ``start``."""
    after = log.filter((pl.col("timestamp") >= start) & (pl.col("timestamp") < start + 7 * DAY))
    found = []
    for user, items in after.group_by("user_id").agg("item_id").iter_rows():
        if user in data.user_ids:
            taken = set(items)
            ranked = [data.item_ids[row] for row in lists[data.user_ids.index(user)][:10]]
            gain = sum(1 / np.log2(rank + 2) for rank, item in enumerate(ranked) if item in taken)
            found.append(gain / sum(1 / np.log2(rank + 2) for rank in range(min(len(taken), 10))))
    return float(np.mean(found))


def test_nothing_at_or_after_the_cutoff_changes_the_choice(grocery: Source) -> None:
    """Even if the test week would say the opposite."""
    config = grocery.config(training__auto=["popular", "personal_frequency"])
    before = chosen(config)
    late = pl.col("when") >= AS_OF
    grocery.rows = grocery.rows.with_columns(pl.when(late).then(100).otherwise(pl.col("what")).alias("what"))
    assert chosen(grocery.config(training__auto=["popular", "personal_frequency"])) == before
    grocery.rows = grocery.rows.filter(~late)
    assert chosen(grocery.config(training__auto=["popular", "personal_frequency"])) == before


def test_rows_after_the_cutoff_are_not_looked_at_even_if_they_are_given(grocery: Source) -> None:
    """The windows end at the cutoff on their own account."""
    config = grocery.config(training__auto=["popular", "personal_frequency"])
    assert choose(config, ingest.load_interactions(config, before=END), WINDOW) == chosen(config)


def test_the_metric_is_the_configured_one(grocery: Source) -> None:
    """Each metric gives other means."""
    found = {
        name: chosen(grocery.config(training__auto=["popular", "ease"], training__metric=name))[1]["popular"]
        for name in metrics.METRICS
    }
    assert len(set(found.values())) == len(found)


def test_a_tie_goes_to_the_one_that_is_named_first(grocery: Source) -> None:
    """With one item in the log nobody is better."""
    grocery.rows = grocery.rows.with_columns(pl.lit(100).alias("what"))
    for order in (["popular", "personal_frequency"], ["personal_frequency", "popular"]):
        name, means = chosen(grocery.config(training__auto=order))
        assert set(means.values()) == {1.0}
        assert name == order[0]


def test_one_candidate_needs_no_trial(grocery: Source) -> None:
    """And no window to try it on."""
    config = grocery.config(training__auto=["popular"])
    assert chosen(config, Window(START + 2 * DAY, 7)) == ("popular", {})


def test_a_log_too_short_to_try_on_is_an_error_with_a_way_out(grocery: Source) -> None:
    """The message names the cutoff and what to do."""
    config = grocery.config(training__auto=["popular", "ease"])
    with pytest.raises(InvalidInputError, match="name an algorithm instead of auto") as caught:
        chosen(config, Window(START + 2 * DAY, 7))
    assert "2025-01-08" in str(caught.value)


def test_known_pairs_and_unknown_users_are_left_out_of_the_truth(grocery: Source) -> None:
    """An item that nobody took before counts as missed; a known one counts only where purchases repeat."""
    known = pl.DataFrame({"user_id": ["a", "a", "b"], "item_id": ["x", "y", "x"]})
    before = known.with_columns(timestamp=pl.lit(AS_OF - DAY))
    data = TrainingData.of(before, cutoff=AS_OF)
    after = pl.DataFrame(
        [("a", "x"), ("a", "x"), ("a", "new"), ("b", "y"), ("stranger", "x")],
        schema=["user_id", "item_id"],
        orient="row",
    )
    for repeat, expected in ((True, [(0, 0), (0, 2), (1, 1)]), (False, [(0, 2), (1, 1)])):
        truth = coded_truth(data, after, config=grocery.config(repeat_purchases=repeat))
        assert truth is not None
        assert list(zip(*(side.tolist() for side in truth), strict=True)) == expected
    nobody = after.filter(pl.col("user_id") == "stranger")
    assert coded_truth(data, nobody, config=grocery.config()) is None


def test_a_new_item_is_missed_and_padding_hits_nothing(grocery: Source) -> None:
    """User a took x, foreseen first, and something new: recall is a half."""
    lists = np.array([[0, 1, -1], [-1, -1, -1]], np.int32)
    found = measure(lists, np.array([0, 0, 1], np.int32), np.array([0, 2, 1], np.int32), 2)
    assert found["recall_at_20"].tolist() == [0.5, 0.0]
    assert found["hit_rate_at_10"].tolist() == [1.0, 0.0]
    assert grocery.config().repeat_purchases
