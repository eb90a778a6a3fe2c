"""The steps of ``.github/workflows/model-release.yml``, run as GitHub runs them, with programs that write down how they were called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.services import PROJECT

JOBS: dict[str, Any] = yaml.safe_load((PROJECT / ".github/workflows/model-release.yml").read_text())["jobs"]
COMMIT = "ab" * 20
FAKE = """#!{python}
import json, os, sys
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps([os.path.basename(sys.argv[0]), *sys.argv[1:]]) + "\\n")
print("::error::not a command of GitHub's")
sys.exit(int(os.environ.get("STATUS", "0")))
"""


class Runner:
    """A place where the programs that a step calls are fakes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls_file = folder, folder / "calls"
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name in ("ssh", "docker", "python"):
            (self.programs / name).write_text(FAKE.format(python=sys.executable))
            (self.programs / name).chmod(0o755)
        (folder / ".env.example").touch()

    def run(self, job: str, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a step: with ``shell: bash`` a pipe fails as its first part does, without it does not."""
        (step,) = [step for step in JOBS[job]["steps"] if step.get("name") == name]
        script = self.folder / "step.sh"
        script.write_text(step["run"])
        options = ["--noprofile", "--norc", "-eo", "pipefail"] if step.get("shell") == "bash" else ["-e"]
        return subprocess.run(
            ["bash", *options, str(script)],
            cwd=self.folder,
            env={
                "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.folder),
                "CALLS": str(self.calls_file),
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self.calls_file.read_text().splitlines()]


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def ssh(runner: Runner, **changes: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "COMMIT": COMMIT,
        "SSH_HOST": "server.example",
        "SSH_USER": "deploy",
        "SSH_KNOWN_HOSTS": "server.example ssh-ed25519 AAAA",
        "SSH_KEY": "a-private-key-51aa",
        "FOLDER": "model-release",
        "MODE": "primary",
        "ROLLOUT": "",
        "RUN_ID": "",
        "AGAIN": "",
    }
    name = "Deploy this tag and release by it; what fails goes back to the tag before"
    return runner.run("server", name, **{**settings, **changes})


def test_the_server_gets_the_commit_as_tag_and_the_options(runner: Runner) -> None:
    done = ssh(runner, MODE="canary", ROLLOUT="0.1", AGAIN="true")
    assert done.returncode == 0, done.stderr
    ((*_, target, command),) = runner.calls
    assert target == "deploy@server.example"
    assert command == (
        f"cd model-release && git fetch --quiet origin {COMMIT} && git checkout --quiet --detach {COMMIT} && "
        f"scripts/release.sh --tag {COMMIT} -- --mode canary --rollout 0.1 --again"
    )


@pytest.mark.parametrize("status", [1, 3, 255])
def test_how_it_ended_on_the_server_is_how_the_job_ends(runner: Runner, status: int) -> None:
    done = ssh(runner, STATUS=str(status))
    assert done.returncode == status


def test_no_input_is_run_and_no_line_is_a_command(runner: Runner) -> None:
    """What people type is one word on the server; what the server prints begins no line; the key is gone at the end."""
    done = ssh(runner, RUN_ID="x; touch owned $(id) `id`", FOLDER="a folder")
    ((*_, command),) = runner.calls
    words = subprocess.run(
        ["bash", "-c", f"set -- {command.partition(' -- ')[2]}; printf '%s\\n' \"$@\""],
        cwd=runner.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert words.stdout.splitlines() == ["--mode", "primary", "--run-id", "x; touch owned $(id) `id`"]
    assert command.startswith("cd a\\ folder && ")
    assert not any(line.startswith("::") for line in done.stdout.splitlines())
    assert not (runner.folder / ".ssh" / "release").exists()
    assert "a-private-key-51aa" not in done.stdout + done.stderr


def test_the_command_gets_what_was_chosen(runner: Runner) -> None:
    chosen = {"MODE": "shadow", "ROLLOUT": "0.1", "RUN_ID": "a b", "DRY_RUN": "true", "AGAIN": ""}
    assert runner.run("release", "Ask, follow, prove", **chosen, STATUS="3").returncode == 3
    assert runner.calls == [
        [
            "python",
            "scripts/automate_release.py",
            "--mode",
            "shadow",
            "--rollout",
            "0.1",
            "--run-id",
            "a b",
            "--dry-run",
        ]
    ]
    runner.calls_file.unlink()
    push = {"MODE": "primary", "ROLLOUT": "", "RUN_ID": "", "DRY_RUN": "", "AGAIN": ""}
    assert runner.run("release", "Ask, follow, prove", **push).returncode == 0
    assert runner.calls == [["python", "scripts/automate_release.py", "--mode", "primary"]]


def test_images_are_pushed_only_under_a_name(runner: Runner) -> None:
    names = ["airflow-scheduler", "recommendation-api", "alert-bridge", "collectd"]
    assert runner.run("image", "Build and push", PREFIX="").returncode != 0
    assert not runner.calls_file.exists()
    assert runner.run("image", "Build and push", PREFIX="ghcr.io/somebody").returncode == 0
    assert runner.calls == [["docker", "compose", "build", *names], ["docker", "compose", "push", *names]]


def test_every_action_is_pinned_and_no_job_may_write_more_than_images() -> None:
    for job in JOBS.values():
        assert job["permissions"] in ({}, {"contents": "read"}, {"contents": "read", "packages": "write"})
        for step in job["steps"]:
            assert "uses" not in step or len(step["uses"].partition("@")[2]) == 40
            assert "${{" not in step.get("run", "")  # what is put into a script's text is run
