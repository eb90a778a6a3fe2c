"""``airflow dags test``: the whole job in one process on a laptop, without scheduler, triggerer and API server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.paths import ReleasePaths
from scripts.local_stack import LocalStack
from tests.live.shop import LAST_DAY, POLICY, write_shop

pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A database and a small shop's data; nothing runs."""
    home = tmp_path_factory.mktemp("laptop")
    policy = home / "release_policy.yaml"
    policy.write_text(POLICY)
    extra = {"PIPELINE_CONFIG": str(write_shop(home / "shop", LAST_DAY)), "RELEASE_POLICY": str(policy)}
    stack = LocalStack(home, extra=extra)
    stack.prepare_airflow()
    stack.airflow("db", "migrate")
    yield stack
    stack.stop()


def dags_test(stack: LocalStack) -> subprocess.CompletedProcess[str]:
    """Run it; ``stack.airflow`` gives up, and fails the test, after three minutes."""
    return stack.airflow("dags", "test", "recommendation_pipeline", check=False)


def events(stack: LocalStack) -> list[str]:
    return [entry.event.value for entry in FileLedger(ReleasePaths(stack.home)).read()]


def test_without_the_api_it_says_how_to_start_it(laptop: LocalStack) -> None:
    """In bounded time, and nothing is released; the ledger, and so the message of the DAG run, says it too."""
    done = dags_test(laptop)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said[-4000:]
    assert "is the recommendation API running? On a laptop: python -m recommendation_api --port" in said, said[-4000:]
    assert FileRegistry(ReleasePaths(laptop.home)).read().current is None
    assert events(laptop).count("failed") == 1
    assert "committed" not in events(laptop)


def test_with_the_api_it_releases(laptop: LocalStack) -> None:
    """Everything to ``verify``, in one process; the DAG run that failed before is no obstacle."""
    laptop.start_api()
    laptop.wait_for("recommendation API", f"{laptop.api_url}/health/live")
    done = dags_test(laptop)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    assert FileRegistry(ReleasePaths(laptop.home)).read().current is not None
    assert [event for event in events(laptop) if event in {"committed", "released", "verified"}] == [
        "committed",
        "released",
        "verified",
    ]
