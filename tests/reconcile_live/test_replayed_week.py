"""A week of the log replayed against a real recommendation API, each day reconciled.

Every number is held against another way to compute it: plain Polars on the raw files, every answer beside everything that its
user took.  Two runs: one is current, the other is tried on half of the users from the fourth day on, and current from the sixth.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import polars as pl
import pytest
from scipy import stats

from model_release.exposures import complete
from model_release.paths import ReleasePaths
from model_release.reconciling.document import Document
from pipeline.evaluate import evaluate
from pipeline.train_models import train
from scripts.replay import Pace, Replay, Tally, plan
from tests.api.home import Home
from tests.api.replica import Replica, wait_until
from tests.pipeline import logs
from tests.pipeline.logs import AS_OF, DAY, END
from tests.pipeline.served import Served
from tests.reconcile_live.clocked_api import VARIABLE

pytestmark = pytest.mark.slow
NOON = dt.timedelta(hours=11)
TRIED_FROM, CURRENT_FROM = 3, 5  # days of the week
SETTINGS = {
    "RECOMMENDATION_API_EVENTS": "true",
    "RECOMMENDATION_API_DEVELOPMENT": "true",
    "RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS": "0.05",
}


@dataclass
class Week:
    """What was replayed, and what the reconciliation of each day says."""

    served: Served
    source: logs.Source
    other: str
    tallies: list[Tally]
    documents: list[Document]


class Shifted:
    """The clock of the API and of those who talk to it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.ahead = 0.0
        self.show(dt.datetime.now(dt.UTC))

    def show(self, moment: dt.datetime) -> None:
        self.ahead = moment.timestamp() - time.time()
        new = self._file.with_suffix(".new")
        new.write_text(repr(self.ahead), encoding="ascii")
        new.replace(self._file)

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    """Replay seven days; on every other one people tell the API what they took, too."""
    folder = tmp_path_factory.mktemp("week")
    source = logs.groceries(folder / "data")
    source.rows = logs.grocery_rows(users=150)
    served = Served(source.config(), ReleasePaths(folder / "home"))
    other = train(served.config, served.paths, AS_OF, "popular").run_id
    evaluate(served.config, served.paths, other, None)
    clock = Shifted(folder / "clock")
    replica = Replica(
        cast("Home", served),
        token=None,
        settings={**SETTINGS, VARIABLE: str(folder / "clock")},
        module="tests.reconcile_live.clocked_api",
    )
    found = Week(served, source, other, [], [])
    try:
        for number in range(7):
            start = AS_OF + number * DAY
            if number == TRIED_FROM:
                served.commit(other, start + dt.timedelta(hours=1), mode="canary", share=0.5)
            if number == CURRENT_FROM:
                served.commit(other, start + dt.timedelta(hours=1))
            clock.show(start + NOON)
            if not number:
                replica.start_ready()
            replay_day(found, replica, clock, number)
    finally:
        replica.close()
    found.documents = [served.reconcile((AS_OF + number * DAY).date(), now=END + DAY) for number in range(7)]
    return found


def replay_day(week: Week, replica: Replica, clock: Shifted, number: int) -> None:
    generation = week.served.registry.read().generation
    wait_until("the replica follows", lambda: replica.worker.generation == generation)
    visits = plan(week.served.config, (AS_OF + number * DAY).date(), None)
    before = exposures(week).height
    pace = Pace(speed=float("inf"), concurrency=4, k=10 if number == 1 else 20)
    replay = Replay([replica.url], pace, events=number % 2 == 1, clock=clock)
    asyncio.run(replay.run(visits))
    week.tallies.append(replay.tally)
    lines = replay.tally.answered + replay.tally.taken
    wait_until("all lines are in the log", lambda: exposures(week).height == before + lines)


