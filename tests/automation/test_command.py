"""The whole command against a fake Airflow and fake replicas: how it ends, what it says, and what it never does twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.automation.scene import COMMIT, DAG_RUN, DONE, RUN, Scene, decision, reject, released, task
from tests.fakes_airflow import PASSWORD

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_release_is_asked_for_followed_and_proved(scene: Scene, capsys: Capture) -> None:
    """One line for each change, in the order in which it happened; at the end what was proved."""
    scene.airflow.states = ["queued", "running", "running", "success"]
    scene.airflow.tasks = [
        [task("train", None), task("close_release", None)],
        [task("train", "running")],
        [task("train", "running"), task("close_release", None)],
        DONE,
    ]
    assert scene.run() == 0
    said = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said == [
        f"DAG run {DAG_RUN} started: http://airflow:8080/dags/recommendation_pipeline/runs/{DAG_RUN}",
        "DAG run is queued",
        "train: running",
        "DAG run is running",
        "model_reload: success after 1.0 s",
        "close_release: success after 1.0 s",
        "DAG run is success",
        f"run {RUN} is released, generation 4; asking 2 replicas for the proof",
        f"RELEASED: run {RUN} is released, generation 4; every worker of 2 replicas serves it",
    ]
    assert scene.airflow.runs == {DAG_RUN: {}}
    assert scene.reloads == []


def test_the_same_commit_again_is_the_same_release(scene: Scene, capsys: Capture) -> None:
    assert [scene.run(), scene.run()] == [0, 0]
    assert list(scene.airflow.runs) == [DAG_RUN]
    assert "is there already, following it" in capsys.readouterr().out
    assert (
        scene.run("--mode", "shadow", "--rollout", "0.1", AIRFLOW_TIMEOUT="600") == 1
    )  # another release: another name
    assert len(scene.airflow.runs) == 2
    assert list(scene.airflow.runs.values())[1] == {"mode": "shadow", "rollout": 0.1}


def test_a_rejection_has_a_status_of_its_own_and_stays_one(scene: Scene, capsys: Capture) -> None:
    """Again: the same answer, and how to ask anew; ``--again`` asks anew, once, whoever calls."""
    reject(scene.airflow)
    assert scene.run() == 3
    assert "worse by 0.08" in (first := capsys.readouterr().out)
    assert "--again" not in first
    assert scene.run() == 3
    assert "--again" in capsys.readouterr().out
    assert list(scene.airflow.runs) == [DAG_RUN]
    assert scene.run("--again") == 3
    assert list(scene.airflow.runs) == [DAG_RUN, f"{DAG_RUN}__2"]
    scene.airflow.states, scene.airflow.tasks, scene.airflow.left = ["success"], [DONE], released()
    assert scene.run("--again") == 0  # the first is released by now: cleared by somebody
    assert len(scene.airflow.runs) == 2


def test_a_failure_names_its_tasks(scene: Scene, capsys: Capture) -> None:
    scene.airflow.states = ["failed"]
    scene.airflow.tasks = [[task("train", "failed", end=1), task("close_release", "success", end=2)]]
    scene.airflow.left = {("close_release", "return_value"): {"release_id": "r", "phase": "failed"}}
    assert scene.run() == 1
    assert "failed tasks: train" in capsys.readouterr().out


def test_time_runs_out_and_the_dag_run_goes_on(scene: Scene, capsys: Capture) -> None:
    scene.airflow.states = ["running"]
    assert scene.run(AIRFLOW_TIMEOUT="100", AIRFLOW_POLL_INTERVAL="7") == 4
    said = capsys.readouterr().out
    assert "has not ended within 100 s" in said
    assert f"/runs/{DAG_RUN}, or give the same command again to follow it" in said
    assert scene.time.seconds == 100


@pytest.mark.parametrize("lost", ["trigger", "follow"])
def test_a_lost_connection_is_waited_for(scene: Scene, capsys: Capture, lost: str) -> None:
    """Airflow is away for 40 s: once while the trigger's answer is on its way, once in the middle."""
    scene.airflow.states = ["running", "running", "success"]
    away = [False]
    scene.time.plans.append((44.0, lambda: away.__setitem__(0, False)))

    def lose(request: httpx.Request) -> httpx.Response | None:
        if away[0]:
            raise httpx.ConnectError("refused", request=request)
        if lost == "trigger" and request.method == "POST" and "dagRuns" in request.url.path and not scene.time.seconds:
            scene.airflow.runs[DAG_RUN] = {}  # it was made
            away[0] = True
            raise httpx.ReadError("reset", request=request)
        return None

    scene.airflow.fault = lose
    if lost == "follow":
        scene.time.plans.append((4.0, lambda: away.__setitem__(0, True)))
    assert scene.run() == 0
    said = capsys.readouterr().out
    assert said.count("no answer, asking again for 60 s") == 1
    assert "Airflow answers again" in said
    assert list(scene.airflow.runs) == [DAG_RUN]


def test_who_stays_away_too_long_is_unreachable(scene: Scene, capsys: Capture) -> None:
    def away(request: httpx.Request) -> httpx.Response | None:
        raise httpx.ConnectError("refused", request=request)

    scene.airflow.fault = away
    assert scene.run() == 5
    assert 60 <= scene.time.seconds < 80
    assert "may go on" not in capsys.readouterr().out  # nothing was started


