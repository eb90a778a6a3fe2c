"""scripts/release.sh with a ``docker`` that only writes down what it is told, and fails where a test says so."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.compose import PROJECT

RELEASED, FAILED, USAGE, REJECTED, UNFINISHED, STUCK, BUSY = 0, 1, 2, 3, 4, 6, 7
COMMIT = "0123456789abcdef0123456789abcdef01234567"
OLD = ["old1", "old2", "old3"]

# One line per call in $LOG, with the tag that was in force.  $FAIL: a pattern of the calls that fail, with $FAIL_STATUS.
# Replicas are lines in $REPLICAS; those that a call adds are called after its tag and a number.
DOCKER = r"""#!/bin/bash
line="${TAG:-} $*"
echo "$line" >>"$LOG"
if [[ $line =~ --scale\ recommendation-api=([0-9]+) ]]; then
    while (($(wc -l <"$REPLICAS") < BASH_REMATCH[1])); do
        number=$(($(cat "$REPLICAS.$TAG" 2>/dev/null || echo 3) + 1))
        echo $number >"$REPLICAS.$TAG"
        echo "$TAG-$number" >>"$REPLICAS"
    done
fi
if [[ -n ${FAIL:-} && $line =~ $FAIL ]]; then exit "${FAIL_STATUS:-1}"; fi
case $* in
*"ps --quiet"* | *"ps --all --quiet"*) cat "$REPLICAS" ;;
"rm "*) for name in "${@:2}"; do sed -i "/^$name\$/d" "$REPLICAS"; done ;;
esac
"""


@dataclass
class Server:
    """A folder as on a server, and the docker of it."""

    folder: Path

    def release(self, *arguments: str, tag: str = "v2", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        environment = {
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "LOG": str(self.log), "REPLICAS": str(self.folder / "replicas"),
            **variables,
        }  # fmt: skip
        command = ["bash", str(self.folder / "scripts" / "release.sh"), "--tag", tag, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)

    @property
    def log(self) -> Path:
        """What docker was told."""
        return self.folder / "log"

    @property
    def calls(self) -> list[str]:
        """Each call with the tag in front."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def replicas(self) -> list[str]:
        """Which there are."""
        return (self.folder / "replicas").read_text().split()

    @property
    def tag(self) -> str:
        """What .env says that runs."""
        return next(line for line in (self.folder / ".env").read_text().splitlines() if line.startswith("TAG="))[4:]

    def place(self, *words: str) -> int:
        """Return which call it was, by words that are all in it."""
        return next(place for place, call in enumerate(self.calls) if all(word in call for word in words))


@pytest.fixture
def server(tmp_path: Path) -> Server:
    (tmp_path / "scripts").mkdir()
    shutil.copy(PROJECT / "scripts" / "release.sh", tmp_path / "scripts")
    (tmp_path / ".env").write_text("API_REPLICAS=3\nTAG=v1\n")
    (tmp_path / "replicas").write_text("".join(f"{name}\n" for name in OLD))
    for name, text in (("docker", DOCKER), ("git", f"#!/bin/bash\necho {COMMIT}\n")):
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return Server(tmp_path)


def test_a_release_is_one_step_after_the_other(server: Server) -> None:
    done = server.release()
    assert done.returncode == RELEASED, done.stdout + done.stderr
    assert server.tag == "v2"
    assert "API_REPLICAS=3" in (server.folder / ".env").read_text()
    order = [
        server.place("v2 compose config"), server.place("v2 compose pull"),
        server.place("v2 compose up", "--scale recommendation-api=6", "--no-recreate", "--wait"),
        server.place("exec v2-4", "/health/ready"), server.place("stop old1 old2 old3"),
        server.place("rm old1 old2 old3"), server.place("v2 compose up", "--remove-orphans"),
        server.place("v2 compose exec", "model_release.automation"),
    ]  # fmt: skip
    assert order == sorted(order)
    assert server.replicas == ["v2-4", "v2-5", "v2-6"]


def test_a_release_is_asked_for_where_every_replica_can_be_reached(server: Server) -> None:
    server.release("--", "--mode", "shadow", "--rollout", "0.1")
    call = server.calls[server.place("model_release.automation")]
    assert "MODEL_RELOAD_URL=http://v2-4:8000 http://v2-5:8000 http://v2-6:8000 " in call
    assert "--commit 0123456789abcdef0123456789abcdef01234567 --mode shadow --rollout 0.1" in call
    assert "PASSWORD=" not in call
    assert "TOKEN=" not in call


def test_images_can_be_built_here(server: Server) -> None:
    assert server.release("--build").returncode == RELEASED
    assert server.place("v2 compose build")
    assert not any("pull" in call for call in server.calls)


def test_a_deployment_without_a_release(server: Server) -> None:
    assert server.release("--deploy-only").returncode == RELEASED
    assert server.tag == "v2"
    assert not any("model_release.automation" in call for call in server.calls)


@pytest.mark.parametrize("fails", ["compose config", "compose pull"])
def test_nothing_is_changed_before_there_are_images(server: Server, fails: str) -> None:
    assert server.release(FAIL=f"v2 {fails}").returncode in {FAILED, USAGE}
    assert not any(" up " in call for call in server.calls)
    assert server.tag == "v1"


