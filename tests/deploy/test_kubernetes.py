"""Manifests, without a cluster: their schemas, and what a release needs of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.compose import PROJECT, services

FOLDER = PROJECT / "deploy" / "kubernetes"
KUBERNETES = ("1.30", "1.37")  # the oldest and the newest that are meant
NO_MANIFEST = {"kustomization.yaml", "airflow-values.yaml"}


def objects() -> list[dict[str, Any]]:
    files = [file for file in sorted(FOLDER.glob("*.yaml")) if file.name not in NO_MANIFEST]
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


def named(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in objects() if (one["kind"], one["metadata"]["name"]) == (kind, name))


def pod(deployment: str) -> dict[str, Any]:
    return dict(named("Deployment", deployment)["spec"]["template"]["spec"])


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("one", [pytest.param(o, id=f"{o['kind']}-{o['metadata']['name']}") for o in objects()])
def test_it_keeps_to_the_schema(one: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


def test_a_mistake_is_found() -> None:
    """Else the check above could not fail."""
    one = named("Deployment", "recommendation-api")
    one["spec"]["strategy"]["rollingUpdate"]["maxSurplus"] = 1
    with pytest.raises(kubernetes_validate.ValidationError, match="maxSurplus"):
        kubernetes_validate.validate(one, KUBERNETES[1], strict=True)


def test_every_file_is_applied() -> None:
    kustomization = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
    assert {file.name for file in FOLDER.glob("*.yaml")} == {*kustomization["resources"], *NO_MANIFEST}
    images = {
        container["image"] for name in ("recommendation-api", "alert-bridge") for container in pod(name)["containers"]
    }
    assert images == {image["name"] for image in kustomization["images"]}


def test_an_update_takes_nobody_away_before_another_is_ready() -> None:
    deployment = named("Deployment", "recommendation-api")["spec"]
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (container,) = pod("recommendation-api")["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    drain = next(int(v["value"]) for v in container["env"] if v["name"] == "RECOMMENDATION_API_DRAIN_SECONDS")
    stop = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod("recommendation-api")["terminationGracePeriodSeconds"] > stop + drain + 15
    assert drain > container["readinessProbe"]["periodSeconds"] * container["readinessProbe"]["failureThreshold"]


def test_a_release_finds_every_replica() -> None:
    """Those that are not ready, too; users find only those that are."""
    machines = named("Service", "recommendation-api")["spec"]
    assert machines["clusterIP"] == "None"
    assert machines["publishNotReadyAddresses"] is True
    assert machines["ports"][0]["port"] == 8000
    users = named("Service", "recommendations")["spec"]
    assert "publishNotReadyAddresses" not in users
    labels = named("Deployment", "recommendation-api")["spec"]["template"]["metadata"]["labels"]
    for service in (machines, users):
        assert service["selector"].items() <= labels.items()


@pytest.mark.parametrize("name", ["recommendation-api", "alert-bridge"])
def test_pods_have_no_rights_that_they_do_not_need(name: str) -> None:
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    assert pod(name)["automountServiceAccountToken"] is False
    (container,) = pod(name)["containers"]
    context = container["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert {"requests", "limits"} <= set(container["resources"])
    assert not [v for v in container["env"] if v["name"].endswith(("TOKEN", "ROBOTS", "PASSWORD"))]


@pytest.mark.parametrize("name", ["recommendation-api", "alert-bridge"])
def test_pods_mount_what_is_there(name: str) -> None:
    claims = {one["metadata"]["name"] for one in objects() if one["kind"] == "PersistentVolumeClaim"}
    volumes = {volume["name"]: volume for volume in pod(name)["volumes"]}
    (container,) = pod(name)["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v} <= claims
    assert named("PersistentVolumeClaim", "release-state")["spec"]["accessModes"] == ["ReadWriteMany"]


def test_airflow_is_the_same_as_in_the_compose_file() -> None:
    """The same user, folder and host of the replicas; and no secret among the values."""
    file = FOLDER / "airflow-values.yaml"
    values = yaml.safe_load(file.read_text())
    assert f"{values['uid']}:{values['gid']}" == services()["airflow-worker"]["user"]
    assert values["volumes"][0]["persistentVolumeClaim"]["claimName"] == "release-state"
    home = {entry["name"]: entry["value"] for entry in values["env"]}["MODEL_RELEASE_HOME"]
    assert values["volumeMounts"][0]["mountPath"] == home
    assert '"host": "recommendation-api", "port": 8000' in file.read_text()
    assert not {"fernetKey", "jwtSecret", "apiSecretKey"} & set(values)
    assert values["config"]["api"]["base_url"].startswith("https://")  # else links name the pod's own localhost
    assert {"PROMETHEUS_URL", "ALERTMANAGER_URL"} <= {entry["name"] for entry in values["env"]}
    pins = (PROJECT / "docker" / "requirements-airflow.txt").read_text()
    assert f"apache-airflow=={values['airflowVersion']} " in pins


def test_versions_are_those_that_can_be_checked() -> None:
    assert set(KUBERNETES) <= {".".join(v.split(".")[:2]) for v in _versions()}


def _versions() -> list[str]:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    return [entry.name.removeprefix("v") for entry in folder.iterdir()]
