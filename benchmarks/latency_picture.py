"""Latencies over time on a logarithmic scale, with marks, as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

_WIDTH, _HEIGHT = 960, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 48, 48
_LOW, _HIGH = 0.5, 1000.0  # milliseconds
_STEP = 0.25  # seconds that one point stands for
_HALF = 0.5
_LEGEND = (
    f'ms, each {_STEP:g} s: <tspan fill="#1f6fb2">median</tspan>, <tspan fill="#c2571a">slowest answer</tspan>; '
    "ticks below: reloads; grey: sham reloads"
)
_TEXT = 'font-family="sans-serif" font-size="12" fill="#333"'


def draw(
    path: Path,
    *,
    title: str,
    points: Sequence[tuple[float, float]],
    marks: Sequence[float],
    shaded: Sequence[tuple[float, float]],
    length: float,
) -> None:
    """Write the picture.

    Args:
        path: the file.
        title: one line above it.
        points: seconds from the start, latency in seconds.
        marks: moments, in seconds, for a tick.
        shaded: stretches of time with a grey ground.
        length: seconds from left to right.
    """

    def across(seconds: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * seconds / length

    def up(milliseconds: float) -> float:
        share = math.log(min(max(milliseconds, _LOW), _HIGH) / _LOW) / math.log(_HIGH / _LOW)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f'<title>{title}</title><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" {_TEXT}>{title}</text>',
        f'<text x="{_LEFT}" y="38" {_TEXT}>{_LEGEND}</text>',
    ]
    for begin, end in shaded:
        parts.append(
            f'<rect x="{across(begin):.1f}" y="{_TOP}" width="{across(end) - across(begin):.1f}" '
            f'height="{_HEIGHT - _TOP - _BOTTOM}" fill="#eee"/>'
        )
    parts.extend(
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="#ccc"/>'
        f'<text x="{_LEFT - 8}" y="{up(value) + 4:.1f}" text-anchor="end" {_TEXT}>{value}</text>'
        for value in (1, 10, 100, 1000)
    )
    parts.extend(
        f'<line x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="{_HEIGHT - _BOTTOM}" '
        f'y2="{_HEIGHT - _BOTTOM + 8}" stroke="#555"/>'
        for mark in marks
    )
    parts.extend(
        f'<text x="{across(seconds):.1f}" y="{_HEIGHT - 16}" text-anchor="middle" {_TEXT}>{seconds} s</text>'
        for seconds in range(0, int(length) + 1, 10)
    )
    bins: dict[int, list[float]] = {}
    for moment, latency in points:
        bins.setdefault(int(moment / _STEP), []).append(latency * 1000)
    for colour, rank in (("#c2571a", 1.0), ("#1f6fb2", _HALF)):
        line = " ".join(
            f"{across((index + _HALF) * _STEP):.1f},{up(_ranked(values, rank)):.1f}"
            for index, values in sorted(bins.items())
        )
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>"]) + "\n", encoding="utf-8")


def _ranked(values: Sequence[float], share: float) -> float:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
