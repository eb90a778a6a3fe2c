"""The OpenAPI document is what the API does: schemathesis asks it all that the document promises, and what it forbids."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import StartReplica
from tests.api.home import Home
from tests.api.replica import PROJECT, TOKEN, Replica

EXAMPLES = os.environ.get("API_EXAMPLES", "5")  # of each route; docs/how-to/check-the-api.md asks for many
CONFIGURATION = PROJECT / "tests" / "api" / "schemathesis.toml"


# one token for both rights: schemathesis is told one
EVENTS = {"RECOMMENDATION_API_EVENTS": "true", "RECOMMENDATION_EVENTS_TOKEN": TOKEN}


@pytest.fixture
def document(start: StartReplica) -> dict[str, Any]:
    return dict(start(settings=EVENTS).http.get("/openapi.json").json())


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = {f"{method} {path}": what for path, item in document["paths"].items() for method, what in item.items()}
    assert len(found) == 9
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_api_does_what_its_document_says(start: StartReplica, home: Home, tmp_path: Path) -> None:
    """No answer that is not documented, nothing forbidden accepted, nothing allowed refused, no 500, all checks on.

    The examples in the document are true here: their runs are there, and their release has a run on trial.
    """
    home.commit("run-b")
    home.commit("run-c", mode="canary", rollout_share=0.5, release_id="try-3", lease_seconds=3600)
    for seed, run_id in enumerate(("20260112-next-basket-2222bbbb", "20260119-als-3333cccc")):
        home.publish(run_id, seed=20 + seed)
    replica = start(settings=EVENTS)
    done = subprocess.run(
        [str(Path(sys.executable).with_name("schemathesis")), "--no-color", "--config-file", str(CONFIGURATION), "run",
         "--checks", "all", "--seed", "1", "--max-examples", EXAMPLES, f"{replica.url}/openapi.json"],
        cwd=tmp_path,
        env={**os.environ, "MODEL_RELOAD_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Tested: 9" in done.stdout
    assert "Traceback" not in replica.log


def test_every_error_in_the_document_is_a_problem(document: dict[str, Any]) -> None:
    """And nothing else is said to be one; a 503 says when to come back, a 401 what is asked for."""
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            refused = int(status) >= 400
            assert (list(response["content"]) == ["application/problem+json"]) is refused, (name, status)
            assert ("Retry-After" in response.get("headers", {})) is (status == "503"), (name, status)
            assert ("WWW-Authenticate" in response.get("headers", {})) is (status == "401"), (name, status)


def test_the_document_asks_for_the_token_where_the_api_does(document: dict[str, Any]) -> None:
    """Reload, lease and events, and nothing that a shop or Prometheus needs."""
    schemes = document["components"]["securitySchemes"]
    assert list(schemes.values()) == [{"type": "http", "scheme": "bearer"}] * 2
    needed = {
        name: operation["security"] for name, operation in operations(document).items() if "security" in operation
    }
    assert needed == {
        "post /models/reload": [{"reload token": []}],
        "post /models/lease": [{"reload token": []}],
        "post /events": [{"events token": []}],
    }
    assert set(schemes) == {"reload token", "events token"}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"prepare": 0}, 422),
        ({"prepare": "no"}, 422),
        ({"generation": "1"}, 422),
        ({"generation": True}, 422),
        ({"generation": 1.5}, 422),
        ({"run_id": "run-b", "mode": "canary", "rollout": "0.5"}, 422),
        ({"generation": 1_000_000.0}, 503),
    ],
)
def test_a_value_of_another_type_is_refused(replica: Replica, body: dict[str, object], status: int) -> None:
    """Text is no number and a number is no yes or no; 3.0 is 3, as in JSON."""
    replica.refuse(status, **body)
