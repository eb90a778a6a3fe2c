"""One commit, one form, one attempt: one DAG run."""

from __future__ import annotations

import re
from typing import Any

import pytest

from model_release.asking import Asked, form
from model_release.errors import ConfigurationError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHADOW = {"mode": "shadow", "rollout": 0.1, "run_id": None, "dry_run": False}


def asked(**fields: Any) -> Asked:
    return Asked(**{"dag_id": "recommendation_pipeline", "commit": COMMIT, **fields})


def test_the_same_question_has_the_same_name_and_another_one_another() -> None:
    forms = [{}, {"run_id": "a"}, form(**SHADOW), {**form(**SHADOW), "rollout": 0.2}, {"dry_run": True}]  # type: ignore[arg-type]
    made = [asked(conf=one, attempt=attempt).dag_run_id for one in forms for attempt in (1, 2)]
    assert made == [asked(conf=one, attempt=attempt).dag_run_id for one in forms for attempt in (1, 2)]
    assert len(set(made)) == len(made)
    assert asked().dag_run_id == f"commit__{COMMIT}"
    assert asked(conf={"a": 1, "b": 2}).dag_run_id == asked(conf={"b": 2, "a": 1}).dag_run_id
    assert all(re.fullmatch(r"[A-Za-z0-9_.~:+-]{1,250}", name) for name in made)  # what Airflow takes


@pytest.mark.parametrize(
    "fields",
    [{"commit": "main"}, {"commit": COMMIT[:12]}, {"commit": COMMIT + "\n"}, {"dag_id": "../x"}, {"dag_id": ".."},
     {"dag_id": ""}, {"attempt": 0}],
)  # fmt: skip
def test_what_makes_no_name_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        asked(**fields)


def test_the_form_leaves_out_what_is_left_as_it_is() -> None:
    assert form(mode="primary", rollout=None, run_id=None, dry_run=False) == {}
    assert form(mode="shadow", rollout=0.1, run_id=None, dry_run=False) == {"mode": "shadow", "rollout": 0.1}
    assert form(mode="primary", rollout=None, run_id="a", dry_run=True) == {"run_id": "a", "dry_run": True}


@pytest.mark.parametrize(
    "changes",
    [{"mode": "primary"}, {"rollout": None}, {"rollout": 1.5}, {"rollout": float("nan")}, {"run_id": "../x"},
     {"mode": "all"}],
)  # fmt: skip
def test_a_contradiction_is_refused_before_anything_is_asked(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        form(**{**SHADOW, **changes})
