"""The schema of the exposure log, which lines count, and what its files are called."""

from __future__ import annotations

import datetime as dt
import json
import math
from typing import Any

import pytest
from pydantic import ValidationError

from model_release.exposures import (
    Exposure,
    FileName,
    NewOutcome,
    Outcome,
    complete,
    parse,
    safe_replica,
    timestamp,
)

EXPOSURE: dict[str, Any] = {
    "schema_version": 1, "kind": "exposure", "at": "2026-01-12T09:30:00.000000Z", "request_id": "r-1",
    "endpoint": "recommend", "id": "用户三", "k": 10, "run_id": "run-a", "variant": "current", "release_id": None,
    "generation": 3, "items": ["i1", "苹果"], "known": True, "degraded": None, "latency_ms": 0.2,
    "replica": "api-1", "worker": 0,
}  # fmt: skip
EVENT: dict[str, Any] = {
    "schema_version": 1, "kind": "event", "at": "2026-01-12T09:31:00.000000Z",
    "received_at": "2026-01-12T09:32:00.000000Z", "user": "u1", "item": "i1", "type": "purchase", "request_id": "r-1",
    "replica": "api-1", "worker": 0,
}  # fmt: skip
START = dt.datetime(2026, 1, 12, 9, 30, tzinfo=dt.UTC)


def line(record: dict[str, Any], **changes: Any) -> bytes:
    return json.dumps({**record, **changes}).encode()


def test_kind_says_what_a_line_is() -> None:
    assert isinstance(parse(line(EXPOSURE)), Exposure)
    assert isinstance(parse(line(EVENT)), Outcome)


def test_a_field_that_is_not_known_is_ignored() -> None:
    """A newer writer of the same version may have added one."""
    assert parse(line(EXPOSURE, locale="zh")) == parse(line(EXPOSURE))


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"kind": "click"},
        {"at": "2026-01-12T09:30:00"},
        {"latency_ms": -1},
        {"run_id": "../x"},
        {"variant": "shadow"},
        {"id": ""},
        {"k": 0},
    ],
)
def test_a_line_of_another_version_or_with_an_impossible_value_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse(line(EXPOSURE, **changes))


@pytest.mark.parametrize("missing", sorted(set(EXPOSURE)))
def test_no_field_of_an_answer_may_be_missing(missing: str) -> None:
    """Not even the version: half a line that happens to be JSON is not a record."""
    with pytest.raises(ValidationError):
        parse(line({name: value for name, value in EXPOSURE.items() if name != missing}))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", b""),
        (b"{}", b""),
        (b"{}\n", b"{}\n"),
        (b'{}\n{"a', b"{}\n"),
        (b"{}\n{}\n", b"{}\n{}\n"),
        (b"{}\n\0\0", b"{}\n"),
    ],
)
def test_a_line_without_its_end_does_not_count(content: bytes, expected: bytes) -> None:
    assert complete(content) == expected


def test_timestamps_have_six_digits_and_sort_as_text() -> None:
    """Also on a full second, where ISO 8601 would leave them out."""
    assert timestamp(1768210200.0) == "2026-01-12T09:30:00.000000Z"
    assert timestamp(1768210200.25) == "2026-01-12T09:30:00.250000Z"
    assert timestamp(1768210200.000042) == "2026-01-12T09:30:00.000042Z"


def test_no_timestamp_is_rounded_into_the_next_day() -> None:
    """Its line stands in the file of the day before."""
    assert timestamp(math.nextafter(1768262400.0, 0)) == "2026-01-12T23:59:59.999999Z"
    assert timestamp(1768262400.0) == "2026-01-13T00:00:00.000000Z"


def test_an_outcome_may_be_five_minutes_early_and_no_more() -> None:
    """Clocks of phones differ; a year ahead is a mistake."""
    body = {name: EVENT[name] for name in ("at", "user", "item", "type")}
    now = dt.datetime(2026, 1, 12, 9, 26, tzinfo=dt.UTC)
    assert NewOutcome.model_validate(body, context={"now": now}).user == "u1"
    with pytest.raises(ValidationError, match="lies in the future"):
        NewOutcome.model_validate(body, context={"now": now - dt.timedelta(seconds=1)})


def test_a_file_name_says_who_wrote_it_and_of_which_day_it_is() -> None:
    name = FileName(start=START, replica="api-1", worker=3, number=12)
    assert str(name) == "api-1.3.20260112T093000Z.12.jsonl"
    assert FileName.parse(str(name)) == name
    assert name.day == dt.date(2026, 1, 12)


@pytest.mark.parametrize(
    "name",
    [
        "api-1.3.20260112T093000Z.12.json",
        "api-1.3.20261312T093000Z.12.jsonl",
        "api.1.3.20260112T093000Z.12.jsonl",
        ".jsonl",
        "api-1.3.20260112T093000Z.12.jsonl\n",
    ],
)
def test_other_files_are_not_the_logs(name: str) -> None:
    """Nothing reads them, and no retention removes them."""
    assert FileName.parse(name) is None


def test_files_sort_by_time_whoever_wrote_them() -> None:
    names = ["z.0.20260111T000000Z.0.jsonl", "b.0.20260112T000000Z.10.jsonl", "a.0.20260112T000001Z.9.jsonl"]
    found = [FileName.parse(name) for name in reversed(names)]
    assert [str(name) for name in sorted(name for name in found if name)] == names


def test_a_replicas_name_becomes_safe_and_stays_its_own() -> None:
    """Dots separate the parts of a file name; a slash would lead elsewhere."""
    odd = ["api.1", "api/1", "api_1", "../../etc", "主机", "x" * 300, "x" * 301, ""]
    safe = [safe_replica(name) for name in odd]
    assert len(set(safe)) == len(odd)
    for name in safe:
        assert FileName.parse(str(FileName(start=START, replica=name, worker=0, number=0))) is not None
    assert safe_replica("api_1") == "api_1"
