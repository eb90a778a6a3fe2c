"""Releases and rollbacks in a row through a real Airflow, under traffic; or, to compare, DAG runs that do nothing."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from scripts.local_stack import API_WORKERS
from scripts.services import Service, family
from tests.executors.servers import Servers
from tests.fakes_wecom import wecom
from tests.live.everything import installed
from tests.live.installation import PIPELINE, ROLLBACK, Ended, Installation
from tests.soak.growth import IN_AIRFLOW, KINDS, held, leaks
from tests.soak.traffic import Traffic

PRUNE, TRIVIAL = "recommendation_prune", "trivial"
PRUNE_EVERY = 5  # rounds
FIRST_DAY = dt.date(2025, 12, 31)  # each round trains on a day more: another run, and no worse a one
MOST_ROUNDS = 52  # then the log of the shop ends
RETENTION = "retention: {newest: 3, days: 0, past_currents: 2, staging_hours: 1}\n"
_OLD_SECONDS = 20.0  # a younger process is that of a task, or of a DAG file that is read
_NAMES = {"airflow": "API server", "scheduler": "scheduler", "triggerer": "triggerer", "processor": "DAG processor"}


@dataclass
class AirflowSoak:
    """One installation with its Airflow.

    Attributes:
        installation: everything that runs.
        servers: Airflow's database.
        series: what was measured after each round, by name.
        seconds: how long each round took.
        problems: what must not be.
    """

    installation: Installation
    servers: Servers
    series: dict[str, list[float]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    rollbacks: int = 0
    pruned: int = 0

    def first(self) -> None:
        """Release a run that is current before anything is measured."""
        self.installation.sell_on()
        with (self.installation.paths.root / "release_policy.yaml").open("a") as policy:
            policy.write(RETENTION)
        self.installation.unpause(PIPELINE)
        self._release(0)

    def round(self, number: int) -> None:
        """Release; roll back every second time; prune now and then."""
        before = self.installation.current
        self._release(number)
        if number % 2 == 0:
            self._well(number, self.installation.run(ROLLBACK, reason="soak", set_latch=False))
            self.rollbacks += 1
            if self.installation.current != before:
                self.problems.append(f"round {number}: went back to {self.installation.current}, not to {before}")
        if number % PRUNE_EVERY == 0:
            self._prune(number)

    def trivial_round(self, _: int) -> None:
        """Let as many tasks do nothing."""
        self._well(0, self.installation.run(TRIVIAL))

    def measure(self) -> None:
        """Note what every process, the database and the disk hold; what Airflow keeps is for information."""
        services = self.installation.stack.services
        for name, shown in _NAMES.items():
            self._note_processes(shown, services[name], KINDS[:3])
        self._note_processes("replica", services["recommendation API"], KINDS)
        self._note("models runs", len(list(self.installation.paths.models.glob("*/manifest.json"))))
        self._note("database rows", _rows(self.servers))
        self._note("logs mib", _mib(self.installation.paths.root / "airflow" / "logs"))

    def _release(self, number: int) -> None:
        day = FIRST_DAY + dt.timedelta(days=number)
        ended = self.installation.run(as_of=day.isoformat(), algorithm="personal_frequency")
        self._well(number, ended)
        if ended.state == "success" and ended.result("train")["run_id"] != self.installation.current:
            self.problems.append(f"round {number}: {self.installation.current} is current")

    def _prune(self, number: int) -> None:
        ended = self.installation.run(PRUNE)
        self._well(number, ended)
        self.pruned += len(ended.result("prune")["runs"]) if ended.state == "success" else 0
        if not (self.installation.paths.models / str(self.installation.current)).is_dir():
            self.problems.append(f"round {number}: the current run was pruned")

    def _well(self, number: int, ended: Ended) -> None:
        if ended.state != "success":
            self.problems.append(f"round {number}: {ended.dag_id} {ended.state}: {ended.tasks}")

    def _note_processes(self, shown: str, service: Service, kinds: tuple[str, ...]) -> None:
        if service.process is None:
            raise RuntimeError(f"{shown} is gone")
        holds = []
        for pid in family(service.process.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it may end meanwhile
                if _age_seconds(pid) > _OLD_SECONDS:
                    holds.append(held(pid))
        for kind in kinds:
            self._note(f"{shown} {kind}", sum(one[kind] for one in holds))

    def _note(self, name: str, value: float) -> None:
        self.series.setdefault(name, []).append(value)


@contextlib.contextmanager
def everything(root: Path) -> Iterator[AirflowSoak]:
    """Give an installation with each part of Airflow in processes of its own, on PostgreSQL."""
    servers = Servers(root, "LocalExecutor")
    try:
        with wecom() as robot, installed(root / "home", robot, servers, schedule="") as installation:
            yield AirflowSoak(installation, servers)
    finally:
        servers.postgres.remove()


def run(root: Path, *, rounds: int, minutes: float, trivial: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Do it; return what was found: ``problems`` is empty if all held.

    Args:
        root: an empty folder.
        rounds: at most ``MOST_ROUNDS``.
        minutes: after so many no further round begins.
        trivial: make DAG runs that do nothing, for comparison; there is no traffic then.
        say: hears of each round.
    """
    with everything(root) as soak, contextlib.ExitStack() as stack:
        step: Callable[[int], None] = soak.round
        traffic: Traffic | None = None
        if trivial:
            step = soak.trivial_round
            _add_trivial_dag(soak.installation)
        else:
            soak.first()
            traffic = stack.enter_context(Traffic([soak.installation.stack.api_url]))
        began = time.monotonic()
        for number in range(1, rounds + 1):
            at = time.monotonic()
            if at - began > 60 * minutes:
                break
            step(number)
            soak.seconds.append(time.monotonic() - at)
            soak.measure()
            lost = len(traffic.lost) if traffic else 0
            say(f"round {number}: {soak.seconds[-1]:.1f} s, {lost} requests lost; {_loads()}")
        seconds = time.monotonic() - began
        stack.close()
    return _found(soak, traffic, seconds=seconds)


