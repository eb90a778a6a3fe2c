"""Part ``peers``: requests per second, latency and memory, on the same model and requests."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.serving import interleaved, model, systems
from benchmarks.serving.interleaved import Series, ratios
from benchmarks.serving.report import Panel, Report, spread, table
from benchmarks.serving.running import Running, running

LISTS, FACTORS = "ours, lists", "ours, factors"
_SAMPLE = 20  # users whose answers are compared
_TARGETS = {"MLflow": 6.0, "LitServe": 4.5}  # requests per second, ours over theirs
_TARGET_P99 = 3.0  # theirs over ours


def run(folder: Path, cache: Path, *, items: int, rounds: int, seconds: float) -> Report:
    """Serve one model with every system and load them in turn."""
    drawn = model.draw(items)
    chosen = [systems.ours(LISTS, folder / "lists", drawn, "ranked_lists")]
    if model.factors_format_exists():
        chosen.append(systems.ours(FACTORS, folder / "factors", drawn, "factors"))
    else:
        print("this version has no serving format `factors`: no like-for-like row")
    chosen += systems.peers(cache, folder / "peers", drawn)
    with running(chosen, folder) as started:
        _check_answers(started)
        series = interleaved.measure(started, rounds=rounds, seconds=seconds, scripts=folder)
    return _report(series, {"items": items, "users": model.USERS, "rounds": rounds, "seconds": seconds})


def _check_answers(started: Sequence[Running]) -> None:
    """Raise ``RuntimeError`` if a system recommends other items; the order of equal scores may differ."""
    for user in (f"u{number}" for number in range(_SAMPLE)):
        expected = set(started[0].ask(user)[1])
        for system in started[1:]:
            items = system.ask(user)[1]
            if len(items) != len(expected) or len(expected.intersection(items)) < len(expected) - 1:
                raise RuntimeError(f"{system.system.name} recommends {items} to {user}, expected {sorted(expected)}")


def _report(series: Sequence[Series], options: dict[str, float | list[int]]) -> Report:
    ours = [one for one in series if one.name in {LISTS, FACTORS}]
    lines = []
    for one in series:
        line = [one.name, f"{statistics.median(one.per_second):.0f}"]
        line += [f"{statistics.median(one.p50):.2f}", f"{statistics.median(one.p99):.2f}"]
        line += [f"{one.memory_mib:.0f} ({one.processes})"]
        for our in ours:
            line.append("" if one in ours else spread(ratios(our.per_second, one.per_second)))
            line.append("" if one in ours else spread(ratios(one.p99, our.p99)))
        lines.append(line)
    titles = ["system, one worker", "requests/s", "p50 ms", "p99 ms", "MiB (processes)"]
    for our in ours:
        titles += [f"requests/s of `{our.name}` over it", f"its p99 over that of `{our.name}`"]
    return Report(
        part="peers",
        options=options,
        rows=[dataclasses.asdict(one) for one in series],
        table=table(titles, lines),
        notes=[note for our in ours for note in _targets(our, series)],
        panels=[
            Panel("requests per second", {one.name: _range(one.per_second) for one in series}),
            Panel("p99, milliseconds", {one.name: _range(one.p99) for one in series}),
        ],
    )


def _targets(our: Series, series: Sequence[Series]) -> list[str]:
    """Say for each target whether it is met, against whichever variant of the peer is better."""
    notes = []
    for peer, target in _TARGETS.items():
        variants = [one for one in series if one.name.startswith(peer)]
        more = min(statistics.median(ratios(our.per_second, one.per_second)) for one in variants)
        shorter = min(statistics.median(ratios(one.p99, our.p99)) for one in variants)
        notes.append(
            f"- `{our.name}` against the better of {peer}: {more:.1f}x requests/s, target {target:g}x, "
            f"{_met(more >= target)}; p99 {shorter:.1f}x shorter, target {_TARGET_P99:g}x, "
            f"{_met(shorter >= _TARGET_P99)}."
        )
    return notes


def _met(met: bool) -> str:
    return "met" if met else "**missed**"


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)
