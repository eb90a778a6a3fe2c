"""A release history as a shop has it after some weeks: good runs, rejected ones, a trial that went wrong, a rollback."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_release import registry as transitions
from model_release.adapters.decisions import write_decision
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.identifiers import release_id_for
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.policy import load_policy
from model_release.registry import Transition
from model_release.verdict import CheckResult, Decision, Verdict, worst
from tests.page.catalogue import publish_shop_run
from tests.page.evaluated import write_evaluation

PROJECT = Path(__file__).resolve().parents[2]
OLD_POLICY = 4  # so many runs were judged by a policy that is no longer in force
DAY, MINUTE = dt.timedelta(days=1), dt.timedelta(minutes=1)
PIPELINE, ROLLBACK = "recommendation_pipeline", "recommendation_rollback"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Past:
    """Writes registry, ledger, runs and decisions as the DAGs would have, at times of its own."""

    def __init__(self, paths: ReleasePaths, *, hostile: bool = False) -> None:
        self.paths = paths
        self.names = {"first_name": HOSTILE} if hostile else {}
        self.registry = FileRegistry(paths)
        self.ledger = FileLedger(paths)
        self.runs = 0

    def note(self, event: Event, release_id: str, at: dt.datetime, **fields: Any) -> None:
        """Write to the ledger."""
        given = {"by": f"airflow:{release_id.partition(':')[0]}/x (ann)", **fields}
        self.ledger.append(LedgerEntry(event=event, release_id=release_id, at=at, **given))

    def change(self, transition: Transition) -> int:
        """Change the registry; return its generation."""
        return self.registry.update(transition).generation

    def trained(self, at: dt.datetime, algorithm: str = "als") -> tuple[str, str]:
        """Publish and register a run; return its id and its release."""
        self.runs += 1
        run_id = f"{at:%Y%m%d}-{algorithm}-{self.runs:08x}"
        release_id = release_id_for(PIPELINE, f"scheduled__{at:%Y-%m-%dT%H:%M:%S+00:00}")
        publish_shop_run(self.paths, run_id, seed=self.runs, as_of=at, algorithm=algorithm, **self.names)
        digest = RunStore(self.paths).manifest_sha256(run_id)
        self.change(
            lambda state: transitions.register(
                state, run_id=run_id, manifest_sha256=digest, release_id=release_id, at=at
            )
        )
        self.note(Event.REGISTERED, release_id, at, run_id=run_id)
        return run_id, release_id

    def judged(
        self,
        run_id: str,
        release_id: str,
        at: dt.datetime,
        results: Sequence[CheckResult],
        stage: str = "offline",
        delta: float = 0.0,
    ) -> Verdict:
        """Let the gate decide, before a trial on an evaluation in which the run is better by ``delta``."""
        registry = self.registry.read()
        against = registry.current.run_id if registry.current else None
        verdict = worst(result.blocking for result in results)
        summary = "; ".join(result.reason for result in results if result.verdict is verdict)[:200]
        digest = write_evaluation(self.paths, run_id, against, at, delta) if stage == "offline" else None
        policy = load_policy(PROJECT / "config" / "release_policy.yaml")
        young = self.runs > OLD_POLICY
        decision = Decision.model_validate(
            {
                "stage": stage, "verdict": verdict, "run_id": run_id, "against": against, "no_baseline": against is None,
                "release_id": release_id, "generation": registry.generation, "decided_at": at,
                "policy_name": policy.name if young else "production", "policy_sha256": policy.sha256 if young else "5" * 64,
                "evidence": {f"{run_id}/summary.json": digest} if digest else {}, "code_version": "0.1.0", "results": list(results), "summary": summary,
            }
        )  # fmt: skip
        write_decision(self.paths, decision)
        details = {"verdict": verdict.value, "stage": stage}
        self.note(
            Event.GATE_DECIDED, release_id, at, run_id=run_id, previous_run_id=against, generation=registry.generation,
            reason=summary, details=details,
        )  # fmt: skip
        return verdict

    def tried(
        self, run_id: str, release_id: str, at: dt.datetime, mode: Any, rollout: float, lease: Any = None
    ) -> None:
        """Put a run on trial."""
        generation = self.change(
            lambda state: transitions.start_trial(
                state, run_id=run_id, mode=mode, rollout=rollout, release_id=release_id, at=at, lease_until=lease
            )
        )
        fields = {"run_id": run_id, "mode": mode, "rollout": rollout, "generation": generation}
        self.note(Event.COMMITTED, release_id, at, **fields)
        self.note(Event.TRIAL_STARTED, release_id, at + MINUTE / 6, **fields)

    def released(self, run_id: str, release_id: str, at: dt.datetime, cause: Any = "release", reason: str = "") -> None:
        """Make a run current."""
        before = self.registry.read().current
        generation = self.change(
            lambda state: transitions.promote(state, run_id=run_id, release_id=release_id, at=at, cause=cause)
        )
        fields = {
            "run_id": run_id, "mode": "primary", "generation": generation,
            "previous_run_id": before.run_id if before else None,
        }  # fmt: skip
        self.note(Event.COMMITTED, release_id, at, reason=reason, **fields)
        proof = Event.RELEASED if cause == "release" else Event.ROLLED_BACK
        self.note(proof, release_id, at + MINUTE / 4, reason=reason, **fields)
        if cause == "release":
            self.note(Event.VERIFIED, release_id, at + MINUTE / 2, run_id=run_id)


def compared(metric: str, value: float, half: float, margin: float, **fields: Any) -> CheckResult:
    """Return a comparison with the current run."""
    low, high = value - half, value + half
    verdict = Verdict.PASS if low > -margin else Verdict.FAIL if high < -margin else Verdict.INCONCLUSIVE
    given: dict[str, Any] = {
        "check": f"no worse {metric}", "kind": "non_inferiority", "subject": metric, "verdict": verdict,
        "reason": f"{metric} differs by {value:+.4f}", "value": value, "limit": -margin, "direction": "at_least",
        "interval": (low, high), "samples": 1800, "minimum_samples": 500, "details": {"confidence": 0.95}, **fields,
    }  # fmt: skip
    return CheckResult.model_validate(given)


def floor(name: str, value: float, limit: float, **fields: Any) -> CheckResult:
    """Return a value held against a fixed limit."""
    verdict = Verdict.PASS if value >= limit else Verdict.FAIL
    given: dict[str, Any] = {
        "check": name, "kind": "absolute", "verdict": verdict, "reason": f"{name} is {value:g}, at least {limit:g} is wanted",
        "value": value, "limit": limit, "direction": "at_least", **fields,
    }  # fmt: skip
    return CheckResult.model_validate(given)


def offline(delta: float, quality: float = 96.0) -> list[CheckResult]:
    """Return the results of a gate before a trial; ``delta`` is how much better the candidate is, ``quality`` a score."""
    slices = {"check": "ndcg-not-worse-by-activity", "minimum_samples": 100}
    few: dict[str, Any] = {
        "check": "ndcg-not-worse-by-novelty", "kind": "non_inferiority", "subject": "ndcg_at_10 (known items)",
        "verdict": Verdict.INCONCLUSIVE, "reason": "71 users, at least 100 are needed", "samples": 71, "minimum_samples": 100,
        "severity": "warning", "settled": True,
    }  # fmt: skip
    return [
        floor("data-quality", quality, 90.0, kind="data_quality", subject="interactions"),
        floor("data-quality", quality - 4.0, 90.0, kind="data_quality", subject="items", severity="warning"),
        floor("ndcg-floor", 0.231 + delta, 0.05, subject="ndcg_at_10", samples=1800, minimum_samples=200),
        compared("ndcg_at_10", delta, 0.004, 0.01, check="ndcg-not-worse", minimum_samples=200),
        compared("ndcg_at_10", delta * 0.6, 0.009, 0.023, subject="ndcg_at_10 (low users)", samples=612, **slices),
        compared("ndcg_at_10", delta, 0.008, 0.023, subject="ndcg_at_10 (medium users)", samples=604, **slices),
        compared("ndcg_at_10", delta * 1.3, 0.008, 0.023, subject="ndcg_at_10 (high users)", samples=584, **slices),
        CheckResult.model_validate(few),
        compared("recall_at_20", delta * 0.8, 0.003, 0.01, check="recall-not-worse", dry_run=True),
        CheckResult(
            check="artifact", kind="artifact", verdict=Verdict.PASS, reason="every file has the hash of the manifest"
        ),
        CheckResult(check="latch", kind="latch", verdict=Verdict.PASS, reason="automatic releases are allowed"),
    ]


def shadow(overlap: float) -> list[CheckResult]:
    """Return the results of a gate on a shadow trial."""
    asked = {"queries": ['recommendation_shadow_overlap_sum{candidate="x"}']}
    return [
        floor("shadow-overlap", overlap, 0.1, kind="ratio", interval=(overlap - 0.02, overlap + 0.02), samples=9000,
              minimum_samples=1000, details=asked),
        floor("shadow-rank-biased-overlap", overlap * 0.9, 0.1, kind="ratio",
              interval=(overlap * 0.9 - 0.02, overlap * 0.9 + 0.02), samples=9000, minimum_samples=1000, details=asked),
        floor("shadow-coverage", 0.97, 0.5, kind="query", samples=9000, minimum_samples=1000, details=asked),
        CheckResult(check="trial", kind="trial", verdict=Verdict.PASS, reason="shadow at 0.1, for 20 minutes"),
    ]  # fmt: skip


def online(delta: float, answers: int = 42_000) -> list[CheckResult]:
    """Return the results of a gate on trial; ``delta`` is the candidate's share of errors above the current run's."""
    return [
        compared(
            "errors", -delta, 0.0008, 0.01, check="degraded-not-more", kind="ratio", samples=answers, minimum_samples=1000,
            details={"margin": 0.01, "confidence": 0.99, "log_e_harm": 0.4, "log_e_needed": 4.6},
        ),
        compared("p95", 0.0004, 0.001, 0.005, check="not-slower", kind="latency", unit="s", samples=answers, minimum_samples=1000),
        CheckResult(check="trial", kind="trial", verdict=Verdict.PASS, reason=f"canary at 5 % for 14 minutes, {answers} answers"),
    ]  # fmt: skip


def write_history(paths: ReleasePaths, now: dt.datetime, *, hostile: bool = True) -> Past:
    """Write five weeks that end with a canary under way; with ``hostile``, texts that are no HTML."""
    past = Past(paths, hostile=hostile)
    start = (now - 36 * DAY).replace(hour=3, minute=30, second=0, microsecond=0)
    for week, delta in enumerate((0.0, 0.004, -0.02, 0.006, 0.002)):
        at = start + week * 7 * DAY
        run_id, release_id = past.trained(at, "item_knn" if week == 3 else "als")
        found = offline(delta, 97.5 - week * 0.9)
        if past.judged(run_id, release_id, at + 2 * MINUTE, found, delta=delta) is not Verdict.PASS:
            past.note(
                Event.REJECTED, release_id, at + 3 * MINUTE, run_id=run_id, reason="ndcg_at_10 is worse by 0.0200"
            )
            continue
        if week:
            past.tried(run_id, release_id, at + 5 * MINUTE, "shadow", 0.1)
            past.judged(run_id, release_id, at + 25 * MINUTE, shadow(0.71), "online")
            past.tried(run_id, release_id, at + 26 * MINUTE, "canary", 0.05)
            past.judged(run_id, release_id, at + 60 * MINUTE, online(0.0001), "online")
        past.released(run_id, release_id, at + 62 * MINUTE)
    _went_wrong(past, now)
    run_id, release_id = past.trained(now - 25 * MINUTE)
    past.judged(run_id, release_id, now - 23 * MINUTE, offline(0.005, 94.2), delta=0.005)
    past.tried(run_id, release_id, now - 20 * MINUTE, "shadow", 0.1)
    past.judged(run_id, release_id, now - 12 * MINUTE, shadow(0.68), "online")
    past.tried(run_id, release_id, now - 11 * MINUTE, "canary", 0.05, lease=now + 60 * MINUTE)
    broken, release_id = past.trained(now - 3 * DAY)
    said = HOSTILE if hostile else "item_index.npy does not have the hash of the manifest"
    past.note(Event.FAILED, release_id, now - 3 * DAY + MINUTE, run_id=broken, reason=f"ArtifactInvalidError: {said}")
    return past


def _went_wrong(past: Past, now: dt.datetime) -> None:
    """A run that passed the gate and was rolled back by an alert; and a trial that was ended."""
    at = now - 6 * DAY
    good = past.registry.read().current
    run_id, release_id = past.trained(at)
    past.judged(run_id, release_id, at + 2 * MINUTE, offline(0.001, 92.4), delta=0.001)
    past.released(run_id, release_id, at + 5 * MINUTE)
    back = release_id_for(ROLLBACK, f"alert__{at:%Y-%m-%d}")
    why = "alert RecommendationDegraded fires since 4 minutes and names the current run"
    past.note(Event.ALERT_ACTED, "recommendation_act_on_alerts:x", at + 50 * MINUTE, reason=why)
    past.change(lambda state: transitions.set_latch(state, reason=why, by="alert", at=at + 51 * MINUTE))
    past.note(Event.LATCH_SET, back, at + 51 * MINUTE, reason=why)
    past.released(good.run_id if good else run_id, back, at + 52 * MINUTE, "rollback", why)
    cleared = release_id_for("recommendation_latch", "manual__1")
    past.change(transitions.clear_latch)
    past.note(Event.LATCH_CLEARED, cleared, at + DAY, reason="the feature store is repaired")
    at = now - 4 * DAY
    run_id, release_id = past.trained(at)
    past.judged(run_id, release_id, at + 2 * MINUTE, offline(0.003, 95.1), delta=0.003)
    past.tried(run_id, release_id, at + 5 * MINUTE, "canary", 0.05)
    past.judged(run_id, release_id, at + 20 * MINUTE, online(0.021), "online")
    past.note(
        Event.REJECTED,
        release_id,
        at + 20 * MINUTE,
        run_id=run_id,
        reason="degraded answers are 2.1 % more than the current run's",
    )
    generation = past.change(transitions.end_trial)
    past.note(
        Event.TRIAL_ENDED,
        release_id,
        at + 21 * MINUTE,
        run_id=good.run_id if good else None,
        generation=generation,
        mode="primary",
    )
