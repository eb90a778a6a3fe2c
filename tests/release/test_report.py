"""Decisions for people."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from model_release.evidence import Missing
from model_release.judge import judge
from model_release.policy import load_policy
from model_release.report import found, markdown, plain, table, wanted
from model_release.report.figures import certainty, e_value
from model_release.verdict import CheckResult, Decision, Verdict
from tests.gate_evidence import NOW, check, evidence, policy

DEFAULT = load_policy(Path(__file__).parents[2] / "config" / "release_policy.yaml")
DECISIONS = {
    Verdict.PASS: judge(DEFAULT, evidence(better_by=0.05), NOW),
    Verdict.FAIL: judge(DEFAULT, evidence(better_by=-0.1), NOW),
    Verdict.ERROR: judge(DEFAULT, replace(evidence(), evaluation=Missing("run-new/summary.json does not exist")), NOW),
    Verdict.INCONCLUSIVE: judge(policy(check("absolute", minimum_users=1000)), evidence(), NOW),
}


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=list(DECISIONS))
def test_the_table_has_every_result_with_its_numbers(decision: Decision) -> None:
    """Verdict, check, value, interval, limit, sample size and reason of each, and what was judged by what."""
    text = plain(decision, width=400)
    assert decision.verdict.upper() in text.splitlines()[0]
    for part in (decision.run_id, decision.policy_sha256[:12], "generation 4", "release release-1"):
        assert part in text
    for result in decision.results:
        name = f" {result.check} " + (f"+{result.subject} +" if result.subject else "+–")
        (line,) = [line for line in text.splitlines() if re.search(name.replace("(", r"\(").replace(")", r"\)"), line)]
        assert result.verdict.upper() in line
        assert found(result) in line
        assert wanted(result) in line
        assert "dry run" in line or not result.dry_run
        if result.verdict is not Verdict.PASS or result.value is None:
            assert f"{result.reason}\n" in text


@pytest.mark.parametrize("width", [80, 120, 200])
def test_the_table_is_aligned_and_fits(width: int) -> None:
    """No line is wider than the terminal; nothing is cut off with dots."""
    text = plain(DECISIONS[Verdict.FAIL], width=width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "…" not in text


def test_text_for_a_log_has_no_colours() -> None:
    """Escape sequences would be noise there; a terminal gets them."""
    assert "\x1b" not in plain(DECISIONS[Verdict.FAIL])
    console = Console(file=io.StringIO(), force_terminal=True, width=160, color_system="standard")
    with console.capture() as captured:
        console.print(table(DECISIONS[Verdict.FAIL]))
    assert "\x1b[" in captured.get()


def test_square_brackets_are_no_markup() -> None:
    """A reason is shown as it stands, whatever it holds."""
    result = CheckResult(check="x", kind="absolute", verdict=Verdict.PASS, reason="[red]no[/red] [bold]", subject="[b]")
    decision = DECISIONS[Verdict.PASS].model_copy(update={"results": (result,)})
    assert "[red]no[/red] [bold]" in plain(decision)


def test_a_message_says_first_what_did_not_pass() -> None:
    """The verdict, then every failure with its numbers, then how many passed."""
    lines = markdown(DECISIONS[Verdict.FAIL]).splitlines()
    assert lines[0].startswith("**Gate: FAIL**")
    assert "`run-new` against `run-old`, generation 4" in lines[1]
    assert lines[2].startswith("- ❌ ndcg-not-worse ndcg_at_10: 0.")
    assert "results passed" in lines[-1]


def test_a_message_stays_short() -> None:
    """However much fails: at most eight lines of it, the rest is counted; below the limit of a WeCom message."""
    failed = CheckResult(check="x" * 64, kind="absolute", verdict=Verdict.FAIL, reason="因为" * 40)
    decision = DECISIONS[Verdict.FAIL].model_copy(update={"results": (failed,) * 50})
    text = markdown(decision)
    assert "and 42 more" in text
    assert len(text.encode()) < 4096


def test_a_first_release_is_stamped() -> None:
    """``no_baseline`` stands where the current run would."""
    decision = judge(policy(check("absolute")), evidence(baseline=False), NOW)
    assert "no_baseline" in plain(decision).splitlines()[0]
    assert "against no_baseline" in markdown(decision)


def test_a_dry_run_is_called_one() -> None:
    """Nobody takes it for what blocked."""
    decision = judge(policy(check("data_quality"), check("absolute", at_least=0.99, dry_run=True)), evidence(), NOW)
    assert "FAIL (dry run)" in plain(decision)
    assert "(dry run)" in markdown(decision)
    assert markdown(decision).startswith("**Gate: PASS**")


@pytest.mark.parametrize(
    ("result", "value", "limit"),
    [
        ({"value": 0.5, "limit": 0.4, "direction": "at_least"}, "0.5", "≥ 0.4"),
        ({"value": 3.0, "limit": 48.0, "direction": "at_most", "unit": "h"}, "3 h", "≤ 48 h"),
        (
            {"value": 0.01, "limit": -0.02, "direction": "at_least", "interval": (-0.001, 0.021)},
            "+0.0100 [-0.0010, +0.0210]",
            "> -0.0200",
        ),
        ({}, "–", "–"),
    ],
)
def test_how_numbers_are_written(result: dict[str, object], value: str, limit: str) -> None:
    """Units, signs for differences, and the interval; a dash where there is none."""
    base = {"check": "x", "kind": "absolute", "verdict": Verdict.PASS, "reason": ""}
    whole = CheckResult.model_validate({**base, **result})
    assert (found(whole), wanted(whole)) == (value, limit)


@pytest.mark.parametrize(
    ("value", "written"),
    [(1.0, "1"), (0.5, "0.5"), (42.34, "42.3"), (100.0, "100"), (999.7, "1000"), (1000.0, "1000"), (1e5, "10^5")],
)
def test_an_e_value_is_written_as_people_write_numbers(value: float, written: str) -> None:
    assert e_value(math.log(value)) == written


def test_the_e_value_of_a_split_stands_beside_what_it_must_reach() -> None:
    e_values = {"log_e": math.log(0.2), "log_e_needed": math.log(1000.0)}
    result = CheckResult(check="split", kind="sample_ratio", verdict=Verdict.PASS, reason="it fits", details=e_values)
    assert certainty(result) == "e 0.2, e needed 1000"
