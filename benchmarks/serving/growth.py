"""Part ``growth``: how our own cost grows with items, workers, and the share that a shadow candidate scores."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving import interleaved, model, systems
from benchmarks.serving.interleaved import Series, ratios
from benchmarks.serving.report import Panel, Report, spread, table
from benchmarks.serving.running import running
from benchmarks.serving.systems import System

_BASE_ITEMS = 10_000
_SHADOWS = (0.1, 1.0)


def run(folder: Path, *, items: Sequence[int], rounds: int, seconds: float) -> Report:
    """Load one replica per configuration, in turn; every figure is a ratio to the base of its format."""
    formats = {"lists": "ranked_lists"}
    if model.factors_format_exists():
        formats["factors"] = "factors"
    else:
        print("this version has no serving format `factors`: lists only")
    if not systems.offers_workers():
        print("this version's API has no option --workers: one worker only")
    chosen: dict[str, list[System]] = {
        short: _configurations(folder, short, formats[short], items) for short in formats
    }
    with running([system for group in chosen.values() for system in group], folder) as started:
        series = interleaved.measure(started, rounds=rounds, seconds=seconds, scripts=folder)
    return _report(series, {"items": list(items), "users": model.USERS, "rounds": rounds, "seconds": seconds})


def _configurations(folder: Path, short: str, serving: str, items: Sequence[int]) -> list[System]:
    """Return the base first: 10,000 items, one worker, no shadow."""
    base, name = model.draw(_BASE_ITEMS), f"ours, {short}"
    found = [systems.ours(name, folder / f"{short}-base", base, serving)]
    for count in items:
        if count != _BASE_ITEMS:
            label, where = f"{name}, {count:,} items", folder / f"{short}-{count}"
            found.append(systems.ours(label, where, model.draw(count), serving))
    if systems.offers_workers():
        found.append(systems.ours(f"{name}, 2 workers", folder / f"{short}-workers", base, serving, workers=2))
    for share in _SHADOWS:
        label, where = f"{name}, shadow {share:g}", folder / f"{short}-shadow-{share}"
        found.append(systems.ours(label, where, base, serving, shadow=share))
    return found


def _report(series: Sequence[Series], options: dict[str, float | list[int]]) -> Report:
    lines, base = [], series[0]
    for one in series:
        if one.name.count(",") == 1:  # the base of its format comes first
            base = one
        line = [one.name, f"{statistics.median(one.per_second):.0f}", f"{statistics.median(one.p50):.2f}"]
        line += [f"{statistics.median(one.p99):.2f}", f"{one.memory_mib:.0f} ({one.processes})"]
        is_base = one is base
        line.append("1" if is_base else spread(ratios(one.per_second, base.per_second), ".2f"))
        line.append("1" if is_base else spread(ratios(one.p99, base.p99), ".2f"))
        lines.append(line)
    titles = ["configuration", "requests/s", "p50 ms", "p99 ms", "MiB (processes)", "requests/s over the base"]
    return Report(
        part="growth",
        options=options,
        rows=[dataclasses.asdict(one) for one in series],
        table=table([*titles, "p99 over the base"], lines),
        panels=[
            Panel("requests per second", {one.name: _range(one.per_second) for one in series}),
            Panel("p99, milliseconds", {one.name: _range(one.p99) for one in series}),
        ],
    )


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)
