"""Measure systems in turn, A B C A B C, so that what the machine does beside it hits all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import wrk
from benchmarks.serving.running import Running
from benchmarks.serving.wrk import Measured

WARM_UP_SECONDS = 2


@dataclass(frozen=True)
class Series:
    """One system's rounds."""

    name: str
    rounds: Sequence[Measured]
    processes: int
    memory_mib: float

    @property
    def per_second(self) -> list[float]:
        """Answers per second, round by round."""
        return [measured.per_second for measured in self.rounds]

    @property
    def p50(self) -> list[float]:
        """Milliseconds, round by round."""
        return [measured.p50 for measured in self.rounds]

    @property
    def p99(self) -> list[float]:
        """Milliseconds, round by round."""
        return [measured.p99 for measured in self.rounds]


def measure(systems: Sequence[Running], *, rounds: int, seconds: float, scripts: Path) -> list[Series]:
    """Return each system's rounds, in the order given; memory is taken when all is done."""
    for system in systems:
        wrk.measure(system, WARM_UP_SECONDS, scripts)
    found: list[list[Measured]] = [[] for _ in systems]
    for number in range(rounds):
        for system, measured in zip(systems, found, strict=True):
            measured.append(wrk.measure(system, seconds, scripts))
            print(
                f"round {number + 1}/{rounds} {system.system.name}: {measured[-1].per_second:.0f}/s, "
                f"p50 {measured[-1].p50:.2f} ms, p99 {measured[-1].p99:.2f} ms",
                flush=True,
            )
    return [
        Series(system.system.name, measured, *system.memory()) for system, measured in zip(systems, found, strict=True)
    ]


def ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """Return ``over / under`` round by round: both were measured within the same minute."""
    return [one / other for one, other in zip(over, under, strict=True)]
