"""A day reconciled: the numbers are those of a loop over the raw files, and what is missing is missing, never zero."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import polars as pl
import pytest

from model_release.adapters.files import write_atomic
from model_release.adapters.recommendation_api_client import RecommendationApiClient
from model_release.adapters.reconciliation_files import newest_reconciliation, parse_reconciliation
from model_release.errors import InvalidInputError
from model_release.paths import HOME_VARIABLE, ReleasePaths
from model_release.policy import Tolerance
from model_release.reconciling.document import Document, schema
from pipeline import reconcile as stage
from pipeline.evaluate import evaluate
from pipeline.reconcile import main
from pipeline.reconciliation import lines
from pipeline.reconciliation.day import Day, newest_complete, parse_date
from pipeline.train_models import train
from tests.docs_pages import DOCS
from tests.pipeline.logs import AS_OF, DAY, END, Source
from tests.pipeline.served import DATE, LOOSE, SEVEN, Answers, Served, bought, expected, hit_rate, instant, recall

START = instant(DATE, dt.time(tzinfo=dt.UTC))


@pytest.fixture
def served(grocery: Source, paths: ReleasePaths) -> Served:
    """Give a shop whose evaluated run was released two days before ``DATE``; nobody has asked it anything yet."""
    return Served(grocery.config(), paths)


def told(document: Document) -> str:
    return "\n".join(document.problems)


def as_answers(shown: list[dict[str, Any]]) -> Answers:
    return [
        (dt.datetime.fromisoformat(one["at"]), one["id"], one["run_id"], one["variant"], one["k"], one["items"])
        for one in shown
    ]


# The numbers


def test_every_number_is_what_a_loop_over_the_raw_files_says(served: Served, grocery: Source) -> None:
    """Two runs, two variants, several answers per user, some after the purchase, and outcomes beside the interactions."""
    other = train(served.config, served.paths, AS_OF, "popular").run_id
    evaluate(served.config, served.paths, other, None)
    trial = served.commit(other, START + dt.timedelta(hours=1), mode="canary", share=0.5)
    users = served.everybody()
    canary = {"run_id": other, "variant": "candidate", "generation": trial}
    morning = served.shown(users[::2], instant(DATE, SEVEN), generation=trial)
    morning += served.shown(users[1::2], instant(DATE, SEVEN), replica="api-2", **canary)
    noon = served.shown(users[:20], instant(DATE, dt.time(13, tzinfo=dt.UTC)), k=10, generation=trial)
    similar = served.shown(["105"], instant(DATE, SEVEN), endpoint="similar", generation=trial)
    event_at = instant(DATE, dt.time(23, tzinfo=dt.UTC))
    items = {user: morning[place]["items"] for place, user in enumerate([*users[::2], *users[1::2]])}
    events = [served.done(user, items[user][12], event_at) for user in users[:30]]
    events += [events[0], served.done("1", "131", event_at, type="view")]
    served.write(morning + events, instant(DATE, SEVEN))
    served.write(noon + similar, instant(DATE, dt.time(13, tzinfo=dt.UTC)), replica="api-2")

    document = served.reconcile()
    taken = bought(grocery.rows, START, START + DAY)
    taken += [(user, items[user][12], event_at) for user in users[:30]]
    answers = as_answers(morning + noon)
    assert [(run.run_id, run.variant) for run in document.runs] == sorted(
        [(served.current, "current"), (other, "candidate")]
    )
    for run in document.runs:
        mine = [one for one in answers if one[2:4] == (run.run_id, run.variant)]
        assert (run.answers, run.users) == (len(mine), len({one[1] for one in mine}))
        shown = {item for one in mine for item in one[5][:10]}
        assert run.items_shown == len(shown)
        assert run.catalogue_items is not None
        assert run.coverage == len(shown) / run.catalogue_items
        for metric, measured in run.metrics.items():
            kind, _, cutoff = metric.rpartition("_at_")
            by_loop = expected(answers, taken, int(cutoff))[run.run_id, run.variant]
            assert measured.users == len(by_loop) > 5
            mean = {"recall": recall, "hit_rate": hit_rate}[kind](by_loop)
            assert measured.mean == pytest.approx(mean, abs=1e-12)
            assert measured.promised is not None
    assert document.runs[0].similar_answers + document.runs[1].similar_answers == 1
    assert (document.log.answers, document.log.outcomes) == (len(morning) + len(noon) + 1, 32)
    assert (document.taken.interactions, document.taken.events) == (len(taken) - 30, 30)
    assert document.log.replicas == ("api-1", "api-2")
    assert document.status == "agrees", told(document)


def test_the_promise_of_a_day_is_what_a_loop_says(served: Served, grocery: Source) -> None:
    """One observation per user and day, the error that of clusters of a user's days."""
    summary = json.loads((served.paths.evaluation_of(served.current) / "summary.json").read_bytes())["daily"]
    model = served.lists(served.current)
    by_user: dict[str, list[float]] = {}
    for number in range(7):
        start = AS_OF + number * DAY
        baskets: dict[str, set[str]] = {}
        for user, item, _ in bought(grocery.rows, start, start + DAY):
            baskets.setdefault(user, set()).add(item)
        for user, items in baskets.items():
            listed = set((model.recommend(user, 20) or model.popular(20))[:10])
            by_user.setdefault(user, []).append(len(items & listed) / len(items))
    every = [value for values in by_user.values() for value in values]
    mean = sum(every) / len(every)
    squares = sum((sum(values) - mean * len(values)) ** 2 for values in by_user.values())
    error = (squares * len(by_user) / (len(by_user) - 1)) ** 0.5 / len(every)
    assert (summary["users"], summary["user_days"]) == (len(by_user), len(every))
    assert summary["metrics"]["recall_at_10"] == pytest.approx(mean, abs=1e-12)
    assert summary["standard_errors"]["recall_at_10"] == pytest.approx(error, abs=1e-12)


