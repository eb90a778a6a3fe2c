"""``scripts/automate_release.py`` against a real Airflow 3 and ``recommendation_pipeline`` itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from model_release.adapters.file_registry import FileRegistry
from model_release.contract import utc_now
from model_release.registry import clear_latch, set_latch
from tests.automation.live_cases import AutomationCases
from tests.fakes_wecom import FakeWeCom
from tests.live.everything import installed
from tests.live.installation import PIPELINE, Installation

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


class Airflow3:
    """The live test's installation as the cases see it."""

    base_path = "/api/v1"  # as it stands in the variables of who has moved on from Airflow 2
    first_task = "train"

    def __init__(self, installation: Installation) -> None:
        stack = installation.stack
        self._installation = installation
        self.airflow_port, self.api_url = stack.airflow_port, stack.api_url
        self.username, self.password, self.token = stack.username, stack.password, stack.reload_token

    def dag_runs(self) -> list[str]:
        found = self._installation.rest.get(f"/dags/{PIPELINE}/dagRuns").raise_for_status().json()["dag_runs"]
        return [run["dag_run_id"] for run in found]

    def failing(self) -> AbstractContextManager[None]:
        return self._installation.fault("train", "before")

    @contextmanager
    def rejecting(self) -> Iterator[None]:
        registry = FileRegistry(self._installation.paths)
        registry.update(lambda state: set_latch(state, reason="a test", by="test", at=utc_now()))
        try:
            yield
        finally:
            registry.update(clear_latch)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, robot: FakeWeCom) -> Iterator[Airflow3]:
    with installed(tmp_path_factory.mktemp("automate"), robot, schedule="") as installation:
        installation.unpause(PIPELINE)
        yield Airflow3(installation)


class TestAirflow3(AutomationCases):
    """All cases."""
