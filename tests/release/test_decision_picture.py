"""The picture of a decision."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from model_release.adapters.decision_picture import MOST_ROWS, picture, picture_path, write_picture
from model_release.errors import InvalidInputError
from model_release.judge import judge
from model_release.paths import ReleasePaths
from model_release.verdict import CheckResult, Decision, Verdict, worst
from tests.gate_evidence import NOW, check, evidence, policy

DECISION = judge(policy(check("non_inferiority"), check("absolute")), evidence(), NOW)
_COLOUR = "#d55e00"  # of FAIL
HOSTILE = "$x_{</text><script>alert(1)</script> 用户 😀 \x00\n\u202e${"


def decided(*results: CheckResult) -> Decision:
    """Return a decision of these results."""
    verdict = worst(result.blocking for result in results)
    return DECISION.model_copy(update={"results": results, "verdict": verdict})


def result(verdict: Verdict = Verdict.FAIL, **fields: Any) -> CheckResult:
    usual = {"check": "errors", "kind": "non_inferiority", "reason": "because", "direction": "at_least"}
    return CheckResult.model_construct(verdict=verdict, **{**usual, **fields})


def parsed(image: bytes) -> ET.Element:
    return ET.fromstring(image)  # noqa: S314  (it was drawn here)


def panel(image: bytes) -> ET.Element:
    """Return the first panel of a picture."""
    (found,) = [part for part in parsed(image).iter() if part.get("id") == "axes_1"]
    return found


def texts(image: bytes) -> str:
    """Return all that is written in an SVG, which must be well-formed."""
    return "\n".join(part.text or "" for part in parsed(image).iter() if part.tag.endswith("text"))


def test_it_says_what_was_judged_against_what() -> None:
    """Candidate, current, verdict, every result's name and numbers, and what the signs mean."""
    said = texts(picture(DECISION))
    for part in ("Gate: PASS", "candidate run-new", "current run-old", "non-inferiority", "limit", "equal", "better"):
        assert part in said
    for verdict in Verdict:
        assert verdict.upper() in said


def test_the_same_decision_gives_the_same_picture() -> None:
    assert picture(DECISION) == picture(DECISION)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, 0.0, 1e300, -1e-300])
@pytest.mark.parametrize("limit", [math.nan, math.inf, None, 0.0, -0.02, 1e-300])
def test_no_number_breaks_it(value: float | None, limit: float | None) -> None:
    """NaN, infinity, zero and nothing: drawn, or told in words, with every end of the interval."""
    ends = [math.nan, math.inf, None, -0.1]
    shown = [result(value=value, limit=limit, interval=(low, high)) for low in ends for high in ends]
    assert texts(picture(decided(*shown, result(value=value, limit=limit)))).count("errors") == len(shown) + 1


def test_hostile_names_stay_text() -> None:
    """Mathematics, markup, controls: nothing of it is read as such."""
    hostile = result(check=HOSTILE, subject=HOSTILE, reason=HOSTILE)
    image = picture(decided(hostile).model_copy(update={"run_id": HOSTILE, "against": HOSTILE}))
    assert b"<script" not in image
    assert "用户" in texts(image)


def test_the_worst_of_many_are_shown() -> None:
    """300 results: the failures, and how many there are in all."""
    passed = [result(Verdict.PASS, check=f"good-{number}", value=1.0, limit=0.5) for number in range(280)]
    failed = [result(check=f"bad-{number}", value=0.1, limit=0.5) for number in range(20)]
    said = texts(picture(decided(*passed, *failed)))
    assert all(f"bad-{number}" in said for number in range(20))
    assert f"the worst {MOST_ROWS} of 300 results" in said


def test_verdicts_differ_in_shape_too() -> None:
    """Without colours four verdicts are four outlines."""
    outlines = set()
    for verdict in Verdict:
        image = picture(decided(result(verdict, value=0.1, limit=-0.02, check="x")))
        last = [
            path.get("d")
            for path in panel(image).iter()
            if path.tag.endswith("path") and "z" in (path.get("d") or "").lower()
        ]
        outlines.add("".join(str(path) for path in last))
    assert len(outlines) == len(Verdict)


def test_less_is_better_points_to_the_same_side() -> None:
    """An error ratio below its limit stands right of it, as a score above its limit does."""
    for direction, good in (("at_most", 0.0), ("at_least", 0.1)):
        shown = [result(value=value, limit=0.05, direction=direction) for value in (good, 0.1 - good)]
        marks = [use for use in panel(picture(decided(*shown))).iter() if use.tag.endswith("use")]
        drawn = [float(use.get("x") or 0) for use in marks if _COLOUR in (use.get("style") or "")]
        assert len(drawn) == 2
        assert drawn[0] > drawn[1], direction


def test_it_is_kept_beside_its_decision(paths: ReleasePaths) -> None:
    """Under the name of the release; without one it is not kept."""
    assert write_picture(paths, DECISION) == picture_path(paths, "release-1")
    assert (paths.decisions / "release-1.svg").read_bytes() == picture(DECISION)
    with pytest.raises(InvalidInputError, match="nobody could find it"):
        write_picture(paths, DECISION.model_copy(update={"release_id": None}))
