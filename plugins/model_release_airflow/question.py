"""The question that a person is asked, as Airflow shows it on its page of required actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult

from model_release import report
from model_release.errors import IllegalMoveError
from model_release.verdict import Decision

_BODY_BYTES = 60_000


@dataclass(frozen=True)
class Question:
    """What is asked, and the evidence for the answer, in markdown."""

    subject: str
    body: str


def question_about(decisions: Sequence[Decision], *, run_id: str, release_id: str, link: str) -> Question:
    """Return the question whether ``run_id`` may become current: the tables of the gate's decisions, oldest first.

    The same decisions give the same question.
    """
    room = _BODY_BYTES // max(1, len(decisions))
    tables = [report.step_summary(decision, max_bytes=room) for decision in decisions]
    subject = f"May run {run_id} become current? ({release_id})"
    return Question(subject, "\n\n".join([*tables, f"[DAG run]({link})"]))


def ask(
    question: Question,
    *,
    ti_id: Any,
    options: Sequence[str],
    params: Mapping[str, Any],
    assigned_users: Sequence[Mapping[str, str]] | None,
) -> None:
    """Put the question to Airflow, which resumes the task when it is answered.

    Raises:
        IllegalMoveError: Airflow shows another one: it keeps the question of a task's earlier try as it was.
    """
    asked = _send(
        CreateHITLDetailPayload.model_validate(
            {
                "ti_id": ti_id,
                "options": list(options),
                "subject": question.subject,
                "body": question.body,
                "params": dict(params),
                "multiple": False,
                "assigned_users": [dict(user) for user in assigned_users or ()],
            }
        )
    )
    if (asked.subject, asked.body) != (question.subject, question.body):
        raise IllegalMoveError(
            "Airflow still shows the question of an earlier try of this task, with evidence that is not what would be "
            "approved now: nobody is asked. Trigger a new DAG run for this run"
        )


def _send(payload: CreateHITLDetailPayload) -> HITLDetailRequestResult:
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # there is none outside a task

    answer = SUPERVISOR_COMMS.send(payload)
    if not isinstance(answer, HITLDetailRequestResult):
        raise IllegalMoveError(f"Airflow did not take the question: {type(answer).__name__}")
    return answer
