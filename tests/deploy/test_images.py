"""The Dockerfile: what lint says, that nothing is missing in an image, and what the programs in Airflow's container do."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import secret_address
import write_private_files
from tests.deploy.compose import PROJECT

DOCKERFILE = PROJECT / "docker" / "Dockerfile"


def copied() -> list[str]:
    """Return what the Dockerfile takes from the project."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return [source.rstrip("/") for line in lines for source in line.split()[:-1]]


@pytest.mark.parametrize(
    "file",
    [
        DOCKERFILE,
        PROJECT / "docker" / "collectd" / "Dockerfile",
        PROJECT / "scripts" / "podman" / "stand-ins" / "Containerfile",
    ],
)
def test_hadolint_has_nothing_to_say(file: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hadolint")), str(file)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    """What .dockerignore leaves out does not exist for a build."""
    lines = (PROJECT / ".dockerignore").read_text().splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert "*" in lines
    for source in copied():
        assert list(PROJECT.glob(source)), source
        assert any(_reaches(source, pattern) for pattern in allowed), source


def test_every_foreign_package_has_a_hash() -> None:
    installs = re.findall(r"pip install (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert len(installs) == 5
    assert all("--require-hashes" in line or "--no-index --no-deps" in line for line in installs)


def test_images_end_as_somebody_without_rights() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    final = {stage.split()[2]: stage for stage in stages if " AS " in stage and "CMD [" in stage}
    assert set(final) == {"recommendation-api", "alert-bridge", "airflow"}
    assert all("USER 10001:10001" in stage for stage in final.values())


def test_health_checks_are_in_the_image() -> None:
    text = (PROJECT / "docker-compose.yaml").read_text()
    places = {"/opt/health/": "docker/health/", "/opt/airflow/": "docker/airflow/"}
    named = re.findall(
        r"(/opt/(?:health|airflow)/)(\w+\.py)", text + (PROJECT / "docker/airflow/airflow.cfg").read_text()
    )
    assert named
    assert [file for folder, file in named if not (PROJECT / places[folder] / file).exists()] == []


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    subprocess.run(["bash", str(PROJECT / "scripts" / "make_secrets.sh"), str(folder)], check=True, capture_output=True)
    return folder


def test_addresses_hold_quoted_passwords(secrets: Path) -> None:
    (secrets / "postgres_password").write_text("a/b@c:d\n")
    found = secret_address.address("database", secrets)
    assert found == "postgresql+psycopg2://airflow:a%2Fb%40c%3Ad@postgres:5432/airflow"
    assert secret_address.address("broker", secrets).endswith("@redis:6379/0")


def test_connections_reach_every_replica(secrets: Path, tmp_path: Path) -> None:
    """With the newer one of two reload tokens; and WeCom only if there is a robot."""
    (secrets / "model_reload_token").write_text("old-token\nnew-token\n")
    write_private_files.main(str(secrets), str(tmp_path))
    found = json.loads((tmp_path / "connections.json").read_text())
    assert set(found) == {"recommendation_api"}
    assert found["recommendation_api"]["password"] == "new-token"
    assert found["recommendation_api"]["extra"] == {"every_address": True}
    logins = json.loads((tmp_path / "passwords.json").read_text())
    assert logins["admin"] == (secrets / "airflow_admin_password").read_text()
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("*.json")} == {0o600}
    (secrets / "wecom_robots").write_text("shop=693a91f6-7xxx\nother=1\n")
    robot = write_private_files.connections(secrets)["wecom_robot"]
    assert robot == {"conn_type": "http", "password": "693a91f6-7xxx"}


def test_an_empty_secret_is_said(secrets: Path) -> None:
    (secrets / "model_reload_token").write_text("\n")
    with pytest.raises(SystemExit, match="model_reload_token is empty: scripts/make_secrets"):
        write_private_files.connections(secrets)


def test_limits_are_left_out_for_podman(tmp_path: Path) -> None:
    runc = _program(PROJECT / "scripts" / "podman" / "runc")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"process": {"args": ["x"], "rlimits": [{"type": "RLIMIT_NOFILE"}]}}))
    runc.without_limits(file, nested=True)
    assert json.loads(file.read_text()) == {"process": {"args": ["x"]}}
    assert runc.value_of(["exec", "--process", "p.json", "id"], "--process", "-p") == "p.json"
    assert runc.value_of(["create", "--bundle=b", "id"], "--bundle", "-b") == "b"


def test_podman_gives_no_more_memory_to_write_to_than_docker(tmp_path: Path) -> None:
    runc = _program(PROJECT / "scripts" / "podman" / "runc")
    file = tmp_path / "config.json"
    mounts = [{"type": "tmpfs", "destination": place} for place in ("/run", "/var/tmp", "/tmp", "/dev")]  # noqa: S108
    file.write_text(json.dumps({"root": {"readonly": True}, "mounts": mounts}))
    runc.as_docker(file)
    assert [one["destination"] for one in json.loads(file.read_text())["mounts"]] == ["/tmp", "/dev"]  # noqa: S108
    file.write_text(json.dumps({"root": {"readonly": False}, "mounts": mounts}))
    runc.as_docker(file)
    assert len(json.loads(file.read_text())["mounts"]) == len(mounts)


def _program(file: Path) -> ModuleType:
    from importlib.machinery import SourceFileLoader

    spec = importlib.util.spec_from_loader(file.name, SourceFileLoader(file.name, str(file)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _reaches(source: str, pattern: str) -> bool:
    return Path(source).match(pattern) or source.startswith(f"{pattern}/")
