"""The units: what systemd says of them where it is there, and that what they start is there."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import PROJECT

UNITS = sorted((PROJECT / "deploy" / "systemd").glob("*.[st]*"))
HOME = "/opt/model-release"


def read(unit: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # systemd's names have capitals
    parser.read(unit)
    return parser


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_them(tmp_path: Path) -> None:
    """With stand-ins for what is not installed on this machine."""
    for unit in UNITS:
        text = unit.read_text().replace("/usr/bin/docker", "/bin/true").replace("docker.service", "basic.target")
        (tmp_path / unit.name).write_text(text.replace(f"WorkingDirectory={HOME}", f"WorkingDirectory={tmp_path}"))
    command = ["systemd-analyze", "verify", "--recursive-errors=no", *(str(tmp_path / unit.name) for unit in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    about = [line for line in (done.stdout + done.stderr).splitlines() if "model-release" in line]
    assert (done.returncode, about) == (0, [])


def test_there_are_three() -> None:
    assert [unit.name for unit in UNITS] == [
        "model-release-deploy.service", "model-release-deploy.timer", "model-release.service",
    ]  # fmt: skip


def test_what_they_start_is_there() -> None:
    script = "scripts/release.sh --tag"
    deploy = read(PROJECT / "deploy" / "systemd" / "model-release-deploy.service")["Service"]
    assert deploy["WorkingDirectory"] == HOME
    assert deploy["ExecStart"] == f"/usr/bin/bash {script} ${{TAG}} --if-new"
    assert (PROJECT / "scripts" / "release.sh").exists()
    statuses = re.findall(r"REJECTED=(\d) UNFINISHED=(\d)", (PROJECT / "scripts" / "release.sh").read_text())
    assert deploy["SuccessExitStatus"].split() == list(statuses[0])


def test_cron_says_the_same() -> None:
    (line,) = [
        line for line in (PROJECT / "deploy/systemd/crontab").read_text().splitlines() if line and line[0] != "#"
    ]
    calendar = read(PROJECT / "deploy" / "systemd" / "model-release-deploy.timer")["Timer"]["OnCalendar"]
    minute, hour = line.split()[:2]
    assert calendar.endswith(f"{int(hour):02d}:{int(minute):02d}")
    assert f'cd {HOME} && . /etc/model-release/tag && bash scripts/release.sh --tag "$TAG" --if-new' in line
