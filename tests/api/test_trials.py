"""A candidate on trial: who gets it, for how long, and how the trial ends."""

from __future__ import annotations

import datetime as dt

import pytest

from model_release.contract import LEASE_PATH, LeaseReceipt, utc_now
from tests.api.conftest import StartReplica
from tests.api.home import Home
from tests.api.replica import Replica, wait_until
from tests.runs import USERS

MANY = [f"customer-{number}" for number in range(400)]


def in_trial(replica: Replica) -> dict[str, str]:
    """Return the variant that each of many users gets; check that the run fits the variant."""
    runs = {"current": "run-a", "candidate": "run-b"}
    answers = {user: replica.recommend(user) for user in MANY}
    assert all(answer["run_id"] == runs[answer["variant"]] for answer in answers.values())
    return {user: answer["variant"] for user, answer in answers.items()}


def share(variants: dict[str, str]) -> float:
    return list(variants.values()).count("candidate") / len(variants)


def test_a_canary_gives_its_share_of_users_the_candidate(replica: Replica) -> None:
    """About as many as asked for (five standard deviations), and all of one list."""
    receipt = replica.reload(run_id="run-b", mode="canary", rollout=0.3, release_id="canary-1")
    assert (receipt["mode"], receipt["run_id"], receipt["rollout"]) == ("canary", "run-b", 0.3)
    variants = in_trial(replica)
    assert share(variants) == pytest.approx(0.3, abs=5 * (0.3 * 0.7 / len(MANY)) ** 0.5)
    for user, variant in list(variants.items())[:20]:
        run_id = {"current": "run-a", "candidate": "run-b"}[variant]
        assert replica.recommend(user)["items"] == replica.home.expected(run_id, user)
    trial = replica.worker.candidate
    assert trial is not None
    assert (trial.run_id, trial.mode, trial.rollout, trial.release_id) == ("run-b", "canary", 0.3, "canary-1")


@pytest.mark.parametrize(("rollout", "variant"), [(0.0, "current"), (1.0, "candidate")])
def test_nobody_and_everybody_are_shares_too(replica: Replica, rollout: float, variant: str) -> None:
    """A rollout of 0 is no user at all, one of 1 is every user."""
    replica.reload(run_id="run-b", mode="canary", rollout=rollout)
    assert {replica.recommend(user)["variant"] for user in (*USERS, *MANY[:50])} == {variant}


def test_a_user_keeps_the_variant_on_every_replica_and_after_a_restart(start: StartReplica, home: Home) -> None:
    """Drawn from user and release alone, so nobody sees the lists flap."""
    home.commit("run-b", mode="canary", rollout_share=0.5, release_id="canary-2")
    one, two = start("replica-1"), start("replica-2")
    variants = in_trial(one)
    assert in_trial(one) == variants
    assert in_trial(two) == variants
    two.kill()
    two.start_ready()
    assert in_trial(two) == variants


def test_a_larger_share_keeps_the_users_it_has_and_another_release_draws_others(replica: Replica) -> None:
    """Who got the candidate at 20 % gets it at 60 % as well."""
    replica.reload(run_id="run-b", mode="canary", rollout=0.2, release_id="canary-3")
    small = {user for user, variant in in_trial(replica).items() if variant == "candidate"}
    replica.reload(run_id="run-b", mode="canary", rollout=0.6, release_id="canary-3")
    large = {user for user, variant in in_trial(replica).items() if variant == "candidate"}
    assert small
    assert small < large
    replica.reload(run_id="run-b", mode="canary", rollout=0.6, release_id="canary-4")
    others = {user for user, variant in in_trial(replica).items() if variant == "candidate"}
    assert others != large


def test_promotion_of_the_candidate_ends_its_trial(replica: Replica) -> None:
    """Everybody gets it, as the current run, and nothing is on trial any more."""
    replica.reload(run_id="run-b", mode="canary", rollout=0.5, release_id="canary-5")
    replica.reload(run_id="run-b", release_id="canary-5")
    assert replica.home.registry.read().candidate is None
    assert replica.worker.candidate is None
    assert replica.serves("run-b")
    assert {replica.recommend(user)["variant"] for user in MANY[:50]} == {"current"}


