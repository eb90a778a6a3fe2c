"""The evaluation: the lists that are served, the same users and days for both runs, and files the gate accepts."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from model_release.adapters.evidence import collect
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.contract import utc_now
from model_release.errors import ArtifactInvalidError, RunNotFoundError
from model_release.evidence import Missing
from model_release.paths import HOME_VARIABLE, ReleasePaths
from model_release.policy import load_policy
from model_release.registry import promote, register
from pipeline.config import PipelineConfig, default_config_path
from pipeline.data_quality_v2 import check_data
from pipeline.evaluate import describe, evaluate, main
from pipeline.metrics import METRICS
from pipeline.train_models import train
from tests.pipeline.logs import AS_OF, DAY, Source

POLICY = load_policy(default_config_path().parent / "release_policy.yaml")


def release(paths: ReleasePaths, run_id: str) -> None:
    """Make a run the current one."""
    digest, now = RunStore(paths).manifest_sha256(run_id), utc_now()
    registry = FileRegistry(paths)
    registry.update(lambda state: register(state, run_id=run_id, manifest_sha256=digest, release_id="r", at=now))
    registry.update(lambda state: promote(state, run_id=run_id, release_id="r", at=now))


@dataclass(frozen=True)
class Pair:
    """A current run and a candidate of the same day."""

    config: PipelineConfig
    paths: ReleasePaths
    current: str
    candidate: str


@pytest.fixture
def pair(grocery: Source, paths: ReleasePaths) -> Pair:
    """Give popularity as the current run and own habits as the candidate."""
    config = grocery.config()
    current = train(config, paths, AS_OF, "popular").run_id
    release(paths, current)
    return Pair(config, paths, current, train(config, paths, AS_OF, "personal_frequency").run_id)


def per_user(paths: ReleasePaths, run_id: str) -> pl.DataFrame:
    """Read the values per user."""
    return pl.read_parquet(paths.evaluation_of(run_id) / "per_user.parquet")


def naive(metric: str, ranked: list[str], taken: set[str]) -> float:
    """Compute a metric of one user."""
    k = int(metric.rpartition("_")[2])
    hits = [rank for rank, item in enumerate(ranked[:k], 1) if item in taken]
    if metric.startswith("ndcg"):
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(taken)) + 1))
        return sum(1 / math.log2(rank + 1) for rank in hits) / ideal
    if metric.startswith("recall"):
        return len(hits) / len(taken)
    if metric.startswith("map"):
        return sum((place + 1) / rank for place, rank in enumerate(hits)) / min(k, len(taken))
    return float(bool(hits))


def test_every_value_is_what_a_loop_over_the_log_says(grocery: Source, pair: Pair) -> None:
    """Both runs, every user, every metric; the means of the file are those of the summary."""
    summary = evaluate(pair.config, pair.paths, pair.candidate)
    table = per_user(pair.paths, pair.candidate)
    window = grocery.rows.filter(pl.col("when").is_between(AS_OF, AS_OF + 7 * DAY, closed="left"))
    taken = {str(who): {str(what) for what in items} for who, items in window.group_by("who").agg("what").iter_rows()}
    everyone = table.filter(pl.col("item_slice") == "all")
    assert set(everyone["user_id"]) == set(taken)
    assert summary.users == len(taken) == everyone.height
    for side, run_id in (("candidate", pair.candidate), ("current", pair.current)):
        model = RankedLists(RunStore(pair.paths).folder(run_id))
        means = summary.metrics.candidate if side == "candidate" else summary.metrics.current
        assert means is not None
        for metric in METRICS:
            found = dict(everyone.select("user_id", f"{side}_{metric}").rows())
            expected = {user: naive(metric, model.recommend(user, 20) or [], items) for user, items in taken.items()}
            assert found == pytest.approx(expected)
            assert means[metric] == pytest.approx(sum(expected.values()) / len(expected))


def test_the_summary_says_what_was_compared(pair: Pair) -> None:
    """The same window and the same users for both; the better run is better."""
    summary = evaluate(pair.config, pair.paths, pair.candidate)
    assert (summary.run_id, summary.against, summary.comparable, summary.against_reason) == (
        pair.candidate, pair.current, True, "",
    )  # fmt: skip
    assert (summary.as_of, summary.window_start, summary.window_end) == (AS_OF, AS_OF, AS_OF + 7 * DAY)
    assert summary.candidate_manifest_sha256 == RunStore(pair.paths).manifest_sha256(pair.candidate)
    assert summary.current_manifest_sha256 == RunStore(pair.paths).manifest_sha256(pair.current)
    assert summary.metrics.current is not None
    assert summary.metrics.candidate["ndcg_at_10"] > summary.metrics.current["ndcg_at_10"]
    assert summary.k == {"ndcg_at_10": 10, "recall_at_20": 20, "map_at_10": 10, "hit_rate_at_10": 10}
    table = per_user(pair.paths, pair.candidate)
    assert table.null_count().row(0) == (0,) * table.width


def test_slices_are_parts_of_the_whole(pair: Pair) -> None:
    """Activity slices hold every user once; their means weighted by users are the mean of all."""
    summary = evaluate(pair.config, pair.paths, pair.candidate)
    parts = [part for label, part in summary.slices.items() if label.endswith(" users")]
    assert sum(part["users"] for part in parts) == summary.users
    weighted = sum(part["users"] * part["candidate"]["ndcg_at_10"] for part in parts) / summary.users
    assert weighted == pytest.approx(summary.metrics.candidate["ndcg_at_10"])
    table = per_user(pair.paths, pair.candidate)
    for label, item_slice in (("new items", "new"), ("known items", "known")):
        rows = table.filter(pl.col("item_slice") == item_slice)
        assert summary.slices[label]["users"] == rows.height
        assert summary.slices[label]["current"]["map_at_10"] == pytest.approx(rows["current_map_at_10"].mean())


def test_the_gate_finds_no_part_missing(pair: Pair) -> None:
    """Everything that it reads was written by the stages, and is about this run."""
    check_data(pair.config, pair.paths, AS_OF)
    evaluate(pair.config, pair.paths, pair.candidate)
    found = collect(pair.paths, POLICY, pair.candidate, "release-1")
    for part in (found.registry, found.run, found.data_quality, found.evaluation, found.per_user):
        assert not isinstance(part, Missing), part
    assert set(found.files) == {
        "data_quality_metrics.prom", f"{pair.candidate}/summary.json", f"{pair.candidate}/per_user.parquet",
    }  # fmt: skip


def test_the_newest_run_is_judged_if_none_is_named(pair: Pair) -> None:
    """Which is the one that was trained last, not the one with the latest cutoff."""
    last = train(pair.config, pair.paths, AS_OF - DAY, "item_knn").run_id
    assert evaluate(pair.config, pair.paths, against=None).run_id == last


def test_a_current_run_that_saw_the_window_is_no_comparison(pair: Pair) -> None:
    """Trained a day later, it would be judged on what it has seen; the summary says so, and holds no values of it."""
    later = train(pair.config, pair.paths, AS_OF, "item_knn").run_id
    candidate = train(pair.config, pair.paths, AS_OF - DAY, "ease").run_id
    release(pair.paths, later)
    summary = evaluate(pair.config, pair.paths, candidate)
    assert (summary.comparable, summary.against, summary.metrics.current) == (False, None, None)
    assert later in summary.against_reason
    assert "inside the test window" in summary.against_reason
    assert "current_ndcg_at_10" not in per_user(pair.paths, candidate).columns
    assert "not compared: " in describe(summary)
    named = evaluate(pair.config, pair.paths, candidate, against=later)
    assert not named.comparable


def test_a_current_run_of_an_earlier_day_is_compared(pair: Pair) -> None:
    """It did not see the window of the candidate; both are judged on that of the candidate."""
    earlier = train(pair.config, pair.paths, AS_OF - 7 * DAY, "personal_frequency").run_id
    release(pair.paths, earlier)
    summary = evaluate(pair.config, pair.paths, pair.candidate)
    assert (summary.comparable, summary.against, summary.window_start) == (True, earlier, AS_OF)


def test_without_a_current_run_the_candidate_stands_alone(grocery: Source, paths: ReleasePaths) -> None:
    """The reason says why; the gate knows that there is no baseline."""
    config = grocery.config()
    run = train(config, paths, AS_OF).run_id
    summary = evaluate(config, paths, run)
    assert (summary.comparable, summary.against_reason) == (False, "no current run")
    assert evaluate(config, paths, run, against=None).against_reason == "no comparison was asked for"
    check_data(config, paths, AS_OF)
    found = collect(paths, POLICY, run, "release-1")
    assert found.no_baseline
    assert not isinstance(found.evaluation, Missing)


def test_users_are_counted_who_were_silent_or_unknown(grocery: Source, paths: ReleasePaths) -> None:
    """One user comes new in the window, one does nothing in it."""
    new = (pl.col("who") == 1) & (pl.col("when") < AS_OF)
    silent = (pl.col("who") == 2) & (pl.col("when") >= AS_OF)
    grocery.rows = grocery.rows.filter(~new & ~silent)
    config = grocery.config()
    summary = evaluate(config, paths, train(config, paths, AS_OF).run_id)
    assert summary.unknown_users == {"candidate": 1}
    assert summary.users_without_interactions == 1


def test_altered_files_are_not_judged(pair: Pair) -> None:
    """What is measured is what was published, byte by byte; this holds for the current run too."""
    for run_id in (pair.current, pair.candidate):
        path = RunStore(pair.paths).folder(run_id) / "user_lists.npy"
        before = path.read_bytes()
        path.write_bytes(before[:-4] + b"\x00\x00\x00\x00")
        with pytest.raises(ArtifactInvalidError, match=r"user_lists\.npy"):
            evaluate(pair.config, pair.paths, pair.candidate)
        path.write_bytes(before)
    assert evaluate(pair.config, pair.paths, pair.candidate).comparable


@pytest.mark.parametrize("blocked", ["per_user.parquet", "comparison.svg"])
def test_the_summary_is_written_last(pair: Pair, blocked: str) -> None:
    """If another file can't be written there is no summary, and so no evidence."""
    folder = pair.paths.evaluation_of(pair.candidate)
    (folder / blocked).mkdir(parents=True)
    with pytest.raises(OSError, match=blocked):
        evaluate(pair.config, pair.paths, pair.candidate)
    assert not (folder / "summary.json").exists()
    (folder / blocked).rmdir()
    evaluate(pair.config, pair.paths, pair.candidate)
    assert {path.name for path in folder.iterdir()} == {"per_user.parquet", "comparison.svg", "summary.json"}


