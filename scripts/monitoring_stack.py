"""Prometheus, Alertmanager, node exporter, blackbox exporter and collectd on free ports, from the files in ``monitoring/``.

For the demo and the tests; the rules, routes, intervals and labels are those of production, only addresses are others.

    python -m scripts.monitoring_stack --home .demo --replica 127.0.0.1:8000
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from model_release.adapters.files import write_atomic
from scripts.monitoring_programs import Server, start, start_tool, tool
from scripts.services import PROJECT

MONITORING = PROJECT / "monitoring"
AIRFLOW = "http://airflow-apiserver:8080"  # as prometheus.yml names it
_NOBODY = "127.0.0.1:1"  # nothing listens there


@dataclass
class MonitoringStack:
    """What watches the product, on loopback, with all it writes in one folder.

    Attributes:
        home: folder for data, logs and rendered configuration.
        replicas: of the recommendation API, ``host:port``; see :meth:`set_targets` for later ones.
        evaluation: folder of ``data_quality_metrics.prom``.
        airflow_url: base address of Airflow; None: there is none, and AirflowDown says so.
        webhook_url: where Alertmanager sends alerts; None: to the bridge, or nowhere.
        bridge: command that starts the alert bridge on the port that it is given; None: none is started.
        environment: environment of the bridge.
        token: what Alertmanager shows to the bridge.
        ports: of ``prometheus``, ``alertmanager``, ``bridge`` and ``statsd`` (UDP, of collectd), where somebody expects them; else they are free ones.
        servers: what runs, by name.
    """

    home: Path
    replicas: Sequence[str]
    evaluation: Path
    airflow_url: str | None = None
    webhook_url: str | None = None
    bridge: Callable[[int], list[str]] | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    ports: Mapping[str, int] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose the port of StatsD; nothing is started yet."""
        self._statsd = self.ports.get("statsd") or _free_udp_port()

    @property
    def prometheus(self) -> Server:
        """The running Prometheus."""
        return self.servers["prometheus"]

    @property
    def alertmanager(self) -> Server:
        """The running Alertmanager."""
        return self.servers["alertmanager"]

    @property
    def addresses(self) -> dict[str, str]:
        """Environment variables that tell gate and Airflow where to ask, and Airflow where its metrics go."""
        asked = {"PROMETHEUS_URL": self.prometheus.url, "ALERTMANAGER_URL": self.alertmanager.url}
        return {**asked, **(statsd_settings(self._statsd) if "collectd" in self.servers else {})}

    @property
    def token_file(self) -> Path:
        """File with :attr:`token`, readable by its owner alone."""
        return self.home / "alert_bridge_token"

    def start(self) -> Self:
        """Start everything and wait until it answers.

        Raises:
            StackError: a program is missing, or did not come up; what had come up is ended.
        """
        (self.home / "targets").mkdir(parents=True, exist_ok=True)
        self.evaluation.mkdir(parents=True, exist_ok=True)
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token, encoding="utf-8")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End everything that was started, the newest first."""
        for name in reversed(list(self.servers)):
            self.servers.pop(name).close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def set_targets(self, job: str, targets: Sequence[str]) -> None:
        """Tell Prometheus, also while it runs, what belongs to ``job``; each target is ``host:port``."""
        text = json.dumps([{"targets": list(targets)}])
        write_atomic(self.home / "targets" / f"{job}.json", text)

    def start_alertmanager(self, port: int | None = None) -> Server:
        """Start Alertmanager, or start it again on ``port`` with what it knew before."""
        folder = self.home / "alertmanager"
        arguments = [
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'data'}",
            "--cluster.listen-address=",  # it is alone
        ]
        self.servers["alertmanager"] = start_tool("alertmanager", arguments, self._log("alertmanager"), port=port)
        return self.alertmanager

    def start_prometheus(self, port: int | None = None) -> Server:
        """Start Prometheus, or start it again on ``port`` with what it knew before."""
        folder = self.home / "prometheus"
        arguments = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
        self.servers["prometheus"] = start_tool("prometheus", arguments, self._log("prometheus"), port=port)
        self.set_targets("prometheus", [self.prometheus.address])
        return self.prometheus

    def _start(self) -> None:
        webhook = f"http://{_NOBODY}/alertmanager"
        if self.bridge is not None:
            port = self.ports.get("bridge")
            self.servers["bridge"] = start(
                "alert bridge",
                self.bridge,
                self._log("bridge"),
                port=port,
                ready="/health",
                environment=self.environment,
            )
            webhook = f"{self.servers['bridge'].url}/alertmanager"
        self._write("alertmanager", render_alertmanager(self.webhook_url or webhook, self.token_file))
        self.start_alertmanager(self.ports.get("alertmanager"))
        self.servers["node"] = start_tool(
            "node_exporter",
            [
                "--collector.disable-defaults",
                "--collector.textfile",
                f"--collector.textfile.directory={self.evaluation}",
            ],
            self._log("node"),
            ready="/metrics",
        )
        blackbox = [f"--config.file={MONITORING / 'blackbox' / 'blackbox.yml'}"]
        self.servers["blackbox"] = start_tool("blackbox_exporter", blackbox, self._log("blackbox"), ready="/-/healthy")
        self.set_targets("airflow-metrics", self._start_collectd())
        self.set_targets("recommendation-api", self.replicas)
        self.set_targets("alertmanager", [self.alertmanager.address])
        self.set_targets("node", [self.servers["node"].address])
        self.set_targets("alert-bridge", [self.servers["bridge"].address] if self.bridge else [])
        self.set_targets("prometheus", [])
        config = render_prometheus(
            self.home / "targets", self.servers["blackbox"].address, self.airflow_url or f"http://{_NOBODY}"
        )
        self._write("prometheus", config)
        self.start_prometheus(self.ports.get("prometheus"))

    def _start_collectd(self) -> list[str]:
        """Start collectd, and return where it is scraped; nowhere, if there is no such program."""
        program = tool("collectd")
        if program is None:
            return []
        folder = self.home / "collectd"
        folder.mkdir(parents=True, exist_ok=True)

        def command(port: int) -> list[str]:
            config = folder / "collectd.conf"
            config.write_text(render_collectd(folder, program, statsd=self._statsd, port=port), encoding="utf-8")
            return [str(program), "-f", "-C", str(config)]

        self.servers["collectd"] = start("collectd", command, self._log("collectd"), ready="/metrics")
        return [self.servers["collectd"].address]

    def _write(self, program: str, config: Mapping[str, Any]) -> None:
        folder = self.home / program
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{program}.yml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")

    def _log(self, name: str) -> Path:
        return self.home / "logs" / f"{name}.log"


def render_prometheus(targets: Path, blackbox: str, airflow_url: str) -> dict[str, Any]:
    """Return ``prometheus.yml`` with files in ``targets`` in the place of DNS, and with these addresses."""
    config: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    config["rule_files"] = [str(MONITORING / "prometheus" / name) for name in config["rule_files"]]
    config["alerting"]["alertmanagers"] = [_from_file(targets / "alertmanager.json")]
    for job in config["scrape_configs"]:
        name = job["job_name"]
        if name == "airflow":
            for group in job["static_configs"]:
                group["targets"] = [one.replace(AIRFLOW, airflow_url) for one in group["targets"]]
            job["relabel_configs"][-1]["replacement"] = blackbox
            continue
        job.pop("dns_sd_configs", None)
        job.pop("static_configs", None)
        job.update(_from_file(targets / f"{name}.json"))
    return config


def render_alertmanager(webhook_url: str, token_file: Path) -> dict[str, Any]:
    """Return ``alertmanager.yml`` with the bridge at ``webhook_url``."""
    text = (MONITORING / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    for receiver in config["receivers"]:
        for webhook in receiver.get("webhook_configs", []):
            webhook["url"] = webhook_url
            webhook["http_config"]["authorization"]["credentials_file"] = str(token_file)
    return config


def render_collectd(folder: Path, program: Path, *, statsd: int, port: int) -> str:
    """Return ``collectd.conf`` for loopback, with these ports and all that ``program`` writes in ``folder``."""
    text = (MONITORING / "collectd" / "collectd.conf").read_text(encoding="utf-8")
    for old, new in (('"0.0.0.0"', '"127.0.0.1"'), ('"8125"', f'"{statsd}"'), ('"9103"', f'"{port}"')):
        text = text.replace(old, new)
    places = {"BaseDir": folder, "PIDFile": folder / "pid"}
    unpacked = program.parent.parent / "root" / "usr"  # by scripts/debian_tools.sh
    if (unpacked / "lib" / "collectd").is_dir():
        places |= {"PluginDir": unpacked / "lib" / "collectd", "TypesDB": unpacked / "share" / "collectd" / "types.db"}
    return "".join(f'{name} "{place}"\n' for name, place in places.items()) + text


def statsd_settings(port: int) -> dict[str, str]:
    """Return the environment variables that let Airflow send its metrics to ``port`` of loopback."""
    return {
        "AIRFLOW__METRICS__STATSD_ON": "True",
        "AIRFLOW__METRICS__STATSD_HOST": "127.0.0.1",
        "AIRFLOW__METRICS__STATSD_PORT": str(port),
    }


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _from_file(path: Path) -> dict[str, Any]:
    return {"file_sd_configs": [{"files": [str(path)], "refresh_interval": "1s"}]}


def main() -> None:
    """Watch until somebody presses Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--home", type=Path, required=True, help="MODEL_RELEASE_HOME; writes below its folder monitoring/"
    )
    parser.add_argument("--replica", action="append", default=[], help="host:port of a replica; may be repeated")
    parser.add_argument("--airflow", help="base address of Airflow")
    parser.add_argument("--webhook", help="where Alertmanager sends alerts")
    options = parser.parse_args()
    home = options.home.resolve()
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    stack = MonitoringStack(
        home / "monitoring",
        options.replica,
        home / "data" / "evaluation",
        airflow_url=options.airflow,
        webhook_url=options.webhook,
    )
    with stack, contextlib.suppress(KeyboardInterrupt):
        for name, value in stack.addresses.items():
            print(f"export {name}={value}")
        print("Ctrl-C ends it.", flush=True)
        done.wait()


if __name__ == "__main__":
    main()