@pytest.mark.parametrize(
    "fails",
    [
        pytest.param("v2 compose up .*--scale", id="new replicas do not come up"),
        pytest.param("v2 compose up .*--remove-orphans", id="the rest does not come up"),
        pytest.param("exec v2-5 .*ready", id="a new replica is not ready"),
        pytest.param("v2 compose exec .*automation", id="the release fails"),
    ],
)
def test_what_fails_goes_back_to_the_tag_from_before(server: Server, fails: str) -> None:
    done = server.release(FAIL=fails)
    assert done.returncode == FAILED, done.stdout
    assert server.tag == "v1"
    assert "back to v1" in done.stdout
    assert len(server.replicas) == len(OLD)
    assert all(name.startswith("v1-") for name in server.replicas)
    assert server.place("v1 compose up", "--remove-orphans") > 0


def test_a_replica_that_is_not_ready_takes_nobodys_place(server: Server) -> None:
    server.release(FAIL="exec v2-5 .*ready")
    before = server.calls[: server.place("v1 compose up")]
    assert not any("stop old" in call for call in before)
    assert any("rm --force v2-4 v2-5 v2-6" in call for call in before)
    assert server.replicas == ["v1-4", "v1-5", "v1-6"]


def test_before_the_first_release_nobody_is_ready(server: Server) -> None:
    """So new replicas need not be."""
    assert server.release(FAIL="/health/ready").returncode == RELEASED


@pytest.mark.parametrize(("status", "word"), [(REJECTED, "rejected"), (UNFINISHED, "goes on")])
def test_what_is_no_failure_of_the_stack_leaves_it(server: Server, status: int, word: str) -> None:
    done = server.release(FAIL="automation", FAIL_STATUS=str(status))
    assert done.returncode == status
    assert word in done.stdout
    assert server.tag == "v2"
    assert not any(call.startswith("v1 ") for call in server.calls)


@pytest.mark.parametrize("fails", ["compose up .*--remove-orphans", "stop old1"])
def test_a_way_back_that_fails_too_is_said(server: Server, fails: str) -> None:
    done = server.release(FAIL=fails)
    assert done.returncode == STUCK
    assert "FAILED too" in done.stdout


def test_without_another_tag_there_is_no_way_back(server: Server) -> None:
    (server.folder / ".env").write_text("TAG=v2\n")
    done = server.release(FAIL="compose up .*--remove-orphans")
    assert done.returncode == FAILED
    assert "no other tag" in done.stdout


def test_two_at_once_are_one(server: Server) -> None:
    with (server.folder / ".release.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = server.release()
    assert done.returncode == BUSY
    assert server.calls == []
    assert server.release().returncode == RELEASED


@pytest.mark.parametrize(("first", "status"), [({}, RELEASED), ({"FAIL": "automation", "FAIL_STATUS": "3"}, REJECTED)])
def test_what_was_decided_is_not_asked_for_again_each_morning(
    server: Server, first: dict[str, str], status: int
) -> None:
    """Else it would be followed again, and called a failure once the schedule has released something newer."""
    assert server.release("--if-new", **first).returncode == status
    before = server.calls
    again = server.release("--if-new")
    assert (again.returncode, server.calls) == (RELEASED, before)
    assert "nothing new" in again.stdout


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"tag": "v3"}, id="another tag"),
        pytest.param({"arguments": ("--", "--mode", "shadow", "--rollout", "0.1")}, id="other options"),
        pytest.param({"commit": "f" * 40}, id="another commit"),
        pytest.param({"if_new": False}, id="not asked to be spared"),
    ],
)
def test_what_is_new_is_released(server: Server, changed: dict[str, Any]) -> None:
    assert server.release("--if-new").returncode == RELEASED
    before = len(server.calls)
    (server.folder / "bin" / "git").write_text(f"#!/bin/bash\necho {changed.get('commit', COMMIT)}\n")
    spared = ["--if-new"] if changed.get("if_new", True) else []
    assert server.release(*spared, *changed.get("arguments", ()), tag=changed.get("tag", "v2")).returncode == RELEASED
    assert any("model_release.automation" in call for call in server.calls[before:])


@pytest.mark.parametrize(
    ("arguments", "fails"), [(("--deploy-only",), {}), ((), {"FAIL": "v2 compose exec .*automation"})]
)
def test_what_was_not_released_is_new(server: Server, arguments: tuple[str, ...], fails: dict[str, str]) -> None:
    server.release(*arguments, **fails)
    assert server.release("--if-new").returncode == RELEASED
    assert server.tag == "v2"


@pytest.mark.parametrize("tag", ["", "../x", "a b", "-x"])
def test_a_tag_is_a_tag(server: Server, tag: str) -> None:
    assert server.release(tag=tag).returncode == USAGE
    assert server.calls == []


def test_without_settings_nothing_begins(server: Server) -> None:
    (server.folder / ".env").unlink()
    done = server.release()
    assert done.returncode == USAGE
    assert "docs/production.md" in done.stderr
