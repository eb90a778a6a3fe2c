"""What a decision becomes in places with limits and with a language of their own."""

from __future__ import annotations

import datetime as dt
import html
import re
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from model_release.errors import InvalidInputError
from model_release.judge import judge
from model_release.ledger import Event, LedgerEntry
from model_release.messages import MARKDOWN_BYTES, compose
from model_release.report import markdown, plain, step_summary
from model_release.report.neutral import cut, for_html, for_robot, one_line
from model_release.verdict import CheckResult, Decision, Verdict, worst
from tests.gate_evidence import NOW, check, evidence, policy

DECISION = judge(policy(check("absolute")), evidence(), NOW)
FAMILY, FLAG = "👨‍👩‍👧", "🇨🇳"
HOSTILE = (
    '**x**\n# head\n- item\r\n<@all> <font color="warning">x</font> [a](http://evil.example) `code` ``` | cell | '
    "</details></table><script>alert(1)</script> \u202eright\u2028 ![i](x) \\` &lt;@all&gt; $x$ ~~s~~ @org/team\x00\x1b[31m"
)
NAMES = st.text(max_size=60) | st.sampled_from([HOSTILE, FAMILY * 30, FLAG * 30, "因为没有数据" * 100])
RESULTS = st.builds(
    CheckResult,
    check=NAMES,
    kind=st.just("ratio"),
    verdict=st.sampled_from(Verdict),
    reason=NAMES,
    subject=NAMES,
    severity=st.sampled_from(["critical", "warning"]),
)


def decided(*results: CheckResult, **fields: Any) -> Decision:
    """Return a decision of these results."""
    verdict = worst(result.blocking for result in results)
    return DECISION.model_copy(update={"results": results, "verdict": verdict, **fields})


def failed(**fields: Any) -> CheckResult:
    return CheckResult.model_validate(
        {"check": "errors", "kind": "ratio", "verdict": Verdict.FAIL, "reason": "because", **fields}
    )


@given(results=st.lists(RESULTS, min_size=1, max_size=12), room=st.integers(64, 5000), name=NAMES)
def test_a_message_never_exceeds_its_bytes(results: list[CheckResult], room: int, name: str) -> None:
    """Whatever it holds: it fits, says the verdict, and every construct in it is whole."""
    decision = decided(*results, run_id=name, against=name, policy_name=name)
    text = markdown(decision, max_bytes=room)
    assert len(text.encode()) <= room
    assert text.startswith(f"**Gate: {decision.verdict.upper()}** ")
    for line in text.splitlines():
        assert line.count("**") in {0, 2}
        assert line.count("`") % 2 == 0
        assert not re.search(r"[<>\[\]\\&]", line)
    assert {unicodedata.category(character) for character in text} & {"Cc", "Zl", "Zp"} <= {"Cc"}  # line ends
    assert "\x00" not in text


def test_300_results_fit() -> None:
    """In Chinese and emoji; the worst is told, the rest is counted, warnings too."""
    results = [failed(check=f"检查-{number}", reason="因为候选模型更差😀" * 60) for number in range(250)]
    warned = [failed(check="慢", severity="warning") for _ in range(50)]
    for room in (4096, 2048, 700):
        text = markdown(decided(*warned, *results), max_bytes=room)
        assert len(text.encode()) <= room
        assert "检查-0: 因为" in text
        assert re.search(r"and 2\d\d more that did not pass, 50 of them warnings", text)


def test_reasons_are_shortened_before_a_result_is_left_out() -> None:
    """All eight are named, and the room is used."""
    text = markdown(decided(*(failed(check=f"c{number}", reason="模" * 900) for number in range(8))), max_bytes=4096)
    assert all(f"c{number}: 模" in text for number in range(8))
    assert len(text.encode()) > 2400


def test_what_blocks_is_told_before_what_does_not() -> None:
    """A dry run is the first to go, then a warning."""
    results = [
        failed(check="dry" * 20, dry_run=True),
        failed(check="warned", severity="warning"),
        failed(check="blocked"),
    ]
    text = markdown(decided(*results))
    assert text.index("blocked") < text.index("warned") < text.index("dry")
    assert "(warning)" in text
    short = markdown(decided(*results), max_bytes=len(text.encode()) - 1)
    assert "warned" in short
    assert "dry" not in short


def test_no_room_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="63 bytes"):
        markdown(DECISION, max_bytes=63)


