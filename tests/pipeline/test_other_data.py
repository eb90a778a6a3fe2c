"""Another log works by configuration alone: CSV, ids in words, no amounts, no repeats, few users, Chinese names."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from model_release import golden
from model_release.adapters.evidence import collect
from model_release.adapters.exposition import parse_data_quality
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.artifact import MANIFEST_NAME
from model_release.checks import artifact
from model_release.contract import utc_now
from model_release.evidence import Missing
from model_release.paths import HOME_VARIABLE, ReleasePaths
from model_release.policy import load_policy
from model_release.registry import promote, register
from pipeline import data_quality_v2, evaluate, ingest, train_models, validate
from pipeline.config import ALGORITHMS, PipelineConfig, default_config_path, load_config
from tests.pipeline.logs import FILMS, films

POLICY = default_config_path().parent / "release_policy.yaml"


@dataclass(frozen=True)
class Cinema:
    """Where everything of this log is."""

    config: PipelineConfig
    path: Path
    paths: ReleasePaths

    def open(self, run_id: str) -> RankedLists:
        """Open a run as the API does."""
        store = RunStore(self.paths)
        model = open_model(store.folder(run_id), store.verify(run_id))
        assert isinstance(model, RankedLists)
        return model

    def watched(self) -> dict[str, set[str]]:
        """Return what everybody watched before the newest window."""
        before = ingest.resolve_window(self.config).start
        rows = ingest.load_interactions(self.config, before=before)
        return {user: set(items) for user, items in rows.group_by("user_id").agg("item_id").iter_rows()}


@pytest.fixture
def cinema(tmp_path: Path, paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> Cinema:
    """Give the other log, and let command lines write into the empty installation."""
    monkeypatch.setenv(HOME_VARIABLE, str(paths.root))
    path = films(tmp_path / "cinema").path
    return Cinema(load_config(path), path, paths)


def test_all_stages_run_from_the_command_line(cinema: Cinema, capsys: pytest.CaptureFixture[str]) -> None:
    """Validate, data quality, training, evaluation: exit 0 each, and the data is found clean."""
    arguments = ["--config", str(cinema.path)]
    assert validate.main([*arguments, "--policy", str(POLICY)]) == 0
    assert data_quality_v2.main([*arguments, "--policy", str(POLICY), "--report-only"]) == 0
    assert train_models.main(arguments) == 0
    assert evaluate.main(arguments) == 0
    assert "item_knn" in capsys.readouterr().out


def test_names_and_ids_come_through_unchanged(cinema: Cinema) -> None:
    """Chinese, quotes and commas, in users, items and names."""
    model = cinema.open(train_models.train(cinema.config, cinema.paths).run_id)
    known = set().union(*cinema.watched().values())
    assert model.items == len(known)
    for number, title in enumerate(FILMS):
        if f"tt-{number:03d}" in known:
            assert model.item_name(f"tt-{number:03d}") == title
    assert any(f"tt-{number:03d}" in known for number in range(len(FILMS)))
    assert model.recommend("观众-03", 5)
    assert model.recommend("观众-99", 5) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_makes_a_run_that_offers_nothing_twice(cinema: Cinema, algorithm: str) -> None:
    """Nobody is offered a film they have seen; the recorded answers replay; the run can be judged."""
    run = train_models.train(cinema.config, cinema.paths, algorithm=algorithm)
    model = cinema.open(run.run_id)
    for user, seen in cinema.watched().items():
        offered = model.recommend(user, 20)
        assert offered
        assert not seen & set(offered)
        assert len(set(offered)) == len(offered)
    assert golden.check(model, RunStore(cinema.paths).golden(run.run_id)) > 16
    assert evaluate.evaluate(cinema.config, cinema.paths, run.run_id).users == 16


def test_the_day_begins_where_the_log_is_from(cinema: Cinema) -> None:
    """The cutoff is a midnight in Shanghai, and times with an offset are read by it."""
    window = ingest.resolve_window(cinema.config)
    assert (window.start.hour, window.start.minute) == (16, 0)
    rows = ingest.load_interactions(cinema.config)
    text = pl.read_csv(cinema.path.parent / "watched.csv", infer_schema=False)["at"]
    assert [moment.isoformat() for moment in rows["timestamp"].dt.convert_time_zone("Asia/Shanghai")] == text.to_list()


def test_people_read_days_of_the_zone_of_the_log(cinema: Cinema) -> None:
    """Run id, manifest, training, evaluation, picture and gate name the day that began in Shanghai, not that in UTC."""
    window = ingest.resolve_window(cinema.config)
    day, last = window.start + dt.timedelta(hours=8), window.end + dt.timedelta(hours=8)  # UTC clocks, set to Shanghai
    assert f"{window.start:%Y-%m-%d}" != f"{day:%Y-%m-%d}"
    run = train_models.train(cinema.config, cinema.paths)
    assert run.run_id.startswith(f"{day:%Y%m%d}-")
    assert run.as_of == f"{day:%Y-%m-%d}T00:00:00+08:00"
    manifest = RunStore(cinema.paths).manifest(run.run_id)
    assert manifest.as_of.isoformat() == run.as_of
    summary = evaluate.evaluate(cinema.config, cinema.paths, run.run_id)
    assert f"on {day:%Y-%m-%d} to {last:%Y-%m-%d}, " in evaluate.describe(summary)
    picture = (cinema.paths.evaluation_of(run.run_id) / "comparison.svg").read_text()
    assert f"<!-- {day:%Y-%m-%d} to {last:%Y-%m-%d}, " in picture
    found = artifact.check(collect(cinema.paths, load_policy(POLICY), run.run_id, "release-1"))
    assert found.reason.endswith(f"trained on data before {day:%Y-%m-%d}")


def test_a_run_whose_manifest_is_in_utc_is_read_and_told_in_the_zone_of_the_log(cinema: Cinema) -> None:
    """Manifests of before kept the instant and lost the zone; once evaluated, their days are right too."""
    trained = train_models.train(cinema.config, cinema.paths)
    store = RunStore(cinema.paths)
    manifest = store.manifest(trained.run_id)
    file = store.folder(trained.run_id) / MANIFEST_NAME
    file.write_text(manifest.model_copy(update={"as_of": manifest.as_of.astimezone(dt.UTC)}).model_dump_json())
    old = store.manifest(trained.run_id)
    assert (old.as_of, old.as_of.utcoffset()) == (manifest.as_of, dt.timedelta(0))
    summary = evaluate.evaluate(cinema.config, cinema.paths, trained.run_id)
    assert summary.as_of.isoformat() == summary.window_start.isoformat() == trained.as_of
    found = artifact.check(collect(cinema.paths, load_policy(POLICY), trained.run_id, "release-1"))
    assert found.reason.endswith(f"trained on data before {trained.as_of[:10]}")


def test_the_gate_finds_no_part_missing(cinema: Cinema) -> None:
    """A candidate against a current run, both of this log."""
    store, registry, now = RunStore(cinema.paths), FileRegistry(cinema.paths), utc_now()
    current = train_models.train(cinema.config, cinema.paths, algorithm="popular").run_id
    digest = store.manifest_sha256(current)
    registry.update(lambda state: register(state, run_id=current, manifest_sha256=digest, release_id="r", at=now))
    registry.update(lambda state: promote(state, run_id=current, release_id="r", at=now))
    candidate = train_models.train(cinema.config, cinema.paths).run_id
    data_quality_v2.check_data(cinema.config, cinema.paths)
    summary = evaluate.evaluate(cinema.config, cinema.paths, candidate)
    found = collect(cinema.paths, load_policy(POLICY), candidate, "release-1")
    for part in (found.registry, found.run, found.data_quality, found.evaluation, found.per_user):
        assert not isinstance(part, Missing), part
    assert summary.comparable
    assert "known items" not in summary.slices
    users = pl.read_parquet(cinema.paths.evaluation_of(candidate) / "per_user.parquet")["user_id"].unique()
    assert sorted(users) == [f"观众-{number:02d}" for number in range(16)]


def test_its_quality_is_measured_by_the_wall(cinema: Cinema) -> None:
    """No amounts, so nothing is measured of them; the newest row is not old."""
    report = data_quality_v2.check_data(cinema.config, cinema.paths)
    table = report.tables["interactions"]
    assert not [part.name for part in table.measurements if "quantity" in part.name or "price" in part.name]
    assert [part.name for part in table.measurements if part.bad] == []
    assert table.drift == ()  # too few rows
    found = parse_data_quality(cinema.paths.data_quality_metrics.read_text())
    assert set(found.scores) == {"interactions", "items"}
    assert 0 <= found.data_age_seconds["interactions"] < 86_400
