"""``python -m model_release.gate explain | simulate | schema``."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest

from model_release.gate.__main__ import main
from model_release.paths import ReleasePaths
from model_release.policy import load_policy
from model_release.policy.schema import policy_schema
from model_release.report.decision_words import change_for_pass, decision_words
from model_release.report.policy_words import error_budget
from model_release.verdict import CheckResult, Verdict
from tests.gate_evidence import CANDIDATE, check, write_evidence
from tests.release.test_simulation import ONLINE

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home(paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> ReleasePaths:
    """Give an installation whose candidate was evaluated now."""
    write_evidence(paths, better_by=0.02, at=dt.datetime.now(dt.UTC))
    monkeypatch.setenv("MODEL_RELEASE_HOME", str(paths.root))
    monkeypatch.setenv("COLUMNS", "300")
    return paths


def policy_file(folder: Path, *checks: dict[str, Any], online: dict[str, Any] | None = None) -> str:
    path = folder / "policy.yaml"
    document = {"schema_version": 1, "name": "test", "checks": checks, **({"online": online} if online else {})}
    path.write_text(json.dumps(document))
    return str(path)


def result(**fields: Any) -> CheckResult:
    return CheckResult.model_validate({"check": "x", "kind": "absolute", "reason": "because", **fields})


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == policy_schema()


def test_a_policy_is_explained(home: ReleasePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """Every check of the policy that ships: question, queries with runs filled in, verdicts, needs, and error rates."""
    assert main(["explain", "--policy", str(ROOT / "config" / "release_policy.yaml")]) == 0
    said = capsys.readouterr().out
    policy = load_policy(ROOT / "config" / "release_policy.yaml")
    assert policy.online is not None
    for one in (*policy.checks, *policy.online.checks):
        assert f"\n{one.name} ({one.kind}; " in said
    assert "$" not in said
    assert "How often it may be wrong" in said
    assert "passes after about" in said
    assert home.root.exists()


def test_the_error_probabilities_are_summed_over_what_blocks(tmp_path: Path) -> None:
    """Dry runs, warnings and other modes do not count; the sum bounds false rejections."""
    checks = [
        {**ONLINE["checks"][0], "confidence": 0.98},
        {**ONLINE["checks"][1], "confidence": 0.97},
        ONLINE["checks"][2],
        {**ONLINE["checks"][0], "name": "dry", "dry_run": True, "confidence": 0.6},
    ]
    path = policy_file(tmp_path, check("absolute"), online={**ONLINE, "checks": checks})
    shadow, canary = error_budget(load_policy(Path(path)))
    assert "at most 0.02, the sum over 1 checks" in shadow  # latency and split are made in canaries
    assert "at most 0.051, the sum over 3 checks" in canary
    assert "probability at most 0.03" in canary


def test_a_kept_decision_is_explained(home: ReleasePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """Every number of every result, and what would have to change."""
    policy = policy_file(home.root, check("absolute", at_least=0.9), check("non_inferiority", margin=0.0001))
    main(["check", "--run-id", CANDIDATE, "--policy", policy, "--release-id", "ci:1"])
    capsys.readouterr()
    assert main(["explain", "--release-id", "ci:1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"FAIL for run {CANDIDATE} against run-old")
    assert "for PASS: the value must be higher by 0.7" in said
    assert "minimum_detectable_effect" in said
    assert main(["explain", "--release-id", "ci:1", "--stage", "offline"]) == 0
    assert main(["explain", "--release-id", "ci:1", "--stage", "online"]) == 1
    assert main(["explain", "--release-id", "ci:2"]) == 1
    assert "no decision of release 'ci:2' is kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"verdict": Verdict.PASS}, None),
        ({"verdict": Verdict.ERROR}, "measured again at the next look"),
        ({"verdict": Verdict.ERROR, "settled": True}, "no waiting mends it"),
        ({"verdict": Verdict.INCONCLUSIVE, "samples": 40, "minimum_samples": 100}, "60 more observations"),
        (
            {
                "verdict": Verdict.INCONCLUSIVE,
                "samples": 100,
                "minimum_samples": 10,
                "details": {"more_answers_needed": 7},
            },
            "about 7 more answers",
        ),
        (
            {"verdict": Verdict.INCONCLUSIVE, "samples": 100, "details": {"users_needed": 900}},
            "about 900 users instead of 100",
        ),
        (
            {"verdict": Verdict.FAIL, "value": 0.03, "limit": 0.01, "direction": "at_most", "interval": (0.02, 0.05)},
            "the upper end of the interval must be lower by 0.04, to lie < +0.0100",
        ),
        ({"verdict": Verdict.FAIL, "value": 2.0, "limit": 5.0, "direction": "at_least", "unit": "h"}, "higher by 3 h"),
        ({"verdict": Verdict.FAIL}, "the reason must no longer hold"),
        ({"verdict": Verdict.INCONCLUSIVE, "details": {"more_answers_needed": 0}}, "nothing but time"),
    ],
)
def test_what_would_have_to_change(fields: dict[str, Any], expected: str | None) -> None:
    """For each verdict, with the number that is missing."""
    told = change_for_pass(result(**fields))
    assert told is None if expected is None else expected in str(told)


def test_what_was_asked_of_prometheus_is_told(home: ReleasePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """Queries and window, as the result kept them, each in one line."""
    from model_release.adapters.decisions import read_decision

    main(["check", "--run-id", CANDIDATE, "--release-id", "ci:1"])
    capsys.readouterr()
    kept = read_decision(home, "ci:1")
    assert kept is not None
    details = {"queries": ["a{b}\n", "c"], "window": ["2026-01-01", "2026-01-02"], "log_e_harm": 2.0, "answers": [1.5]}
    asked = result(verdict=Verdict.PASS, details=details)
    lines = list(decision_words(kept.model_copy(update={"results": (asked,)})))
    for line in ("  asked: a{b}", "  asked: c", "  over: 2026-01-01 to 2026-01-02", "  numbers: answers [1.5]"):
        assert line in lines
    assert "  confidence: e harm 7.39" in lines


def test_a_policy_is_tried(home: ReleasePaths, capsys: pytest.CaptureFixture[str]) -> None:
    """All three parts, the reason of what could not be done, and the same seed gives the same numbers."""
    policy = policy_file(home.root, check("non_inferiority", method="t"), online=ONLINE)
    asked = ["simulate", "--policy", policy, "--repeats", "4", "--regression", "0.1", "--json"]
    assert main(asked) == 0
    first = json.loads(capsys.readouterr().out)
    assert first["replay"] == {"not_simulated": "the ledger has no decision of a gate"}
    assert [one["scenario"] for one in first["offline"]["scenarios"]] == ["equal runs", "metrics 10 % lower"]
    assert [one["scenario"] for one in first["online"]["scenarios"]] == [
        "equal runs", "10 % of answers worse", "2 times slower",
    ]  # fmt: skip
    assert sum(ending["count"] for ending in first["online"]["scenarios"][0]["endings"].values()) == 4
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out) == first
    assert main(asked[:-1]) == 0
    shown = capsys.readouterr().out
    assert "replay: not simulated, because the ledger has no decision of a gate" in shown
    assert "4 simulated releases per line" in shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "--stage", "online"],
        ["explain", "--release-id", "x", "--policy", "y"],
        ["explain", "--release-id", "../x"],
        ["explain", "--policy", "missing.yaml"],
        ["simulate", "--repeats", "0"],
        ["simulate", "--regression", "1.5"],
        ["simulate", "--regression", "nan"],
        ["simulate", "--latency-factor", "1"],
        ["simulate", "--requests-per-second", "inf"],
        ["simulate", "--share", "errors"],
        ["simulate", "--share", "unknown=0.5"],
        ["simulate", "--rollout", "0"],
        ["simulate", "--only", "everything"],
        ["schema", "--unknown"],
    ],
)
def test_wrong_usage_is_2(home: ReleasePaths, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """What can't be meant says how it is used."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err
    assert home.root.exists()
