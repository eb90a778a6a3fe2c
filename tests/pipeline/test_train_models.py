"""Training: the same inputs give the same run, nothing after the cutoff gets in, and the run proves itself."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from model_release import golden
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import Manifest
from model_release.errors import InvalidInputError
from model_release.paths import HOME_VARIABLE, ReleasePaths
from pipeline import train_models
from pipeline.config import ALGORITHMS
from pipeline.train_models import TrainedRun, main, train
from tests.pipeline.logs import AS_OF, DAY, END, START, USERS, Source, files_of


def manifest_of(paths: ReleasePaths, run: TrainedRun) -> Manifest:
    """Verify the published run byte by byte; return its manifest."""
    return RunStore(paths).verify(run.run_id)


def served(paths: ReleasePaths, run: TrainedRun) -> RankedLists:
    """Open a run as the API does."""
    model = open_model(RunStore(paths).folder(run.run_id), manifest_of(paths, run))
    assert isinstance(model, RankedLists)
    return model


def test_a_run_is_published_whole(grocery: Source, paths: ReleasePaths) -> None:
    """Manifest and files say what was done; nothing stays in staging."""
    run = train(grocery.config(), paths, AS_OF)
    manifest = manifest_of(paths, run)
    before = grocery.rows.filter(pl.col("when") < AS_OF)
    assert (run.algorithm, run.new, run.validation) == ("personal_frequency", True, {})
    assert (run.rows, run.users, run.items) == (before.height, USERS, before["what"].n_unique())
    assert (manifest.as_of, manifest.data.rows, manifest.algorithm.seed) == (AS_OF, run.rows, 3)
    assert manifest.algorithm.parameters == {"half_life_days": 60.0}
    assert run.run_id.startswith("20250320-personal-frequency-")
    assert not list((paths.models / "staging").iterdir())
    assert RunStore(paths).run_ids() == [run.run_id]


def test_the_lists_are_those_of_the_algorithm(grocery: Source, paths: ReleasePaths) -> None:
    """Worked out anew for every user: decayed purchases, then popularity; names come from the items."""
    model = served(paths, train(grocery.config(), paths, AS_OF))
    before = grocery.rows.filter(pl.col("when") < AS_OF)
    buyers = before.group_by("what").agg(pl.col("who").n_unique().alias("buyers"), pl.len().alias("rows"))
    popularity = {what: (-who, -rows, str(what)) for what, who, rows in buyers.iter_rows()}
    for who in range(1, USERS + 1):
        scores = dict.fromkeys(popularity, 0.0)
        for what, when in before.filter(pl.col("who") == who).select("what", "when").iter_rows():
            scores[what] += 0.5 ** ((AS_OF - when) / DAY / 60)
        expected = sorted(scores, key=lambda what: (-np.float32(scores[what]), popularity[what]))
        assert model.recommend(str(who), 20) == [str(what) for what in expected[:20]]
    assert model.item_name("104") == "kind 4 house"
    assert model.item_name("103") is None


def test_the_popular_items_are_those_of_the_last_four_weeks(grocery: Source, paths: ReleasePaths) -> None:
    """That is what an unknown user gets."""
    model = served(paths, train(grocery.config(), paths, AS_OF))
    late = grocery.rows.filter(pl.col("when").is_between(AS_OF - 28 * DAY, AS_OF, closed="left"))
    buyers = {str(what): who for what, who in late.group_by("what").agg(pl.col("who").n_unique()).iter_rows()}
    counts = [buyers.get(item, 0) for item in model.popular(20)]
    assert counts == sorted(buyers.values(), reverse=True)[:20]
    assert len(counts) == 20


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_homes_get_the_same_run_bit_by_bit(grocery: Source, tmp_path: Path, algorithm: Any) -> None:
    """The same id, and the same hash of every file, for every algorithm."""
    found = []
    for name in ("one", "two"):
        paths = ReleasePaths(tmp_path / name)
        run = train(grocery.config(training__algorithms={"als": {"factors": 4}}), paths, AS_OF, algorithm)
        assert run.new
        found.append((run, files_of(manifest_of(paths, run))))
    assert found[0] == found[1]
    assert len(found[0][1]) == 8


def test_a_retried_job_finds_its_run(grocery: Source, paths: ReleasePaths) -> None:
    """The second call trains nothing, and says so; the run stays as it was."""
    first = train(grocery.config(), paths, AS_OF)
    before = RunStore(paths).manifest_sha256(first.run_id)
    again = train(grocery.config(), paths, AS_OF)
    assert (first.new, again.new) == (True, False)
    assert (again.run_id, again.rows, again.users, again.items) == (first.run_id, first.rows, first.users, first.items)
    assert RunStore(paths).manifest_sha256(first.run_id) == before


def test_somebody_else_may_publish_the_same_run_meanwhile(
    grocery: Source, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers that both saw no run: the later one finds it when it wants to publish."""
    first = train(grocery.config(), paths, AS_OF)
    monkeypatch.setattr(RunStore, "run_ids", lambda _self: [])
    again = train(grocery.config(), paths, AS_OF)
    assert (again.run_id, again.new) == (first.run_id, False)
    manifest_of(paths, again)