@given(
    text=st.text(max_size=40) | st.sampled_from([FAMILY * 5, FLAG * 7, "e\u0301" * 9, "👍🏽" * 6]),
    limit=st.integers(0, 200),
)
def test_a_cut_keeps_characters_whole(text: str, limit: int) -> None:
    """No half of a code point, of an emoji made of several, of a flag, or of a letter with its accent."""
    short = cut(text, limit)
    assert len(short.encode()) <= max(limit, 0) or short == text
    if short == text:
        return
    kept = short.removesuffix("…")
    assert text.startswith(kept)
    for whole in (FAMILY, FLAG, "e\u0301", "👍🏽"):
        if text and text == whole * (len(text) // len(whole)):
            assert kept == whole * (len(kept) // len(whole))


def test_a_hostile_name_stays_in_its_place() -> None:
    """In a message nobody is called and nothing is formatted; in CI it is shown as it is; in a terminal it is one line."""
    told = for_robot(HOSTILE)
    assert not re.search(r"[<>\[\]`*\\&\n\r\x00\x1b\u202e]", told)
    assert html.unescape(for_html(HOSTILE)) == one_line(HOSTILE)
    decision = decided(failed(check=HOSTILE, subject=HOSTILE, reason=HOSTILE), run_id=HOSTILE, summary=HOSTILE)
    text = plain(decision)
    assert "\x1b" not in text
    assert "\u202e" not in text


def rendered(text: str) -> str:
    return str(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))


@given(results=st.lists(RESULTS, min_size=1, max_size=5), name=NAMES)
def test_nothing_breaks_out_of_the_page_of_a_job(results: list[CheckResult], name: str) -> None:
    """As a renderer of markdown sees it: one table with one row per result, no tags but ours, the names as text."""
    decision = decided(*results, run_id=name, summary=name, release_id=name, evidence={name: "a" * 64})
    page = rendered(step_summary(decision))
    assert page.count("<table>") == page.count("</table>") == 1
    assert page.count("<tr>") == len(results) + 1
    tags = set(re.findall(r"</?([a-zA-Z0-9]+)", page))
    assert tags <= {
        "h2",
        "p",
        "b",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "details",
        "summary",
        "ul",
        "li",
        "sub",
        "pre",
    }
    assert html.escape(one_line(name), quote=True).replace("&#x27;", "'") in page.replace(
        "&#x27;", "'"
    ) or not one_line(name)


def test_the_page_of_a_job_has_every_result_and_every_number() -> None:
    """Also those that passed; details are folded away; it fits whatever room there is."""
    decision = judge(policy(check("absolute"), check("non_inferiority")), evidence(), NOW)
    page = html.unescape(step_summary(decision))
    for result in decision.results:
        assert result.reason in page
    assert "<details><summary>Every number</summary>" in page
    assert '"minimum_detectable_effect"' in page
    many = decided(*(failed(details={"x": "y" * 5000}, reason="因为" * 300) for _ in range(300)))
    for room in (1 << 20, 100_000, 3000, 200):
        assert len(step_summary(many, max_bytes=room).encode()) <= room
    assert "more results had no room" in step_summary(many, max_bytes=100_000)


@given(
    reasons=st.lists(NAMES, max_size=6),
    results=st.lists(RESULTS, min_size=1, max_size=12),
    link=st.sampled_from(["http://a.example/dags/d/runs/r", "http://a.example/" + "%E6" * 900, "x) [y](<z>\n**"]),
)
def test_the_whole_message_fits(reasons: list[str], results: list[CheckResult], link: str) -> None:
    """Head, every reason, decision and link together: one message of a robot, whatever was written into the ledger."""
    entries = [
        LedgerEntry(at=NOW + dt.timedelta(seconds=at), event=Event.FAILED, release_id="r", by="x", reason=reason)
        for at, reason in enumerate(reasons)
    ]
    text = compose(entries, decided(*results, release_id="r"), release_id="r", failed=True, link=link).markdown
    assert len(text.encode()) <= MARKDOWN_BYTES
    assert text.startswith("**❌ Failed")
    assert "**Gate: " in text
    last = text.splitlines()[-1]
    assert re.fullmatch(r"\[DAG run\]\([^()\s<>\[\]]+\)|DAG run: see Airflow", last)
    assert not re.search(r"<|>|&", text.replace(last, ""))