def test_what_was_taken_before_the_answer_came_does_not_count(served: Served, grocery: Source) -> None:
    """Answered at noon, everything bought in the morning is left out."""
    noon = instant(DATE, dt.time(12, tzinfo=dt.UTC))
    served.write(served.shown(served.everybody(), noon), noon)
    document = served.reconcile()
    after = {user for user, _, at in bought(grocery.rows, noon, START + DAY)}
    (run,) = document.runs
    assert 0 < len(after) < len({user for user, _, _ in bought(grocery.rows, START, START + DAY)})
    assert abs(run.followed_users - len(after)) <= 1  # the answers come a second apart
    assert run.followed_users == run.metrics["recall_at_10"].users


def test_a_metric_counts_only_answers_that_are_long_enough(served: Served) -> None:
    """Who asked for ten items promises nothing about twenty."""
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN), k=10), instant(DATE, SEVEN))
    (run,) = served.reconcile().runs
    assert run.metrics["recall_at_20"].users == 0
    assert run.metrics["recall_at_20"].mean is None
    assert run.metrics["recall_at_20"].result == "too_few_users"
    assert run.metrics["recall_at_10"].users > 5


def test_where_nothing_is_recommended_twice_what_was_had_before_does_not_count(
    grocery: Source, paths: ReleasePaths
) -> None:
    first = grocery.rows.filter(grocery.rows["when"] > START).head(9).with_columns(what=pl.lit(900, pl.Int64))
    grocery.rows = pl.concat([grocery.rows, first]).sort("when")
    shop = Served(grocery.config(repeat_purchases=False), paths)
    shop.write(shop.shown(shop.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    had = {(user, item) for user, item, _ in bought(grocery.rows, START - 80 * DAY, AS_OF)}
    new = {user for user, item, _ in bought(grocery.rows, START, START + DAY) if (user, item) not in had}
    (run,) = shop.reconcile().runs
    assert 0 < run.followed_users == len(new)


def test_a_worse_day_differs(served: Served) -> None:
    """Lists with nothing that anybody takes: the promise is broken, and the reason has both numbers."""
    shown = served.shown(served.everybody(), instant(DATE, SEVEN), items=["9001", "9002"])
    served.write(shown, instant(DATE, SEVEN))
    document = served.reconcile(tolerance=Tolerance(minimum_users=5))
    assert document.status == "differs"
    assert document.runs[0].metrics["hit_rate_at_10"].result == "broken"
    assert "hit_rate_at_10 0.0000 of 15 users, promised 0." in told(document)


# Missing is not zero


def test_a_day_without_a_log_is_missing(served: Served) -> None:
    """No run, no number: nothing that could be taken for zero answers with zero hits."""
    document = served.reconcile()
    assert (document.status, document.runs, document.log.files) == ("missing", (), 0)
    assert "there is no exposure log of that day: nothing is known of what was served" in told(document)


def test_a_day_without_interactions_is_missing(served: Served) -> None:
    """What nobody wrote down, nobody is known to have done."""
    late = END.date() + dt.timedelta(days=3)
    served.write(served.shown(served.everybody(), instant(late, SEVEN)), instant(late, SEVEN))
    document = served.reconcile(late, now=END + 10 * DAY)
    assert document.status == "missing"
    assert f"nothing is known of what people did: rows.parquet has no interaction of {late}" in told(document)
    assert document.taken.interactions is None
    assert {measured.mean for measured in document.runs[0].metrics.values()} == {None}
    event = served.done("1", "101", instant(late, dt.time(20, tzinfo=dt.UTC)))
    served.write([event], instant(late, dt.time(20, tzinfo=dt.UTC)))
    found = served.reconcile(late, now=END + 10 * DAY)
    assert found.taken.used == ("events",)
    assert "nothing is known" not in told(found)


def test_an_unreadable_source_is_missing(served: Served, grocery: Source) -> None:
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    (grocery.folder / "rows.parquet").write_bytes(b"PAR1")
    document = served.reconcile()
    assert document.status == "missing"
    assert "can't be read" in told(document)


@pytest.mark.parametrize(
    ("wanted", "problem"), [("events", "no events of"), ("both", "no events of"), ("interactions", None), ("any", None)]
)
def test_a_source_that_is_asked_for_must_be_there(
    grocery: Source, paths: ReleasePaths, wanted: str, problem: str | None
) -> None:
    shop = Served(grocery.config(reconciliation__outcomes=wanted), paths)
    shop.write(shop.shown(shop.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    document = shop.reconcile()
    assert (problem or "") in told(document)
    assert document.status == ("missing" if problem else "agrees"), told(document)


def test_interactions_that_end_during_the_day_are_incomplete(grocery: Source, paths: ReleasePaths) -> None:
    """Half a day of purchases is no bad day."""
    rows = grocery.rows
    shop = Served(grocery.config(), paths)
    shop.write(shop.shown(shop.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    grocery.rows = rows.filter(rows["when"] < instant(DATE, dt.time(14, tzinfo=dt.UTC)))
    shop.config = grocery.config()
    document = shop.reconcile()
    assert document.status == "missing"
    assert "more than 6 hours before the day does" in told(document)


@pytest.mark.parametrize("around", ["before and after", "expected"])
def test_a_replica_without_a_file_is_a_gap(grocery: Source, paths: ReleasePaths, around: str) -> None:
    """Known by its files of the days around, or because the configuration names it."""
    names = ["api-2"] if around == "expected" else []
    shop = Served(grocery.config(reconciliation__replicas=names), paths)
    shop.write(shop.shown(shop.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    if around != "expected":
        assert shop.reconcile().log.gaps == ()
        for day in (-1, 1):
            date = DATE + dt.timedelta(days=day)
            shop.write(shop.shown(["1"], instant(date, SEVEN)), instant(date, SEVEN), replica="api-2")
    document = shop.reconcile()
    assert document.status == "missing"
    assert "log gap: replica api-2" in told(document)


def test_a_replica_that_came_or_went_is_no_gap(served: Served) -> None:
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    for name, day in (("old", -1), ("new", 1)):
        date = DATE + dt.timedelta(days=day)
        served.write(served.shown(["1"], instant(date, SEVEN)), instant(date, SEVEN), replica=name)
    assert served.reconcile().status == "agrees"


def test_too_few_users_are_no_verdict(served: Served) -> None:
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    document = served.reconcile(tolerance=LOOSE.model_copy(update={"minimum_users": 40}))
    assert document.status == "missing"
    assert "too few users: of no run did 40 take something" in told(document)
    assert {measured.result for measured in document.runs[0].metrics.values()} == {"too_few_users"}


def test_a_run_that_is_not_known_is_missing(served: Served) -> None:
    shown = served.shown(served.everybody(), instant(DATE, SEVEN))
    served.write([{**one, "run_id": "somebody-elses"} for one in shown], instant(DATE, SEVEN))
    document = served.reconcile()
    assert document.status == "differs"  # the ledger has another one there
    assert "run somebody-elses is not known here" in told(document)
    assert document.runs[0].coverage is None
    assert document.runs[0].metrics["recall_at_10"].result == "not_comparable"


def test_a_run_without_an_evaluation_has_no_promise(grocery: Source, paths: ReleasePaths) -> None:
    shop = Served(grocery.config(), paths, evaluated=False)
    shop.write(shop.shown(shop.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    document = shop.reconcile()
    assert document.status == "missing"
    assert "there is no promise" in told(document)
    measured = document.runs[0].metrics["recall_at_10"]
    assert (measured.promised, measured.floor, measured.result) == (None, None, "not_comparable")
    assert measured.mean is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.pop("daily"), "is about 7 days, and says nothing of a single one"),
        (lambda one: one.update(candidate_manifest_sha256="0" * 64), "is of other files than"),
        (lambda one: one.pop("metrics"), "can't be read"),
    ],
)
def test_an_evaluation_that_is_no_promise_of_a_day_is_not_compared(
    served: Served, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """Of another horizon, of other files, or damaged: said so, and how to get one."""
    file = served.paths.evaluation_of(served.current) / "summary.json"
    summary = json.loads(file.read_bytes())
    change(summary)
    write_atomic(file, json.dumps(summary))
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    document = served.reconcile()
    assert document.status == "missing"
    assert said in told(document)
    assert f"evaluate it with python -m pipeline.evaluate --run {served.current}" in told(document)


# Lines


def test_lines_that_can_not_be_read_are_counted_and_the_rest_counts(served: Served) -> None:
    """A damaged line, one of another version; a torn last line is what a killed process leaves, and is none."""
    shown = served.shown(served.everybody(), instant(DATE, SEVEN))
    served.write([*shown, {**shown[0], "schema_version": 2}, {"kind": "?"}], instant(DATE, SEVEN), tail='{"schema_ver')
    document = served.reconcile()
    assert (document.log.answers, document.log.unreadable_lines) == (45, 2)
    assert document.status == "missing"
    assert "2 of 47 lines of the exposure log can't be read" in told(document)
    loose = LOOSE.model_copy(update={"maximum_lost_share": 0.05})
    assert served.reconcile(tolerance=loose).status == "agrees"


def test_a_file_that_can_not_be_read_is_missing(served: Served) -> None:
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    (served.paths.exposures / "api-3.0.20250322T070000Z.0.jsonl").mkdir()
    document = served.reconcile()
    assert document.status == "missing"
    assert "1 files of the exposure log can't be read" in told(document)


ODD: list[dict[str, Any]] = [
    {"k": 0}, {"k": "3"}, {"variant": "other"}, {"run_id": "../x"}, {"run_id": None}, {"items": ["1", None]},
    {"items": None}, {"at": "2025-03-22T07:00:00+00:00"}, {"at": "yesterday"}, {"at": None},
    {"generation": -1}, {"id": ""}, {"id": "x" * 257}, {"known": None}, {"known": "yes"}, {"request_id": "a b"},
    {"endpoint": "other"}, {"latency_ms": -1}, {"latency_ms": None}, {"worker": -1}, {"replica": None},
    {"new_field": {"a": [1]}}, {"schema_version": "1"}, {"schema_version": 2}, {"kind": "event"}, {"items": []}, {"id": "用户三"},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_both_ways_to_read_a_block_take_the_same_lines(
    served: Served, monkeypatch: pytest.MonkeyPatch, odd: dict[str, Any]
) -> None:
    """What the frame reader calls sound, the schema of the log takes; else it is asked."""
    shown = served.shown(["1", "2", "3"], instant(DATE, SEVEN))
    event = served.done("1", "101", instant(DATE, SEVEN))
    block = "".join(json.dumps(one) + "\n" for one in [shown[0], {**shown[1], **odd}, event, shown[2]]).encode()
    quick, lost = lines.read_block(block)
    monkeypatch.setattr(lines, "_sound", lambda: pl.lit(value=False))
    slow, slow_lost = lines.read_block(block)
    assert (lost, quick.schema) == (slow_lost, slow.schema)
    assert quick.equals(slow)
    assert lost + quick.height == 4


def test_blocks_are_whole_lines_whatever_their_size(tmp_path: Path) -> None:
    file = tmp_path / "x"
    content = b"".join(b"%d\n" % number for number in range(1000))
    file.write_bytes(content + b"torn")
    for size in (1, 7, 4096, 1 << 20):
        found = list(lines.blocks(file, size))
        assert b"".join(found) == content
        assert all(block.endswith(b"\n") for block in found)


def test_parts_change_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day in many blocks and parts gives the very numbers of a day in one."""
    shown = served.shown(served.everybody(), instant(DATE, SEVEN))
    served.write(shown, instant(DATE, SEVEN))
    whole = served.reconcile()
    monkeypatch.setattr("pipeline.reconciliation.log._PART_BYTES", 1000)
    monkeypatch.setattr("pipeline.reconciliation.lines.BLOCK_BYTES", 900)
    monkeypatch.setattr(lines.blocks, "__defaults__", (900,))
    assert served.reconcile() == whole


# Days


def test_a_day_is_that_of_the_zone_of_the_data(grocery: Source, paths: ReleasePaths) -> None:
    """East of UTC the day begins the evening before: answers and purchases of both UTC days count, and no others."""
    shop = Served(grocery.config(source__timezone="Asia/Shanghai"), paths)
    start = instant(DATE, dt.time(tzinfo=ZoneInfo("Asia/Shanghai")))
    for moment in (start - dt.timedelta(minutes=2), start, start + DAY - dt.timedelta(minutes=2), start + DAY):
        shop.write(shop.shown(shop.everybody(), moment), moment)
    document = shop.reconcile(now=END + DAY)
    assert (document.log.answers, document.log.files) == (90, 3)
    assert document.window_start.isoformat() == f"{DATE}T00:00:00+08:00"
    assert document.taken.interactions == len(bought(grocery.rows, start, start + DAY))


@pytest.mark.parametrize(("date", "hours"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-03-29", 24)])
def test_a_day_on_which_the_clocks_change_has_its_own_length(date: str, hours: int) -> None:
    day = Day(parse_date(date), ZoneInfo("Europe/Berlin"))
    assert day.seconds == hours * 3600
    assert Day(day.date + dt.timedelta(days=1), day.zone).start == day.end
    assert day.end.astimezone(day.zone).time() == dt.time()


def test_a_day_without_a_midnight_begins_when_the_clock_goes_on() -> None:
    """In Beirut the clock went from 23:59 to 01:00."""
    day = Day(parse_date("2021-03-28"), ZoneInfo("Asia/Beirut"))
    assert (day.start, day.seconds) == (dt.datetime(2021, 3, 27, 22, tzinfo=dt.UTC), 23 * 3600)


def test_answers_at_both_ends_of_a_short_day_count_once(grocery: Source, paths: ReleasePaths) -> None:
    """The last Sunday of March in Berlin: from 23:00 UTC to 22:00 UTC."""
    shop = Served(grocery.config(source__timezone="Europe/Berlin"), paths)
    date = dt.date(2025, 3, 30)
    start, end = dt.datetime(2025, 3, 29, 23, tzinfo=dt.UTC), dt.datetime(2025, 3, 30, 22, tzinfo=dt.UTC)
    second = dt.timedelta(seconds=1)
    for moment in (start - second, start, end - second, end):
        shop.write(shop.shown(["1"], moment), moment)
    document = shop.reconcile(date, now=end + DAY)
    assert document.log.answers == 2
    assert (document.window_start.isoformat(), document.window_end.isoformat()) == (
        "2025-03-30T00:00:00+01:00", "2025-03-31T00:00:00+02:00",
    )  # fmt: skip
    neighbours = [shop.reconcile(date + dt.timedelta(days=step), now=end + 2 * DAY).log.answers for step in (-1, 1)]
    assert neighbours == [1, 1]


def test_the_newest_complete_day_is_yesterday_there() -> None:
    moment = dt.datetime(2026, 1, 12, 18, tzinfo=dt.UTC)
    assert newest_complete(moment, ZoneInfo("UTC")) == dt.date(2026, 1, 11)
    assert newest_complete(moment, ZoneInfo("Asia/Shanghai")) == dt.date(2026, 1, 12)


def test_a_day_that_has_not_ended_is_refused_unless_asked_for(served: Served) -> None:
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    with pytest.raises(InvalidInputError, match="has not ended yet in UTC"):
        served.reconcile(now=START + dt.timedelta(hours=20))
    found = served.reconcile(now=START + dt.timedelta(hours=20), so_far=True)
    assert (found.complete, found.status) == (False, "agrees")
    with pytest.raises(InvalidInputError, match="has not begun yet"):
        served.reconcile(now=START - dt.timedelta(hours=1), so_far=True)


# The file


def test_the_gate_reads_what_is_written_and_a_second_time_replaces_it(served: Served) -> None:
    """The existing reader takes the file; reconciled again after more came in, it says so, and nothing is left behind."""
    first = served.reconcile()
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    second = served.reconcile()
    assert (first.status, second.status) == ("missing", "agrees")
    file = served.paths.reconciliation_of(DATE)
    read = parse_reconciliation(file.read_bytes(), DATE)
    assert (read.status, read.problems, read.written_at) == (second.status, second.problems, second.written_at)
    assert newest_reconciliation(served.paths) == DATE
    assert served.reconcile() == second
    assert {path.name for path in served.paths.evaluation.iterdir()} == {served.current, file.name}


def test_a_failure_leaves_the_file_from_before(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole or not at all."""
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    served.reconcile()
    before = served.paths.reconciliation_of(DATE).read_bytes()
    monkeypatch.setattr("model_release.adapters.files.os.replace", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        served.reconcile(now=END + DAY)
    assert served.paths.reconciliation_of(DATE).read_bytes() == before


def refuse(*_: object, **__: object) -> None:
    raise OSError(28, "disk full")


def test_what_is_written_fits_the_schema_that_is_checked_in(served: Served) -> None:
    """Make it again with: python -m pipeline.reconcile --schema > docs/reference/reconciliation.schema.json."""
    kept = json.loads((DOCS / "reference" / "reconciliation.schema.json").read_text(encoding="utf-8"))
    assert kept == schema()
    jsonschema.Draft202012Validator.check_schema(kept)
    validator = jsonschema.Draft202012Validator(kept)
    served.reconcile()
    validator.validate(json.loads(served.paths.reconciliation_of(DATE).read_bytes()))
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    served.reconcile()
    written = json.loads(served.paths.reconciliation_of(DATE).read_bytes())
    validator.validate(written)
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**written, "status": "fine"})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**written, "made_up": 1})


# The command


def test_the_exit_status_says_what_was_found(
    served: Served, grocery: Source, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(served.paths.root))
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "{schema_version: 1, name: x, checks: [{name: reconciled, kind: reconciliation, maximum_age_hours: 36, "
        "minimum_users: 5, maximum_relative_drop: 0.9}, {name: q, kind: data_quality, minimum_score: 90, tables: [interactions]}]}"
    )
    options = ["--date", str(DATE), "--config", str(grocery.path), "--policy", str(policy)]
    assert main(options) == 4
    assert "! there is no exposure log" in capsys.readouterr().out
    assert main([*options, "--report-only"]) == 0
    served.write(served.shown(served.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    assert main(options) == 0
    assert f"{DATE} (UTC): agrees" in capsys.readouterr().out
    wrong = served.shown(served.everybody(), instant(DATE, SEVEN), items=["x"], generation=1)
    served.write(wrong, instant(DATE, dt.time(7, 5, tzinfo=dt.UTC)))
    served.write([{**one, "run_id": "other"} for one in wrong[:1]], instant(DATE, SEVEN))
    assert main(options) == 3
    for bad in (["--date", "2025-3-1"], ["--date", "2999-01-01"], ["--replica", "api:80"], ["--what"]):
        with pytest.raises(SystemExit) as caught:
            main([*options, *bad])
        assert caught.value.code == 2


def test_without_a_date_it_is_the_last_day_that_is_over(
    served: Served, grocery: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(served.paths.root))
    monkeypatch.setattr(stage, "utc_now", lambda: START + DAY + dt.timedelta(hours=3))
    assert main(["--config", str(grocery.path), "--report-only"]) == 0
    assert served.paths.reconciliation_of(DATE).exists()


def test_who_was_asked_is_let_go(served: Served, grocery: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection to a replica stays open, whatever it said."""
    closed: list[str] = []

    class Noted(RecommendationApiClient):
        def close(self) -> None:
            super().close()
            closed.append(self.url)

    monkeypatch.setenv(HOME_VARIABLE, str(served.paths.root))
    monkeypatch.setattr(stage, "RecommendationApiClient", Noted)
    monkeypatch.setattr(stage, "utc_now", lambda: START + DAY + dt.timedelta(hours=3))
    replicas = ["--replica", "http://127.0.0.1:9", "--replica", "http://127.0.0.1:10"]
    assert main(["--config", str(grocery.path), *replicas]) == 4
    assert sorted(closed) == ["http://127.0.0.1:10", "http://127.0.0.1:9"]
