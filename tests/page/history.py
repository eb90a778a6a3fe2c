"""A release history as a shop has it after some weeks: good runs, rejected ones, a trial that went wrong, a rollback."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

from model_release import registry as transitions
from model_release.adapters.decisions import write_decision
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.identifiers import release_id_for
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import Transition
from model_release.verdict import CheckResult, Decision, Verdict, worst
from tests.runs import publish_run

DAY, MINUTE = dt.timedelta(days=1), dt.timedelta(minutes=1)
PIPELINE, ROLLBACK = "recommendation_pipeline", "recommendation_rollback"
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


class Past:
    """Writes registry, ledger, runs and decisions as the DAGs would have, at times of its own."""

    def __init__(self, paths: ReleasePaths) -> None:
        self.paths = paths
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
        publish_run(self.paths, run_id, seed=self.runs)
        digest = RunStore(self.paths).manifest_sha256(run_id)
        self.change(
            lambda state: transitions.register(
                state, run_id=run_id, manifest_sha256=digest, release_id=release_id, at=at
            )
        )
        self.note(Event.REGISTERED, release_id, at, run_id=run_id)
        return run_id, release_id

    def judged(
        self, run_id: str, release_id: str, at: dt.datetime, results: Sequence[CheckResult], stage: str = "offline"
    ) -> Verdict:
        """Let the gate decide."""
        registry = self.registry.read()
        against = registry.current.run_id if registry.current else None
        verdict = worst(result.blocking for result in results)
        summary = "; ".join(result.reason for result in results if result.verdict is verdict)[:200]
        decision = Decision.model_validate(
            {
                "stage": stage, "verdict": verdict, "run_id": run_id, "against": against, "no_baseline": against is None,
                "release_id": release_id, "generation": registry.generation, "decided_at": at, "policy_name": "production",
                "policy_sha256": "5" * 64, "code_version": "0.1.0", "results": list(results), "summary": summary,
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


def offline(delta: float) -> list[CheckResult]:
    """Return the results of a gate before a trial; ``delta`` is how much better the candidate is."""
    return [
        floor("data quality", 96.0, 80.0, subject="interactions"),
        floor("data quality", 91.0, 80.0, subject="items"),
        floor("hit rate", 0.182 + delta, 0.1, subject="hit_rate_at_10"),
        compared("recall_at_10", delta, 0.004, 0.01),
        compared("recall_at_10", delta * 1.6, 0.009, 0.01, subject="recall_at_10 of new users", severity="warning"),
        compared("ndcg_at_10", delta * 0.8, 0.003, 0.01),
        floor("coverage", 0.31, 0.2, subject="catalogue.coverage", dry_run=True),
        CheckResult(
            check="artifact", kind="artifact", verdict=Verdict.PASS, reason="every file has the hash of the manifest"
        ),
        CheckResult(check="latch", kind="latch", verdict=Verdict.PASS, reason="automatic releases are allowed"),
    ]


def online(delta: float, answers: int = 42_000) -> list[CheckResult]:
    """Return the results of a gate on trial; ``delta`` is the candidate's share of errors above the current run's."""
    return [
        compared(
            "errors", -delta, 0.0008, 0.002, check="errors", kind="ratio", samples=answers, minimum_samples=2000,
            details={"margin": 0.002, "confidence": 0.95, "log_e_harm": 0.4, "log_e_needed": 3.0},
        ),
        compared("p95", 0.0004, 0.001, 0.005, check="latency", kind="latency", unit="s", samples=answers, minimum_samples=2000),
        CheckResult(check="trial", kind="trial", verdict=Verdict.PASS, reason=f"canary at 5 % for 14 minutes, {answers} answers"),
    ]  # fmt: skip


def write_history(paths: ReleasePaths, now: dt.datetime, *, hostile: bool = True) -> Past:
    """Write five weeks that end with a canary under way; with ``hostile``, texts that are no HTML."""
    past = Past(paths)
    start = (now - 36 * DAY).replace(hour=3, minute=30, second=0, microsecond=0)
    for week, delta in enumerate((0.0, 0.004, -0.02, 0.006, 0.002)):
        at = start + week * 7 * DAY
        run_id, release_id = past.trained(at, "item_knn" if week == 3 else "als")
        if past.judged(run_id, release_id, at + 2 * MINUTE, offline(delta)) is not Verdict.PASS:
            past.note(
                Event.REJECTED, release_id, at + 3 * MINUTE, run_id=run_id, reason="recall_at_10 is worse by 0.0200"
            )
            continue
        if week:
            past.tried(run_id, release_id, at + 5 * MINUTE, "shadow", 0.1)
            past.judged(run_id, release_id, at + 25 * MINUTE, online(0.0001), "online")
            past.tried(run_id, release_id, at + 26 * MINUTE, "canary", 0.05)
            past.judged(run_id, release_id, at + 60 * MINUTE, online(0.0001), "online")
        past.released(run_id, release_id, at + 62 * MINUTE)
    _went_wrong(past, now)
    run_id, release_id = past.trained(now - 25 * MINUTE)
    past.judged(run_id, release_id, now - 23 * MINUTE, offline(0.005))
    past.tried(run_id, release_id, now - 20 * MINUTE, "shadow", 0.1)
    past.judged(run_id, release_id, now - 12 * MINUTE, online(0.0001, 9_000), "online")
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
    past.judged(run_id, release_id, at + 2 * MINUTE, offline(0.001))
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
    past.judged(run_id, release_id, at + 2 * MINUTE, offline(0.003))
    past.tried(run_id, release_id, at + 5 * MINUTE, "canary", 0.05)
    past.judged(run_id, release_id, at + 20 * MINUTE, online(0.011), "online")
    past.note(
        Event.REJECTED,
        release_id,
        at + 20 * MINUTE,
        run_id=run_id,
        reason="errors are 1.1 % more than the current run's",
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
