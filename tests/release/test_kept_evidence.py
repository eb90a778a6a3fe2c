"""Evidence on disk: the same decision can be made from it again."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, TypeAdapter

from model_release.adapters.evidence import collect
from model_release.adapters.kept_evidence import evidence_path, read_evidence, read_kept, write_evidence
from model_release.adapters.typed_json import decoded, encoded
from model_release.blocks import Series
from model_release.errors import InvalidInputError, StateCorruptError
from model_release.evidence import (
    Alert,
    Evidence,
    History,
    Missing,
    NumberQuery,
    OnlineEvidence,
    Point,
    Points,
    RangeQuery,
    Reconciliation,
    Scrape,
    TrialFacts,
)
from model_release.judge import judge
from model_release.paths import ReleasePaths
from model_release.policy import Stage
from tests.gate_evidence import CANDIDATE, NOW, check, evidence, policy
from tests.gate_evidence import write_evidence as write_files

AwareTime = TypeAdapter(AwareDatetime)
POLICY = policy(check("data_quality"), check("freshness"), check("absolute"), check("non_inferiority"))
NUMBERS = st.floats().map(lambda value: math.nan if math.isnan(value) else value)  # of NaNs there is one
TEXTS = st.text(max_size=20)
TIMES = st.datetimes(timezones=st.just(dt.UTC)).map(lambda time: time.replace(fold=0))
LABELS = st.dictionaries(TEXTS, TEXTS, max_size=3)
MISSING = st.builds(Missing, TEXTS, st.booleans())
TRIALS = st.builds(
    TrialFacts,
    run_id=TEXTS,
    current_run_id=TEXTS,
    mode=st.sampled_from(["shadow", "canary"]),
    rollout=NUMBERS,
    release_id=TEXTS,
    started_at=TIMES,
    lease_until=st.none() | TIMES,
)
ARRAYS = st.lists(NUMBERS, max_size=5).map(lambda values: np.array(values, dtype=np.float64))
HISTORIES = st.builds(History, st.lists(st.builds(Series, LABELS, ARRAYS), max_size=2).map(tuple))
POINTS = st.builds(Points, st.lists(st.builds(Point, LABELS, NUMBERS, NUMBERS), max_size=2).map(tuple))
ONLINE = st.builds(
    OnlineEvidence,
    trial=TRIALS | MISSING,
    clock_offset_seconds=NUMBERS | MISSING,
    bounds=ARRAYS,
    scrapes=st.lists(st.builds(Scrape, LABELS, NUMBERS, NUMBERS), max_size=2).map(tuple) | MISSING,
    histories=st.dictionaries(st.builds(RangeQuery, TEXTS), HISTORIES | MISSING, max_size=2),
    numbers=st.dictionaries(st.builds(NumberQuery, TEXTS), POINTS | MISSING, max_size=2),
)
ALERTS = st.builds(Alert, LABELS, st.sampled_from(["active", "suppressed", "unprocessed"]), st.booleans(), TIMES, TEXTS)
RECONCILIATIONS = st.builds(
    lambda **fields: Reconciliation.model_validate_json(Reconciliation(**fields).model_dump_json()),  # as from a file
    schema_version=st.just(1),
    date=st.dates(),
    written_at=TIMES,
    status=st.just("differs"),
    problems=st.lists(TEXTS.filter(bool), min_size=1, max_size=2).map(tuple),
)


def keep(paths: ReleasePaths, whole: Evidence, stage: Stage = "offline") -> Path:
    """Keep ``whole`` with what the policy says of it; its stage does not matter for how it is kept."""
    decision = judge(POLICY, replace(whole, release_id=whole.release_id or "x"), NOW)
    return write_evidence(paths, whole, decision.model_copy(update={"stage": stage}))


def collected(paths: ReleasePaths, **changes: Any) -> Evidence:
    """Return what the gate would look at in a whole installation."""
    write_files(paths, better_by=0.01)
    return replace(collect(paths, POLICY, CANDIDATE, "release-1"), **changes)


def test_the_same_decision_comes_out_of_it(paths: ReleasePaths) -> None:
    """From real files, with the values of single users read again: byte for byte."""
    whole = collected(paths)
    path = keep(paths, whole, "offline")
    again = read_evidence(paths, "release-1", "offline")
    assert again is not None
    assert judge(POLICY, again, NOW).model_dump_json() == judge(POLICY, whole, NOW).model_dump_json()
    assert path == evidence_path(paths, "release-1", "offline")
    assert path.stat().st_size < 10_000  # users are not in it
    assert b"user-17" not in gzip.decompress(path.read_bytes())


@given(
    online=ONLINE | st.none(),
    alerts=st.lists(ALERTS, max_size=2).map(tuple) | MISSING,
    reconciliation=RECONCILIATIONS | MISSING,
    registry=st.just(evidence().registry) | MISSING,
    evaluation=st.just(evidence().evaluation) | MISSING,
    quality=st.dictionaries(TEXTS, NUMBERS, max_size=3),
    measured_at=TIMES | st.none(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_whatever_was_seen_comes_back_exactly(paths: ReleasePaths, quality: dict[str, float], **parts: Any) -> None:
    """NaN, infinity, -0.0, any text, every reason that something is missing; so every decision is the same again."""
    good = evidence(per_user=Missing("not read"))
    assert not isinstance(good.data_quality, Missing)
    whole = replace(good, data_quality=replace(good.data_quality, scores=quality), **parts)
    keep(paths, whole, "online")
    again = read_evidence(paths, "release-1", "online")
    assert again is not None
    assert repr(again) == repr(whole)  # NaN equals itself in print, and numpy prints every bit that counts
    assert bits(again.online) == bits(whole.online)
    assert judge(POLICY, again, NOW).model_dump_json() == judge(POLICY, whole, NOW).model_dump_json()


def bits(online: OnlineEvidence | None) -> list[bytes]:
    if online is None:
        return []
    series = [one for found in online.histories.values() if isinstance(found, History) for one in found.series]
    return [online.bounds.tobytes(), *(one.values.tobytes() for one in series)]


def test_users_that_were_written_again_are_not_those_of_the_decision(paths: ReleasePaths) -> None:
    """A later evaluation of the same run, or none at all: said, never judged."""
    keep(paths, collected(paths), "offline")
    users = paths.evaluation_of(CANDIDATE) / "per_user.parquet"
    users.write_bytes(users.read_bytes() + b" ")
    with pytest.raises(InvalidInputError, match="written again since"):
        read_evidence(paths, "release-1", "offline")
    users.unlink()
    with pytest.raises(InvalidInputError, match="is gone"):
        read_evidence(paths, "release-1", "offline")


def test_other_metrics_of_the_same_users_can_be_asked_for(paths: ReleasePaths) -> None:
    """A policy that is tried may compare what the old one did not."""
    keep(paths, collected(paths), "offline")
    again = read_evidence(paths, "release-1", "offline", metrics=["recall_at_20"])
    assert again is not None
    assert not isinstance(again.per_user, Missing)
    assert set(again.per_user.candidate) == {"recall_at_20"}


def test_nothing_kept_is_none(paths: ReleasePaths) -> None:
    """Of this release, or of this stage."""
    assert read_evidence(paths, "release-1", "offline") is None
    keep(paths, evidence(), "offline")
    assert read_evidence(paths, "release-1", "online") is None


@pytest.mark.parametrize(
    "damage", ["cut", "text", "version", "another", "stage", "verdict", "time", "kind", "key", "field"]
)
def test_a_damaged_file_is_an_error(paths: ReleasePaths, damage: str) -> None:
    """Cut, no gzip, another version, another release's, or not of the types that checks expect."""
    path = keep(paths, evidence(per_user=Missing("x")), "offline")
    document = json.loads(gzip.decompress(path.read_bytes()))
    inner = document["evidence"]
    match damage:
        case "version":
            document["schema_version"] = 2
        case "another":
            inner["release_id"] = "release-2"
        case "stage":
            document["stage"] = "online"
        case "verdict":
            document["verdict"] = "fine"
        case "time":
            document["decided_at"] = "yesterday"
        case "kind":
            inner["data_quality"]["scores"] = [["interactions", "ninety"]]
        case "key":
            inner["registry"]["unknown"] = 1
        case "field":
            del inner["run"]
    data = gzip.compress(json.dumps(document).encode())
    path.write_bytes({"cut": data[:-20], "text": b"{}"}.get(damage, data))
    with pytest.raises(StateCorruptError):
        read_evidence(paths, "release-1", "offline")


