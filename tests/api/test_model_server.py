"""What only shows between two steps of one replica: a stale look at the registry, and shutting down."""

from __future__ import annotations

import datetime as dt

import pytest

from model_release.contract import LeaseRequest, ReloadRequest, utc_now
from model_release.errors import InvalidInputError
from model_release.registry import renew_lease
from recommendation_api.app import Application
from recommendation_api.problems import ShuttingDownError, status_of
from tests.api.home import Home
from tests.api.in_process import settings_of
from tests.api.replica import wait_until


@pytest.fixture
def parts(home: Home) -> Application:
    """The parts of a replica without its web server; it has looked once."""
    made = Application(settings_of(home))
    made.replica.watch()
    assert made.server.serving.current is not None
    return made


def test_a_late_look_at_a_lapsed_lease_does_not_undo_a_promotion(
    home: Home, parts: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release that was on trial has become current meanwhile: it stays so."""
    home.commit("run-b", mode="canary", rollout_share=0.5, release_id="release-x", lease_seconds=1)
    stale = home.registry.read()
    candidate = stale.candidate
    assert candidate is not None
    wait_until("the lease has run out", lambda: candidate.expired(utc_now()))
    promoted = home.commit("run-b", release_id="release-x")
    monkeypatch.setattr(parts.replica, "read", lambda: stale)
    parts.replica.watch()
    assert home.registry.read() == promoted
    assert home.events("release-x") == ["committed", "committed"]


def test_a_late_look_at_a_lease_that_was_renewed_does_not_end_the_trial(
    home: Home, parts: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica renewed it in the last moment: the registry as it is now decides."""
    stale = home.commit("run-b", mode="canary", rollout_share=0.5, release_id="release-z", lease_seconds=1)
    candidate = stale.candidate
    assert candidate is not None
    later = utc_now() + dt.timedelta(hours=1)
    renewed = home.registry.update(lambda state: renew_lease(state, release_id="release-z", lease_until=later))
    wait_until("the first lease has run out", lambda: candidate.expired(utc_now()))
    monkeypatch.setattr(parts.replica, "read", lambda: stale)
    parts.replica.watch()
    assert home.registry.read() == renewed
    assert home.events("release-z") == ["committed"]


def test_a_candidate_without_a_renewed_lease_is_dropped_before_anybody_looks(home: Home, parts: Application) -> None:
    """The clock alone ends it for users; the registry follows with the next look."""
    home.commit("run-b", mode="canary", rollout_share=1.0, lease_seconds=1)
    parts.replica.watch()
    serving = parts.server.serving
    assert serving.in_canary("u1", serving.lease_until - 0.001)
    assert serving.trial(serving.lease_until - 0.001) is not None
    assert not serving.in_canary("u1", serving.lease_until)
    assert serving.trial(serving.lease_until) is None


def test_a_lease_that_has_run_out_is_not_renewed(home: Home, parts: Application) -> None:
    """Also in the moment before somebody has ended the trial: users had the current run already."""
    desired = home.commit("run-b", mode="canary", rollout_share=1.0, release_id="release-y", lease_seconds=1)
    candidate = desired.candidate
    assert candidate is not None
    wait_until("the lease has run out", lambda: candidate.expired(utc_now()))
    request = LeaseRequest(release_id="release-y", generation=desired.generation, lease_seconds=60)
    with pytest.raises(InvalidInputError, match="its trial has ended"):
        parts.server.lease(request)
    assert home.registry.read() == desired


def test_a_replica_that_is_shutting_down_refuses_changes(home: Home, parts: Application) -> None:
    """503, worth a try at another replica; it does not follow the registry any more and is not ready."""
    parts.server.close()
    with pytest.raises(ShuttingDownError) as caught:
        parts.server.reload(ReloadRequest(run_id="run-b"), "test")
    assert status_of(caught.value)[0] == 503
    assert parts.server.not_ready() == "shutting down"
    home.commit("run-b")
    parts.replica.watch()
    assert parts.server.serving.current is not None
    assert parts.server.serving.current.run_id == "run-a"