def test_an_expired_token_is_replaced_in_the_middle(scene: Scene) -> None:
    scene.airflow.states = ["running", "running", "success"]
    scene.time.plans.append((4.0, lambda: scene.airflow.tokens.append("somebody else's")))
    assert scene.run() == 0


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"AIRFLOW_PASSWORD": "wrong-9c1d"}, "check AIRFLOW_USERNAME and AIRFLOW_PASSWORD, or AIRFLOW_TOKEN"),
        ({"AIRFLOW_DAG_ID": "other"}, "knows no DAG 'other'"),
    ],
)
def test_what_airflow_does_not_know_is_configuration(
    scene: Scene, capsys: Capture, env: dict[str, str], said: str
) -> None:
    assert scene.run(**env) == 2
    output = capsys.readouterr().out
    assert said in output
    assert "9c1d" not in output
    assert scene.airflow.runs == {}


def test_a_paused_dag_is_said_before_anything_is_started(scene: Scene, capsys: Capture) -> None:
    """What is there already is followed all the same."""
    scene.airflow.paused = True
    assert scene.run() == 2
    assert "airflow dags unpause recommendation_pipeline" in capsys.readouterr().out
    assert scene.airflow.triggers == 0
    scene.airflow.runs[DAG_RUN] = {}
    assert scene.run() == 0
    assert "is paused" in capsys.readouterr().out


def test_a_deleted_dag_run_is_a_failure(scene: Scene, capsys: Capture) -> None:
    scene.airflow.states = ["running"]
    scene.time.plans.append((4.0, scene.airflow.runs.clear))
    assert scene.run() == 1
    assert "is gone: somebody deleted it" in capsys.readouterr().out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_the_dag_run_and_says_how_to_follow_it(
    scene: Scene, capsys: Capture, number: signal.Signals, tmp_path: Path
) -> None:
    scene.airflow.states = ["running"]
    scene.time.plans.append((4.0, lambda: os.kill(os.getpid(), number)))
    kept = signal.signal(number, signal.SIG_IGN)  # as a shell leaves it for a job in the background
    try:
        assert scene.run(GITHUB_STEP_SUMMARY=str(tmp_path / "page.md")) == 130
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, kept)
    assert f"/runs/{DAG_RUN}, or give the same command again to follow it" in capsys.readouterr().out
    assert scene.airflow.triggers == 1
    assert "INTERRUPTED" in (tmp_path / "page.md").read_text()


def test_a_dry_run_asks_everybody_and_starts_nothing(scene: Scene, capsys: Capture) -> None:
    assert scene.run("--dry-run") == 0
    said = capsys.readouterr().out
    assert f"DAG run {DAG_RUN} would be started" in said
    assert f"http://replica-2:8000: 2 of 2 workers serve {RUN}" in said
    assert scene.airflow.runs == {}
    scene.airflow.runs[DAG_RUN] = {}
    assert scene.run("--dry-run") == 0
    assert "it would be followed" in capsys.readouterr().out
    scene.replicas["replica-2"].down = True
    assert scene.run("--dry-run") == 5
    scene.airflow.paused = True
    scene.airflow.runs.clear()
    assert scene.run("--dry-run") == 2
    assert scene.airflow.triggers == 0


def test_a_rehearsal_is_the_dags_dry_run_and_needs_no_proof(scene: Scene, capsys: Capture) -> None:
    scene.airflow.left = {("close_release", "return_value"): {"release_id": "r", "phase": "passed"}}
    assert scene.run("--rehearse") == 1  # no gate said pass
    scene.airflow.left["model_reload", "return_value"] = decision("pass")
    scene.replicas["replica-1"].down = True
    assert scene.run("--rehearse") == 0
    assert "nothing is changed" in capsys.readouterr().out
    assert list(scene.airflow.runs.values()) == [{"dry_run": True}]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--rollout", "0.1"],
        ["--mode", "shadow"],
        ["--mode", "canary", "--rollout", "2"],
        ["--run-id", "../x"],
        ["--commit", "HEAD"],
        ["--dry-run", "--rehearse"],
    ],
)
def test_what_can_not_be_meant_is_wrong_usage(scene: Scene, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        scene.run(*arguments)
    assert caught.value.code == 2
    assert scene.airflow.seen == []


def test_the_page_of_the_job_shows_the_verdicts_and_reads_nothing_from_outside_as_markup(
    scene: Scene, tmp_path: Path, capsys: Capture
) -> None:
    """Neither HTML, nor markdown, nor a line that GitHub would take for a command."""
    page = tmp_path / "page.md"
    reject(scene.airflow, "<script>x</script>\n::set-env name=A::b | **bold** [link](http://evil)")
    assert scene.run(GITHUB_STEP_SUMMARY=str(page)) == 3
    text = page.read_text()
    assert "## Release: REJECTED" in text
    assert "## Gate: FAIL" in text
    assert COMMIT in text
    assert "quality&#95;gate&#58; failed" in text
    assert not any(mark in text for mark in ("<script", "**bold**", "[link]", "\n::"))
    said = capsys.readouterr().out
    assert not any(line.startswith("::") for line in said.splitlines())
    assert not any(secret in text + said for secret in (PASSWORD, "reload-token-77aa", "token-0"))
