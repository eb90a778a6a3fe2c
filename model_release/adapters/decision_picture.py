"""A picture of a decision: every result's value and interval against what was wanted, better always to the right.

Results about the current run are in units of their margin, results about a fixed limit in shares of it, so that one
line stands for every limit.  A verdict has a colour and a shape; colours: M. Okabe, K. Ito, "Color Universal Design".
"""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path
from typing import Any

from model_release.adapters.files import write_atomic
from model_release.errors import InvalidInputError
from model_release.identifiers import check_release_id
from model_release.paths import ReleasePaths
from model_release.report.figures import (
    against,
    found,
    is_difference,
    named,
    remark,
    trial_of,
    wanted,
    worst_first,
)
from model_release.report.neutral import one_line
from model_release.report.scale import equal, place
from model_release.verdict import CheckResult, Decision, Verdict

MOST_ROWS = 60  # the worst ones; the rest is counted
_COLOURS = {
    Verdict.PASS: "#009e73",
    Verdict.INCONCLUSIVE: "#b87800",
    Verdict.ERROR: "#a0508a",
    Verdict.FAIL: "#d55e00",
}
_SHAPES = {Verdict.PASS: "o", Verdict.INCONCLUSIVE: "D", Verdict.ERROR: "s", Verdict.FAIL: "X"}
_INK, _GREY, _FAINT, _GROUND = "#1d2733", "#5b6b80", "#c4cfdd", "#eef4f1"
_REACH = 3.0  # of the axes to both sides of the limit, in margins or shares
_BESIDE = 0.2  # of the arrow that says that a value lies beyond the axes
_ROW, _WIDTH = 0.3, 12.0  # inches
_LONGEST_NAME, _LONGEST_FIGURES = 52, 54


def picture_path(paths: ReleasePaths, release_id: str) -> Path:
    """Return where the picture of a release's last decision is kept.

    Raises:
        InvalidInputError: it is not a release id.
    """
    return paths.decisions / f"{check_release_id(release_id)}.svg"


def write_picture(paths: ReleasePaths, decision: Decision) -> Path:
    """Draw ``decision`` beside the kept one of its release; return the file.

    Raises:
        InvalidInputError: it belongs to no release.
    """
    if decision.release_id is None:
        raise InvalidInputError("the picture of a decision without release_id can't be kept: nobody could find it")
    path = picture_path(paths, decision.release_id)
    write_atomic(path, picture(decision))
    return path


def picture(decision: Decision) -> bytes:
    """Return the decision as an SVG; the same decision gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    shown = worst_first(decision.results)[:MOST_ROWS]
    groups = _groups(decision, shown)
    heights = [len(rows) * _ROW + 0.75 for _, rows in groups]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "decision"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the viewer has fonts of its own
        figure = Figure(figsize=(_WIDTH, sum(heights) + 1.1))
        FigureCanvasSVG(figure)
        top = 1.0 - 0.8 / figure.get_figheight()
        for (title, rows), height in zip(groups, heights, strict=True):
            share = height / figure.get_figheight()
            axes = figure.add_axes(
                (0.34, top - share + 0.45 / figure.get_figheight(), 0.34, share - 0.75 / figure.get_figheight())
            )
            _panel(axes, title, rows)
            top -= share
        _heading(figure, decision, len(shown))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, facecolor="white")
    return buffer.getvalue()


def _groups(decision: Decision, shown: list[CheckResult]) -> list[tuple[str, list[CheckResult]]]:
    """Return the results by what they are held against; first those among which is the worst."""
    compared = [result for result in shown if place(result) is not None and is_difference(result)]
    limited = [result for result in shown if place(result) is not None and not is_difference(result)]
    groups = [
        (f"against the current run {one_line(against(decision))}, in margins", compared),
        ("against a fixed limit, in shares of it", limited),
        ("in words", [result for result in shown if place(result) is None]),
    ]
    return sorted((group for group in groups if group[1]), key=lambda group: -group[1][0].blocking.badness)


def _panel(axes: Any, title: str, rows: list[CheckResult]) -> None:
    measured = place(rows[0]) is not None
    axes.set_xlim(-_REACH, _REACH)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks([])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=9, color=_GREY, parse_math=False)
    for row, result in enumerate(rows):
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, xmin=-0.98, xmax=1.94, color="#f6f8fa", zorder=0, clip_on=False)
        _text(axes, -0.03, row, _cut(named(result) + remark(result), _LONGEST_NAME), "right", _INK)
        _row(axes, row, result)
    if not measured:
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=9, color=_GREY, parse_math=False)
        return
    axes.axvspan(0.0, _REACH, color=_GROUND, zorder=0.5)
    axes.axvline(0.0, color=_INK, linewidth=1.2, zorder=1)
    labels = {0.0: "limit"}
    for row, result in enumerate(rows):
        same = equal(result)
        if same is not None:
            axes.plot([same] * 2, [row - 0.5, row + 0.5], color=_GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
            labels[same] = "equal"
    axes.set_xticks(list(labels), list(labels.values()), fontsize=8, color=_GREY)
    axes.tick_params(length=2, color=_FAINT)
    axes.spines["bottom"].set_color(_FAINT)
    axes.annotate("better →", (1.0, 0.0), (0, -11), xycoords="axes fraction", textcoords="offset points", ha="right",
                  va="center", fontsize=8, color=_GREY)  # fmt: skip
    axes.annotate("← worse", (0.0, 0.0), (0, -11), xycoords="axes fraction", textcoords="offset points", ha="left",
                  va="center", fontsize=8, color=_GREY)  # fmt: skip


def _row(axes: Any, row: int, result: CheckResult) -> None:
    colour = _COLOURS[result.verdict]
    hollow = result.dry_run or result.severity == "warning"
    style = {
        "marker": _SHAPES[result.verdict], "markersize": 7.5, "markeredgecolor": colour, "linestyle": "none",
        "markerfacecolor": "white" if hollow else colour, "zorder": 4, "clip_on": False,
    }  # fmt: skip
    placed = place(result)
    if placed is None:
        axes.plot([-_REACH], [row], **style)
        _text(axes, 0.04, row, _cut(f"{result.verdict.upper()}  {result.reason}", 92), "left", _GREY)
        return
    value, low, high = placed
    if low is not None or high is not None:
        ends = [-_REACH if low is None else _clipped(low), _REACH if high is None else _clipped(high)]
        axes.plot(ends, [row, row], color=colour, linewidth=2.2, solid_capstyle="butt", zorder=3, alpha=0.75)
        for end, cap in zip(ends, (low, high), strict=True):
            beyond = cap is None or abs(cap) > _REACH
            marker = ("<" if end < 0 else ">") if beyond else "|"
            axes.plot([end], [row], marker=marker, color=colour, markersize=6, zorder=3, clip_on=False)
    if abs(value) > _REACH:
        axes.plot(
            [_clipped(value)],
            [row],
            marker="<" if value < 0 else ">",
            color=colour,
            markersize=6,
            zorder=3,
            clip_on=False,
        )
        value = math.copysign(_REACH - _BESIDE, value)
    axes.plot([value], [row], **style)
    _text(axes, 1.03, row, _cut(f"{found(result)}, wanted {wanted(result)}", _LONGEST_FIGURES), "left", _GREY)


def _heading(figure: Any, decision: Decision, shown: int) -> None:
    height = figure.get_figheight()
    worst = _COLOURS[decision.verdict]
    figure.text(0.012, 1 - 0.3 / height, f"Gate: {decision.verdict.upper()}", fontsize=15, color=worst, weight="bold")
    stage = f"{decision.stage} · candidate {one_line(decision.run_id)} · current {one_line(against(decision))}"
    figure.text(0.2, 1 - 0.29 / height, _cut(stage, 120), fontsize=10, color=_INK, parse_math=False)
    trial = trial_of(decision)
    when = f"decided {decision.decided_at:%Y-%m-%d %H:%M:%S %Z}, policy {decision.policy_name}"
    left_out = len(decision.results) - shown
    rest = (
        f"; the worst {shown} of {len(decision.results)} results"
        if left_out
        else f"; {shown} result{'' if shown == 1 else 's'}"
    )
    about = f"{when}{rest}" if trial is None else f"{when}{rest}; {one_line(trial)}"
    figure.text(0.012, 1 - 0.56 / height, _cut(about, 170), fontsize=8.5, color=_GREY, parse_math=False)
    _legend(figure)


def _legend(figure: Any) -> None:
    from matplotlib.lines import Line2D

    signs = [
        Line2D([], [], marker=_SHAPES[verdict], color=_COLOURS[verdict], linestyle="none", label=verdict.upper())
        for verdict in Verdict
    ]
    signs.append(
        Line2D(
            [],
            [],
            marker="o",
            markeredgecolor=_GREY,
            markerfacecolor="white",
            linestyle="none",
            label="hollow: does not block",
        )
    )
    figure.legend(handles=signs, loc="lower left", ncols=len(signs), fontsize=8, frameon=False, labelcolor=_GREY)


def _text(axes: Any, x: float, row: int, text: str, side: str, colour: str) -> None:
    axes.text(
        x, row, text, transform=axes.get_yaxis_transform(), ha=side, va="center", fontsize=8.5, color=colour,
        parse_math=False, clip_on=False,
    )  # fmt: skip


def _clipped(value: float) -> float:
    return max(-_REACH, min(_REACH, value))


def _cut(text: str, limit: int) -> str:
    line = one_line(text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
