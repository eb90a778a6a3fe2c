"""The command ``python -m model_release.gate``."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from model_release.adapters.decisions import read_decision
from model_release.adapters.kept_evidence import read_evidence
from model_release.gate.__main__ import main
from model_release.gate.check import exit_status
from model_release.judge import judge
from model_release.paths import ReleasePaths
from model_release.policy import load_policy
from model_release.verdict import Decision, Verdict
from tests.gate_evidence import CANDIDATE, check, write_evidence

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference" / "gate-command.md"


@pytest.fixture
def installation(paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> ReleasePaths:
    """Give an installation with a better candidate, evaluated now; the command finds it by the environment."""
    write_evidence(paths, better_by=0.05, at=dt.datetime.now(dt.UTC))
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(paths.root))
    return paths


def policy_file(folder: Path, *checks: dict[str, Any]) -> str:
    """Write a policy; return its path."""
    path = folder / "policy.yaml"
    path.write_text(json.dumps({"schema_version": 1, "name": "test", "checks": checks}))
    return str(path)


def test_the_exit_statuses_are_those_of_the_reference() -> None:
    """Each verdict has its own, only PASS has 0, and 2 is left to usage."""
    statuses = {verdict: exit_status(verdict) for verdict in Verdict}
    assert statuses == {Verdict.PASS: 0, Verdict.ERROR: 1, Verdict.FAIL: 3, Verdict.INCONCLUSIVE: 4}
    text = REFERENCE.read_text(encoding="utf-8")
    for verdict, status in statuses.items():
        assert f"| {status} | {verdict.upper()}" in text
    assert "| 2 | " in text


@pytest.mark.parametrize(
    ("rule", "status", "word"),
    [
        ({}, 0, "PASS"),
        ({"metric": "unknown"}, 1, "ERROR"),
        ({"at_least": 0.99}, 3, "FAIL"),
        ({"minimum_users": 10_000}, 4, "INCONCLUSIVE"),
    ],
)
def test_the_exit_status_tells_the_verdict(
    installation: ReleasePaths, capsys: pytest.CaptureFixture[str], rule: dict[str, Any], status: int, word: str
) -> None:
    """A shell or a CI job needs nothing else; a person sees the table."""
    policy = policy_file(installation.root, check("absolute", **rule))
    assert main(["check", "--run-id", CANDIDATE, "--policy", policy]) == status
    assert f"Gate: {word}" in capsys.readouterr().out


def test_the_default_policy_judges_a_whole_release(
    installation: ReleasePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the policy that ships, good evidence passes."""
    assert main(["check", "--run-id", CANDIDATE]) == 0, capsys.readouterr().out
    assert installation.root.exists()


