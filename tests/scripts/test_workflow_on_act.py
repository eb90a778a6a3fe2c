"""``.github/workflows/model-release.yml`` run as a whole by act: which jobs run when, and what each of its steps does.

act runs the steps on this machine, in a clone of the project.  Played are GitHub, the action that sets Python up, Airflow, the
replicas, and the programs ``docker`` and ``ssh``; real are the expressions, the clone, pip, and the command that asks.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from scripts.services import PROJECT
from tests.automation.scene import RUN, Scene, reject
from tests.fakes_airflow import PASSWORD
from tests.scripts.test_release_workflow import FAKE

pytestmark = [pytest.mark.slow, pytest.mark.long]
WORKFLOW = ".github/workflows/model-release.yml"
# makes an environment of its own, where GitHub's would put a Python first on PATH
SET_UP = """\
name: setup-python
inputs: {python-version: {required: true}}
runs:
  using: composite
  steps:
    - shell: bash
      run: test -e "$VENV" || PYTHON -m venv "$VENV"; echo "$VENV/bin" >>"$GITHUB_PATH"
"""
REACHED = {"AIRFLOW_BASE_URL": "", "MODEL_RELOAD_URL": "", "AIRFLOW_POLL_INTERVAL": "1"}
SERVER = {"RELEASE_SSH_HOST": "server.example", "RELEASE_IMAGE_PREFIX": "registry.example/x"}


@contextmanager
def played(scene: Scene) -> Iterator[dict[str, str]]:
    """Give addresses on loopback at which a scene answers, by the name of who answers there."""
    found = {}
    with ExitStack() as undone:
        for host in ("airflow", *scene.replicas):

            class Handler(BaseHTTPRequestHandler):
                name = host

                def _answer(self) -> None:
                    content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    url = f"http://{self.name}{self.path}"
                    answer = scene(httpx.Request(self.command, url, headers=dict(self.headers), content=content))
                    self.send_response(answer.status_code)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(answer.content)))
                    self.end_headers()
                    self.wfile.write(answer.content)

                do_GET = do_POST = _answer  # noqa: N815

                def log_message(self, *_: object) -> None:
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            undone.callback(server.server_close)
            undone.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            found[host] = f"http://127.0.0.1:{server.server_port}"
        yield found


@dataclass
class GitHub:
    """A clone, and what GitHub would run in it.

    Attributes:
        folder: of everything.
        scene: Airflow and replicas.
        addresses: where those are.
        commit: the one that was pushed.
        python: an environment that all jobs share, so that what they install is there already.
    """

    folder: Path
    scene: Scene
    addresses: dict[str, str]
    commit: str
    python: Path
    said: str = ""
    calls: list[list[str]] = field(default_factory=list)

    def run(self, event: str, inputs: Mapping[str, str], variables: Mapping[str, str]) -> int:
        """Let an event happen, with a form and the variables of the repository; return the exit status of act."""
        replicas = " ".join(url for host, url in self.addresses.items() if host != "airflow")
        where = {"AIRFLOW_BASE_URL": self.addresses["airflow"], "MODEL_RELOAD_URL": replicas}
        given = {name: where.get(name, value) for name, value in variables.items()}
        secrets = {
            "AIRFLOW_USERNAME": "ci", "AIRFLOW_PASSWORD": PASSWORD, "MODEL_RELOAD_TOKEN": str(self.scene.token),
            "RELEASE_SSH_KEY": "a-private-key-51aa",
        }  # fmt: skip
        act = shutil.which("act", path=str(Path(sys.executable).parent))
        assert act is not None
        command = [
            act,
            event,
            "--workflows",
            WORKFLOW,
            "--platform",
            "ubuntu-latest=-self-hosted",
            "--concurrent-jobs",
            "1",
        ]
        command += ["--local-repository", f"actions/setup-python@{self._pin()}={self.folder / 'set-up'}"]
        for option, values in (("--var", given), ("--input", inputs)):
            for name, value in values.items():
                command += [option, f"{name}={value}"]
        for name in secrets:
            command += ["--secret", name]
        home, programs = self.folder / "home", self.folder / "bin"
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "HOME": str(home), "VENV": str(self.python),
            "CALLS": str(self.folder / "calls"), **secrets,
        }  # fmt: skip
        done = subprocess.run(
            command,
            cwd=self.folder / "clone",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.said = done.stdout + done.stderr
        calls = self.folder / "calls"
        self.calls = [json.loads(one) for one in calls.read_text().splitlines()] if calls.exists() else []
        return done.returncode

    def _pin(self) -> str:
        (pin,) = {
            line.partition("setup-python@")[2].split()[0]
            for line in (PROJECT / WORKFLOW).read_text().splitlines()
            if "setup-python@" in line
        }
        return pin

    def ended(self, job: str) -> str:
        """Return how a job ended; empty: it did not run."""
        lines = [line for line in self.said.splitlines() if f"/{job}]" in line.replace("  ", "") or f"/{job} " in line]
        return next((line.partition("Job ")[2].strip() for line in reversed(lines) if "🏁" in line), "")


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("python") / "venv"


@pytest.fixture
def github(tmp_path: Path, python: Path) -> Iterator[GitHub]:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True, timeout=120)
    shutil.copy(PROJECT / WORKFLOW, clone / WORKFLOW)  # as it is now
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(
        [*git, "commit", "--quiet", "--all", "--allow-empty", "-m", "now"], cwd=clone, check=True, timeout=60
    )
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, check=True, capture_output=True, text=True).stdout
    (tmp_path / "set-up").mkdir()
    (tmp_path / "set-up" / "action.yml").write_text(SET_UP.replace("PYTHON", sys.executable))
    (tmp_path / "bin").mkdir()
    for name in ("ssh", "docker"):
        (tmp_path / "bin" / name).write_text(FAKE.format(python=sys.executable))
        (tmp_path / "bin" / name).chmod(0o755)
    scene = Scene()
    with played(scene) as addresses:
        yield GitHub(tmp_path, scene, addresses, commit.strip(), python)


RELEASE, IMAGE, DEPLOY = "Ask Airflow for a release", "Build and push the images", "Deploy to the server and release"


def test_a_push_asks_airflow_and_proves_the_release(github: GitHub) -> None:
    """The DAG run bears the commit; no secret is in what the job prints."""
    assert github.run("push", {}, REACHED) == 0, github.said
    assert list(github.scene.airflow.runs) == [f"commit__{github.commit}"]
    assert f"RELEASED: run {RUN} is released" in github.said
    assert (github.ended(RELEASE), github.ended(IMAGE), github.ended(DEPLOY)) == ("succeeded", "", "")
    assert PASSWORD not in github.said
    assert github.calls == []


def test_a_run_that_the_gate_rejects_fails_the_job(github: GitHub) -> None:
    reject(github.scene.airflow)
    assert github.run("push", {}, REACHED) != 0
    assert "REJECTED" in github.said
    assert github.ended(RELEASE) == "failed"


def test_by_hand_the_form_is_what_is_asked(github: GitHub) -> None:
    form = {"mode": "canary", "rollout": "0.1", "run_id": RUN, "dry_run": "false", "again": "false"}
    github.run("workflow_dispatch", form, {**REACHED, "AIRFLOW_TIMEOUT": "20"})
    ((name, conf),) = github.scene.airflow.runs.items()
    assert name.startswith(f"commit__{github.commit}")
    assert (conf["mode"], conf["rollout"], conf["run_id"]) == ("canary", 0.1, RUN)


def test_with_a_server_images_are_pushed_then_it_is_deployed(github: GitHub) -> None:
    assert github.run("push", {}, {**REACHED, **SERVER}) == 0, github.said
    programs = [(call[0], *call[1:3]) for call in github.calls]
    assert programs[:3] == [
        ("docker", "login", "ghcr.io"),
        ("docker", "compose", "build"),
        ("docker", "compose", "push"),
    ]
    assert f"scripts/release.sh --tag {github.commit} -- --mode primary" in github.calls[3][-1]
    assert (github.ended(IMAGE), github.ended(DEPLOY), github.ended(RELEASE)) == ("succeeded", "succeeded", "")
    assert github.scene.airflow.seen == []
    assert "a-private-key-51aa" not in github.said


def test_a_dry_run_deploys_nothing_and_starts_nothing(github: GitHub) -> None:
    form = {"mode": "primary", "rollout": "", "run_id": "", "dry_run": "true", "again": "false"}
    assert github.run("workflow_dispatch", form, {**REACHED, **SERVER}) == 0, github.said
    assert "DRY RUN" in github.said
    assert github.scene.airflow.triggers == 0
    assert github.calls == []


def test_without_settings_nothing_runs(github: GitHub) -> None:
    github.run("push", {}, {})
    assert github.scene.airflow.seen == []
    assert github.calls == []
    assert (github.ended(RELEASE), github.ended(IMAGE), github.ended(DEPLOY)) == ("", "", "")
