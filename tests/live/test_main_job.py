"""The main job in a real Airflow: every way to start it, every way it can end.

The tests of this file share one installation and run in order; each says what it found and what it left.
"""

from __future__ import annotations

import json

import pytest

from model_release.verdict import Verdict
from scripts.local_stack import API_WORKERS
from tests.live.installation import AS_OF, PIPELINE, ROLLBACK, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


def test_the_schedule_releases_the_first_run(installation: Installation) -> None:
    """Unpaused, the DAG makes up its latest slot and nothing older; the API then serves what the DAG trained."""
    assert installation.current is None
    installation.unpause(PIPELINE)
    url = f"/dags/{PIPELINE}/dagRuns"

    def runs() -> list[dict[str, object]]:
        found: list[dict[str, object]] = installation.rest.get(url).raise_for_status().json()["dag_runs"]
        return found

    installation.wait_until("the schedule starts a run", lambda: bool(runs()))
    (run,) = runs()
    assert run["run_type"] == "scheduled"
    assert str(run["logical_date"]).endswith("T19:30:00Z")  # half past three in Shanghai
    ended = installation.ended(PIPELINE, str(run["dag_run_id"]))
    assert ended.state == "success", ended.tasks
    assert set(ended.tasks.values()) == {"success"}
    assert ended.decision is not None
    assert (ended.decision.verdict, ended.decision.no_baseline) == (Verdict.PASS, True)
    run_id = ended.result("train")["run_id"]
    assert installation.current == run_id
    assert {served for served, _ in installation.answers().values()} == {run_id}
    assert ended.events[:5] == ["registered", "gate_decided", "committed", "released", "verified"]
    assert [entry.by for entry in ended.entries][2].startswith(f"airflow:{PIPELINE}/model_reload")
    installation.sell_on()


def test_a_run_started_as_the_button_does_is_released_and_everybody_is_told(installation: Installation) -> None:
    before = installation.generation
    ended = installation.run(as_of=AS_OF[0], algorithm="personal_frequency")
    assert ended.state == "success", ended.tasks
    run_id = ended.result("train")["run_id"]
    assert installation.current == run_id
    assert installation.generation == before + 1
    workers = installation.models().workers
    assert [(worker.current, worker.generation, worker.candidate) for worker in workers] == [
        (run_id, before + 1, None)
    ] * API_WORKERS
    assert {served for served, _ in installation.answers().values()} == {run_id}
    assert ended.result("quality_gate")["verdict"] == "pass"
    said = installation.told(ended)
    assert "Released" in said
    assert run_id in said
    assert f"/dags/{PIPELINE}/runs/{ended.dag_run_id}" in said


def test_the_command_line_starts_a_shadow_that_users_never_see(installation: Installation) -> None:
    """``airflow dags trigger -c`` with mode and rollout reaches the API; every user keeps the list they had."""
    current, lists = installation.current, installation.lists()
    conf = {"as_of": AS_OF[1], "mode": "shadow", "rollout": 0.1}
    installation.stack.airflow("dags", "trigger", PIPELINE, "-c", json.dumps(conf), "--run-id", "by_hand")
    ended = installation.ended(PIPELINE, "by_hand")
    assert ended.state == "success", ended.tasks
    worker, other = installation.models().workers
    assert worker.candidate is not None
    assert other.candidate == worker.candidate
    assert (worker.candidate.run_id, worker.candidate.mode) == (ended.result("train")["run_id"], "shadow")
    assert worker.candidate.rollout == pytest.approx(0.1)
    assert worker.candidate.lease_until is not None
    assert worker.current == current
    assert installation.lists() == lists
    assert "trial_started" in ended.events
    assert "On trial" in installation.told(ended)


def test_the_candidate_is_released_later_by_its_run_id(installation: Installation) -> None:
    """Nothing is trained again; the trial ends with the promotion."""
    candidate = installation.models().workers[0].candidate
    assert candidate is not None
    ended = installation.run(run_id=candidate.run_id)
    assert ended.state == "success", ended.tasks
    assert ended.tasks["train"] == "skipped"
    assert installation.current == candidate.run_id
    assert installation.models().workers[0].candidate is None


