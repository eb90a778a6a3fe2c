"""How ``scripts/automate_release.py`` ends against a real Airflow: one list of cases for every version.

The cases run in order and share one installation; each begins with a commit of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Protocol

import pytest

from model_release.adapters.recommendation_api_client import RecommendationApiClient
from scripts.services import PROJECT, free_port
from tests.chaos.proxy import FaultProxy, Mode

SCRIPT = PROJECT / "scripts" / "automate_release.py"
WAIT_SECONDS = 300.0
RELEASED, FAILED, USAGE, REJECTED, TIMED_OUT, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130


class Target(Protocol):
    """An Airflow with the recommendation API, and what can be made to go wrong in it."""

    airflow_port: int
    base_path: str  # behind the host, as old setups have it
    username: str
    password: str
    api_url: str
    token: str
    first_task: str  # that takes a while

    def dag_runs(self) -> list[str]:
        """Return the names of all DAG runs that the command made."""

    def failing(self) -> AbstractContextManager[None]:
        """Let a task of the DAG runs meanwhile fail."""

    def rejecting(self) -> AbstractContextManager[None]:
        """Let the gate reject meanwhile."""


class Command:
    """The command in a process of its own; what it prints is read as it comes."""

    started: ClassVar[list[subprocess.Popen[str]]] = []

    def __init__(self, target: Target, *arguments: str, port: int | None = None, **env: str) -> None:
        settings = {
            "AIRFLOW_BASE_URL": f"http://127.0.0.1:{port or target.airflow_port}{target.base_path}",
            "AIRFLOW_USERNAME": target.username,
            "AIRFLOW_PASSWORD": target.password,
            "AIRFLOW_TIMEOUT": str(WAIT_SECONDS),
            "AIRFLOW_POLL_INTERVAL": "0.3",
            "AIRFLOW_PATIENCE": "30",
            "MODEL_RELOAD_URL": target.api_url,
            "MODEL_RELOAD_TOKEN": target.token,
            "NO_PROXY": "127.0.0.1",
        }
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            env={**kept, **settings, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(self.process)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def until(self, text: str, times: int = 1) -> None:
        """Wait until it has printed something so many times."""
        deadline = time.monotonic() + WAIT_SECONDS
        while self.output.count(text) < times:
            assert time.monotonic() < deadline, f"{text!r} is not in:\n{self.output}"
            assert self._reader.is_alive() or text in self.output, f"it ended without {text!r}:\n{self.output}"
            time.sleep(0.02)

    def ends(self, status: int) -> str:
        """Wait for its end; return everything that it printed."""
        found = self.process.wait(WAIT_SECONDS)
        self._reader.join()
        assert found == status, self.output
        return self.output

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))


def commit(number: int) -> str:
    return f"{number:040x}"


class AutomationCases:
    """The cases; a subclass gives the fixture ``target``."""

    @pytest.fixture(autouse=True)
    def none_outlives_its_test(self) -> Iterator[None]:
        yield
        while Command.started:
            process = Command.started.pop()
            process.kill()
            process.wait()

    @pytest.fixture
    def proxy(self, target: Target) -> Iterator[FaultProxy]:
        found = FaultProxy(target.airflow_port)
        yield found
        found.close()

    def test_who_may_not_and_what_is_not_there_start_nothing(self, target: Target) -> None:
        """401 and 404: configuration, said by name."""
        wrong = Command(target, "--commit", commit(1), AIRFLOW_PASSWORD="wrong-9c1d")
        unknown = Command(target, "--commit", commit(1), AIRFLOW_DAG_ID="nobody_has_this_dag")
        said = wrong.ends(USAGE)
        assert "check" in said
        assert "9c1d" not in said
        assert "knows no DAG 'nobody_has_this_dag'" in unknown.ends(USAGE)
        assert target.dag_runs() == []

    def test_nobody_there_is_unreachable(self, target: Target) -> None:
        said = Command(target, "--commit", commit(1), port=free_port(), AIRFLOW_PATIENCE="1").ends(UNREACHABLE)
        assert "asking again for 1 s" in said

    def test_a_dry_run_starts_nothing(self, target: Target) -> None:
        assert "would be started" in Command(target, "--commit", commit(1), "--dry-run").ends(RELEASED)
        assert target.dag_runs() == []

    def test_a_release_over_lost_connections_is_one_release_and_is_served(
        self, target: Target, proxy: FaultProxy, tmp_path: Path
    ) -> None:
        """The trigger's answer is lost; in the middle nobody listens until it was noticed, and a second longer."""

        def lose_the_triggers_answer(piece: bytes) -> None:
            if proxy.lost and proxy.mode is Mode.ANSWER_LOST:
                proxy.set(Mode.PASS)
            elif not proxy.lost and piece.startswith(b"POST ") and b"/dagRuns " in piece.partition(b"\r\n")[0]:
                proxy.set(Mode.ANSWER_LOST)

        proxy.watch = lose_the_triggers_answer
        page = tmp_path / "page.md"
        command = Command(target, "--commit", commit(1), port=proxy.port, GITHUB_STEP_SUMMARY=str(page))
        command.until(f"{target.first_task}: running")
        assert proxy.lost >= 1
        proxy.set(Mode.REFUSE)
        command.until("no answer, asking again", times=2)
        proxy.set(Mode.REFUSE, seconds=1.0)
        said = command.ends(RELEASED)
        assert said.count("Airflow answers again") == 2
        assert "is there already, following it" in said  # made by the request whose answer was lost
        assert "close_release: success" in said
        assert "every worker of 1 replicas serves it" in said
        assert len(target.dag_runs()) == 1
        with RecommendationApiClient(target.api_url) as api:
            (served,) = {worker.current for worker in api.models().workers}
        assert f"run {served} is released" in said
        assert "## Release: RELEASED" in (text := page.read_text())
        assert "## Gate: PASS" in text
        assert not any(secret in text + said for secret in (target.password, target.token))

    def test_the_same_commit_again_is_the_same_release(self, target: Target) -> None:
        """Airflow answers 409: what is there is followed, and proved again."""
        said = Command(target, "--commit", commit(1)).ends(RELEASED)
        assert "is there already, following it" in said
        assert len(target.dag_runs()) == 1

    def test_a_failure_stays_one_until_it_is_asked_for_anew(self, target: Target) -> None:
        with target.failing():
            said = Command(target, "--commit", commit(2)).ends(FAILED)
        assert f"failed tasks: {target.first_task}" in said
        assert "--again asks anew" in Command(target, "--commit", commit(2)).ends(FAILED)
        assert len(target.dag_runs()) == 2

    def test_out_of_time_and_interrupted_it_goes_on_and_the_rejection_is_told_to_who_follows(
        self, target: Target, tmp_path: Path
    ) -> None:
        page = tmp_path / "page.md"
        with target.rejecting():
            said = Command(target, "--commit", commit(2), "--again", AIRFLOW_TIMEOUT="1").ends(TIMED_OUT)
            assert "give the same command again to follow it" in said
            left = Command(target, "--commit", commit(2), "--again")
            left.until("__2 is there already, following it")
            left.process.send_signal(signal.SIGINT)
            assert "give the same command again to follow it" in left.ends(INTERRUPTED)
            said = Command(target, "--commit", commit(2), "--again", GITHUB_STEP_SUMMARY=str(page)).ends(REJECTED)
        assert "quality_gate: failed" in said
        assert "## Gate: FAIL" in page.read_text()
        assert len(target.dag_runs()) == 3
