"""The short version of ``scripts/chaos.sh``: one release with a different fault at each step, everything real, and checked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import monitoring
from tests.chaos.faults import KILLED_AFTER, KILLED_BEFORE
from tests.chaos.matrix import Released, release
from tests.chaos.scene import Scene, scene

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.long]

FAULTS = {
    "register": "same DAG run again",
    "quality_gate": KILLED_BEFORE,
    "canary_50": "answers lost for 6 s",
    "judge_canary_50": "triggerer killed",
    "model_reload": "replica killed",
    "verify": KILLED_AFTER,
    "close_release": "replica's worker killed",
}


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    monitoring.need("prometheus")
    # a lease that outlives a busy machine: without an Airflow for 20 s a shorter one ends the trial, as it should
    with scene(tmp_path_factory.mktemp("chaos"), count=2, steps="canary:0.5:300") as made:
        assert tuple(FAULTS) == made.steps
        yield made


@pytest.fixture(scope="module")
def first(chaos: Scene) -> Released:
    """Some run is current."""
    return release(chaos, "chaos_0", "no fault", {})


def test_a_release_without_faults_is_well(first: Released) -> None:
    assert (first.violations, first.outcome, first.state) == ([], "new", "success")


@pytest.mark.usefixtures("first")
def test_a_release_with_a_fault_at_every_step_ends_well(chaos: Scene) -> None:
    """All of them were injected; one generation was everywhere after each; nothing was done or told twice."""
    done = release(chaos, "chaos_1", "one of each", FAULTS)
    assert [(one.step, one.fault) for one in done.injected] == list(FAULTS.items())
    assert done.violations == []
    assert (done.outcome, done.state) == ("new", "success")
    killed = next(one for one in done.injected if one.fault == "replica killed")
    assert killed.agreed_seconds, "a replica that is killed is away for a while: nobody looked"
