"""docs/reference/airflow.md says what DAGs, operators and connections are."""

from __future__ import annotations

import inspect
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest

from tests.docs_pages import REFERENCE, agree, codes, names, section, table


@pytest.fixture(scope="module")
def airflow_home() -> Iterator[None]:
    """A folder for what Airflow writes when it is imported, unless other tests have given it one."""
    if "AIRFLOW_HOME" in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AIRFLOW_HOME"] = folder
        yield
        del os.environ["AIRFLOW_HOME"]


@pytest.mark.usefixtures("airflow_home")
@pytest.mark.parametrize("dag", ["pipeline", "rollback", "latch", "reconciliation"])
def test_every_field_of_a_form_is_explained(dag: str) -> None:
    from model_release_airflow import form

    params: Mapping[str, Any] = getattr(form, f"{dag.upper()}_PARAMS")
    rows = {codes(row[0])[0]: row for row in table("airflow.md", f"`recommendation_{dag}`", "Param")}
    agree(set(rows), set(params), f"airflow.md, recommendation_{dag}")
    for name, param in params.items():
        expected = {None: "none", "": "required"}.get(param.value, str(param.value).lower())
        assert rows[name][2].strip("`") == expected, name


def parts() -> Mapping[str, Callable[..., Any]]:
    from model_release_airflow.notifications.reconciliation import WeComReconciliationNotifier
    from model_release_airflow.notifications.state import WeComAlertsNotifier, WeComStateNotifier
    from model_release_airflow.notifications.wecom import WeComRobotNotifier
    from model_release_airflow.operators.alerts_act import AlertsActOperator
    from model_release_airflow.operators.alerts_quiet import AlertsQuietOperator
    from model_release_airflow.operators.latch import LatchOperator
    from model_release_airflow.operators.model_reload import ModelReloadOperator
    from model_release_airflow.operators.release_close import ReleaseCloseOperator
    from model_release_airflow.operators.run_register import RunRegisterOperator
    from model_release_airflow.operators.run_verify import RunVerifyOperator
    from model_release_airflow.operators.state_reconcile import StateReconcileOperator
    from model_release_airflow.sensors.quality_gate import QualityGateSensor

    found: Sequence[Any] = (
        RunRegisterOperator, QualityGateSensor, ModelReloadOperator, RunVerifyOperator, ReleaseCloseOperator,
        LatchOperator, StateReconcileOperator, WeComRobotNotifier, WeComStateNotifier, WeComAlertsNotifier,
        AlertsActOperator, AlertsQuietOperator, WeComReconciliationNotifier,
    )  # fmt: skip
    return {part.__name__: part for part in found}


