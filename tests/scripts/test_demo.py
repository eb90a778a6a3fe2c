"""The demo's own small decisions; the whole of it is tried by hand and by the live tests' stack."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

from model_release.paths import ReleasePaths
from scripts import demo
from scripts.local_stack import LocalStack
from scripts.services import StackError
from tests.runs import publish_run


def test_each_demo_run_is_a_week_after_the_last(tmp_path: Path) -> None:
    paths = ReleasePaths(tmp_path)
    assert demo.next_as_of(paths) == demo.FIRST_AS_OF
    publish_run(paths, "first", as_of=demo.FIRST_AS_OF)
    assert demo.next_as_of(paths) == demo.FIRST_AS_OF + dt.timedelta(days=7)


def test_the_demo_ends_where_the_log_ends(tmp_path: Path) -> None:
    paths = ReleasePaths(tmp_path)
    publish_run(paths, "last", as_of=demo.LAST_AS_OF)
    assert demo.next_as_of(paths) == demo.LAST_AS_OF


def test_every_task_of_the_dag_is_shown_in_its_order() -> None:
    """Also the steps of a rollout, which are there only if they are asked for; Airflow lists tasks by name."""
    chain = ["check_data", "register", "quality_gate", "shadow_10", "judge_shadow_10", "model_reload"]
    after = dict(zip(chain, [*chain[1:], None], strict=True))
    tasks = [{"task_id": name, "downstream_task_ids": [after[name]] if after[name] else []} for name in sorted(chain)]
    run = demo.DagRun("run-1", demo.in_order(tasks), tasks={"shadow_10": {"state": "skipped"}})
    assert list(run.order) == chain
    assert [str(cell) for cell in run.render(0.0).columns[1].cells][:-1] == chain


def test_a_bad_date_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        demo.main(["--once", "--as-of", "christmas"])
    assert "christmas" in capsys.readouterr().err


def test_secrets_are_made_once_and_readable_by_their_owner_alone(tmp_path: Path) -> None:
    first, second = LocalStack(tmp_path), LocalStack(tmp_path)
    assert first.reload_token == second.reload_token
    assert len(first.reload_token) >= 32
    assert (tmp_path / "secrets.json").stat().st_mode & 0o077 == 0


def test_two_stacks_do_not_share_ports(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path)
    assert stack.airflow_port != stack.api_port


def test_nobodys_own_airflow_settings_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    assert "AIRFLOW__CORE__EXECUTOR" not in LocalStack(tmp_path).environment


def test_the_command_of_the_stack_answers_without_warnings_of_airflow(tmp_path: Path) -> None:
    """They come with every command that knows DAGs, and read .airflowignore."""
    stack = LocalStack(tmp_path)
    code = "import airflow.cli.commands.dag_command; from airflow.plugins_manager import get_plugin_info as i; i()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=stack.environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "warning" not in (done.stdout + done.stderr).lower()
    stack._write_command()
    assert "PYTHONWARNINGS=" in stack.command.read_text()


def test_the_last_line_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a space before the semicolon, wherever the line is wrapped."""
    monkeypatch.setattr(LocalStack, "start", lambda stack, **_: stack)
    monkeypatch.setattr(demo, "_release", lambda *_: demo.RELEASED)
    assert demo.main(["--once", "--home", str(tmp_path)]) == demo.RELEASED
    last = capsys.readouterr().out.replace("\n", "")
    assert last.endswith(f"State is kept in {tmp_path}; delete it to start over.")


def test_two_stacks_do_not_run_in_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = LocalStack(tmp_path), LocalStack(tmp_path)
    for stack in (first, second):
        monkeypatch.setattr(stack, "start_api", lambda: None)
        monkeypatch.setattr(stack, "start_airflow", lambda: None)
        monkeypatch.setattr(stack, "wait_for", lambda *_, **__: None)
    monkeypatch.setattr("scripts.local_stack.httpx.get", lambda *_, **__: None)
    first.start()
    with pytest.raises(StackError, match="another one runs in"):
        second.start()
    first.stop()
    second.start()
    second.stop()