def test_a_worse_model_is_rejected_with_numbers(installation: Installation) -> None:
    current, generation, lists = installation.current, installation.generation, installation.lists()
    ended = installation.run(as_of=AS_OF[2], algorithm="popular")
    assert ended.state == "failed"
    assert ended.tasks["quality_gate"] == "failed"
    assert ended.tasks["model_reload"] == ended.tasks["verify"] == "upstream_failed"
    decision = ended.decision
    assert decision is not None
    worse = next(result for result in decision.results if result.check == "ndcg-not-worse")
    assert worse.verdict is Verdict.FAIL
    assert worse.interval is not None
    assert worse.interval[1] is not None
    assert worse.interval[1] < worse.limit < 0  # type: ignore[operator]
    assert (installation.current, installation.generation, installation.lists()) == (current, generation, lists)
    said = installation.told(ended)
    assert "Rejected" in said
    assert "ndcg-not-worse" in said


def test_a_dry_run_judges_and_prepares_and_changes_nothing(installation: Installation) -> None:
    current, generation = installation.current, installation.generation
    ended = installation.run(as_of=AS_OF[2], algorithm="personal_frequency", dry_run=True)
    assert ended.state == "success", ended.tasks
    assert (ended.tasks["quality_gate"], ended.tasks["model_reload"]) == ("success", "skipped")
    assert (installation.current, installation.generation) == (current, generation)
    assert ended.result("train")["run_id"] in installation.models().workers[0].resident


@pytest.mark.parametrize(
    ("conf", "said"),
    [
        ({"rollout": 2}, "rollout"),
        ({"mode": "sideways"}, "mode"),
        ({"run_id": "../../etc/passwd"}, "run_id"),
        ({"as_of": "yesterday"}, "as_of"),
        ({"modus": "shadow", "rollout": 0.1}, "modus: unknown key, did you mean 'mode'?"),
    ],
)
def test_a_bad_form_is_refused_before_anything_runs(
    installation: Installation, conf: dict[str, object], said: str
) -> None:
    answer = installation.rest.post(f"/dags/{PIPELINE}/dagRuns", json={"logical_date": None, "conf": conf})
    assert answer.status_code == 400
    assert said in answer.text


def test_the_rollback_brings_back_the_lists_of_the_older_run(installation: Installation) -> None:
    """Not only the label: every user gets what they got before; automatic releases are stopped until it is cleared."""
    newest, newest_lists = installation.current, installation.lists()
    ended = installation.run(ROLLBACK, reason="customers complain")
    assert ended.state == "success", ended.tasks
    older = ended.result("choose_run")
    assert older != newest
    assert installation.current == older
    older_lists = installation.lists()
    assert {served for served, _ in installation.answers().values()} == {older}
    assert older_lists != newest_lists
    assert "customers complain" in " ".join(entry.reason for entry in ended.entries)

    stopped = installation.run(as_of=AS_OF[3])
    assert stopped.state == "failed"
    assert stopped.decision is not None
    assert next(result for result in stopped.decision.results if result.check == "latch").verdict is Verdict.FAIL
    assert installation.current == older

    assert installation.run("recommendation_latch", action="clear", reason="fixed").state == "success"
    named = installation.run(ROLLBACK, reason="it was right after all", run_id=newest, set_latch=False)
    assert named.state == "success", named.tasks
    assert installation.lists() == newest_lists


def test_a_viewer_may_not_start_a_release(installation: Installation) -> None:
    stack = installation.stack
    with stack.rest("viewer", stack.viewer_password) as rest:
        answer = rest.post(f"/dags/{PIPELINE}/dagRuns", json={"logical_date": None, "conf": {}})
    assert answer.status_code == 403


def test_no_secret_is_in_any_log_or_file(installation: Installation) -> None:
    """Neither the reload token nor the robot's key: not in logs, XComs, ledger or reports."""
    secrets = (installation.stack.reload_token.encode(), installation.robot.key.encode())
    looked_at = 0
    for file in installation.paths.root.rglob("*"):
        if file.is_file() and file.name != "secrets.json":
            content = file.read_bytes()
            looked_at += 1
            assert not any(secret in content for secret in secrets), file
    assert looked_at > 50
