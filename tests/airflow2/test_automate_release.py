"""``scripts/automate_release.py`` against a real Airflow 2.11: ``scripts/airflow2_check.sh`` makes it and runs this."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow2.server import Airflow2, airflow2
from tests.automation.live_cases import AutomationCases

COMMAND = os.environ.get("AIRFLOW2")
pytestmark = [
    pytest.mark.airflow,
    pytest.mark.slow,
    pytest.mark.skipif(COMMAND is None, reason="AIRFLOW2 names no airflow 2: scripts/airflow2_check.sh does"),
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow2]:
    assert COMMAND is not None
    with airflow2(Path(COMMAND), tmp_path_factory.mktemp("airflow2")) as found:
        yield found


class TestAirflow2(AutomationCases):
    """All cases."""