@pytest.mark.usefixtures("airflow_home")
@pytest.mark.parametrize(
    "name",
    [
        "RunRegisterOperator", "QualityGateSensor", "ModelReloadOperator", "RunVerifyOperator",
        "ReleaseCloseOperator", "LatchOperator", "StateReconcileOperator", "WeComRobotNotifier", "WeComStateNotifier",
        "WeComAlertsNotifier", "AlertsActOperator", "AlertsQuietOperator", "WeComReconciliationNotifier",
    ],
)  # fmt: skip
def test_every_parameter_of_an_airflow_part_is_explained(name: str) -> None:
    part: Any = parts()[name]
    own = {
        key: parameter
        for key, parameter in inspect.signature(part.__init__).parameters.items()
        if key != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    rows = {codes(row[0])[0]: row for row in table("airflow.md", f"`{name}`", "parameter")}
    agree(set(rows), set(own), f"airflow.md, {name}")
    for key, parameter in own.items():
        default = parameter.default
        expected = {inspect.Parameter.empty: "required", None: "none", "": "empty"}.get(default, f"`{default}`")
        assert rows[key][1] == expected, f"{name}.{key}"
        assert ("Templated." in rows[key][2]) == (key in part.template_fields), f"{name}.{key}"


@pytest.mark.usefixtures("airflow_home")
def test_every_field_of_the_connection_is_explained() -> None:
    from model_release_airflow.hooks.recommendation_api import RecommendationApiHook
    from model_release_airflow.provider import CONNECTION_FORM, get_provider_info

    (kind,) = get_provider_info()["connection-types"]
    assert f"Connection type `{RecommendationApiHook.conn_type}`" in (REFERENCE / "airflow.md").read_text()
    standard = {"host", "port", "schema", "password"}
    assert set(CONNECTION_FORM["placeholders"]) == standard
    agree(
        names("airflow.md", f"Connection type `{kind['connection-type']}`", "field"),
        standard | set(kind["conn-fields"]),
        "airflow.md, connection",
    )


@pytest.mark.usefixtures("airflow_home")
def test_every_task_of_a_dag_is_named_in_its_order() -> None:
    """The line of tasks below each DAG's heading is the order in which Airflow runs them."""
    from scripts.check_dags import read_dags

    dags: Mapping[str, Any] = read_dags().dags
    assert len(dags) == 8
    for dag_id, dag in dags.items():
        text = section("airflow.md", f"`{dag_id}`")
        written = re.findall(r"\w+", next(line for line in text.splitlines() if line.startswith("    ")))
        assert written == [task.task_id for task in dag.topological_sort()], dag_id


@pytest.mark.usefixtures("airflow_home")
def test_the_steps_of_the_pipeline_are_named_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of the variable, and the tasks that it makes."""
    from scripts.check_dags import read_dags

    text = section("airflow.md", "`recommendation_pipeline`")
    (steps,) = re.findall(r'RECOMMENDATION_RELEASE_STEPS="([^"]+)"', text)
    monkeypatch.setenv("RECOMMENDATION_RELEASE_STEPS", steps)
    dags: Mapping[str, Any] = read_dags().dags
    tasks = [task.task_id for task in dags["recommendation_pipeline"].topological_sort()]
    (written,) = re.findall(r"`(shadow_10 >>[^`]+)`", text)
    assert re.findall(r"\w+", written) == tasks[tasks.index("quality_gate") + 1 : tasks.index("model_reload")]


@pytest.mark.usefixtures("airflow_home")
def test_every_parameter_of_the_task_group_is_explained() -> None:
    """With its default, and whether it may be a template, as its docstring says."""
    from model_release_airflow.release import release_model

    own = inspect.signature(release_model).parameters
    rows = {codes(row[0])[0]: row for row in table("airflow.md", "`release_model`", "parameter")}
    agree(set(rows), set(own), "airflow.md, release_model")
    explained = re.findall(r":param (\w+): ((?:.|\n)*?)(?=\n\s*:param|\n\n)", release_model.__doc__ or "")
    templated = {name: text.endswith("(templated)") for name, text in explained}
    for key, parameter in own.items():
        expected = {inspect.Parameter.empty: "required", None: "none"}.get(parameter.default, f"`{parameter.default}`")
        assert rows[key][1] == expected, key
        assert rows[key][2].endswith("Templated.") == templated[key], key


@pytest.mark.usefixtures("airflow_home")
def test_every_task_of_the_task_group_is_explained() -> None:
    """Its line of tasks, and the table with the operator and the rule of each."""
    from airflow.sdk import DAG

    from model_release_airflow.release import Approval, release_model

    dag: Any = DAG("any")
    with dag:
        release_model(run_id="a", steps="shadow:0.1 canary:0.05", approval=Approval(hours=1))
    line = next(line for line in section("airflow.md", "`release_model`").splitlines() if line.startswith("    "))
    assert re.findall(r"\w+", line) == [task.task_id for task in dag.topological_sort()]
    rules = {"all_success": "succeeded", "none_failed": "nothing before it failed", "all_done_setup_success": "always"}
    goes_on = ""
    for row in table("airflow.md", "`release_model`", "task"):
        goes_on = goes_on if row[2] == "the same" else row[2]
        for name in codes(row[0]):
            found = dag.get_task(name)
            assert codes(row[1])[0].split("(")[0] == type(found).__name__, name
            assert rules[found.trigger_rule.value] in goes_on, name


@pytest.mark.usefixtures("airflow_home")
def test_every_key_of_an_event_is_explained() -> None:
    """Of the two assets, and nothing that they do not say."""
    from model_release.announcement import of_release_verified, of_run
    from model_release.contract import utc_now
    from model_release.registry import Current, RegisteredRun, Registry
    from model_release_airflow.assets import ALERTS, RELEASE, RUN

    current = Current(run_id="a", release_id="r", since=utc_now(), generation=1)
    pin = RegisteredRun(run_id="a", manifest_sha256="0" * 64, registered_at=utc_now(), release_id="r")
    registry = Registry(generation=1, current=current, runs=(pin,))
    release = of_release_verified(registry, [], run_id="a", release_id="r")
    run = of_run(registry, run_id="a", release_id="r", algorithm="als")
    assert release is not None
    assert run is not None
    assert names("airflow.md", "Assets", "asset") == {RUN.name, RELEASE.name, ALERTS}
    rows = {codes(row[0])[0]: row for row in table("airflow.md", "Extra of an event", "key")}
    agree(set(rows), {*run.extra, *release.extra}, "airflow.md, extra of an event")
    for key, row in rows.items():
        assert (row[1] == "yes", row[2] == "yes") == (key in run.extra, key in release.extra), key
