"""Decisions on disk."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_release.adapters.decisions import decision_path, read_decision, write_decision
from model_release.errors import InvalidInputError, StateCorruptError
from model_release.identifiers import release_id_for
from model_release.judge import judge
from model_release.paths import ReleasePaths
from tests.gate_evidence import NOW, check, evidence, policy

DECISION = judge(policy(check("absolute"), check("non_inferiority")), evidence(), NOW)
RELEASE = "recommendation_pipeline:manual__2026-01-05T00:00:00+00:00"


def test_a_decision_comes_back_as_it_was_written(paths: ReleasePaths) -> None:
    """With every number, under the name that Airflow's ids give; another one replaces it."""
    decision = DECISION.model_copy(update={"release_id": RELEASE})
    path = write_decision(paths, decision)
    assert path.parent == paths.decisions
    assert read_decision(paths, RELEASE) == decision
    later = decision.model_copy(update={"summary": "judged again"})
    write_decision(paths, later)
    assert read_decision(paths, RELEASE) == later


def test_the_last_decision_of_each_stage_is_kept(paths: ReleasePaths) -> None:
    """What let a run on trial is still there when the trial is over; the last word is that of either stage."""
    before = DECISION.model_copy(update={"release_id": "x"})
    during = before.model_copy(update={"stage": "online"})
    other = during.model_copy(update={"release_id": "x.online", "stage": "offline"})  # a name that looks like a stage
    for decision in (before, during, other):
        write_decision(paths, decision)
    assert read_decision(paths, "x") == during
    assert read_decision(paths, "x", "offline") == before
    assert read_decision(paths, "x", "online") == during
    assert read_decision(paths, "x.online", "online") is None
    decision_path(paths, "x", "online").write_text(before.model_dump_json())
    with pytest.raises(StateCorruptError, match="offline decision"):
        read_decision(paths, "x", "online")


def test_a_release_without_a_decision_has_none(paths: ReleasePaths) -> None:
    """None, not an error: it was not judged yet."""
    assert read_decision(paths, RELEASE) is None


def test_a_decision_of_no_release_is_not_kept(paths: ReleasePaths) -> None:
    """Nobody could find it again."""
    with pytest.raises(InvalidInputError, match="release_id"):
        write_decision(paths, DECISION.model_copy(update={"release_id": None}))


def test_a_decision_under_another_name_is_refused(paths: ReleasePaths) -> None:
    """A copied file is not the decision of that release; half a file is none at all."""
    path = write_decision(paths, DECISION)
    decision_path(paths, "release-2").write_bytes(path.read_bytes())
    with pytest.raises(StateCorruptError, match="release-1"):
        read_decision(paths, "release-2")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(StateCorruptError, match="not a valid decision"):
        read_decision(paths, "release-1")


@given(dag_run_id=st.text(min_size=1, max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_dag_run_has_a_file_of_its_own(paths: ReleasePaths, dag_run_id: str) -> None:
    """Whatever a DAG run is called, its decision lies in the folder of decisions, under a name the disk takes."""
    path = decision_path(paths, release_id_for("dag", dag_run_id))
    assert path.parent == paths.decisions
    assert len(path.name.encode()) <= 255