@pytest.mark.parametrize("what", ["altered", "removed", "added"])
def test_nothing_at_or_after_the_cutoff_gets_into_a_run(grocery: Source, tmp_path: Path, what: str) -> None:
    """The test week may say anything: the run is the same bit by bit."""
    config = grocery.config(training__auto=["popular", "personal_frequency", "item_knn"])
    ours, theirs = ReleasePaths(tmp_path / "ours"), ReleasePaths(tmp_path / "theirs")
    first = train(config, ours, AS_OF, "auto")
    late = pl.col("when") >= AS_OF
    if what == "altered":
        new = [
            pl.when(late).then(100).otherwise("what").alias("what"),
            pl.when(late).then(1).otherwise("who").alias("who"),
        ]
        grocery.rows = grocery.rows.with_columns(new)
    elif what == "removed":
        grocery.rows = pl.concat([grocery.rows.filter(~late), grocery.rows.filter(late)[-1]])
    else:
        more = [grocery.rows.filter(late).with_columns(who=pl.col("who") + shift) for shift in (0, 1000)]
        grocery.rows = pl.concat([grocery.rows, *more])
    grocery.config()
    second = train(config, theirs, AS_OF, "auto")
    assert second == first
    assert files_of(manifest_of(theirs, second)) == files_of(manifest_of(ours, first))
    assert manifest_of(theirs, second).metrics == manifest_of(ours, first).metrics


def test_a_row_at_the_cutoff_is_after_it(grocery: Source, paths: ReleasePaths) -> None:
    """A microsecond before is before."""
    edges = [AS_OF, AS_OF - dt.timedelta(microseconds=1)]
    rows = grocery.rows[:2].with_columns(pl.Series("when", edges, dtype=grocery.rows.schema["when"]))
    before = grocery.rows.filter(pl.col("when") < AS_OF).height
    grocery.rows = pl.concat([grocery.rows, rows])
    assert train(grocery.config(), paths, AS_OF).rows == before + 1


