"""Names of runs and releases."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.errors import InvalidInputError, InvalidRunIdError
from model_release.identifiers import check_release_id, check_run_id, new_run_id, release_id_for
from model_release.paths import ReleasePaths

AS_OF = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


@pytest.mark.parametrize("good", ["a", "20260105-als-1f2e3d4c", "A.b_c-9", "x" * 64])
def test_good_run_ids_come_back_unchanged(good: str) -> None:
    """A valid run id is returned as it was given."""
    assert check_run_id(good) == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "..",
        "a..b",
        "../x",
        "/etc",
        "a/b",
        "a\\b",
        "a b",
        "a\n",
        "a\x00",
        "-a",
        ".a",
        "ä",
        "x" * 65,
        "staging",
        "Staging",
        "a%2e",
        "a:b",
        "~",
        "$HOME",
    ],
)
def test_a_name_that_could_leave_its_folder_is_refused(bad: str) -> None:
    """Nothing that is a path, hidden, too long or a reserved word becomes a run id."""
    with pytest.raises(InvalidRunIdError, match="run_id"):
        check_run_id(bad)


@pytest.mark.parametrize(
    "taken",
    [
        "model_registry.json",
        "release_ledger.jsonl",
        "model_registry.json.lock",
        "decisions",
        "Decisions",
        "data_quality_report.json",
        "data_quality_metrics.prom",
        "reconciliation_2026-01-05.json",
    ],
)
def test_a_run_can_not_take_the_place_of_another_file(taken: str) -> None:
    """A run id never names a file or folder that something else keeps in ``models/`` or ``data/evaluation/``."""
    with pytest.raises(InvalidRunIdError):
        check_run_id(taken)


@given(st.text(max_size=80))
def test_whatever_is_accepted_stays_in_the_models_folder(text: str) -> None:
    """For every text: it is refused, or it is one plain name below ``models/`` that collides with nothing."""
    paths = ReleasePaths(Path("/root-of-all"))
    try:
        run_id = check_run_id(text)
    except InvalidRunIdError:
        return
    folder = paths.models / run_id
    assert folder.parent == paths.models
    assert Path(*folder.parts).resolve().parent == paths.models
    assert folder not in {paths.registry, paths.ledger, paths.models / "staging"}
    assert paths.evaluation_of(run_id) not in {paths.decisions, paths.data_quality_metrics, paths.data_quality_report}


@given(st.text(max_size=250))
def test_a_release_id_is_one_file_name(text: str) -> None:
    """For every text: it is refused, or it can name a file without leaving its folder."""
    try:
        release_id = check_release_id(text)
    except InvalidInputError:
        return
    assert "/" not in release_id
    assert "\0" not in release_id
    assert not release_id.startswith(".")
    assert len(f"{release_id}.json".encode()) <= 255


def test_the_same_inputs_name_the_same_run() -> None:
    """A retried training job finds the run that it published; any other input gives another name."""
    name = new_run_id("next_basket", AS_OF, "seed 1")
    assert name == new_run_id("next_basket", AS_OF, "seed 1")
    assert name.startswith("20260105-next-basket-")
    assert name != new_run_id("next_basket", AS_OF, "seed 2")


def test_airflow_run_ids_become_readable_release_ids() -> None:
    """The ids that Airflow makes by itself stay readable."""
    assert (
        release_id_for("recommendation_pipeline", "manual__2026-01-05T00:00:00+00:00")
        == "recommendation_pipeline:manual__2026-01-05T00:00:00+00:00"
    )


@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_different_dag_runs_have_different_releases(dag_id: str, first: str, second: str) -> None:
    """Whatever a person calls a DAG run: the release id is valid, and two DAG runs of a DAG never share one."""
    ids = {check_release_id(release_id_for(dag_id, run)) for run in (first, second)}
    assert len(ids) == len({first, second})
