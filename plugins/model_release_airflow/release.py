"""A whole release as one task group: append it to any DAG that makes a run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

from airflow.sdk import TaskGroup, TriggerRule, chain

from model_release.approval import Approval
from model_release.steps import DEFAULT_LEASE_SECONDS, Step, read_steps
from model_release_airflow.assets import RELEASE, RUN, announcing
from model_release_airflow.failures import record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID
from model_release_airflow.operators.model_reload import ModelReloadOperator
from model_release_airflow.operators.release_close import ReleaseCloseOperator
from model_release_airflow.operators.run_register import RunRegisterOperator
from model_release_airflow.operators.run_verify import RunVerifyOperator
from model_release_airflow.sensors.quality_gate import QualityGateSensor

__all__ = ["Approval", "Step", "release_model"]

# A killed worker or scheduler costs a try, and every step finds what was done: trying again is cheap.
_TRIES: Any = {
    "retries": 3,
    "retry_delay": dt.timedelta(seconds=5),
    "on_failure_callback": record_failure,
}


def release_model(
    *,
    run_id: Any,
    policy: str | None = None,
    steps: str | Iterable[Step | str] = (),
    approval: Approval | None = None,
    mode: str = "primary",
    rollout: float | str | None = None,
    lease_seconds: int | str | None = None,
    dry_run: bool | str = False,
    conn_id: str = DEFAULT_CONN_ID,
    release_id: str | None = None,
    poke_interval: float = 5.0,
    group_id: str = "release",
    prefix_group_id: bool = False,
) -> TaskGroup:
    """Append a release to a DAG: register, judge, try step by step, make current, verify; or go back.

    The tasks are ``register >> quality_gate``, for each step ``shadow_10 >> judge_shadow_10`` (10 % of the requests),
    ``approval`` if a person is to be asked, ``model_reload >> verify`` and the teardown ``close_release``, which puts back whatever may not stay.  Steps are passed
    over where there is nothing to compare with, and where ``mode`` or ``dry_run`` ask for something else.

    :param run_id: The run: text, a template, or what another task returns. (templated)
    :param policy: The policy file for every gate, and its quorum for every reload; default: ``RELEASE_POLICY``. (templated)
    :param steps: The trials before everybody gets the run, for example ``"shadow:0.1 canary:0.05 canary:0.25"``; the
        policy needs an ``online`` section then.
    :param approval: Ask a person before everybody gets the run; they are not asked where steps are passed over by ``mode``
        or ``dry_run``.
    :param mode: ``primary``; ``shadow`` or ``canary`` ends the release with that trial, without steps. (templated)
    :param rollout: Its share. (templated)
    :param lease_seconds: When it ends by itself. (templated)
    :param dry_run: Judge, and let every replica prepare; change nothing. (templated)
    :param conn_id: The connection of the recommendation API.
    :param release_id: Default: derived from the DAG run; needed if a DAG makes two releases. (templated)
    :param poke_interval: Seconds between two looks of a gate that waits.
    :param group_id: Name of the task group.
    :param prefix_group_id: Whether the tasks' ids begin with it; needed if a DAG makes two releases.

    Raises:
        InvalidInputError: the steps make no rollout.
    """
    trials, wanted = read_steps(steps), ((mode, "primary"), (dry_run, False))
    same: dict[str, Any] = {"run_id": run_id, "release_id": release_id}
    served: dict[str, Any] = {**same, "policy": policy, "conn_id": conn_id}
    judged: dict[str, Any] = {**served, "poke_interval": poke_interval}
    with TaskGroup(group_id, prefix_group_id=prefix_group_id, default_args=_TRIES) as group:
        tasks: list[Any] = [
            RunRegisterOperator(task_id="register", **same, **announcing(RUN)),
            QualityGateSensor(task_id="quality_gate", **judged),
        ]
        for step in trials:
            tasks += _trial(step, served, judged, only_if=wanted)
        if approval is not None:
            tasks.append(_approval(approval, trials, judged, only_if=wanted))
        tasks += [
            ModelReloadOperator(
                task_id="model_reload",
                **served,
                mode=mode,
                rollout=rollout,
                lease_seconds=lease_seconds,
                prepare_only=dry_run,
                approval=approval is not None,
                trigger_rule=TriggerRule.NONE_FAILED,  # steps that were passed over are no reason to stop
            ),
            RunVerifyOperator(task_id="verify", **served, mode=mode, **announcing(RELEASE)),
            ReleaseCloseOperator(
                task_id="close_release", release_id=release_id, policy=policy, conn_id=conn_id
            ).as_teardown(),
        ]
        chain(*tasks)
    return group


def _approval(approval: Approval, trials: Sequence[Step], judged: dict[str, Any], *, only_if: Any) -> Any:
    """Return the task that asks a person."""
    from model_release_airflow.operators.approval import ReleaseApprovalOperator  # only who asks has to import that

    return ReleaseApprovalOperator(
        task_id="approval",
        **judged,
        approval=approval,
        lease_seconds=trials[-1].lease_seconds if trials else DEFAULT_LEASE_SECONDS,
        only_if=only_if,
        trigger_rule=TriggerRule.NONE_FAILED,
    )


def _trial(step: Step, served: dict[str, Any], judged: dict[str, Any], *, only_if: Any) -> list[Any]:
    """Return the two tasks of one step: start the trial, and judge it."""
    return [
        ModelReloadOperator(
            task_id=step.name,
            **served,
            mode=step.mode,
            rollout=step.rollout,
            lease_seconds=step.lease_seconds,
            only_if=only_if,
            step=True,
        ),
        QualityGateSensor(task_id=f"judge_{step.name}", stage="online", lease_seconds=step.lease_seconds, **judged),
    ]