def exposures(week: Week) -> pl.DataFrame:
    """Return all lines of all files, as they are."""
    files = sorted(week.served.paths.exposures.glob("*.jsonl"))
    written = [complete(file.read_bytes()) for file in files]  # one that was begun just now has nothing yet
    frames = [pl.read_ndjson(lines, infer_schema_length=None) for lines in written if lines]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def by_hand(week: Week, number: int, cutoff: int) -> pl.DataFrame:
    """Compute for each run, variant and user: hits and items of one day at one cutoff; the long way."""
    start, end = AS_OF + number * DAY, AS_OF + (number + 1) * DAY
    when = pl.col("at").str.to_datetime(time_zone="UTC", time_unit="us")
    lines = exposures(week).with_columns(at=when).filter(pl.col("at") >= start, pl.col("at") < end)
    answers = lines.filter(pl.col("kind") == "exposure").select(
        "run_id", "variant", "k", "items", shown="at", user="id"
    )
    raw = pl.read_parquet(week.source.folder / "rows.parquet").select(
        user=pl.col("who").cast(pl.String), item=pl.col("what").cast(pl.String), at="when"
    )
    taken = [raw.filter(pl.col("at") >= start, pl.col("at") < end)]
    if "user" in lines.columns:
        taken.append(lines.filter(pl.col("kind") == "event").select("user", "item", "at"))
    every = pl.concat(taken).unique().join(answers, on="user").filter(pl.col("shown") <= pl.col("at"))
    last = every.filter(pl.col("shown") == pl.col("shown").max().over("user", "item", "at"))
    last = last.filter(pl.col("k") >= cutoff).with_columns(
        hit=pl.col("items").list.head(cutoff).list.contains(pl.col("item"))
    )
    pairs = last.group_by("run_id", "variant", "user", "item").agg(pl.col("hit").any())
    return pairs.group_by("run_id", "variant", "user").agg(hits=pl.col("hit").sum(), items=pl.len()).sort("user")


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("metric", ["hit_rate_at_10", "recall_at_10", "recall_at_20"])
def test_the_numbers_of_a_day_are_exactly_those_of_plain_polars(week: Week, number: int, metric: str) -> None:
    document = week.documents[number]
    kind, _, cutoff = metric.rpartition("_at_")
    rows = by_hand(week, number, int(cutoff))
    asked_for = 10 if number == 1 else 20
    assert rows.is_empty() == (asked_for < int(cutoff))
    found = {(run.run_id, run.variant): run.metrics[metric] for run in document.runs}
    for (run_id, variant), measured in found.items():
        mine = rows.filter(pl.col("run_id") == run_id, pl.col("variant") == variant)
        assert measured.users == mine.height
        if mine.height < 2:
            continue
        hits, items = mine["hits"].to_numpy(), mine["items"].to_numpy()
        values = (hits > 0).astype(np.float64) if kind == "hit_rate" else hits / items
        assert measured.mean == values.mean()
        reach = stats.t.ppf(0.95, len(values) - 1) * stats.sem(values)  # t.interval warns where all values are the same
        bounds = (values.mean() - reach, values.mean() + reach)
        assert (measured.lower, measured.upper) == pytest.approx(bounds)
    assert {(row[0], row[1]) for row in rows.iter_rows()} <= set(found)


@pytest.mark.parametrize("number", range(7))
def test_the_counts_of_a_day_are_those_of_the_files_and_of_who_asked(week: Week, number: int) -> None:
    """Who asked: what the replay itself counted, and nothing failed."""
    document, tally = week.documents[number], week.tallies[number]
    assert tally.whole
    assert tally.degraded == 0
    assert (document.log.answers, document.log.outcomes) == (tally.answered, tally.taken)
    start = AS_OF + number * DAY
    visits = plan(week.served.config, start.date(), None)
    assert tally.asked == len(visits) > 20
    assert document.taken.interactions == sum(len(visit.items) for visit in visits)
    answers = exposures(week).filter(pl.col("kind") == "exposure", pl.col("at").str.starts_with(str(start.date())))
    for run in document.runs:
        mine = answers.filter(pl.col("run_id") == run.run_id, pl.col("variant") == run.variant)
        assert (run.answers, run.users) == (mine.height, mine["id"].n_unique())
        shown = mine.select(pl.col("items").list.head(10).explode(empty_as_null=True).n_unique()).item()
        assert (run.items_shown, run.coverage) == (shown, shown / (run.catalogue_items or 0))


def test_each_day_names_the_runs_that_served_it(week: Week) -> None:
    """The canary beside the current run, and after its release only the new one; ledger and registry agree on all days."""
    old, new = week.served.current, week.other
    served = [{(run.run_id, run.variant) for run in document.runs} for document in week.documents]
    assert served[:TRIED_FROM] == [{(old, "current")}] * 3
    assert served[TRIED_FROM:CURRENT_FROM] == [{(old, "current"), (new, "candidate")}] * 2
    assert served[CURRENT_FROM:] == [{(new, "current")}] * 2
    assert {document.serving.status for document in week.documents} == {"agrees"}
    assert {document.registry.status for document in week.documents} == {"agrees"}
    days = [[stint.run_id for stint in document.serving.stints] for document in week.documents]
    assert days == [[old]] * 5 + [[old, new], [new]]
    assert [document.taken.used for document in week.documents[:2]] == [("interactions",), ("interactions", "events")]


def test_a_day_reconciled_again_says_the_same(week: Week) -> None:
    for number in (0, TRIED_FROM):
        assert week.served.reconcile((AS_OF + number * DAY).date(), now=END + DAY) == week.documents[number]


def test_a_ledger_that_tells_another_story_is_found(week: Week) -> None:
    """Without the entry of the release, the answers name a run that the ledger does not have there."""
    ledger = week.served.paths.ledger
    before = ledger.read_bytes()
    try:
        kept = [line for line in before.splitlines(keepends=True) if f'"{week.other}"'.encode() not in line]
        ledger.write_bytes(b"".join(kept))
        document = week.served.reconcile((AS_OF + CURRENT_FROM * DAY).date(), now=END + DAY)
    finally:
        ledger.write_bytes(before)
    assert document.status == "differs"
    assert any(f"name {week.other} as current" in told for told in document.problems)
    assert any(told.startswith("registry: generation") for told in document.problems)
