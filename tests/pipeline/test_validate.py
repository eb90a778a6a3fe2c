"""Would the stages run?  Every problem is found and named, all of them at once, and nothing is made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from model_release.adapters.file_registry import FileRegistry
from model_release.contract import utc_now
from model_release.paths import HOME_VARIABLE, ReleasePaths
from model_release.registry import register
from pipeline.config import default_config_path
from pipeline.options import NO_OPTIONS, Options
from pipeline.validate import main, validate
from tests.pipeline.logs import Source, changed
from tests.runs import publish_run

POLICY = default_config_path().parent / "release_policy.yaml"


@pytest.fixture(autouse=True)
def home(paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line look at the empty installation, and find the project's policy."""
    monkeypatch.setenv(HOME_VARIABLE, str(paths.root))


def problems(
    source: Source, paths: ReleasePaths, options: Options = NO_OPTIONS, *, policy: Path | None = POLICY
) -> dict[str, str]:
    """Validate what lies on disk; return the problems, by what was looked at."""
    found = validate(paths, config_path=source.path, policy_path=policy, options=options)
    return {finding.what: finding.problem for finding in found if finding.problem is not None}


def test_all_is_well(grocery: Source, paths: ReleasePaths) -> None:
    """Everything was looked at, and says what was found."""
    found = validate(paths, config_path=grocery.path, policy_path=POLICY, options=Options(as_of="2025-03-10"))
    assert {finding.what: finding.problem for finding in found} == dict.fromkeys(
        ["imports", "configuration", "release policy", "algorithm", "source interactions", "source items", "window",
         "registry", "output"]
    )  # fmt: skip
    details = " ".join(finding.detail for finding in found)
    for word in ("personal_frequency: half_life_days 60.0", "2025-03-10", "no run is current", str(paths.models)):
        assert word in details


@pytest.mark.parametrize(
    ("changes", "what", "words"),
    [
        ({"clock": "now"}, "configuration", ["clock", "'now'"]),
        ({"training__algorithms": {"als": {"factor": 3}}}, "algorithm", ["als", "'factor'", "factors"]),
        ({"training__algorithms": {"als": {"factors": 0}}}, "algorithm", ["als.factors", "0"]),
        ({"source__interactions__path": "gone.csv"}, "source interactions", ["gone.csv"]),
        ({"source__interactions__columns__price": "p"}, "source interactions", ["source.interactions", "'p'"]),
        ({"source__items__path": "gone.csv"}, "source items", ["gone.csv"]),
        ({"source__items__columns__category": "c"}, "source items", ["source.items", "'c'"]),
        ({"horizon_days": 300}, "window", ["nothing to train on", "2025-01-06"]),
    ],
)
def test_each_problem_of_the_configuration_is_named(
    grocery: Source, paths: ReleasePaths, changes: dict[str, Any], what: str, words: list[str]
) -> None:
    """It is the only one, and says which value is wrong."""
    grocery.path.write_text(yaml.safe_dump(changed(grocery.document, **changes)))
    found = problems(grocery, paths)
    assert list(found) == [what]
    for word in words:
        assert word in found[what]


def broken(path: Path) -> Path:
    """Write something that nobody can read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    return path


def test_each_problem_around_it_is_named(grocery: Source, paths: ReleasePaths, tmp_path: Path) -> None:
    """Policy, registry, ledger, source, and the folders that results go to."""
    assert "policy.yaml" in problems(grocery, paths, policy=broken(tmp_path / "policy.yaml"))["release policy"]
    assert "none.yaml" in problems(grocery, paths, policy=tmp_path / "none.yaml")["release policy"]
    assert "soon" in problems(grocery, paths, Options(as_of="soon"))["as_of"]
    assert "1999-01-01" in problems(grocery, paths, Options(as_of="1999-01-01"))["window"]
    broken(paths.registry)
    assert "model_registry.json" in problems(grocery, paths)["registry"]
    paths.registry.unlink()
    broken(grocery.folder / "rows.parquet")
    assert "rows.parquet" in problems(grocery, paths)["source interactions"]


@pytest.mark.parametrize("name", ["models", "data"])
def test_a_place_that_can_not_be_written_is_named(grocery: Source, paths: ReleasePaths, name: str) -> None:
    """A file stands where the folder should be."""
    broken(paths.root / name)
    found = problems(grocery, paths)
    assert str(paths.root / name) in found["output"]
    assert "can't be written" in found["output"]


def test_damage_that_shows_only_when_rows_are_read_is_named(grocery: Source, paths: ReleasePaths) -> None:
    """A CSV in another encoding."""
    (grocery.folder / "items.csv").write_bytes("what,kind,brand,aisle\n1,苹果,x,y\n".encode("gbk"))
    grocery.config(source__items__path="items.csv")
    assert "UTF-8" in problems(grocery, paths)["source items"]


@pytest.mark.parametrize(
    ("options", "what", "words"),
    [
        ({"as_of": "soon"}, "as_of", ["'soon'", "2017-12-25"]),
        ({"algorithm": "poplar"}, "algorithm", ["'poplar'", "popular", "auto"]),
        ({"run": "../../etc"}, "run", ["'../../etc'", "1 to 64"]),
    ],
)
def test_an_option_that_can_not_be_meant_is_wrong_usage(
    grocery: Source, paths: ReleasePaths, options: dict[str, str], what: str, words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Exit 2, as from the stage that would get it; the rest is looked at all the same."""
    ((option, value),) = options.items()
    found = problems(grocery, paths, Options(**{option: value}))
    assert list(found) == [what]
    assert all(word in found[what] for word in words)
    flags = [f"--{option.replace('_', '-')}", value]
    assert main(["--config", str(grocery.path), "--policy", str(POLICY), *flags]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if not line.startswith("ok ")] == [what]
    assert len(lines) == 11  # all that is looked at without it, and the option