def test_an_evaluation_can_be_repeated(pair: Pair) -> None:
    """It says the same again; only the time differs."""
    first = evaluate(pair.config, pair.paths, pair.candidate)
    before = per_user(pair.paths, pair.candidate)
    second = evaluate(pair.config, pair.paths, pair.candidate)
    assert second.model_copy(update={"evaluated_at": first.evaluated_at}) == first
    assert per_user(pair.paths, pair.candidate).equals(before)


@pytest.mark.parametrize("against", ["current", None])
def test_the_picture_is_valid_and_names_both_runs(pair: Pair, against: str | None) -> None:
    """An SVG that any viewer parses."""
    evaluate(pair.config, pair.paths, pair.candidate, against)
    root = ET.fromstring((pair.paths.evaluation_of(pair.candidate) / "comparison.svg").read_text(encoding="utf-8"))  # noqa: S314
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_the_command_line_tells_both_sides(
    pair: Pair, grocery: Source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 0, the values and their difference; without --run the newest is judged."""
    monkeypatch.setenv(HOME_VARIABLE, str(pair.paths.root))
    assert main(["--config", str(grocery.path)]) == 0
    said = capsys.readouterr().out
    assert f"run {pair.candidate}" in said
    assert f"against {pair.current}" in said
    summary = json.loads((pair.paths.evaluation_of(pair.candidate) / "summary.json").read_text())
    assert f"{summary['metrics']['candidate']['ndcg_at_10']:.4f}" in said
    assert main(["--config", str(grocery.path), "--against", "none", "--run", pair.current]) == 0
    assert "not compared: no comparison was asked for" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--run", "no-such-run"], "no-such-run"),
        (["--against", "no-such-run"], "no-such-run"),
    ],
)
def test_what_can_not_be_measured_is_exit_1(
    pair: Pair, grocery: Source, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With one line that names it."""
    monkeypatch.setenv(HOME_VARIABLE, str(pair.paths.root))
    assert main(["--config", str(grocery.path), *arguments]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("error: ")
    assert word in said


def test_no_run_at_all_is_an_error_with_a_way_out(grocery: Source, paths: ReleasePaths) -> None:
    """The message names the command that makes one."""
    with pytest.raises(RunNotFoundError, match=r"python -m pipeline\.train_models"):
        evaluate(grocery.config(), paths)


@pytest.mark.parametrize(
    "arguments", [["--config", "none.yaml"], ["--runs", "x"], ["--run", "../../etc"], ["--against", "a/b"]]
)
def test_wrong_usage_is_exit_2(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is read."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
