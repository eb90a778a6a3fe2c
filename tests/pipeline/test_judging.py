"""What happened in a test window, and how lists are held against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
import pytest

from model_release.artifact import Algorithm, DataSnapshot, Manifest, ServingFormat
from model_release.errors import InvalidInputError
from pipeline.config import PipelineConfig
from pipeline.judging import Judged, Truth
from pipeline.window import Window
from tests.pipeline.logs import AS_OF, DAY, Source

WINDOW = Window(AS_OF, 7)
BEFORE = [("a", "x"), ("a", "x"), ("a", "y"), ("b", "x"), ("c", "z"), ("c", "z"), ("c", "z"), ("c", "z"), ("idle", "y")]
AFTER = [("b", "y"), ("a", "x"), ("a", "x"), ("a", "new"), ("c", "z"), ("stranger", "x")]


@dataclass
class Answers:
    """A model that answers what it is told to."""

    lists: dict[str, list[str]]
    usual: list[str] = field(default_factory=lambda: ["x", "y"])
    depth: int = 3
    blocking: bool = False

    def prefault(self) -> None:
        """Everything is in memory."""

    def recommend(self, user_id: str, k: int) -> Sequence[str] | None:
        found = self.lists.get(user_id)
        return None if found is None else found[:k]

    def similar(self, item_id: str, k: int) -> Sequence[str] | None:
        raise AssertionError(f"nobody asked for {k} items like {item_id}")

    def popular(self, k: int) -> Sequence[str]:
        return self.usual[:k]


def manifest(*, users: int = 4, items: int = 4) -> Manifest:
    """Return a manifest of a run of that size."""
    return Manifest.model_validate(
        {
            "run_id": "r", "created_at": AS_OF, "git_commit": None, "as_of": AS_OF,
            "algorithm": Algorithm(name="popular", seed=0), "serving": ServingFormat(format="ranked_lists"),
            "data": DataSnapshot(source="s", rows=1, users=users, items=items, first_timestamp=AS_OF,
                                 last_timestamp=AS_OF, content_sha256="0" * 64),
            "files": [{"name": "f", "bytes": 0, "sha256": "0" * 64}],
        }
    )  # fmt: skip


@pytest.fixture
def config(grocery: Source) -> PipelineConfig:
    """Give a log of four users before the window and four in it."""
    moments = [(who, what, AS_OF - DAY) for who, what in BEFORE]
    moments += [(who, what, AS_OF + number * DAY) for number, (who, what) in enumerate(AFTER)]
    moments += [("a", "late", WINDOW.end), ("late", "x", WINDOW.end)]
    grocery.rows = pl.DataFrame(moments, schema=["who", "what", "when"], orient="row").with_columns(
        pl.col("when").cast(grocery.rows.schema["when"]), amount=pl.lit(1), paid=pl.lit(1.0)
    )
    return grocery.config(source__items=None)


def test_the_truth_is_what_was_taken_in_the_window(config: PipelineConfig) -> None:
    """Each pair once, with whether it was known; what is after the window does not count."""
    truth = Truth.of(config, WINDOW)
    assert truth.pairs.rows() == [
        ("a", "new", False),
        ("a", "x", True),
        ("b", "y", False),
        ("c", "z", True),
        ("stranger", "x", False),
    ]
    assert (truth.users, truth.silent_users) == (4, 1)
    assert dict(truth.buyers.rows()) == {"x": 0.5, "y": 0.5, "z": 0.25}


def test_users_are_cut_into_terciles_by_what_they_did_before(config: PipelineConfig) -> None:
    """0, 1, 3 and 4 purchases; a user without any is low."""
    found = dict(Truth.of(config, WINDOW).activity.rows())
    assert found == {"stranger": "low", "b": "low", "a": "medium", "c": "high"}


def test_users_who_did_as_much_stay_together(grocery: Source) -> None:
    """Slices by count, not by rank: nobody's slice is chance."""
    truth = Truth.of(grocery.config(), WINDOW)
    before = grocery.rows.filter(pl.col("when") < AS_OF).group_by(pl.col("who").cast(pl.String).alias("user_id")).len()
    joined = truth.activity.join(before, on="user_id")
    assert (
        joined.group_by("len").agg(pl.col("user_slice").n_unique())["user_slice"].to_list()
        == [1] * joined["len"].n_unique()
    )


def test_what_may_not_be_recommended_can_not_be_missed(config: PipelineConfig) -> None:
    """Where nothing repeats, known pairs are no truth; who took nothing else is silent."""
    truth = Truth.of(config.model_copy(update={"repeat_purchases": False}), WINDOW)
    assert truth.pairs.select("user_id", "item_id").rows() == [("a", "new"), ("b", "y"), ("stranger", "x")]
    assert truth.silent_users == 2


