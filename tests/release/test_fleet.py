"""The fleet agrees only if every worker of every replica serves what is desired; whoever differs is named."""

from __future__ import annotations

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest

from model_release.adapters.file_registry import FileRegistry
from model_release.contract import LeaseRequest, ModelsReport, ReloadReceipt, ReloadRequest, utc_now
from model_release.errors import InvalidInputError, ReplicaRefusedError, ReplicaUnreachableError
from model_release.fleet import deviations, disagreements, renew, tell, tell_all, trial_key
from model_release.paths import ReleasePaths
from model_release.registry import Candidate, Current, Registry
from tests.fake_replicas import NOW, FakeReplica
from tests.fakes import MemoryRegistry

CURRENT = Current(run_id="run-a", release_id="r1", since=NOW, generation=2)
CANDIDATE = Candidate(run_id="run-b", mode="canary", rollout=0.1, release_id="r2", since=NOW, generation=3)
DESIRED = Registry(generation=3, current=CURRENT, candidate=CANDIDATE)
TRIAL = {"run_id": "run-b", "mode": "canary", "rollout": 0.1, "release_id": "r2"}


def worker(**changes: Any) -> dict[str, Any]:
    return {"pid": 7, "generation": 3, "current": "run-a", "candidate": TRIAL, **changes}


def report(*workers: dict[str, Any], **changes: Any) -> ModelsReport:
    found = workers or (worker(),)
    body = {
        "replica": "replica-1",
        "desired": None,
        "workers_expected": len(found),
        "workers": found,
        "reported_at": NOW,
        **changes,
    }
    return ModelsReport.model_validate(body)


def test_a_replica_that_serves_what_is_desired_does_not_deviate() -> None:
    """Current run, trial and generation are the same in each worker."""
    assert deviations(report(), DESIRED) == []
    assert deviations(report(worker(), worker(pid=8)), DESIRED) == []
    nothing = Registry(generation=3)
    assert deviations(report(worker(current=None, candidate=None)), nothing) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generation": 2}, "worker 7 is at generation 2, desired is 3"),
        ({"generation": 4}, "worker 7 is at generation 4, desired is 3"),
        ({"current": "run-c"}, "worker 7 serves run run-c, desired is run-a"),
        ({"current": None}, "worker 7 serves run None, desired is run-a"),
        ({"candidate": None}, "worker 7 tries None, desired is ('run-b', 'canary', 0.1, 'r2')"),
        ({"candidate": {**TRIAL, "rollout": 0.2}}, "worker 7 tries ('run-b', 'canary', 0.2, 'r2')"),
        ({"candidate": {**TRIAL, "mode": "shadow"}}, "worker 7 tries ('run-b', 'shadow', 0.1, 'r2')"),
        ({"candidate": {**TRIAL, "run_id": "run-c"}}, "worker 7 tries ('run-c', 'canary', 0.1, 'r2')"),
        ({"candidate": {**TRIAL, "release_id": "r3"}}, "worker 7 tries ('run-b', 'canary', 0.1, 'r3')"),
        ({"degraded": "no file"}, "worker 7 is degraded: no file"),
    ],
)
def test_each_way_to_differ_is_named(change: dict[str, Any], said: str) -> None:
    """One worker that differs among two is enough, and is the one that is named."""
    (found,) = deviations(report(worker(pid=8), worker(**change)), DESIRED)
    assert found.startswith(said)


def test_missing_and_surplus_workers_are_no_agreement() -> None:
    """Nobody speaks for a worker that does not report."""
    assert deviations(report(workers_expected=2), DESIRED) == ["1 of 2 workers report"]
    assert deviations(report(worker(), worker(pid=8), workers_expected=1), DESIRED) == ["2 of 1 workers report"]
    assert deviations(report(workers=[], workers_expected=1), DESIRED) == ["0 of 1 workers report"]


def test_a_replica_that_can_not_read_the_registry_does_not_agree() -> None:
    """What its workers serve may be right by chance; it would not follow."""
    assert deviations(report(problem="damaged"), DESIRED) == ["can't read the registry: damaged"]


def test_a_renewed_lease_is_the_same_trial() -> None:
    """Only run, mode, share and release make a trial."""
    later = CANDIDATE.model_copy(update={"lease_until": NOW + dt.timedelta(hours=1)})
    assert trial_key(later) == trial_key(CANDIDATE) == ("run-b", "canary", 0.1, "r2")
    assert trial_key(None) is None
    assert deviations(report(), DESIRED.model_copy(update={"candidate": later})) == []


@pytest.fixture
def replicas(tmp_path: Path) -> list[FakeReplica]:
    """Three replicas that serve the empty registry of one installation."""
    store = FileRegistry(ReleasePaths(tmp_path))
    return [FakeReplica(store, url=f"http://replica-{number}") for number in (1, 2, 3)]


