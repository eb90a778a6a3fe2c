"""Wrong rejections by method, and the time to reject a regression, as SVG."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

_WIDTH, _HEIGHT = 960, 460
_TEXT = 'font-family="sans-serif" font-size="12" fill="#333"'
_METHODS = (
    ("gate rejects", "the gate", "#1f6fb2"),
    ("z-test of the margin rejects", "repeated z-test", "#c2571a"),
    ("threshold rejects", "fixed threshold", "#8a8a8a"),
)
_SCENES = {"0.1 % bad": "0.1 %", "2 % bad": "2 %", "30 % bad": "30 %"}
_COLOURS = {1: "#9ecae1", 2: "#4a90c4", 5: "#1f6fb2", 10: "#0b3d66"}
_TOP, _BOTTOM = 84, 64
_ALPHA = 0.05


def draw(path: Path, result: dict[str, Any]) -> None:
    """Write the picture of what :mod:`benchmarks.gate_calibration` found."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        "<title>How often the gate is wrong, and how fast it is right</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        *_wrong(result, left=56, right=450),
        *_power(result, left=530, right=944),
        "</svg>",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _up(share: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share


def _grid(left: float, right: float) -> list[str]:
    return [
        f'<line x1="{left}" x2="{right}" y1="{_up(share):.1f}" y2="{_up(share):.1f}" stroke="#ddd"/>'
        f'<text x="{left - 8}" y="{_up(share) + 4:.1f}" text-anchor="end" {_TEXT}>{100 * share:.0f} %</text>'
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]


def _wrong(result: dict[str, Any], *, left: float, right: float) -> list[str]:
    """Draw how often a candidate that may just be tolerated is ever rejected within an hour."""
    rows = [
        row
        for row in result["calibration"]
        if row["alpha"] == _ALPHA and row["truth"] != "equal" and row["scene"] in _SCENES
    ]
    parts = [
        f'<text x="{left}" y="20" {_TEXT} font-weight="bold">Rejected, although not worse than the margin allows</text>',
        f'<text x="{left}" y="36" {_TEXT}>true difference = margin; looked at every 5 s for an hour; 5 % promised</text>',
        *_grid(left, right),
    ]
    parts.append(
        f'<line x1="{left}" x2="{right}" y1="{_up(_ALPHA):.1f}" y2="{_up(_ALPHA):.1f}" stroke="#b00" '
        'stroke-dasharray="4 3"/>'
    )
    group = (right - left) / max(len(rows), 1)
    bar = group / 4.5
    for number, row in enumerate(rows):
        for place, (key, _, colour) in enumerate(_METHODS):
            x, share = left + number * group + (place + 0.6) * bar, row[key]["rate"]
            parts.append(
                f'<rect x="{x:.1f}" y="{_up(share):.1f}" width="{bar * 0.9:.1f}" '
                f'height="{_up(0.0) - _up(share):.1f}" fill="{colour}"/>'
                f'<text x="{x + bar * 0.45:.1f}" y="{_up(max(share, _ALPHA)) - 4:.1f}" text-anchor="middle" {_TEXT} '
                f'paint-order="stroke" stroke="#fff" stroke-width="4">{100 * share:.2g} %</text>'
            )
        parts.append(
            f'<text x="{left + (number + 0.47) * group:.1f}" y="{_up(0.0) + 18:.1f}" text-anchor="middle" {_TEXT}>'
            f"{_SCENES[row['scene']]} bad answers</text>"
        )
    for place, (_, name, colour) in enumerate(_METHODS):
        x = left + (0, 84, 206)[place]
        parts.append(
            f'<rect x="{x}" y="50" width="10" height="10" fill="{colour}"/><text x="{x + 14}" y="60" {_TEXT}>{name}</text>'
        )
    return parts


def _power(result: dict[str, Any], *, left: float, right: float) -> list[str]:
    """Draw which share of bad candidates is rejected by when."""
    rows = [row for row in result["power"] if row["scene"] == "2 % bad" and row["worse_by_points"]]
    low, high = 5.0, 3600.0

    def across(seconds: float) -> float:
        return left + (right - left) * math.log(max(seconds, low) / low) / math.log(high / low)

    parts = [
        f'<text x="{left}" y="20" {_TEXT} font-weight="bold">Rejected by the gate, by the time since the trial began</text>',
        f'<text x="{left}" y="36" {_TEXT}>2 % bad answers + regression; margin 0.5 points, 99 % confidence,</text>',
        f'<text x="{left}" y="52" {_TEXT}>5 answers of the candidate and 45 of the current run per second</text>',
        *_grid(left, right),
    ]
    parts += [
        f'<text x="{across(seconds):.1f}" y="{_up(0.0) + 18:.1f}" text-anchor="middle" {_TEXT}>{label}</text>'
        f'<line x1="{across(seconds):.1f}" x2="{across(seconds):.1f}" y1="{_up(0.0):.1f}" y2="{_up(0.0) + 5:.1f}" '
        'stroke="#555"/>'
        for seconds, label in ((5, "5 s"), (15, "15 s"), (60, "1 min"), (300, "5 min"), (900, "15 min"), (3600, "1 h"))
    ]
    for place, row in enumerate(rows):
        colour = _COLOURS[row["worse_by_points"]]
        line = " ".join(f"{across(moment):.1f},{_up(share):.1f}" for moment, share in row["curve"])
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = left + place * 100
        parts.append(
            f'<line x1="{x}" x2="{x + 16}" y1="{_HEIGHT - 18}" y2="{_HEIGHT - 18}" stroke="{colour}" stroke-width="3"/>'
            f'<text x="{x + 20}" y="{_HEIGHT - 14}" {_TEXT}>+{row["worse_by_points"]} points</text>'
        )
    return parts