def test_evidence_of_no_release_is_not_kept(paths: ReleasePaths) -> None:
    with pytest.raises(InvalidInputError, match="nobody could find it"):
        keep(paths, evidence(release_id=None), "offline")


def test_evidence_goes_with_its_own_decision(paths: ReleasePaths) -> None:
    """Of another run or release it would be no evidence; when and what was decided is kept too."""
    decision = judge(POLICY, evidence(), NOW)
    for other in (evidence(run_id="run-other"), evidence(release_id="release-2")):
        with pytest.raises(InvalidInputError, match="was not computed from"):
            write_evidence(paths, other, decision)
    write_evidence(paths, evidence(per_user=Missing("x")), decision)
    kept = read_kept(paths, "release-1", "offline")
    assert kept is not None
    assert (kept.verdict, kept.decided_at, kept.policy_sha256) == (decision.verdict, NOW, POLICY.sha256)


def test_the_same_evidence_gives_the_same_file(paths: ReleasePaths) -> None:
    """No time of writing in it: its hash names the evidence."""
    first = keep(paths, evidence()).read_bytes()
    assert keep(paths, evidence()).read_bytes() == first
    assert first[4:8] == bytes(4)  # where gzip has the time


def test_only_what_a_class_says_is_made() -> None:
    """No class by name, no code: an object of another class is refused."""
    with pytest.raises(InvalidInputError):
        decoded({"is": "Path", "value": "/"}, Evidence)
    with pytest.raises(InvalidInputError, match="can't be kept"):
        encoded(object(), object)
    assert math.isnan(decoded("nan", float))
    with pytest.raises(InvalidInputError):
        decoded("1", float)
    with pytest.raises(InvalidInputError):
        decoded(True, float)


def test_a_zone_keeps_its_name() -> None:
    """Reasons name it: a manifest's time in China reads the same when it is judged again."""
    read = AwareTime.validate_json('"2026-01-05T00:00:00+08:00"')
    again = decoded(encoded(read, dt.datetime), dt.datetime)
    assert f"{again:%Y-%m-%d %H:%M %Z}" == f"{read:%Y-%m-%d %H:%M %Z}"