def test_json_is_the_whole_decision_and_nothing_else(
    installation: ReleasePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program reads what a person sees, and more."""
    policy = policy_file(installation.root, check("non_inferiority"))
    assert main(["check", "--run-id", CANDIDATE, "--policy", policy, "--json"]) == 0
    decision = Decision.model_validate_json(capsys.readouterr().out)
    assert decision.run_id == CANDIDATE
    assert decision.verdict is Verdict.PASS


def test_a_decision_of_a_release_is_kept(installation: ReleasePaths) -> None:
    """With ``--release-id`` it can be read again; without, nothing is written."""
    policy = policy_file(installation.root, check("absolute"))
    assert main(["check", "--run-id", CANDIDATE, "--policy", policy]) == 0
    assert not installation.decisions.exists()
    assert main(["check", "--run-id", CANDIDATE, "--policy", policy, "--release-id", "ci:17"]) == 0
    kept = read_decision(installation, "ci:17")
    assert kept is not None
    assert kept.verdict is Verdict.PASS
    assert (installation.decisions / "ci:17.svg").read_bytes().startswith(b"<?xml")


def test_a_kept_decision_can_be_made_again(installation: ReleasePaths) -> None:
    """Its evidence lies beside it."""
    path = policy_file(installation.root, check("absolute"), check("non_inferiority"))
    main(["check", "--run-id", CANDIDATE, "--policy", path, "--release-id", "ci:17"])
    kept, seen = read_decision(installation, "ci:17"), read_evidence(installation, "ci:17", "offline")
    assert kept is not None
    assert seen is not None
    assert judge(load_policy(Path(path)), seen, kept.decided_at) == kept


def test_on_github_the_decision_stands_on_the_page_of_the_job(
    installation: ReleasePaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appended to what other steps said; a file that can't be written is an error, not a silent gap."""
    page = installation.root / "summary.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    policy = policy_file(installation.root, check("absolute"))
    assert main(["check", "--run-id", CANDIDATE, "--policy", policy]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert "## Gate: PASS" in text
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(installation.root / "missing" / "summary.md"))
    assert main(["check", "--run-id", CANDIDATE, "--policy", policy]) == 1


def test_the_only_evaluated_run_need_not_be_named(
    installation: ReleasePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a fresh CI workspace there is one; with none or two the command asks for a name instead of guessing."""
    policy = policy_file(installation.root, check("absolute"))
    assert main(["check", "--evaluated", "--policy", policy]) == 0
    assert CANDIDATE in capsys.readouterr().out
    other = installation.evaluation_of("run-other")
    other.mkdir()
    (other / "summary.json").write_text("{}")
    with pytest.raises(SystemExit) as caught:
        main(["check", "--evaluated", "--policy", policy])
    assert caught.value.code == 2
    assert "run-other" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["check"],
        ["check", "--run-id", "../x"],
        ["check", "--run-id", "a", "--evaluated"],
        ["check", "--evaluated"],
        ["check", "--run-id", "a", "--release-id", "a/b"],
        ["check", "--run-id", "a", "--unknown"],
        ["check", "--run-id", "a", "--stage", "later"],
        ["check", "--run-id", "a", "--on-trial", "--stage", "online"],
        ["check", "--on-trial"],
        ["check", "--evaluated", "--stage", "online"],
        ["check", "--on-trial", "--stage", "online"],
        ["release"],
    ],
)
def test_wrong_usage_is_2(
    paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Missing, contradictory and path-like arguments say how it is used, and judge nothing."""
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(paths.root))
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_policy_that_can_not_be_meant_is_wrong_usage(
    installation: ReleasePaths, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt key, or a file that is not there, stops the gate with 2 and is named; it never passes."""
    for policy, word in (
        (policy_file(installation.root, check("absolute", at_leest=0.9)), "at_leest"),
        ("missing.yaml", "missing.yaml"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["check", "--run-id", CANDIDATE, "--policy", policy])
        assert caught.value.code == 2
        assert word in capsys.readouterr().err


def test_an_unknown_run_could_not_be_measured(installation: ReleasePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """1, with the names of the runs that are there."""
    policy = policy_file(installation.root, check("absolute"))
    assert main(["check", "--run-id", "run-unknown", "--policy", policy]) == 1
    assert CANDIDATE in capsys.readouterr().out.replace("\n", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "users needed"),
        ({"minimum_users": 10**6}, "inconclusive - 600 users"),
        ({"metric": "no_such_metric"}, "error - "),
    ],
)
def test_the_guides_snippet_says_something_whatever_the_verdict(
    installation: ReleasePaths, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    """Numbers of a comparison, or why there is none: run as it stands in the guide."""
    policy = policy_file(installation.root, check("non_inferiority", margin=0.0001, **changes))
    main(["check", "--run-id", CANDIDATE, "--policy", policy, "--json"])
    decision = capsys.readouterr().out
    guide = (ROOT / "docs/how-to/tune-the-gate.md").read_text(encoding="utf-8")
    code = textwrap.dedent("      " + guide.split("python -c '")[1].split("'\n")[0])
    done = subprocess.run(
        [sys.executable, "-c", code], input=decision, check=True, capture_output=True, text=True, timeout=60
    )
    assert said in done.stdout


def test_it_is_a_program(installation: ReleasePaths) -> None:
    """As CI starts it, from another folder: the status comes through, and the output is plain text."""
    policy = policy_file(installation.root, check("non_inferiority", margin=0.0001))
    done = subprocess.run(
        [sys.executable, "-m", "model_release.gate", "check", "--run-id", CANDIDATE, "--policy", policy],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=installation.root,
        env={"MODEL_RELEASE_HOME": str(installation.root), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
