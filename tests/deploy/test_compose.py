"""The stack in containers: what holds for every service, and that what it names is there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.deploy.compose import PROFILES, PROJECT, project, run, services

ONCE = {"airflow-init"}  # has an end, so neither a health check nor a restart
OPTIONAL = {
    "monitoring": {
        "prometheus",
        "alertmanager",
        "node-exporter",
        "blackbox-exporter",
        "collectd",
        "alert-bridge",
        "grafana",
    },
    "canary": {"recommendation-traffic"},
}
OWN = {"airflow", "recommendation-api", "alert-bridge", "collectd"}
_SECRET = re.compile(r"(PASSWORD|TOKEN|SECRET|KEY|CREDENTIAL|ROBOTS)", re.IGNORECASE)


def running() -> list[Any]:
    return [pytest.param(service, id=name) for name, service in services().items() if name not in ONCE]


def all_of_them() -> list[Any]:
    return [pytest.param(service, id=name) for name, service in services().items()]


@pytest.mark.parametrize("profiles", PROFILES)
def test_compose_takes_it(profiles: str) -> None:
    done = run("config", "--quiet", COMPOSE_PROFILES=profiles)
    assert (done.returncode, done.stderr) == (0, "")


def test_compose_refuses_a_mistake(tmp_path: Path) -> None:
    """Else the check above could not fail."""
    text = (PROJECT / "docker-compose.yaml").read_text().replace("networks: [release]", "networks: [releases]", 1)
    (tmp_path / "wrong.yaml").write_text(text)
    done = run("config", "--quiet", file=tmp_path / "wrong.yaml")
    assert done.returncode != 0
    assert "releases" in done.stderr


def test_it_keeps_to_the_schema() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, "docker-compose.yaml"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_profiles_hold_what_is_optional() -> None:
    core = set(project("")["services"])
    assert core == set(services()) - OPTIONAL["monitoring"] - OPTIONAL["canary"]
    for profile, names in OPTIONAL.items():
        assert set(project(profile)["services"]) - core == names


@pytest.mark.parametrize("service", running())
def test_it_is_watched_and_comes_back(service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    check = service["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert not check.get("disable", False)
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("service", all_of_them())
def test_it_has_limits(service: dict[str, Any]) -> None:
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert int(limits["memory"]) >= 64 * 2**20
    assert limits["pids"] >= 50
    assert service["logging"]["options"]["max-size"]  # a disk is a resource, too


@pytest.mark.parametrize("service", all_of_them())
def test_it_has_no_rights_that_it_does_not_need(service: dict[str, Any]) -> None:
    assert int(service["user"].split(":")[0]) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "pid", "network_mode", "devices"} & {key for key in service if service[key]}


@pytest.mark.parametrize("service", all_of_them())
def test_no_secret_is_in_an_environment_or_a_command(service: dict[str, Any]) -> None:
    """Both can be read by ``docker inspect``; a file that is named, or nothing, is none."""
    for variable, value in (service.get("environment") or {}).items():
        if _SECRET.search(variable) and value:
            assert str(value).startswith("/run/secrets/"), variable
    words = " ".join([*(service.get("command") or []), *(service.get("entrypoint") or [])])
    assert not re.search(r"pass(word)?[ =][^%\"$ ]", words), words


def test_secrets_are_files_that_one_command_makes(tmp_path: Path) -> None:
    script = PROJECT / "scripts" / "make_secrets.sh"
    folder = tmp_path / "secrets"
    subprocess.run(["bash", str(script), str(folder)], check=True, capture_output=True)
    made = {file.name: file.read_text() for file in folder.iterdir()}
    assert {Path(secret["file"]).name for secret in project()["secrets"].values()} == set(made)
    assert {name for name, content in made.items() if not content} == {"wecom_robots"}
    assert len(set(made.values())) == len(made)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o644}
    subprocess.run(["bash", str(script), str(folder)], check=True, capture_output=True)
    assert {file.name: file.read_text() for file in folder.iterdir()} == made


@pytest.mark.parametrize("service", all_of_them())
def test_what_it_mounts_is_there(service: dict[str, Any]) -> None:
    volumes = set(project()["volumes"])
    for mount in service.get("volumes", []):
        if mount["type"] == "volume":
            assert mount["source"] in volumes
        elif Path(mount["source"]) != PROJECT / "data":  # of the user
            assert Path(mount["source"]).exists(), mount["source"]
            assert mount["read_only"] is True


def test_what_writes_to_a_read_only_root_has_a_place_for_it() -> None:
    for name, service in services().items():
        assert "/tmp" in service["tmpfs"], name  # noqa: S108


def test_everything_that_is_released_is_one_volume() -> None:
    """Workers train into it, the triggerer reads it, replicas serve from it, the bridge and the exporter tell of it."""
    users = {
        name: next((m for m in service.get("volumes", []) if m["source"] == "release-state"), None)
        for name, service in services().items()
    }
    writes = {name for name, mount in users.items() if mount and not mount.get("read_only")}
    reads = {name for name, mount in users.items() if mount and mount.get("read_only")}
    airflow = {name for name in services() if name.startswith("airflow-")}
    assert writes == airflow | {"recommendation-api"}
    assert reads == {"alert-bridge", "node-exporter"}


def test_prometheus_finds_services_by_their_names() -> None:
    text = (PROJECT / "monitoring" / "prometheus" / "prometheus.yml").read_text()
    jobs = yaml.safe_load(text)["scrape_configs"]
    found = {
        (name, entry["port"]) for job in jobs for entry in job.get("dns_sd_configs", []) for name in entry["names"]
    }
    found |= {(host, int(port)) for host, port in re.findall(r"http://([a-z-]+):(\d+)/", text)}
    found |= {(host, int(port)) for host, port in re.findall(r"replacement: '([a-z-]+):(\d+)'", text)}
    assert ("recommendation-api", 8000) in found
    prometheus = set(services()["prometheus"]["networks"])
    for name, port in found:
        assert set(services()[name]["networks"]) & prometheus, name
        assert _port_of(name) == port, name
    assert len(services()["recommendation-api"]["networks"]) == 1  # else a replica has several addresses


def test_alertmanager_reaches_the_bridge_with_its_token() -> None:
    text = (PROJECT / "monitoring" / "alertmanager" / "alertmanager.yml").read_text()
    assert set(re.findall(r"url: http://([a-z-]+):(\d+)/", text)) == {("alert-bridge", "9095")}
    for file in re.findall(r"/run/secrets/(\w+)", text):
        assert file in {secret["source"] for secret in services()["alertmanager"]["secrets"]}


def test_the_proxy_asks_again_where_replicas_are() -> None:
    """And sends nobody to a replica that is not ready."""
    text = (PROJECT / "docker" / "proxy" / "haproxy.cfg").read_text()
    (template,) = re.findall(r"server-template replica (\d+) ([a-z-]+):(\d+) resolvers (\w+)", text)
    assert template[1:3] == ("recommendation-api", "8000")
    assert f"resolvers {template[3]}\n    parse-resolv-conf" in text
    assert int(template[0]) >= 2 * services()["recommendation-api"]["deploy"]["replicas"]  # during an update
    assert "uri /health/ready" in text
    assert "http-request deny deny_status 404 unless for_users" in text


def test_a_replica_stops_after_the_proxy_knows() -> None:
    text = (PROJECT / "docker" / "proxy" / "haproxy.cfg").read_text()
    (pause,) = re.findall(r"inter (\d+)ms fall 1", text)
    service = services()["recommendation-api"]
    drain = float(service["environment"]["RECOMMENDATION_API_DRAIN_SECONDS"])
    assert drain >= 3 * int(pause) / 1000
    assert _seconds(service["stop_grace_period"]) > drain + 15  # uvicorn's own grace, recommendation_api/process.py


def test_a_replica_is_healthy_before_the_first_release() -> None:
    """Ready it is not, and nobody could begin to release if the stack waited for that."""
    assert services()["recommendation-api"]["healthcheck"]["test"][-1].endswith("/health/live")


def test_only_machines_see_more_than_users_do() -> None:
    published = {
        name: [port["host_ip"] for port in service["ports"]]
        for name, service in services().items()
        if service.get("ports")
    }
    assert set(published) == {"proxy", "airflow-apiserver", "prometheus", "alertmanager", "grafana"}
    assert {ip for ips in published.values() for ip in ips} == {"127.0.0.1"}
    for name, service in services().items():
        if name in {"postgres", "redis"}:
            assert set(service["networks"]) == {"state"}
    assert project()["networks"]["state"]["internal"] is True


def test_every_foreign_image_has_a_version() -> None:
    for name, service in services().items():
        if "build" not in service:
            assert re.search(r":v?\d+\.?\d*", service["image"]), name
    assert {service["build"].get("target", "collectd") for service in services().values() if "build" in service} == OWN


def test_the_workflow_pushes_every_image_of_the_project() -> None:
    """Else a server, which pulls them, lacks one."""
    text = (PROJECT / ".github" / "workflows" / "model-release.yml").read_text()
    (pushed,) = re.findall(r"docker compose push (.+)", text)
    built = {service["image"] for service in services().values() if "build" in service}
    assert {services()[name]["image"] for name in pushed.split()} == built
    variables = re.findall(r"\$\{(\w+_IMAGE):-localhost/", (PROJECT / "docker-compose.yaml").read_text())
    assert all(f"export {name}=" in text for name in set(variables))


def test_the_example_of_settings_names_only_what_is_read() -> None:
    """And it is taken: with it, everything starts but what needs a robot."""
    text = (PROJECT / ".env.example").read_text()
    names = set(re.findall(r"^#?([A-Z_]+)=", text, re.MULTILINE)) - {"COMPOSE_PROFILES"}
    composed = (PROJECT / "docker-compose.yaml").read_text()
    assert names <= set(re.findall(r"\$\{([A-Z_]+)", composed))
    done = run("--env-file", str(PROJECT / ".env.example"), "config", "--format", "json")
    found = json.loads(done.stdout)["services"]
    assert set(found) == set(services()) - OPTIONAL["canary"]
    assert found["alert-bridge"]["environment"]["ALERT_BRIDGE_LOG_ONLY"] == "true"
    assert found["alert-bridge"]["environment"]["ALERT_BRIDGE_ROBOTS_FILE"] == ""
    assert found["airflow-worker"]["environment"]["PROMETHEUS_URL"] == "http://prometheus:9090"


def test_the_releases_page_reaches_what_it_shows() -> None:
    """The API server has the state, the addresses and the network of everything that the page asks."""
    done = run("--env-file", str(PROJECT / ".env.example"), "config", "--format", "json")
    found = json.loads(done.stdout)["services"]
    server = found["airflow-apiserver"]
    for variable, service in (("PROMETHEUS_URL", "prometheus"), ("ALERTMANAGER_URL", "alertmanager")):
        address = urlsplit(server["environment"][variable])
        assert address.hostname == service
        assert set(server["networks"]) & set(found[service]["networks"])
        assert address.port in {entry["target"] for entry in found[service]["ports"]}
    assert set(server["networks"]) & set(found["recommendation-api"]["networks"])
    assert "model_reload_token" in {entry["source"] for entry in server["secrets"]}
    assert ("release-state", "/srv/release") in {(mount["source"], mount["target"]) for mount in server["volumes"]}
    assert server["environment"]["AIRFLOW__API__BASE_URL"].startswith("http")


def test_settings_have_the_names_that_programs_read() -> None:
    from alert_bridge.settings import Settings as Bridge
    from recommendation_api.settings import Settings as Api

    for service, prefix, settings in (
        ("recommendation-api", "RECOMMENDATION_API_", Api),
        ("alert-bridge", "ALERT_BRIDGE_", Bridge),
    ):
        names = {
            name.removeprefix(prefix).lower() for name in services()[service]["environment"] if name.startswith(prefix)
        }
        known = set(settings.model_fields)
        assert names
        assert {name.removesuffix("_file") for name in names} <= known


def _port_of(name: str) -> int:
    ports = {"recommendation-api": 8000, "alert-bridge": 9095, "airflow-apiserver": 8080, "collectd": 9103}
    if name in ports:
        return ports[name]
    asked = " ".join(services()[name]["healthcheck"]["test"])
    (port,) = re.findall(r"127\.0\.0\.1:(\d+)/", asked)
    return int(port)


def _seconds(text: str) -> float:
    minutes, _, seconds = text.rpartition("m")
    return 60 * float(minutes or 0) + float(seconds.removesuffix("s"))