def test_disagreements_name_replica_and_reason(replicas: list[FakeReplica]) -> None:
    """Those that differ, and those that do not answer."""
    desired = Registry()
    assert disagreements(replicas, desired) == []
    replicas[2].down = True
    replicas[1].served = DESIRED
    assert disagreements(replicas, desired) == [
        "http://replica-2: worker 1 is at generation 3, desired is 0",
        "http://replica-3: connection refused",
    ]


def test_everybody_is_told_although_one_fails(replicas: list[FakeReplica]) -> None:
    """One that is down keeps nobody else from hearing it; who failed is returned, in order."""
    replicas[0].down = True
    replicas[1].refuses.add("run-a")
    request = ReloadRequest(run_id="run-a", prepare=True)
    errors = tell(replicas, request)
    assert [type(error) for error in errors] == [ReplicaUnreachableError, ReplicaRefusedError]
    assert [error.replica for error in errors] == ["http://replica-1", "http://replica-2"]
    assert replicas[2].prepared == ["run-a"]


def test_telling_all_raises_the_refusal_and_notes_the_rest(replicas: list[FakeReplica]) -> None:
    """No retry helps while one says no; an outage alone is worth one."""
    request = ReloadRequest(run_id="run-a", prepare=True)
    tell_all(replicas, request)
    replicas[0].down = True
    with pytest.raises(ReplicaUnreachableError):
        tell_all(replicas, request)
    replicas[2].refuses.add("run-a")
    with pytest.raises(ReplicaRefusedError) as caught:
        tell_all(replicas, request)
    assert caught.value.replica == "http://replica-3"
    assert caught.value.__notes__ == ["also http://replica-1: connection refused"]


def test_replicas_are_asked_at_the_same_time(replicas: list[FakeReplica], monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow one does not hold the others up: all three are inside the call at once."""
    together = threading.Barrier(len(replicas), timeout=10)
    answer = FakeReplica.reload

    def reload(self: FakeReplica, request: ReloadRequest) -> ReloadReceipt:
        together.wait()
        return answer(self, request)

    monkeypatch.setattr(FakeReplica, "reload", reload)
    assert tell(replicas, ReloadRequest()) == []


def test_nobody_can_not_agree() -> None:
    """A fleet of none is a mistake in the configuration, not a success."""
    for call in (lambda: tell([], ReloadRequest()), lambda: disagreements([], Registry())):
        with pytest.raises(InvalidInputError, match="no replica"):
            call()


def test_an_error_of_this_side_is_not_taken_for_an_outage(
    replicas: list[FakeReplica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is raised, not reported as a replica that is down."""

    def models(_: FakeReplica) -> ModelsReport:
        raise ZeroDivisionError

    monkeypatch.setattr(FakeReplica, "models", models)
    with pytest.raises(ZeroDivisionError):
        disagreements(replicas, Registry())


def on_trial() -> MemoryRegistry:
    store = MemoryRegistry()
    until = utc_now() + dt.timedelta(seconds=60)
    store.update(
        lambda _: DESIRED.model_copy(update={"candidate": CANDIDATE.model_copy(update={"lease_until": until})})
    )
    return store


def test_a_lease_is_renewed_at_the_first_replica_that_answers() -> None:
    """One is enough: they share the registry.  Again, and by two at once, does no harm: it is never shortened."""
    store = on_trial()
    lost, there = FakeReplica(store, url="http://lost", down=True), FakeReplica(store)
    receipt = renew([lost, there], LeaseRequest(release_id="r2", generation=3, lease_seconds=600))
    assert receipt.lease_until > utc_now() + dt.timedelta(seconds=590)
    shorter = renew([there], LeaseRequest(release_id="r2", generation=3, lease_seconds=10))
    assert shorter.lease_until == receipt.lease_until
    assert store.read().generation == 3


def test_a_refused_lease_is_not_asked_for_elsewhere() -> None:
    """A superseded trial is superseded everywhere."""
    store = on_trial()
    until = store.read().candidate.lease_until  # type: ignore[union-attr]
    first, second = FakeReplica(store), FakeReplica(store)
    for request in (
        LeaseRequest(release_id="r2", generation=2, lease_seconds=600),
        LeaseRequest(release_id="r1", generation=3, lease_seconds=600),
    ):
        with pytest.raises(ReplicaRefusedError):
            renew([first, second], request)
    candidate = store.read().candidate
    assert candidate is not None
    assert candidate.lease_until == until


def test_a_lease_that_nobody_can_be_asked_for_is_an_outage() -> None:
    """Worth a retry; with nobody configured it never will be."""
    store = on_trial()
    lost = [FakeReplica(store, url=f"http://lost-{number}", down=True) for number in range(2)]
    request = LeaseRequest(release_id="r2", generation=3, lease_seconds=600)
    with pytest.raises(ReplicaUnreachableError) as caught:
        renew(lost, request)
    assert caught.value.__notes__ == ["also http://lost-1: connection refused"]
    with pytest.raises(InvalidInputError, match="no replica"):
        renew([], request)
