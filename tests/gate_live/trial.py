"""A canary on a real replica of two workers, under load, watched by a real Prometheus, and judged as the sensor judges it."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.load import Load, get
from model_release.adapters.decisions import write_decision
from model_release.adapters.evidence import collect
from model_release.adapters.sources import Sources
from model_release.judge import Outcome, budgets_of, judge, outcome
from model_release.policy import Policy, parse_policy
from model_release.verdict import Decision, Verdict
from scripts.monitoring_programs import Server
from tests import monitoring
from tests.api.home import Home
from tests.api.replica import Replica, wait_until
from tests.api.workers import complete
from tests.gate_live.faulty_api import VARIABLE, Fault, as_variable

CANDIDATE, RELEASE_ID = "run-b", "try-1"
ROLLOUT = 0.2
USERS = 5000
POLL_SECONDS = 2.0
HEALTHY = Fault(seconds=0.003)  # a bound of the histogram, 5 ms, lies between that and twice as long
FAILING = Fault(seconds=0.003, fail_share=0.05)
SLOW = Fault(seconds=0.006)

# the checks of the default policy, for a trial of a minute: scrapes every second, 30 candidate answers a second
POLICY = """
schema_version: 1
name: live
checks:
  - {name: ndcg, kind: absolute, metric: ndcg_at_10, at_least: 0.01, minimum_users: 10}
online:
  budgets: {error_minutes: ERROR_MINUTES, inconclusive_minutes: 10}
  minimum_minutes: 0.4
  replicas: up{job="api"}
  maximum_age_seconds: 6
  step_seconds: 2
  checks:
    - name: degraded-not-more
      kind: ratio
      count: ['recommendation_degraded_total{endpoint="recommend",variant="$arm",reason!="no_model"}']
      of: ['recommendation_answers_total{endpoint="recommend",variant="$arm"}']
      margin: 0.01
      worse: higher
      minimum_requests: 200
    - name: not-slower
      kind: latency
      histogram: 'recommendation_latency_seconds{endpoint="recommend",variant="$arm"}'
      slower_than: [0.005, 0.02]
      margin: 0.15
      minimum_requests: 200
    - name: split-as-asked
      kind: sample_ratio
      users: 'recommendation_trial_users{variant="$arm"}'
      minimum_users: 500
"""
ALERTS = """
    - name: no-alert
      kind: alerts
      matchers: [{severity: critical, service: recommendation-api}]
      silenced: SILENCED
"""


def policy(*, error_minutes: float = 5.0, silenced: str | None = None) -> Policy:
    """Return the policy of a live trial; ``silenced``: also look at alerts, and count or ignore silenced ones."""
    text = POLICY.replace("ERROR_MINUTES", str(error_minutes))
    text += ALERTS.replace("SILENCED", silenced) if silenced else ""
    return parse_policy(text, source="live")


@dataclass
class LiveTrial:
    """A canary under way.

    Attributes:
        prometheus: what scrapes the replica.
        started_at: when the trial began, as the registry says.
        decisions: all that were made, oldest first.
    """

    home: Home
    prometheus: Server
    started_at: dt.datetime
    alertmanager_url: str | None = None
    decisions: list[Decision] = field(default_factory=list)

    def look(self, asked: Policy) -> Outcome:
        """Judge once, keep the decision, and say what to do."""
        where = Sources(prometheus_url=self.prometheus.url, alertmanager_url=self.alertmanager_url, timeout_seconds=3.0)
        evidence = collect(self.home.paths, asked, CANDIDATE, RELEASE_ID, stage="online", sources=where)
        now = dt.datetime.now(dt.UTC)
        decision = judge(asked, evidence, now, stage="online")
        write_decision(self.home.paths, decision)
        self.decisions.append(decision)
        return outcome(decision, started_at=self.started_at, now=now, budgets=budgets_of(asked, "online"))

    def wait(self, asked: Policy, seconds: float) -> Outcome:
        """Look every two seconds until there is something to do, or ``seconds`` since the start of the trial are over."""
        found: Outcome = "wait"
        while found == "wait" and self.age < seconds:
            time.sleep(POLL_SECONDS)
            found = self.look(asked)
        return found

    @property
    def age(self) -> float:
        """Seconds since the trial began."""
        return (dt.datetime.now(dt.UTC) - self.started_at).total_seconds()

    @property
    def blind(self) -> bool:
        """Whether something could not be measured at the last look."""
        return self.decisions[-1].verdict is Verdict.ERROR

    def verdicts(self) -> dict[str, str]:
        """Return the last verdict of every check."""
        return {result.check: result.verdict.name for result in self.decisions[-1].results}

    def said(self) -> str:
        """Return the last decision in words."""
        return "; ".join(f"{one.check} {one.verdict.name}: {one.reason}" for one in self.decisions[-1].results)


@contextmanager
def trial(folder: Path, candidate: Fault, *, rate: float = 150.0) -> Iterator[LiveTrial]:
    """Begin a canary of a fifth of the users, with ``rate`` requests per second, and end everything."""
    home = Home(folder / "home")
    settings = {
        "RECOMMENDATION_API_WORKERS": "2",
        "RECOMMENDATION_API_EXPOSURES": "false",
        "RECOMMENDATION_API_LATE_SECONDS": "10",  # a busy machine is not what is looked at
        VARIABLE: as_variable({"run-a": HEALTHY, CANDIDATE: candidate}),
    }
    replica = Replica(home, settings=settings, module="tests.gate_live.faulty_api")
    try:
        replica.start_ready()
        wait_until("both workers serve", lambda: complete(replica))
        target = replica.url.removeprefix("http://")
        with monitoring.prometheus(folder / "prometheus", [target]) as server, visitors(target, rate):
            replica.reload(run_id=CANDIDATE, mode="canary", rollout=ROLLOUT, release_id=RELEASE_ID)
            begun = home.registry.read().candidate
            assert begun is not None
            yield LiveTrial(home, server, begun.since)
    finally:
        replica.close()


@contextmanager
def visitors(target: str, rate: float) -> Iterator[None]:
    """Ask ``target`` (``host:port``) ``rate`` times per second, for many users, as long as the block lasts."""
    host, _, port = target.partition(":")
    load = Load(host, int(port), rate, 3600.0, lambda number: get(f"/recommend/visitor-{number % USERS}"))
    thread = threading.Thread(target=lambda: asyncio.run(load.run()))
    thread.start()
    try:
        yield
    finally:
        load.finish()
        thread.join()