def test_in_a_shadow_every_user_gets_the_current_run(replica: Replica) -> None:
    """Even at a rollout of 1; each request is drawn, and the candidate answers beside it if there is time to spare."""

    def counts() -> tuple[float, float]:
        labels = {"current": "run-a", "candidate": "run-b"}
        outcomes = [
            replica.metric("recommendation_shadow_requests_total", **labels, outcome=outcome)
            for outcome in ("scored", "dropped", "expired")
        ]
        served = {"endpoint": "recommend", "variant": "current", "status": "200"}
        return replica.metric("recommendation_requests_total", **served), sum(outcomes)

    replica.reload(run_id="run-b", mode="shadow", rollout=1.0)
    before = counts()
    assert replica.serves("run-a")
    assert {replica.recommend(user)["variant"] for user in MANY[:50]} == {"current"}
    answered = counts()[0] - before[0]
    assert answered >= 50
    wait_until("each request is counted", lambda: counts()[1] - before[1] == answered)


def test_a_lease_is_renewed_and_renewing_it_twice_is_once(replica: Replica) -> None:
    """The end moves, the generation does not; a shorter time never shortens it."""
    started = replica.reload(run_id="run-b", mode="canary", rollout=0.5, release_id="lease-1", lease_seconds=600)
    generation = started["generation"]
    body = {"release_id": "lease-1", "generation": generation, "lease_seconds": 3600}
    before = utc_now()
    receipt = LeaseReceipt.model_validate_json(replica.post(LEASE_PATH, body).content)
    assert (receipt.release_id, receipt.run_id, receipt.generation) == ("lease-1", "run-b", generation)
    assert before < receipt.lease_until - dt.timedelta(seconds=3600) < utc_now()
    trial = replica.worker.candidate
    assert trial is not None
    assert trial.lease_until == receipt.lease_until
    assert replica.home.generation == generation
    shorter = LeaseReceipt.model_validate_json(replica.post(LEASE_PATH, {**body, "lease_seconds": 1}).content)
    assert shorter == receipt


def test_a_lease_is_fenced(replica: Replica) -> None:
    """Only the release on trial, at the generation it knows, may renew; nothing else moves the end."""
    started = replica.reload(run_id="run-b", mode="canary", rollout=0.5, release_id="lease-2", lease_seconds=600)
    generation = started["generation"]
    before = replica.home.registry.read()
    usual = {"release_id": "lease-2", "generation": generation, "lease_seconds": 3600}
    for change, status in (
        ({"generation": generation - 1}, 409),
        ({"generation": generation + 1}, 409),
        ({"release_id": "lease-1"}, 422),
        ({"lease_seconds": 0}, 422),
        ({"lease_seconds": 10**9}, 422),
        ({"unknown": 1}, 422),
    ):
        assert replica.post(LEASE_PATH, {**usual, **change}).status_code == status
    assert replica.home.registry.read() == before
    replica.reload(run_id="run-a", release_id="lease-2-over")
    now = replica.home.generation
    assert replica.post(LEASE_PATH, {**usual, "generation": now}).status_code == 422


def test_a_trial_ends_by_itself_when_its_lease_runs_out(replica: Replica) -> None:
    """Nobody renews, nobody calls: users get the current run, and registry and ledger say so."""
    started = replica.reload(run_id="run-b", mode="canary", rollout=1.0, release_id="lease-3", lease_seconds=1)
    assert started["run_id"] == "run-b"
    wait_until("the trial has ended", lambda: replica.home.registry.read().candidate is None)
    wait_until("the replica has followed", lambda: replica.worker.generation == started["generation"] + 1)
    assert replica.serves("run-a")
    assert replica.worker.candidate is None
    last = replica.home.entries("lease-3")[-1]
    assert (last.event, last.run_id, last.by) == ("trial_ended", "run-a", "api:replica-1")
    assert "lease ran out" in last.reason
    body = {"release_id": "lease-3", "generation": replica.home.generation, "lease_seconds": 60}
    assert replica.post(LEASE_PATH, body).status_code == 422
    assert replica.home.registry.read().candidate is None


def test_a_trial_that_expired_while_nobody_ran_is_ended_at_the_start(start: StartReplica, home: Home) -> None:
    """A replica that comes back late gives nobody the candidate."""
    home.commit("run-b", mode="canary", rollout_share=1.0, release_id="lease-4", lease_seconds=1)
    until = home.registry.read().candidate
    assert until is not None
    wait_until("the lease has run out", lambda: until.expired(utc_now()))
    replica = start()
    assert replica.serves("run-a")
    assert home.registry.read().candidate is None
    assert home.events("lease-4")[-1] == "trial_ended"


def test_a_trial_needs_a_current_run_and_another_one(replica: Replica) -> None:
    """The current run can't be tried against itself."""
    before = replica.home.registry.read()
    assert "current already" in replica.refuse(422, run_id="run-a", mode="canary", rollout=0.5)
    assert replica.home.registry.read() == before
