"""The calibration of the gate's tests, in small, and what one look costs."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from benchmarks import gate_calibration, gate_calibration_picture, gate_poll
from benchmarks.gate_calibration import calibration, latency, power, rate, sample_ratio, table


@pytest.mark.slow
def test_the_gate_keeps_its_promise_where_peeking_breaks_others(tmp_path: Path) -> None:
    """Of 300 trials each, looked at after every block for an hour; the interval must not lie above alpha."""
    rows = calibration(300)
    assert len(rows) == len(gate_calibration.scenes()) * 2 * len(gate_calibration.ALPHAS)
    independent = [row for row in rows if not row["scene"].startswith(("bursts", "users differ"))]
    for row in independent:
        assert row["gate rejects"]["low"] <= row["alpha"], row
        assert row.get("gate passes", {"low": 0.0})["low"] <= row["alpha"], row
    peeked = [row for row in rows if row["truth"] != "equal" and row["alpha"] == 0.05]
    assert all(row["z-test of the margin rejects"]["low"] > 0.05 for row in peeked)
    assert all(row["threshold rejects"]["low"] > 0.5 for row in peeked)
    result = {
        "calibration": rows,
        "power": power(100),
        "latency": latency(100),
        "sample_ratio": sample_ratio(100),
    }
    by_size = {row["worse_by_points"]: row for row in result["power"] if row["scene"] == "2 % bad"}
    assert by_size[5]["rejects"]["ever"] == 1.0
    assert by_size[10]["rejects"]["median"] <= 60.0
    assert by_size[0]["rejects"]["ever"] <= 0.03
    assert result["latency"][-1]["rejects"]["median"] <= 60.0
    assert result["latency"][0]["passes"]["ever"] == 1.0
    assert "| 2 % bad | 10 points | 100 % |" in table(result)
    picture = tmp_path / "picture.svg"
    gate_calibration_picture.draw(picture, result)
    assert ET.parse(picture).getroot().tag.endswith("svg")  # noqa: S314  (our own file)


def test_the_interval_of_a_rate_is_that_of_clopper_and_pearson() -> None:
    """Known values: 0 of 20 has the upper end 1 - 0.025^(1/20); 20 of 20 is its mirror."""
    never, always = rate(np.full(20, np.inf)), rate(np.zeros(20))
    assert (never["rate"], never["low"]) == (0.0, 0.0)
    assert never["high"] == pytest.approx(1.0 - 0.025 ** (1 / 20))
    assert always["low"] == pytest.approx(0.025 ** (1 / 20))
    assert math.isclose(always["high"], 1.0)


def test_one_look_at_a_trial_of_a_day_is_cheap() -> None:
    """30 ms of processor time are promised; shared machines get twice that."""
    assert gate_poll.measured(5) <= 2.0 * gate_poll.LIMIT_MS
    assert gate_poll.judge(gate_poll.view()) == ["pass"] * 5