def _found(soak: AirflowSoak, traffic: Traffic | None, *, seconds: float) -> dict[str, Any]:
    rounds = len(soak.seconds)
    problems = [*soak.problems, *leaks(soak.series, IN_AIRFLOW)]
    answered = sum(traffic.answered.values()) if traffic else 0
    if traffic is not None:
        problems += [f"lost: {one}" for one in traffic.lost[:5]]
        if answered < rounds:
            problems.append(f"only {answered} requests were answered: that is no traffic")
    return {
        "rounds": rounds,
        "rollbacks": soak.rollbacks,
        "pruned": soak.pruned,
        "workers": API_WORKERS,
        "seconds": seconds,
        "slowest": max(soak.seconds),
        "load": _loads(),
        "answered": answered,
        "lost": len(traffic.lost) if traffic else 0,
        "runs_that_answered": len(traffic.answered) if traffic else 0,
        "series": soak.series,
        "problems": problems,
    }


def _add_trivial_dag(installation: Installation) -> None:
    shutil.copy(Path(__file__).with_name("trivial_dag.py"), installation.paths.root / "dags")
    installation.wait_until("it is known", lambda: installation.rest.get(f"/dags/{TRIVIAL}").is_success)


def _age_seconds(pid: int) -> float:
    began = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return float(Path("/proc/uptime").read_text().split()[0]) - began


def _rows(servers: Servers) -> int:
    with psycopg.connect(f"postgresql://{servers.postgres.address}") as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        counts = [sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)) for (name,) in tables]
        found = connection.execute(sql.SQL(" UNION ALL ").join(counts)).fetchall()
    return sum(int(count) for (count,) in found)


def _mib(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / (1 << 20)


def _loads() -> str:
    return f"load {os.getloadavg()[0]:.1f}"
