"""A picture of an evaluation: candidate and current side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

_LABELS = {"ndcg_at_10": "nDCG@10", "recall_at_20": "recall@20", "map_at_10": "MAP@10", "hit_rate_at_10": "hit rate@10"}
_CANDIDATE, _CURRENT = "#2f6fb2", "#c4cfdd"


def comparison(summary: Mapping[str, Any]) -> bytes:
    """Return the metrics and the nDCG@10 per slice of ``summary.json`` as an SVG."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2, width_ratios=(4, 5))
    metrics, current = summary["metrics"]["candidate"], summary["metrics"]["current"]
    _bars(
        left, [_LABELS.get(name, name) for name in metrics], list(metrics.values()), current and list(current.values())
    )
    slices = summary["slices"]
    others = [part["current"]["ndcg_at_10"] for part in slices.values()] if current else None
    labels = [f"{name}\n({part['users']})" for name, part in slices.items()]
    _bars(right, labels, [part["candidate"]["ndcg_at_10"] for part in slices.values()], others)
    left.set_title("All users", loc="left", fontsize=10)
    right.set_title("nDCG@10 by slice (users)", loc="left", fontsize=10)
    against = f"against {summary['against']}" if current else f"no comparison: {summary['against_reason']}"
    week = f"{summary['window_start'][:10]} to {summary['window_end'][:10]}, {summary['users']} users"
    figure.suptitle(f"{summary['run_id']}   {against[:110]}\n{week}", x=0.01, ha="left", fontsize=11)
    if current:
        left.legend(["candidate", "current"], frameon=False, fontsize=9, loc="upper right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _bars(axes: Any, labels: list[str], candidate: list[float], current: list[float] | None) -> None:
    width = 0.38 if current else 0.6
    shift = width / 2 if current else 0.0
    places = range(len(labels))
    bars = axes.bar([place - shift for place in places], candidate, width, color=_CANDIDATE)
    axes.bar_label(bars, fmt="%.3f", fontsize=8, padding=2)
    if current:
        bars = axes.bar([place + shift for place in places], current, width, color=_CURRENT)
        axes.bar_label(bars, fmt="%.3f", fontsize=8, padding=2, color="#5b6b80")
    axes.set_xticks(list(places), labels, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.15)
