"""Every attack on a run, through ``POST /models/reload`` of a real replica: a clear no, and the old run serves on."""

from __future__ import annotations

import itertools

import pytest

from model_release.artifact import GOLDEN_NAME
from model_release.contract import ModelsReport
from tests.api.replica import Replica
from tests.artifact_attacks import ATTACKS, Attack, sign
from tests.runs import publish_factors

_numbers = itertools.count()


def state(replica: Replica) -> ModelsReport:
    """Return what ``GET /models`` says, but for the time at which it says it."""
    report = replica.models()
    return report.model_copy(update={"reported_at": report.workers[0].loaded_at})


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_the_old_run_serves_on(replica: Replica, attack: Attack) -> None:
    """424, the file's name in the problem, the same state and the same lists as before; and no traceback in the log."""
    run_id = f"run-attack-{next(_numbers)}"
    attack.publish(replica.home.paths, run_id)
    before, registry = state(replica), replica.home.registry.read()
    logged = len(replica.log)
    assert attack.file in replica.refuse(424, run_id=run_id)
    assert state(replica) == before
    assert replica.home.registry.read() == registry
    assert replica.serves("run-a")
    assert "Traceback" not in replica.log[logged:]


def test_a_linked_run_folder_is_unknown(replica: Replica) -> None:
    """404: the folder might be exchanged at any moment."""
    models = replica.home.paths.models
    (models / "run-linked").symlink_to(models / "run-b")
    before = state(replica)
    assert "no run 'run-linked'" in replica.refuse(404, run_id="run-linked")
    (models / "staging").mkdir(exist_ok=True)
    (models / "staging" / "run-linked-too").symlink_to(models / "run-b")
    replica.refuse(404, run_id="run-linked-too", mode="shadow", rollout=0.1, source="staging")
    assert state(replica) == before
    assert replica.serves("run-a")


@pytest.mark.parametrize("run_id", ["../run-b", "run-b/../run-b", "/etc", "staging", "run-b\n", "model_registry.json"])
def test_a_path_is_no_run_id(replica: Replica, run_id: str) -> None:
    """422, before anything is looked for."""
    replica.refuse(422, run_id=run_id)
    assert replica.serves("run-a")


def test_a_run_of_factors_is_served(replica: Replica) -> None:
    """And one that answers otherwise than recorded is not."""
    paths = replica.home.paths
    publish_factors(paths, "run-factors", seed=5)
    publish_factors(paths, "run-factors-wrong", seed=6)
    folder = paths.models / "run-factors-wrong"
    (folder / GOLDEN_NAME).write_bytes((paths.models / "run-factors" / GOLDEN_NAME).read_bytes())
    sign(folder)
    assert replica.reload(run_id="run-factors")["changed"] is True
    assert replica.serves("run-factors")
    assert "i3" not in replica.recommend("u1")["items"]  # the one that u1 has had
    assert "golden request" in replica.refuse(424, run_id="run-factors-wrong")
    assert replica.serves("run-factors")
