"""The stages without Airflow, as a person starts them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from model_release.paths import ReleasePaths
from tests.live.shop import FIRST_DAYS, POLICY, write_shop
from tests.runs import publish_run

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "scripts" / "run_pipeline.sh"


class Shop:
    """A folder with data, configuration and policy, and the script run in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.config = write_shop(home / "shop", FIRST_DAYS)
        self.policy = home / "policy.yaml"
        self.policy.write_text(POLICY)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        settings = {"PIPELINE_CONFIG": str(self.config), "RELEASE_POLICY": str(self.policy), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            ["bash", str(SCRIPT), *arguments],
            cwd=self.home,
            env={**os.environ, **settings, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def runs(self) -> list[str]:
        return sorted(path.parent.name for path in self.home.glob("models/*/manifest.json"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shop, subprocess.CompletedProcess[str]]:
    """A shop whose stages all ran once."""
    shop = Shop(tmp_path_factory.mktemp("shop"))
    return shop, shop.run()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_all_stages_run_in_order_and_the_gate_passes(
    trained: tuple[Shop, subprocess.CompletedProcess[str]],
) -> None:
    shop, done = trained
    assert done.returncode == 0, done.stderr
    commands = [line.split(" -m ")[1].split()[0] for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert commands == ["pipeline.data_quality_v2", "pipeline.train_models", "pipeline.evaluate", "model_release.gate"]
    (run_id,) = shop.runs
    assert json.loads((shop.home / "data/evaluation" / run_id / "summary.json").read_text())["run_id"] == run_id
    assert "Gate: PASS" in done.stdout
    assert not (shop.home / "models/model_registry.json").exists()  # nothing is released from here


def test_it_goes_on_from_a_later_stage(trained: tuple[Shop, subprocess.CompletedProcess[str]]) -> None:
    shop, _ = trained
    (run_id,) = shop.runs
    done = shop.run("--from", "gate", "--run", run_id)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("+ ") == 1
    assert shop.run("--from", "evaluate").returncode == 0
    assert shop.runs == [run_id]


def test_bad_data_stops_it_before_training(shop: Shop) -> None:
    """Status 3, as for a rejected model; nothing is trained on it."""
    text = shop.config.read_text().replace("training:", "data_quality: {quantity: {at_least: 3}}\ntraining:")
    shop.config.write_text(text)
    done = shop.run()
    assert done.returncode == 3
    assert "below 90" in done.stdout
    assert shop.runs == []


def test_a_rejected_model_has_status_3(trained: tuple[Shop, subprocess.CompletedProcess[str]]) -> None:
    shop, _ = trained
    policy = shop.home / "strict.yaml"
    policy.write_text(POLICY.replace("at_least: 0.02", "at_least: 0.99"))
    done = shop.run("--from", "gate", "--run", shop.runs[0], RELEASE_POLICY=str(policy))
    assert done.returncode == 3
    assert "FAIL" in done.stdout


def test_a_dry_run_checks_everything_and_makes_nothing(shop: Shop) -> None:
    before = sorted(shop.home.rglob("*"))
    done = shop.run("--dry-run", "--as-of", "2026-01-05")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "train before 2026-01-05" in done.stdout
    assert "recommendation_pipeline" in done.stdout
    assert sum(line.startswith("+ ") for line in done.stdout.splitlines()) == 4
    assert sorted(shop.home.rglob("*")) == before


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("config", "trainning"),
        ("data", "log.parquet"),
        ("column", "no_such_column"),
        ("policy", "minimum_scores"),
        ("registry", "model_registry.json"),
        ("window", "nothing to train on"),
    ],
)
def test_a_dry_run_finds_what_is_wrong(shop: Shop, broken: str, said: str) -> None:
    """Status 1, the problem by name, and all other checks are made all the same."""
    arguments = ["--dry-run"]
    match broken:
        case "config":
            shop.config.write_text(shop.config.read_text().replace("training:", "trainning:"))
        case "data":
            (shop.home / "shop/log.parquet").unlink()
        case "column":
            shop.config.write_text(shop.config.read_text().replace("quantity: quantity", "quantity: no_such_column"))
        case "policy":
            shop.policy.write_text(POLICY.replace("minimum_score", "minimum_scores"))
        case "registry":
            (shop.home / "models").mkdir()
            (shop.home / "models/model_registry.json").write_text('{"schema_version": 1, "gener')
        case "window":
            arguments += ["--as-of", "2020-01-01"]
    done = shop.run(*arguments)
    assert done.returncode == 1, done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert said in failed[0]
    assert "recommendation_pipeline" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--algorithm", "poplar"], "no algorithm 'poplar'"),
        (["--from", "evaluate", "--run", "../../etc"], "run_id '../../etc' is not valid"),
        (["--as-of", "soon"], "'soon' is not a date"),
    ],
)
def test_a_dry_run_looks_at_the_options(shop: Shop, arguments: list[str], said: str) -> None:
    """Status 2, as from the stage itself."""
    done = shop.run("--dry-run", *arguments)
    assert done.returncode == 2, done.stdout
    assert said in done.stdout


def test_a_dry_run_reads_the_run_that_is_named(shop: Shop) -> None:
    """Status 1 if it is not there, or its files are not what they were."""
    publish_run(ReleasePaths(shop.home), "run-1")
    arguments = ["--dry-run", "--from", "gate", "--run"]
    assert shop.run(*arguments, "run-1").returncode == 0
    unknown = shop.run(*arguments, "run-2")
    assert (unknown.returncode, "no run 'run-2'" in unknown.stdout) == (1, True)
    file = shop.home / "models/run-1/popular.npy"
    file.write_bytes(file.read_bytes() + b"!")
    altered = shop.run(*arguments, "run-1")
    assert (altered.returncode, "popular.npy" in altered.stdout) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--form", "train"], "--form"),
        (["--from", "trian"], "the stages are data_quality train evaluate gate"),
        (["--as-of"], "--as-of needs a value"),
        (["--run", "x"], "trains a run of its own"),
    ],
)
def test_wrong_usage_says_what_is_right(shop: Shop, arguments: list[str], said: str) -> None:
    done = shop.run(*arguments)
    assert done.returncode == 2
    assert said in done.stderr
