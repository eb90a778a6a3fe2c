"""What it costs to judge one look at a trial of a day: ``python -m benchmarks.gate_poll``.

Four ratio checks and one of latency with twelve bounds, over two endpoints of five replicas; the evidence is in
memory, as the adapter for Prometheus hands it over.
"""

from __future__ import annotations

import datetime as dt
import json
import time

import numpy as np

from model_release import blocks
from model_release.blocks import Series
from model_release.checks import latency, ratio
from model_release.checks.trials import TrialView
from model_release.evidence import History, OnlineEvidence, RangeQuery, Scrape, TrialFacts, questions
from model_release.policy import LatencyPolicy, OnlinePolicy, RatioPolicy

LIMIT_MS = 30.0
HOURS, STEP, REPLICAS, PER_SECOND = 24, 5.0, 5, {"candidate": 5.0, "current": 45.0}
ENDPOINTS = ("recommend", "similar")
BOUNDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
STARTED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def policy() -> OnlinePolicy:
    """Return four ratio checks and one of latency."""
    shares = [
        {
            "name": name,
            "kind": "ratio",
            "count": [f'{name}_total{{variant="$arm"}}'],
            "of": ['answers_total{variant="$arm"}'],
            "margin": 0.01,
            "worse": "higher",
            "minimum_requests": 1000,
        }
        for name in ("errors", "degraded", "empty", "clicks")
    ]
    slower = {
        "name": "latency",
        "kind": "latency",
        "histogram": 'seconds{variant="$arm"}',
        "margin": 0.05,
        "minimum_requests": 1000,
    }
    return OnlinePolicy.model_validate_json(json.dumps({"replicas": "up", "checks": [*shares, slower]}))


def view(seed: int = 0) -> TrialView:
    """Return a trial of a day, with counters of every endpoint and replica."""
    asked, rng = policy(), np.random.default_rng(seed)
    trial = TrialFacts("new", "old", "canary", 0.1, "release", STARTED, None)
    until = STARTED + dt.timedelta(hours=HOURS)
    bounds = blocks.bounds(STARTED.timestamp(), until.timestamp(), STEP)
    widths = np.diff(bounds)
    cells = np.diff(np.array([0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0]))
    histories: dict[RangeQuery, History] = {}
    for question in questions(asked, trial):
        if not isinstance(question, RangeQuery):
            continue
        arm = "candidate" if '"candidate"' in question.selector else "current"
        found: list[Series] = []
        for replica in range(REPLICAS):
            for endpoint in ENDPOINTS:
                labels = {"job": "api", "instance": f"replica-{replica}", "endpoint": endpoint, "variant": arm}
                total = np.random.default_rng([replica, len(endpoint), len(arm)]).poisson(
                    PER_SECOND[arm] * widths / REPLICAS / len(ENDPOINTS)
                )
                if "seconds" in question.selector:
                    counts = np.cumsum(rng.multinomial(total, cells), axis=1)
                    found += [
                        Series({**labels, "le": le}, _counter(counts[:, number]))
                        for number, le in enumerate([*map(str, BOUNDS), "+Inf"])
                    ]
                else:
                    answers = question.selector.startswith("answers")
                    found.append(Series(labels, _counter(total if answers else rng.binomial(total, 0.02))))
        histories[question] = History(tuple(found))
    scrapes = tuple(
        Scrape({"job": "api", "instance": f"replica-{number}"}, 1.0, until.timestamp()) for number in range(REPLICAS)
    )
    online = OnlineEvidence(trial, 0.0, bounds, scrapes, histories)
    return TrialView(asked, trial, online, until)


def judge(found: TrialView) -> list[str]:
    """Return the verdicts of all checks."""
    verdicts: list[str] = []
    for check in found.policy.checks:
        if isinstance(check, RatioPolicy):
            verdicts += [result.verdict for result in ratio.check(check, found)]
        elif isinstance(check, LatencyPolicy):
            verdicts += [result.verdict for result in latency.check(check, found)]
    return verdicts


def measured(repeats: int = 15) -> float:
    """Return the median time of one look, in milliseconds of processor time."""
    found = view()
    judge(found)
    times = []
    for _ in range(repeats):
        started = time.process_time()
        judge(found)
        times.append(1000.0 * (time.process_time() - started))
    return float(np.median(times))


def _counter(per_block: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> blocks.Floats:
    return np.concatenate([[0.0], np.cumsum(per_block, dtype=np.float64)])


def main() -> int:
    """Print the time of one look; status 1 if it is more than 30 ms."""
    found = view()
    series = sum(len(history.series) for history in found.online.histories.values() if isinstance(history, History))
    spent = measured()
    print(f"{len(found.online.bounds) - 1} blocks, {series} series: {spent:.1f} ms, verdicts {', '.join(judge(found))}")
    return int(not spent <= LIMIT_MS)


if __name__ == "__main__":
    raise SystemExit(main())
