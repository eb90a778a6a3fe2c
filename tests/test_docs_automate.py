"""The page of ``scripts/automate_release.py`` says what its code says, and its list of packages is all that it needs."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from model_release.adapters.step_summary import SUMMARY_VARIABLE
from model_release.automation import settings
from model_release.automation.options import COMMIT, parser
from model_release.automation.settings import Settings
from model_release.ending import Result
from scripts.services import PROJECT
from tests.docs_pages import agree, codes, names, table

PAGE = "automate-release.md"
VARIABLES = {
    settings.BASE_URL, *settings.SECRETS, settings.DAG_ID, settings.TIMEOUT, settings.POLL_INTERVAL, settings.PATIENCE,
    settings.RELOAD_URL, COMMIT, SUMMARY_VARIABLE,
}  # fmt: skip


def test_every_variable_is_documented_with_its_default() -> None:
    agree(names(PAGE, "Environment", "variable"), VARIABLES, PAGE)
    told = {codes(row[0])[0]: row[1].strip("`") for row in table(PAGE, "Environment", "variable")}
    least = {"AIRFLOW_BASE_URL": "http://a", "AIRFLOW_TOKEN": "t", "MODEL_RELOAD_URL": "http://a"}
    found = Settings.from_environment(least)
    assert told["AIRFLOW_DAG_ID"] == found.dag_id
    assert float(told["AIRFLOW_TIMEOUT"]) == found.timeout_seconds
    assert float(told["AIRFLOW_POLL_INTERVAL"]) == found.poll_seconds
    assert float(told["AIRFLOW_PATIENCE"]) == found.patience_seconds


@pytest.mark.parametrize("secret", settings.SECRETS)
def test_what_is_called_secret_is_one(secret: str) -> None:
    (row,) = [row for row in table(PAGE, "Environment", "variable") if codes(row[0]) == [secret]]
    assert "secret" in row[2].lower()


def test_every_option_and_status_is_documented() -> None:
    options = {name for action in parser()._actions for name in action.option_strings if name.startswith("--")}
    agree(names(PAGE, "Options", "option"), options - {"--help"}, PAGE)
    told = {codes(row[1])[0]: int(row[0]) for row in table(PAGE, "Exit status", "status")}
    assert told == {result.name: result.value for result in Result}
    listed = [int(number) for number in re.findall(r"(?:status: |, |\n)(\d+) [a-zA-Z]", parser().description or "")]
    assert listed == sorted(told.values())


def test_the_packages_of_a_ci_job_are_all_that_the_command_needs() -> None:
    """Whatever it imports stands in the pinned list, at the version that everything else is tested with."""
    pinned = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (PROJECT / "scripts/requirements-automate.txt").read_text(), re.MULTILINE)
    )
    whole = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (PROJECT / "requirements.txt").read_text(), re.MULTILINE))
    assert {name: whole.get(name) for name in pinned} == pinned
    code = (
        "import sys, importlib.metadata as m; before = set(sys.modules); import model_release.automation.command\n"
        "tops = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "owners = m.packages_distributions()\n"
        "print(*sorted({owner for top in tops for owner in owners.get(top, ())}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    needed = {name.lower().replace("_", "-").replace(".", "-") for name in done.stdout.split()}
    assert "pydantic" in needed
    assert needed - {"model-release-airflow"} - OPTIONAL <= set(pinned), needed - set(pinned)


# httpx takes them if they are there
OPTIONAL = {"brotli", "brotlicffi", "zstandard", "click", "h2", "socksio", "setuptools"}
