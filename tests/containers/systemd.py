"""The units of deploy/systemd/ and the line for cron, under a systemd and a cron of their own, on a server that pulls from a registry."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable

from tests.containers.scene import PIPELINE, REPLICAS, Scene
from tests.containers.stack import API, StackError, wait
from tests.containers.visitors import Visitors

CONTAINER = "systemd"  # scripts/podman/server.sh starts it
STACK, DEPLOY, TIMER = "model-release.service", "model-release-deploy.service", "model-release-deploy.timer"
LOG = "/var/log/model-release.log"
_NOT = "FAILED"
_LONG = 900.0
_RELEASED = re.compile(r"RELEASED: run (\S+) is released")


class Systemd(Scene):
    """The proof that a service keeps the stack up, and that timer and cron release by it."""

    def run(self) -> None:
        """Carry it out.

        Raises:
            StackError: something did not happen as it should.
        """
        self._inside("sh", "-c", "echo TAG=v1 >>.env")
        begun = time.monotonic()
        self._inside("systemctl", "enable", "--now", STACK)
        self.tell(f"systemctl enable --now {STACK}: active after {time.monotonic() - begun:.0f} s")
        self.arrived()
        self.stack.turn_on(PIPELINE)
        first = self._by_timer("v2")
        with Visitors() as visitors:
            self._by_cron("v3", first)
        self.nobody_lost(visitors)
        self._inside("systemctl", "stop", STACK)
        left = [one.service for one in self.stack.containers() if one.pid]
        self.tell(f"systemctl stop {STACK}: {len(left)} of {len(self.stack.containers())} containers still run")
        if left:
            raise StackError(f"{STACK} is stopped, and these run: {left}")

    def _by_timer(self, tag: str) -> str:
        self._inside("sh", "-c", f"echo TAG={tag} >/etc/model-release/tag")
        self._inside("systemctl", "start", TIMER)
        return self._by("the timer", tag, lambda: self._journal(DEPLOY), f"Finished {DEPLOY}")

    def _by_cron(self, tag: str, before: str) -> None:
        """The same commit is the same release, also with another tag: nothing is trained."""
        dag_runs = self._dag_runs()
        own = r"s/^0 5 /* * /; s,/opt/model-release," + str(self.stack.folder) + ","
        self._inside("sh", "-c", f"sed '{own}' deploy/systemd/crontab | crontab -")
        wait("cron starts release.sh", lambda: "nothing new" in self._log(), 120)
        self.tell("cron ran release.sh with the tag and the commit that were released: nothing new")
        self._inside("sh", "-c", f"echo TAG={tag} >/etc/model-release/tag")
        wait("cron starts release.sh", lambda: f"images: {tag}" in self._log(), 120)
        self._inside("crontab", "-r")
        run = self._by("cron", tag, self._log, f"released with {tag}")
        if (run, self._dag_runs()) != (before, dag_runs):
            raise StackError(f"the same commit, and another release: {run} instead of {before}")

    def _log(self) -> str:
        return self._inside("sh", "-c", f"cat {LOG} 2>/dev/null || true")

    def _dag_runs(self) -> int:
        return int(self.stack.rest.get(f"/dags/{PIPELINE}/dagRuns").raise_for_status().json()["total_entries"])

    def _by(self, what: str, tag: str, said: Callable[[], str], end: str) -> str:
        begun = time.monotonic()
        wait(f"{what} starts release.sh", lambda: f"images: {tag}" in said(), 120)
        try:
            wait(f"{what} has ended", lambda: end in said() or _NOT in said(), _LONG, pause=5)
        except StackError as error:
            raise StackError(f"{error}:\n{said()}") from None
        found = _RELEASED.findall(said())
        if not found or _NOT in said():
            raise StackError(f"{what} released nothing:\n{said()}")
        self.stack.login()
        self.all_serve(found[-1])
        images = {one.image.rpartition(":")[2] for one in self.stack.containers(API)}
        if images != {tag} or len(self.stack.containers(API)) != REPLICAS:
            raise StackError(f"{what} should have brought {tag}, and the replicas are on {images}")
        self.tell(f"{what} ran release.sh --tag {tag}: {found[-1]} is released after {time.monotonic() - begun:.0f} s")
        return str(found[-1])

    def _journal(self, unit: str) -> str:
        return self._inside("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def _inside(self, *command: str) -> str:
        """Run a command beside systemd, in the server's checkout; return what it prints."""
        call = ["podman", "exec", "--workdir", str(self.stack.folder), CONTAINER, *command]
        done = subprocess.run(call, capture_output=True, text=True, check=False, timeout=_LONG)
        if done.returncode != 0:
            raise StackError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout
