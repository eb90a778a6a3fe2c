"""What a part of the benchmark found: JSON to keep, a table to read, a picture, and the block in docs/benchmarks.md."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import platform
import re
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.serving import environments
from recommendation_api.settings import Settings
from scripts.services import PROJECT

PAGE = PROJECT / "docs" / "benchmarks.md"
PICTURES = PROJECT / "docs" / "pictures"
_EXPOSURES = "exposures" in Settings.model_fields  # then they are recorded unless somebody says otherwise
_ROUND = 100  # from here on no digits after the point
_OURS, _OTHERS = "#1f6feb", "#8c959f"


@dataclass(frozen=True)
class Panel:
    """One panel of the picture: per system the median and the range."""

    title: str
    values: Mapping[str, tuple[float, float, float]]


@dataclass(frozen=True)
class Report:
    """Of one part, ``peers``, ``change`` or ``growth``.

    Attributes:
        options: how it was measured.
        rows: everything that was measured.
        table: markdown.
        notes: what the reader must know beside the table, one sentence each.
        panels: of the picture; none: there is no picture.
    """

    part: str
    options: Mapping[str, float | list[int]]
    rows: Sequence[Mapping[str, Any]]
    table: str
    notes: Sequence[str] = ()
    panels: Sequence[Panel] = ()

    def write(self, output: Path, *, docs: bool) -> None:
        """Print it, keep it below ``output``, and put it into the documentation if ``docs``."""
        commit, text = _commit(), "\n".join([self.table, "", *self.notes])
        print(f"\n{text}\n")
        document = {
            "part": self.part,
            "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "commit": commit,
            "machine": {
                "cores": os.cpu_count(),
                "load_average": os.getloadavg(),
                "python": platform.python_version(),
                "kernel": platform.release(),
            },
            "peers": {peer: environments.version(peer) for peer in environments.PEERS},
            "exposure_log": _EXPOSURES,
            "options": self.options,
            "rows": self.rows,
        }
        output.mkdir(parents=True, exist_ok=True)
        (output / f"serving-{self.part}.json").write_text(json.dumps(document, indent=2) + "\n")
        (output / f"serving-{self.part}.md").write_text(f"{text}\n")
        if self.panels:
            draw(output / f"serving-{self.part}.svg", self.panels)
        if docs:
            on = "metrics and exposure log on" if _EXPOSURES else "metrics on; this version has no exposure log"
            settings = ", ".join(f"{name} {_shown(value)}" for name, value in self.options.items())
            _fill(self.part, f"Measured at commit {commit}, {on}; {settings}.\n\n{text}")
            if self.panels:
                draw(PICTURES / f"serving-{self.part}.svg", self.panels)


def spread(values: Sequence[float], shape: str = ".1f") -> str:
    """Return the median with the range, as it stands in a table."""
    if len(values) == 1:
        return format(values[0], shape)
    return f"{statistics.median(values):{shape}} ({min(values):{shape}}-{max(values):{shape}})"


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a markdown table; numbers stand on the right."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def draw(file: Path, panels: Sequence[Panel]) -> None:
    """Draw medians with their ranges on a logarithmic scale; points, for a bar would have to begin at nothing."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    with mpl.rc_context({"svg.hashsalt": "serving", "font.size": 9}):  # the same figures give the same file
        names = list(panels[0].values)
        figure = Figure(figsize=(9, 0.8 + 0.34 * len(names)), layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axis, panel in zip(axes, panels, strict=True):
            for name, (middle, low, high) in panel.values.items():
                colour = _OURS if name.startswith("ours") else _OTHERS
                axis.errorbar(middle, name, xerr=[[middle - low], [high - middle]], fmt="o", color=colour, capsize=2)
                axis.annotate(f"{middle:,.3g}" if middle < _ROUND else f"{middle:,.0f}", (middle, name), (0, 5),
                              textcoords="offset points", ha="center", fontsize=7)  # fmt: skip
            axis.set(xscale="log", title=panel.title)
            axis.set_xlim(10 ** math.floor(math.log10(min(low for _, low, _ in panel.values.values()))),
                          10 ** math.ceil(math.log10(max(high for _, _, high in panel.values.values()))))  # fmt: skip
            axis.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.grid(visible=True, alpha=0.3)
        axes[0].margins(y=0.1)
        axes[0].invert_yaxis()
        figure.savefig(file, format="svg", metadata={"Date": None})


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "recommendation_api", "model_release")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def _shown(value: float | list[int]) -> str:
    return "/".join(f"{one:,}" for one in value) if isinstance(value, list) else f"{value:,}"


def _fill(part: str, text: str) -> None:
    """Put ``text`` between the two comments that mark the part's place in the page."""
    begin, end = f"<!-- serving {part} -->", f"<!-- end of serving {part} -->"
    page, found = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n{text}\n{end}",
        PAGE.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    if found != 1:
        raise ValueError(f"{PAGE} has {found} places between {begin} and {end}, expected one")
    PAGE.write_text(page, encoding="utf-8")