def test_nothing_to_judge_on_is_an_error(config: PipelineConfig, grocery: Source) -> None:
    """The message names the days, and what was looked for."""
    with pytest.raises(InvalidInputError, match="2025-06-28 to 2025-07-05: no user took an item"):
        Truth.of(config, Window(AS_OF + 100 * DAY, 7))
    again = pl.col("what").is_in(["x", "z"]) & pl.col("who").is_in(["a", "c"])
    grocery.rows = grocery.rows.filter(again)
    with pytest.raises(InvalidInputError, match="no user took an item that was new to them"):
        Truth.of(grocery.config(source__items=None, repeat_purchases=False), WINDOW)
    assert Truth.of(grocery.config(source__items=None), WINDOW).users == 2


def test_lists_are_judged_by_hand(config: PipelineConfig) -> None:
    """A took x and something new; b was offered the wrong thing; c's came second; the stranger got popular items."""
    model = Answers({"a": ["x", "y", "z"], "b": ["z"], "c": ["x", "z"]})
    truth = Truth.of(config, WINDOW)
    judged = Judged.of(truth, "candidate", model, manifest())
    recall = dict(judged.values["all"].select("user_id", "recall_at_20").rows())
    assert recall == {"a": 0.5, "b": 0.0, "c": 1.0, "stranger": 1.0}
    average = dict(judged.values["all"].select("user_id", "map_at_10").rows())
    assert average == pytest.approx({"a": 0.5, "b": 0.0, "c": 0.5, "stranger": 1.0})
    assert dict(judged.values["known"].select("user_id", "recall_at_20").rows()) == {"a": 1.0, "c": 1.0}
    new = dict(judged.values["new"].select("user_id", "recall_at_20").rows())
    assert new == {"a": 0.0, "b": 0.0, "stranger": 1.0}
    assert judged.unknown_users == 1


def test_the_catalogue_is_described_by_hand(config: PipelineConfig) -> None:
    """Lists of 3, 1, 2 and 2; x, y and z of four items; bits of surprise per recommended item."""
    model = Answers({"a": ["x", "y", "z"], "b": ["z"], "c": ["x", "new"]})
    found = Judged.of(Truth.of(config, WINDOW), "candidate", model, manifest(users=4, items=5)).catalogue
    assert found["list_length"] == 2
    assert found["coverage"] == 4 / 5
    bits = [1, 1, 2, 2, 1, 3, 1, 1]  # x, y: half of the users; z: a quarter; new: as if half a user of four
    assert found["novelty"] == pytest.approx(sum(bits) / len(bits))


def test_coverage_and_novelty_look_at_the_first_ten(config: PipelineConfig) -> None:
    """What stands further down is hardly seen; the length counts it all the same."""
    long = [f"i{number}" for number in range(25)]
    model = Answers({"a": long, "b": long, "c": long}, usual=long, depth=25)
    found = Judged.of(Truth.of(config, WINDOW), "candidate", model, manifest(users=4, items=50)).catalogue
    assert found == {"coverage": 10 / 50, "novelty": 3.0, "list_length": 25.0}


def test_empty_lists_hit_nothing(config: PipelineConfig) -> None:
    """And are no error: the gate looks at their length."""
    judged = Judged.of(
        Truth.of(config, WINDOW), "candidate", Answers({"a": [], "b": [], "c": []}, usual=[]), manifest()
    )
    assert judged.values["all"].select(pl.exclude("user_id")).sum().row(0) == (0, 0, 0, 0)
    assert judged.catalogue == {"coverage": 0, "novelty": 0, "list_length": 0}


def test_both_sides_stand_beside_each_other(config: PipelineConfig) -> None:
    """One row per user and item slice; every user of the window once among all items."""
    truth = Truth.of(config, WINDOW)
    good, bad = Answers({"a": ["x", "new"]}), Answers({"a": ["q"], "b": ["y"]})
    sides = [Judged.of(truth, name, model, manifest()) for name, model in (("candidate", good), ("current", bad))]
    table = truth.per_user(sides)
    everyone = table.filter(pl.col("item_slice") == "all")
    assert everyone["user_id"].to_list() == ["a", "b", "c", "stranger"]
    assert table.select("user_id", "item_slice").is_unique().all()
    recall = everyone.select("user_id", "candidate_recall_at_20", "current_recall_at_20").rows()
    assert recall == [("a", 1, 0), ("b", 1, 1), ("c", 0, 0), ("stranger", 1, 1)]
    means = truth.means(table, sides)
    assert means["candidate"]["recall_at_20"] == 0.75
    assert means["current"]["recall_at_20"] == 0.5
    slices = truth.slices(table, sides)
    assert {label: part["users"] for label, part in slices.items()} == {
        "low users": 2, "medium users": 1, "high users": 1, "new items": 3, "known items": 2,
    }  # fmt: skip
    assert slices["known items"]["candidate"]["recall_at_20"] == 0.5
    assert slices["medium users"]["current"]["recall_at_20"] == 0
