"""scripts/release.sh on a server: a release, a second one beside it, two tags that are broken, and a run that the gate rejects."""

from __future__ import annotations

import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.containers.scene import ENDED, PIPELINE, REPLICAS, Scene
from tests.containers.stack import API, StackError, wait
from tests.containers.visitors import Visitors

RELEASED, FAILED, REJECTED, BUSY = 0, 1, 3, 7
BROKEN = {
    "never-healthy": "a recommendation API that never answers",
    "never-starts": "an Airflow that does not start",
}
_SECONDS = 1800
_RELEASED = re.compile(r"RELEASED: run (\S+) is released")


@dataclass
class Script:
    """The script, running on the server.

    Attributes:
        process: its process.
        log: what it prints.
        begun: when it began.
    """

    process: subprocess.Popen[bytes]
    log: Path
    begun: float = field(default_factory=time.monotonic)

    def ended(self, status: int) -> str:
        """Wait until it ends; return what it printed.

        Raises:
            StackError: with another status.
        """
        ended = self.process.wait(_SECONDS)
        if ended != status:
            raise StackError(f"release.sh ended with {ended}, not {status}:\n{self.said}")
        return self.said

    @property
    def said(self) -> str:
        """What it printed until now."""
        return self.log.read_text()

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.begun


class ReleaseScript(Scene):
    """The proof of scripts/release.sh; the stack's folder is the server's checkout."""

    def run(self) -> None:
        """Carry it out.

        Raises:
            StackError: something did not happen as it should.
        """
        script = self._start("v1", "--deploy-only")
        script.ended(RELEASED)
        self.tell(f"release.sh --tag v1 --deploy-only: {script.seconds:.0f} s, on a server where nothing ran")
        self.arrived()
        self.stack.turn_on(PIPELINE)
        run = self._released("v2")
        with Visitors() as visitors:
            for tag, what in BROKEN.items():
                self._goes_back(tag, what, run)
            self._rejected("v3", run)
        self.nobody_lost(visitors)

    def _released(self, tag: str) -> str:
        script = self._start(tag)
        wait("release.sh has its lock", lambda: "images:" in script.said, 30, pause=0.1)
        second = self._start("v3")
        said = second.ended(BUSY)
        self.tell(
            f"release.sh --tag {tag} runs; a second one ends with {BUSY} after {second.seconds:.1f} s: {said.strip()}"
        )
        found = _RELEASED.search(script.ended(RELEASED))
        if found is None:
            raise StackError("release.sh ended well and names no run")
        self._serves(found[1], tag)
        self.tell(f"status 0 after {script.seconds:.0f} s: {found[1]} is served by every process of every replica")
        return found[1]

    def _goes_back(self, tag: str, what: str, run: str) -> None:
        before = self._tag()
        script = self._start(tag)
        said = script.ended(FAILED)
        self._serves(run, before)
        why = next(line for line in said.splitlines() if "FAILED" in line).partition("FAILED: ")[2]
        self.tell(f"--tag {tag}, {what}: status {FAILED} after {script.seconds:.0f} s ({why}); everybody serves {run}")

    def _rejected(self, tag: str, run: str) -> None:
        self.stack.trigger(PIPELINE, "popular", {"algorithm": "popular"})
        wait("the worse run is judged", lambda: self.stack.state(PIPELINE, "popular") in ENDED, 600)
        worse = self.stack.evaluated(PIPELINE, "popular")
        script = self._start(tag, "--", "--run-id", worse)
        script.ended(REJECTED)
        self._serves(run, tag)
        self.tell(
            f"--tag {tag} -- --run-id {worse}, which is worse: status {REJECTED} after {script.seconds:.0f} s; {run} stays"
        )

    def _start(self, tag: str, *arguments: str) -> Script:
        """Start it on a commit of its own, as a server has after ``git pull``."""
        server = self.stack.folder
        author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
        commit = ["git", "-C", str(server), *author, "commit", "--quiet", "--allow-empty", "--message", tag]
        subprocess.run(commit, check=True, timeout=60)
        command = ["bash", str(server / "scripts" / "release.sh"), "--tag", tag, *arguments]
        log = server.with_name(f"release-{len(list(server.parent.glob('release-*.log')))}-{tag}.log")
        with log.open("wb") as stream:
            return Script(subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT), log)

    def _tag(self) -> str:
        return str(re.findall(r"^TAG=(.+)$", self.stack.settings.read_text(), re.MULTILINE)[-1])

    def _serves(self, run: str, tag: str) -> None:
        """Everything runs with a tag, also by .env, and everybody serves a run."""
        self.stack.login()
        self.all_serve(run)
        images = {one.image.rpartition(":")[2] for one in self.stack.containers() if "model-release-" in one.image}
        replicas = len(self.stack.containers(API))
        if (self._tag(), images, replicas) != (tag, {tag}, REPLICAS):
            raise StackError(f"expected {REPLICAS} replicas and all on {tag}; .env says {self._tag()}, images {images}")