def test_the_algorithm_that_is_asked_for_is_checked_with_its_parameters(grocery: Source, paths: ReleasePaths) -> None:
    """Not the configured one; ``auto`` means those that are tried."""
    found = validate(paths, config_path=grocery.path, policy_path=POLICY, options=Options(algorithm="als"))
    assert [part.detail.split(":")[0] for part in found if part.what == "algorithm"] == ["als"]
    found = validate(paths, config_path=grocery.path, policy_path=POLICY, options=Options(algorithm="auto"))
    assert "next_basket" in [part.detail.split(":")[0] for part in found if part.what == "algorithm"]


def test_the_run_that_is_asked_for_is_read_whole(grocery: Source, paths: ReleasePaths) -> None:
    """Unknown, altered, or another one than was registered: a problem each."""
    publish_run(paths, "run-1")
    assert problems(grocery, paths, Options(run="run-1")) == {}
    assert "run-1" in problems(grocery, paths, Options(run="run-2"))["run"]
    FileRegistry(paths).update(
        lambda state: register(state, run_id="run-1", manifest_sha256="f" * 64, release_id="r", at=utc_now())
    )
    assert "registered" in problems(grocery, paths, Options(run="run-1"))["run"]
    paths.registry.unlink()
    file = paths.models / "run-1" / "popular.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x09")
    assert "altered" in problems(grocery, paths, Options(run="run-1"))["run"]


def test_all_problems_are_named_not_only_the_first(
    grocery: Source, paths: ReleasePaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two algorithms, two columns of one table and one of another, the cutoff, the policy, the registry, the output."""
    grocery.config(
        training__algorithms={"als": {"factor": 3}, "popular": {"days": 3}},
        source__interactions__columns={"user_id": "customer", "item_id": "sku", "timestamp": "when"},
        source__items__columns={"item_id": "article"},
    )
    broken(paths.registry)
    broken(paths.root / "data")
    arguments = ["--config", str(grocery.path), "--policy", str(tmp_path / "none.yaml"), "--as-of", "soon"]
    assert main(arguments) == 2  # one of them is an option's
    said = capsys.readouterr().out
    failed = [line for line in said.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 8
    for word in (
        "'factor'",
        "'days'",
        "'customer'",
        "'sku'",
        "'article'",
        "'soon'",
        "none.yaml",
        "model_registry.json",
    ):
        assert word in said
    assert [line.split()[1] for line in said.splitlines() if line.startswith("ok")] == [
        "imports", "configuration", "algorithm", "output",
    ]  # fmt: skip


def test_without_a_configuration_the_rest_is_still_looked_at(paths: ReleasePaths, tmp_path: Path) -> None:
    """Policy, registry and output need none."""
    found = validate(paths, config_path=tmp_path / "none.yaml", policy_path=tmp_path / "none-either.yaml")
    assert [finding.what for finding in found if finding.problem is not None] == ["configuration", "release policy"]
    assert [finding.what for finding in found][-3:] == ["registry", "output", "output"]


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Return everything below a folder with what would show that it was touched."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size, path.stat().st_ino) for path in folder.rglob("*")}


def test_nothing_is_made(grocery: Source, paths: ReleasePaths) -> None:
    """Neither in an installation that is there nor where there is none, nor beside the data."""
    assert problems(grocery, paths) == {}
    assert not paths.root.exists()
    publish_run(paths, "run-1")
    paths.evaluation.mkdir(parents=True)
    before = listing(paths.root) | listing(grocery.folder)
    folders = {str(paths.models), str(paths.evaluation)}  # a trial file came and went: their own time may have moved
    assert problems(grocery, paths) == {}
    after = listing(paths.root) | listing(grocery.folder)
    assert set(after) == set(before)
    assert all(after[name] == before[name] for name in before if name not in folders)


def test_the_command_line_says_what_it_looked_at(grocery: Source, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 0, one line each."""
    assert main(["--config", str(grocery.path), "--policy", str(POLICY)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert all(line.startswith("ok ") for line in lines)


def test_wrong_usage_is_exit_2() -> None:
    """An unknown option is no problem of the installation."""
    with pytest.raises(SystemExit) as caught:
        main(["--fast"])
    assert caught.value.code == 2
