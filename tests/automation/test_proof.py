"""Released means served: every worker of every replica, read twice; those that lag are told once and bring nothing old back."""

from __future__ import annotations

import pytest

from tests.automation.scene import RUN, Scene

Capture = pytest.CaptureFixture[str]
OLD = "20260201-als-00000000"


@pytest.fixture
def scene() -> Scene:
    return Scene()


def lag(scene: Scene) -> None:
    """Let the second replica be one generation behind."""
    replica = scene.replicas["replica-2"]
    scene.desire(OLD, 3)
    replica.look()
    scene.desire(RUN, 4)


def test_a_replica_that_lags_is_told_to_follow_and_then_proved(scene: Scene, capsys: Capture) -> None:
    lag(scene)
    assert scene.run() == 0
    assert scene.reloads == ["replica-2"]
    said = capsys.readouterr().out
    assert "http://replica-2:8000 lags: told to follow the registry" in said


def test_a_replica_that_lags_and_can_not_be_told_is_no_release(scene: Scene, capsys: Capture) -> None:
    """It may still follow by itself; it is told once, and says no once."""
    lag(scene)
    scene.token = None
    assert scene.run() == 1
    assert scene.reloads == ["replica-2"]
    said = capsys.readouterr().out
    assert "401" in said
    assert f"serves run {OLD}" in said or "is at generation 3" in said
    assert "that is not what is served" in said
    scene.time.plans.append((scene.time.seconds + 10, scene.replicas["replica-2"].look))
    assert scene.run() == 0


def test_a_replica_out_of_reach_is_waited_for(scene: Scene, capsys: Capture) -> None:
    replica = scene.replicas["replica-2"]
    replica.down = True
    assert scene.run() == 5
    assert "nobody could prove it" in capsys.readouterr().out
    scene.time.plans.append((scene.time.seconds + 10, lambda: setattr(replica, "down", False)))
    assert scene.run() == 0


def test_a_missing_worker_is_no_proof(scene: Scene) -> None:
    class Short(type(scene.replicas["replica-1"])):  # type: ignore[misc]
        def models(self) -> object:
            return super().models().model_copy(update={"workers_expected": 3})

    scene.replicas["replica-1"].__class__ = Short
    assert scene.run() == 1


def test_what_was_replaced_since_is_not_brought_back(scene: Scene, capsys: Capture) -> None:
    """The same commit again, after another release: no reload, no success, and how to have it back."""
    scene.desire("20260401-als-ffffffff", 7)
    for replica in scene.replicas.values():
        replica.look()
    assert scene.run() == 1
    assert scene.reloads == []
    said = capsys.readouterr().out
    assert "no longer current" in said
    assert f"--run-id {RUN}" in said


def test_the_same_run_at_a_later_generation_is_served(scene: Scene) -> None:
    """A trial that began since changes nothing for it."""
    scene.desire(RUN, 9)
    for replica in scene.replicas.values():
        replica.look()
    assert scene.run() == 0


def test_an_older_registry_is_no_proof(scene: Scene, capsys: Capture) -> None:
    """Restored from a backup, or another installation's: its run has the right name all the same."""
    scene.desire(RUN, 2)
    for replica in scene.replicas.values():
        replica.look()
    assert scene.run() == 1
    assert "older than the release's 4" in capsys.readouterr().out


def test_answers_have_to_come_from_the_run(scene: Scene, capsys: Capture) -> None:
    scene.answers_with = OLD
    assert scene.run() == 1
    assert f"came from run {OLD}" in capsys.readouterr().out


def test_a_trial_has_to_be_on(scene: Scene, capsys: Capture) -> None:
    """The DAG says on trial; nobody tries it."""
    scene.airflow.left["model_reload", "return_value"] = {"run_id": RUN, "mode": "shadow", "generation": 4}
    assert scene.run("--mode", "shadow", "--rollout", "0.1") == 1
    assert "no longer on trial (shadow)" in capsys.readouterr().out


def test_one_look_is_no_proof(scene: Scene) -> None:
    """A replica that serves it at the first look and has fallen back at the second has to be seen twice again."""
    replica = scene.replicas["replica-2"]
    good = replica.served
    scene.time.plans.append((scene.time.seconds + 1, lambda: lag(scene)))
    scene.time.plans.append((scene.time.seconds + 5, lambda: setattr(replica, "served", good)))
    scene.token = None
    assert scene.run() == 0
    assert scene.time.seconds >= 6