CHANGES: list[dict[str, Any]] = [
    {"training__seed": 4},
    {"training__algorithms": {"personal_frequency": {"half_life_days": 10}}},
    {"training__algorithm": "popular"},
    {"training__user_list_length": 21},
    {"training__similar_list_length": 4},
    {"source__items__columns__name": "kind"},
    {"source__items": None},
    {"source__interactions__columns__price": None},
    {"repeat_purchases": False},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_whatever_determines_a_run_is_in_its_name(
    grocery: Source, paths: ReleasePaths, changes: dict[str, Any]
) -> None:
    """Another setting, another run; both stay."""
    first = train(grocery.config(), paths, AS_OF)
    second = train(grocery.config(**changes), paths, AS_OF)
    assert second.new
    assert second.run_id != first.run_id
    assert len(RunStore(paths).run_ids()) == 2


def test_the_seed_reaches_the_algorithm(grocery: Source, paths: ReleasePaths) -> None:
    """What is random comes out differently, and is in the manifest."""
    runs = [train(grocery.config(training__seed=seed), paths, AS_OF, "als") for seed in (3, 4)]
    lists = [files_of(manifest_of(paths, run))["user_lists.npy"] for run in runs]
    assert lists[0] != lists[1]
    assert [manifest_of(paths, run).algorithm.seed for run in runs] == [3, 4]


def test_other_data_code_or_cutoff_is_another_run(
    grocery: Source, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One purchase, one name, one day, one commit."""
    found = {train(grocery.config(), paths, AS_OF).run_id, train(grocery.config(), paths, AS_OF - DAY).run_id}
    assert grocery.items is not None
    grocery.items = grocery.items.with_columns(pl.col("brand").str.to_uppercase())
    renamed = train(grocery.config(), paths, AS_OF)
    assert served(paths, renamed).item_name("104") == "kind 4 HOUSE"
    found.add(renamed.run_id)
    grocery.rows = grocery.rows[1:]
    found.add(train(grocery.config(), paths, AS_OF).run_id)
    monkeypatch.setattr(train_models, "_git_commit", lambda: None)
    found.add(train(grocery.config(), paths, AS_OF).run_id)
    assert len(found) == 5


def test_the_recorded_answers_replay(grocery: Source, paths: ReleasePaths) -> None:
    """Users, items and somebody unknown; the files answer as they did when they were written."""
    run = train(grocery.config(), paths, AS_OF)
    requests = RunStore(paths).golden(run.run_id)
    assert golden.check(served(paths, run), requests) == 31
    kinds = [request.endpoint for request in requests]
    assert (kinds.count("recommend"), kinds.count("similar")) == (21, 10)
    assert len({request.id for request in requests if request.endpoint == "recommend"}) == 21
    assert list(requests[-1].expected) == served(paths, run).popular(20)


def test_the_unknown_user_of_the_recorded_answers_is_unknown(grocery: Source, paths: ReleasePaths) -> None:
    """Even if a user has the name that is usually unknown."""
    name = "nobody-knows-this-user"
    grocery.rows = grocery.rows.with_columns(
        pl.when(pl.col("who") == 1).then(pl.lit(name)).otherwise(pl.col("who").cast(pl.String)).alias("who")
    )
    run = train(grocery.config(), paths, AS_OF)
    unknown = RunStore(paths).golden(run.run_id)[-1]
    assert served(paths, run).recommend(name, 1) is not None
    assert served(paths, run).recommend(unknown.id, 1) is None


def test_a_run_holds_no_pickles(grocery: Source, paths: ReleasePaths) -> None:
    """Arrays and tables are plain memory; nothing in a run is executed when it is read."""
    run = train(grocery.config(), paths, AS_OF, "als")
    for path in RunStore(paths).folder(run.run_id).iterdir():
        match path.suffix:
            case ".npy":
                assert np.load(path, allow_pickle=False).dtype.kind in "iu"
            case ".arrow":
                assert pa.ipc.open_file(str(path)).num_record_batches == 1
            case suffix:
                assert suffix in {".json", ".jsonl"}
                [json.loads(line) for line in path.read_text().splitlines() if suffix == ".jsonl"]


def test_auto_tells_what_it_tried(grocery: Source, paths: ReleasePaths) -> None:
    """The values stand in the result and in the manifest; the best is the one that was trained."""
    config = grocery.config(training__algorithm="auto", training__auto=["popular", "personal_frequency"])
    run = train(config, paths, AS_OF)
    assert run.algorithm == "personal_frequency"
    assert run.validation["personal_frequency"] > run.validation["popular"]
    expected = {f"validation_{name}": value for name, value in run.validation.items()}
    assert manifest_of(paths, run).metrics == expected


def test_without_repeats_no_user_is_offered_what_they_had(grocery: Source, paths: ReleasePaths) -> None:
    """And the lists of those who had much are shorter."""
    model = served(paths, train(grocery.config(repeat_purchases=False), paths, AS_OF, "item_knn"))
    had: dict[str, set[str]] = {}
    for who, what in grocery.rows.filter(pl.col("when") < AS_OF).select("who", "what").iter_rows():
        had.setdefault(str(who), set()).add(str(what))
    for user, items in had.items():
        offered = model.recommend(user, 20)
        assert offered is not None
        assert not items & set(offered)
        assert len(offered) == min(20, model.items - len(items))


def test_without_a_cutoff_it_is_the_newest(grocery: Source, paths: ReleasePaths) -> None:
    """The newest row is of the evening before END."""
    assert train(grocery.config(), paths).as_of == (AS_OF - DAY).isoformat()


@pytest.mark.parametrize(
    ("changes", "as_of", "word"),
    [
        ({}, START - DAY, "nothing to train on"),
        ({}, END + DAY, "nothing to judge on"),
        ({"training__algorithms": {"personal_frequency": {"half_life": 3}}}, AS_OF, "half_life"),
        ({"training__algorithm": "ease", "training__algorithms": {"ease": {"maximum_items": 30_000}}}, AS_OF, "30000"),
    ],
)
def test_what_can_not_be_trained_leaves_nothing_behind(
    grocery: Source, paths: ReleasePaths, changes: dict[str, Any], as_of: dt.datetime, word: str
) -> None:
    """The message names the value; no run, nothing in staging."""
    with pytest.raises(InvalidInputError, match=word):
        train(grocery.config(**changes), paths, as_of)
    assert RunStore(paths).run_ids() == []
    assert not list(paths.models.glob("staging/*"))


def test_the_commit_is_that_of_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """And none where there is no git."""
    monkeypatch.undo()
    folder = Path(train_models.__file__).parent
    asked = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    assert train_models._git_commit() == (asked.stdout.strip() if asked.returncode == 0 else None)
    monkeypatch.setenv("PATH", "")
    assert train_models._git_commit() is None
    monkeypatch.setenv("MODEL_RELEASE_GIT_COMMIT", "d" * 40)  # an image has no git
    assert train_models._git_commit() == "d" * 40


def test_the_command_line_prints_what_it_made(
    grocery: Source, paths: ReleasePaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON on standard output, progress on standard error; exit 0, also when the run is there already."""
    monkeypatch.setenv(HOME_VARIABLE, str(paths.root))
    arguments = ["--config", str(grocery.path), "--as-of", "2025-03-10", "--algorithm", "popular"]
    for new in (True, False):
        assert main(arguments) == 0
        said = capsys.readouterr()
        printed = json.loads(said.out)
        assert (printed["new"], printed["algorithm"], printed["as_of"]) == (new, "popular", "2025-03-10T00:00:00+00:00")
        assert "load interactions" in said.err
    assert RunStore(paths).run_ids() == [printed["run_id"]]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--as-of", "soon"], "soon"),
        (["--algorithm", "magic"], "magic"),
        (["--config", "none.yaml"], "none.yaml"),
        (["--depth", "3"], "--depth"),
    ],
)
def test_wrong_usage_is_exit_2(
    grocery: Source, arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was given stands in the message."""
    with pytest.raises(SystemExit) as caught:
        main(["--config", str(grocery.path), *arguments])
    assert caught.value.code == 2
    assert word in capsys.readouterr().err


def test_what_can_not_be_trained_is_exit_1(
    grocery: Source, paths: ReleasePaths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one line that names it."""
    monkeypatch.setenv(HOME_VARIABLE, str(paths.root))
    assert main(["--config", str(grocery.path), "--as-of", "1999-01-01"]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: as_of 1999-01-01 leaves nothing to train on")
    grocery.path.write_text(grocery.path.read_text().replace("rows.parquet", "gone.parquet"))
    assert main(["--config", str(grocery.path)]) == 1
    assert "gone.parquet" in capsys.readouterr().err
