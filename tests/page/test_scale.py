"""A long history and a large fleet: the first view stays small and quick, and who only looks again gets almost nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from model_release.paths import ReleasePaths
from model_release.registry import Registry
from tests.page.conftest import Login
from tests.page.large import RELEASES, fleet, write_large

pytestmark = pytest.mark.slow
FIRST_VIEW = ("/me", "/desired", "/fleet", "/traffic", "/alerts", "/health", "/timeline")


@pytest.fixture
def large(paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    state = write_large(paths)
    with fleet(state) as connection:
        monkeypatch.setenv("AIRFLOW_CONN_RECOMMENDATION_API", connection)
        yield state


def look(client: TestClient, page: str, tags: dict[str, str]) -> int:
    """Ask for the first view as the browser does; return how many bytes came."""
    size = 0
    for path in FIRST_VIEW:
        params = {"start": "2020-01-01T00:00:00Z", "end": "2030-01-01T00:00:00Z"} if path == "/timeline" else {}
        sent = {"if-none-match": tags[path]} if path in tags else {}
        answer = client.get(f"{page}/api{path}", params=params, headers=sent)
        assert answer.status_code in {200, 304}, answer.text
        tags[path] = answer.headers["etag"]
        size += len(answer.content)
    return size


@pytest.mark.usefixtures("large")
def test_the_first_view_of_a_long_history_is_small_and_quick(login: Login, page: str) -> None:
    """Below 300 kB and a second; looking again brings nothing and costs a tenth.  Processor time: the machine may be busy."""
    client, tags = login("viewer"), dict[str, str]()
    began = time.process_time()
    size = look(client, page, tags)
    first = time.process_time() - began
    began = time.process_time()
    again = look(client, page, tags)
    second = time.process_time() - began
    health = client.get(f"{page}/api/health").json()
    assert [len(line["points"]) for line in health["history"]["data"]["tables"]] == [20] * 5
    assert len(health["days"]["data"]["strips"][0]["points"]) == 12
    assert size < 300_000  # measured: see docs/benchmarks.md
    assert first < 2.0
    assert again == 0
    assert second < 0.5
    print(f"first view {size} bytes, {first:.2f} s; again {second:.2f} s")  # noqa: T201  (-s shows the figures)


@pytest.mark.usefixtures("large")
def test_the_whole_history_can_be_paged_through(login: Login, page: str) -> None:
    client, seen, after = login("viewer"), list[str](), None
    while True:
        params = {"start": "2020-01-01T00:00:00Z", "end": "2030-01-01T00:00:00Z", "limit": "100"}
        data = client.get(f"{page}/api/timeline", params=params | ({"after": after} if after else {})).json()["data"]
        seen += [one["release_id"] for one in data["releases"]]
        after = data.get("after")
        if after is None:
            break
    assert len(seen) == len(set(seen)) == data["total"] == RELEASES
