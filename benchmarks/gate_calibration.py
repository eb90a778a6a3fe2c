"""How often the gate of a trial is wrong, and how fast it is right: ``python -m benchmarks.gate_calibration``.

Simulates releases of one hour, looked at after every block (5 seconds wide at first), with 50 answers per second of
which a tenth are the candidate's.  Counts how often each method ever rejects a candidate, or ever passes one: the
e-processes of the gate; a threshold on the difference of shares; a z-test that is repeated at every look.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import gate_calibration_picture
from model_release import blocks, sequential
from model_release.projection import Floats
from model_release.sequential import Blocks

SECONDS, STEP, PER_SECOND, SHARE = 3600.0, 5.0, 50.0, 0.1
ALPHAS = (0.05, 0.01)
ENDS = blocks.bounds(0.0, SECONDS, STEP)
WIDTHS = np.diff(ENDS)
THRESHOLD_MINIMUM = 100  # answers of the candidate, before the fixed threshold says anything
BURST = 10
USERS = 2000
CHUNK = 100
LATENCY_BOUNDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
LATENCY_MEDIAN, LATENCY_SIGMA, LATENCY_MARGIN = 0.008, 0.7, 0.05
REPLICAS, USERS_PER_SECOND = 5, 10.0


@dataclass(frozen=True)
class Scene:
    """How answers come about.

    Attributes:
        name: for the table.
        base: share of bad answers of the current run, over time: (blocks,).
        margin: of the gate.
        share: of answers that are the candidate's, over time: (blocks,).
        burst: answers that share their outcome, all within one block.
        sticky: standard deviation of a user's own share of bad answers; users stay in their arm for the hour.
        cluster_size: what the policy says.
    """

    name: str
    base: Floats
    margin: float
    share: Floats
    burst: int = 1
    sticky: float = 0.0
    cluster_size: float = 1.0

    def draw(self, rng: np.random.Generator, releases: int, worse_by: float) -> Blocks:
        """Return the answers of ``releases`` trials whose candidate is worse by ``worse_by``: (releases, blocks)."""
        counted = []
        for part, added in ((self.share, worse_by), (1.0 - self.share, 0.0)):
            groups = rng.poisson(PER_SECOND * part * WIDTHS / self.burst, (releases, len(WIDTHS)))
            rate = np.broadcast_to(self.base + added, groups.shape)
            if self.sticky:
                luck = rng.normal(0.0, self.sticky / math.sqrt(USERS * part[0]), (releases, 1))
                rate = np.clip(rate + luck, 0.0, 1.0)
            bad = rng.binomial(groups, rate)
            counted += [self.burst * groups.astype(np.float64), self.burst * bad.astype(np.float64)]
        return Blocks(*counted)


def scenes() -> list[Scene]:
    """Return the circumstances that are tried."""
    constant, ones = np.full(len(WIDTHS), SHARE), np.ones(len(WIDTHS))
    moments = ENDS[1:] / SECONDS
    swinging = 0.02 * (1.0 + 0.8 * np.sin(2.0 * math.pi * 3.0 * moments))
    growing = np.where(moments < 0.5, SHARE, 0.5)  # noqa: PLR2004  (half-time)
    return [
        Scene("0.1 % bad", 0.001 * ones, 0.005, constant),
        Scene("2 % bad", 0.02 * ones, 0.01, constant),
        Scene("30 % bad", 0.3 * ones, 0.03, constant),
        Scene("2 % that swings by 80 %, share from 10 to 50 %", swinging, 0.01, growing),
        Scene(f"bursts of {BURST} with one outcome", 0.02 * ones, 0.01, constant, burst=BURST),
        Scene(f"the same, cluster_size {BURST}", 0.02 * ones, 0.01, constant, burst=BURST, cluster_size=BURST),
        Scene("users differ, 90 answers each", 0.02 * ones, 0.01, constant, sticky=0.05),
        Scene("the same, cluster_size 10", 0.02 * ones, 0.01, constant, sticky=0.05, cluster_size=10.0),
    ]


def first(reached: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    """Return when each row (releases, blocks) first holds, in seconds; infinite: never."""
    return np.where(reached.any(axis=1), ENDS[1:][reached.argmax(axis=1)], np.inf)


def looks(answers: Blocks, scene: Scene, alpha: float) -> dict[str, Floats]:
    """Return when each method first says something, (releases,) seconds."""
    cut, margin = answers.scaled(scene.cluster_size), scene.margin
    enough = sequential.needed(1.0 - alpha)
    n1, x1, n0, x0 = (np.cumsum(part, axis=1) for part in (answers.n1, answers.x1, answers.n0, answers.x0))
    n1, n0 = np.maximum(n1, 1.0), np.maximum(n0, 1.0)
    difference = x1 / n1 - x0 / n0
    pooled = (x1 + x0) / (n1 + n0)
    error = np.sqrt(np.maximum(pooled * (1.0 - pooled), 1e-12) * (1.0 / n1 + 1.0 / n0))
    apart = np.sqrt(np.maximum(x1 / n1 * (1 - x1 / n1) / n1 + x0 / n0 * (1 - x0 / n0) / n0, 1e-12))
    quantile = _normal_quantile(1.0 - alpha)
    sampled = n1 >= THRESHOLD_MINIMUM
    return {
        "gate rejects": first(sequential.log_e_difference(cut, margin, "at_most", scale=margin) >= enough),
        "gate passes": first(sequential.log_e_difference(cut, margin, "at_least", scale=margin) >= enough),
        "threshold rejects": first(sampled & (difference > margin)),
        "z-test rejects": first(sampled & (difference > quantile * error)),
        "z-test of the margin rejects": first(sampled & (difference - margin > quantile * apart)),
        "z-test of the margin passes": first(sampled & (difference - margin < -quantile * apart)),
    }


def rate(times: Floats) -> dict[str, float]:
    """Return how often it happened, with the 95 % interval of Clopper and Pearson."""
    from scipy.special import betaincinv

    n, k = len(times), int(np.isfinite(times).sum())
    return {
        "rate": k / n,
        "low": float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0,
        "high": float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0,
    }


def quantiles(times: Floats) -> dict[str, float | None]:
    """Return the share that ever happened, and the median and 90th percentile of when; None: later than an hour."""
    ordered = np.sort(times)
    found = {name: float(ordered[math.ceil(part * len(times)) - 1]) for name, part in (("median", 0.5), ("p90", 0.9))}
    return {
        "ever": float(np.isfinite(times).mean()),
        **{name: value if math.isfinite(value) else None for name, value in found.items()},
    }


def in_chunks(releases: int, work: Callable[[int], dict[str, Floats]]) -> dict[str, Floats]:
    """Return what ``work`` gives for so many releases, made in parts that fit into memory."""
    parts = [work(min(CHUNK, releases - start)) for start in range(0, releases, CHUNK)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def calibration(releases: int, seed: int = 1) -> list[dict[str, Any]]:
    """Return how often each method is ever wrong: equal runs, and a candidate that is worse by exactly the margin."""
    found = []
    for number, scene in enumerate(scenes()):
        for truth, worse_by in (("equal", 0.0), ("worse by the margin", scene.margin)):
            for alpha in ALPHAS:
                rng = np.random.default_rng([seed, number, int(worse_by > 0.0)])
                times = in_chunks(
                    releases,
                    lambda size, s=scene, w=worse_by, a=alpha, r=rng: looks(s.draw(r, size, w), s, a),  # type: ignore[misc]
                )
                wrong = {name: rate(value) for name, value in times.items() if truth != "equal" or "rejects" in name}
                found.append({"scene": scene.name, "truth": truth, "alpha": alpha, "margin": scene.margin, **wrong})
    return found


def power(releases: int, seed: int = 2) -> list[dict[str, Any]]:
    """Return how fast regressions are rejected and equal runs pass, by base rate and size in percentage points."""
    found = []
    for number, (base, margin) in enumerate(((0.001, 0.005), (0.02, 0.005), (0.3, 0.005))):
        constant = np.full(len(WIDTHS), SHARE)
        scene = Scene(f"{100 * base:g} % bad", np.full(len(WIDTHS), base), margin, constant)
        for points in (0, 1, 2, 5, 10):
            rng = np.random.default_rng([seed, number, points])
            times = in_chunks(
                releases,
                lambda size, s=scene, p=points, r=rng: looks(s.draw(r, size, p / 100.0), s, 0.01),  # type: ignore[misc]
            )
            found.append(
                {
                    "scene": scene.name,
                    "margin": margin,
                    "worse_by_points": points,
                    "rejects": quantiles(times["gate rejects"]),
                    "passes": quantiles(times["gate passes"]),
                    "curve": _curve(times["gate rejects" if points else "gate passes"]),
                }
            )
    return found


def latency(releases: int, seed: int = 3) -> list[dict[str, Any]]:
    """Return how fast a slower candidate is rejected, from a histogram of twelve bounds."""
    found = []
    enough = sequential.needed(0.99)
    for factor in (1.0, 1.2, 1.5, 2.0):
        rng = np.random.default_rng([seed, int(10 * factor)])

        def work(size: int, f: float = factor, r: np.random.Generator = rng) -> dict[str, Floats]:
            slower = [_slower(r, size, SHARE, f), _slower(r, size, 1.0 - SHARE, 1.0)]
            (n1, x1), (n0, x0) = slower
            cut = Blocks(n1[:, None, :], x1, n0[:, None, :], x0)
            harm = sequential.log_e_difference(cut, LATENCY_MARGIN, "at_most", scale=LATENCY_MARGIN)
            safe = sequential.log_e_difference(cut, LATENCY_MARGIN, "at_least", scale=LATENCY_MARGIN)
            return {
                "rejects": first(sequential.log_mean(harm, axis=1) >= enough),
                "passes": first(safe.min(axis=1) >= enough),
            }

        times = in_chunks(releases, work)
        found.append({"slower_times": factor, **{name: quantiles(value) for name, value in times.items()}})
    return found


def sample_ratio(releases: int, seed: int = 4) -> list[dict[str, Any]]:
    """Return how often, and when, a share of users other than the rollout is noticed, at level 0.001."""
    found = []
    for share in (SHARE, 0.095, 0.09, 0.08):
        rng = np.random.default_rng([seed, int(1000 * share)])
        shape = (REPLICAS, releases, len(WIDTHS))
        everyone = np.cumsum(rng.poisson(USERS_PER_SECOND / REPLICAS * WIDTHS, shape), axis=2)
        new = np.diff(everyone, axis=2, prepend=0)
        candidate = np.cumsum(rng.binomial(new, share), axis=2)
        log_e = sequential.log_e_sample_ratio(candidate.astype(np.float64), everyone.astype(np.float64), SHARE)
        times = first(sequential.log_mean(log_e, axis=0) >= math.log(1000.0))
        found.append({"share": share, **rate(times), **quantiles(times)})
    return found


def _slower(rng: np.random.Generator, releases: int, share: float, factor: float) -> tuple[Floats, Floats]:
    """Return answers (releases, blocks) and those slower than each bound (releases, bounds, blocks)."""
    from scipy.special import ndtr

    below = ndtr(np.log(np.array(LATENCY_BOUNDS) / (LATENCY_MEDIAN * factor)) / LATENCY_SIGMA)
    cells = np.diff(np.concatenate([[0.0], below, [1.0]]))
    n = rng.poisson(PER_SECOND * share * WIDTHS, (releases, len(WIDTHS)))
    counts = np.moveaxis(rng.multinomial(n, cells), 2, 1)
    slower = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    return n.astype(np.float64), slower.astype(np.float64)


def _curve(times: Floats) -> list[tuple[float, float]]:
    """Return the share that has happened by a few moments."""
    return [(float(moment), float((times <= moment).mean())) for moment in ENDS[1::2]]


def _normal_quantile(probability: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(probability))


def table(result: dict[str, Any]) -> str:
    """Return the results as tables in Markdown."""
    names = ("gate rejects", "gate passes", "threshold rejects", "z-test rejects", "z-test of the margin rejects")
    lines = ["| answers | truth | alpha | " + " | ".join(names) + " |", "|---" * (3 + len(names)) + "|"]
    for row in result["calibration"]:
        cells = [_percent(row[name]) if name in row else "–" for name in names]
        lines.append(f"| {row['scene']} | {row['truth']} | {100 * row['alpha']:g} % | {' | '.join(cells)} |")
    lines += ["", "| answers | worse by | rejected | median | 90 % | passed | median | 90 % |", "|---" * 8 + "|"]
    for row in result["power"]:
        lines.append(f"| {row['scene']} | {row['worse_by_points']} points | {_both(row)} |")
    lines += ["", "| slower | rejected | median | 90 % | passed | median | 90 % |", "|---" * 7 + "|"]
    lines += [f"| {row['slower_times']:g} times | {_both(row)} |" for row in result["latency"]]
    lines += ["", "| users | ever rejected | median |", "|---" * 3 + "|"]
    lines += [
        f"| {100 * row['share']:g} % instead of {100 * SHARE:g} % | {_percent(row)} | {_time(row['median'])} |"
        for row in result["sample_ratio"]
    ]
    return "\n".join(lines)


def _both(row: dict[str, Any]) -> str:
    return " | ".join(
        f"{100 * row[side]['ever']:.3g} % | {_time(row[side]['median'])} | {_time(row[side]['p90'])}"
        for side in ("rejects", "passes")
    )


def _percent(found: dict[str, float]) -> str:
    return f"{100 * found['rate']:.2f} % ({100 * found['low']:.2f} to {100 * found['high']:.2f})"


def _time(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:.0f} s"


def main() -> None:
    """Simulate, print the tables, and write the results and the picture where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    fewer = max(CHUNK, options.releases // 4)
    result = {
        "releases": options.releases,
        "calibration": calibration(options.releases),
        "power": power(fewer),
        "latency": latency(fewer),
        "sample_ratio": sample_ratio(options.releases),
    }
    print(table(result))
    if options.json:
        options.json.write_text(json.dumps(result, separators=(",", ":")) + "\n", encoding="utf-8")
    if options.picture:
        gate_calibration_picture.draw(options.picture, result)


if __name__ == "__main__":
    main()
