"""Make every replica serve one run, and prove it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, assert_never

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from pydantic import TypeAdapter, ValidationError

from model_release import fleet, rollout
from model_release.contract import Mode, ReloadRequest, utc_now
from model_release.errors import InvalidInputError
from model_release.explain import explain
from model_release.fleet import Replica
from model_release.registry import Cause, Registry, expect
from model_release.rollout import Move
from model_release_airflow.context import (
    Stores,
    actor,
    asked_at,
    decisions_fail,
    one_of,
    optional_number,
    optional_text,
    release_id_of,
    yes_or_no,
)
from model_release_airflow.failures import record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, RecommendationApiHook
from model_release_airflow.operators.links import ModelsLink
from model_release_airflow.triggers.fleet import Commit, FleetAgreesTrigger, FleetEvent, desired_text, parse_fleet_event
from model_release_airflow.way_back import agree_in_time, put_back

_MODE: TypeAdapter[Mode] = TypeAdapter(Mode)
_CAUSE: TypeAdapter[Cause] = TypeAdapter(Cause)
_SOON_SECONDS = 0.25  # between the reads of a fleet that agreed at once: a worker waits, and `verify` reads again later
_GRACE_SECONDS = 60.0  # for the triggerer: the deadline is its own, Airflow's time-out only the net below


class ModelReloadOperator(BaseOperator):
    """Make every replica of the recommendation API serve one run, and prove it.

    Prepares the run on every replica, commits it to the registry, tells every replica, and reads back until every
    worker of every replica agrees; for that it defers if need be.  If they do not agree in time, the run from before
    is put back.  It posts only from the worker and may be repeated: each step finds what was done already.

    :param run_id: The run to serve; an older one is a rollback. (templated)
    :param mode: ``primary``, ``shadow`` or ``canary``. (templated)
    :param rollout: Share of requests (``shadow``) or users (``canary``) to try it on, 0 to 1. (templated)
    :param release_id: Which release this is part of; default: derived from the DAG run. (templated)
    :param reason: Why, for the ledger. (templated)
    :param prepare_only: Prepare on every replica, then skip: nothing is committed. (templated)
    :param only_if: Pairs of a value and what it must be, as text; else this is skipped. (templated)
    :param step: Whether a trial is one step of a rollout: skipped where there is nothing to compare with, because no run
        is current yet or this one is.
    :param lease_seconds: After this time a trial ends by itself. (templated)
    :param cause: ``release`` respects the latch and needs the gate; ``rollback`` and ``person`` go ahead. (templated)
    :param gated: Whether a release needs the gate's PASS and builds on the generation that it decided on.
    :param conn_id: The connection of the recommendation API.
    :param agreeing_reads: How often in a row all replicas must agree.
    :param poll_seconds: Pause between two reads.
    :param timeout_seconds: How long they may take to agree.
    :param put_back_seconds: How long they may take to go back.
    """

    template_fields: Sequence[str] = (
        "run_id",
        "mode",
        "rollout",
        "release_id",
        "reason",
        "prepare_only",
        "only_if",
        "lease_seconds",
        "cause",
    )
    operator_extra_links = (ModelsLink(),)
    ui_color = "#d6eadf"

    def __init__(
        self,
        *,
        run_id: str,
        mode: str = "primary",
        rollout: float | str | None = None,
        release_id: str | None = None,
        reason: str = "",
        prepare_only: bool | str = False,
        only_if: Sequence[tuple[object, object]] = (),
        step: bool = False,
        lease_seconds: int | str | None = None,
        cause: str = "release",
        gated: bool = True,
        conn_id: str = DEFAULT_CONN_ID,
        agreeing_reads: int = 3,
        poll_seconds: float = 1.0,
        timeout_seconds: float = 120.0,
        put_back_seconds: float = 60.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        super().__init__(**kwargs)
        self.run_id = run_id
        self.mode = mode
        self.rollout = rollout
        self.release_id = release_id
        self.reason = reason
        self.prepare_only = prepare_only
        self.only_if = only_if
        self.step = step
        self.lease_seconds = lease_seconds
        self.cause = cause
        self.gated = gated
        self.conn_id = conn_id
        self.agreeing_reads = agreeing_reads
        self.poll_seconds = poll_seconds
        self.timeout_seconds = timeout_seconds
        self.put_back_seconds = put_back_seconds

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Prepare, commit, switch; then prove here if they agree at once, else defer."""
        stores = Stores.from_environment()
        with decisions_fail(), RecommendationApiHook(self.conn_id).replicas() as replicas:
            move = self._move(context)
            self._pass_over(stores.registry.read())
            rollout.prepare(replicas, move)
            self.log.info("prepared: %d replicas can serve run %s", len(replicas), move.run_id)
            if yes_or_no(self.prepare_only):
                raise AirflowSkipException("prepared only: every replica could serve it; nothing is committed")
            done = rollout.commit(
                stores.registry,
                stores.ledger,
                move,
                by=actor(context),
                at=utc_now(),
                cause=self._cause(),
                gated=self.gated,
                reason=self.reason,
            )
            registry = done.registry
            self.log.info("committed: generation %d (changed: %s)", registry.generation, done.changed)
            for error in rollout.switch(replicas, registry, move):
                self.log.warning("not told: %s", error)
            commit = Commit(generation=registry.generation, changed=done.changed, previous_run_id=done.previous_run_id)
            if not self._agree_at_once(replicas, registry):
                self._defer(registry, commit)
        return self._finish(context, FleetEvent(status="agreed", commit=commit, disagreements=[]))

    def execute_complete(self, context: Mapping[str, Any], event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on in the worker after the triggerer's wait."""
        with decisions_fail():
            parsed = parse_fleet_event(event)
        return self._finish(context, parsed)

    def _finish(self, context: Mapping[str, Any], event: FleetEvent) -> dict[str, Any]:
        stores = Stores.from_environment()
        with decisions_fail(), RecommendationApiHook(self.conn_id).replicas() as replicas:
            registry = stores.registry.read()
            disagreements = fleet.disagreements(replicas, registry)
            match event["status"]:
                case "agreed":
                    disagreements = disagreements and agree_in_time(replicas, registry, seconds=self.poll_seconds * 5)
                case "timed_out":
                    disagreements = disagreements or []
                case status:
                    assert_never(status)
            if disagreements:
                self._put_back(context, stores, replicas, disagreements)
            expect(registry, event["commit"]["generation"])
            move = self._move(context)
            rollout.conclude(
                stores.ledger,
                move,
                registry,
                by=actor(context),
                at=utc_now(),
                cause=self._cause(),
                reason=self.reason,
            )
            workers = sum(len(replica.models().workers) for replica in replicas)
        self.log.info("proved: %d workers serve generation %d", workers, registry.generation)
        return {"run_id": move.run_id, "mode": move.mode, "workers": workers, **event["commit"]}

    def _pass_over(self, registry: Registry) -> None:
        """Skip what is not asked for, and a step that can find nothing out."""
        for value, wanted in self.only_if:
            if str(value).lower() != str(wanted).lower():
                raise AirflowSkipException(f"only if {value} were {wanted}: passed over")
        if self.step and registry.current is None:
            raise AirflowSkipException("no run is current yet, there is nothing to compare with: no trial")
        if self.step and registry.current is not None and registry.current.run_id == self.run_id:
            raise AirflowSkipException(f"run {self.run_id} is current already, there is nothing to try")

    def _agree_at_once(self, replicas: Sequence[Replica], registry: Registry) -> bool:
        if fleet.disagreements(replicas, registry):
            return False
        seconds = self.agreeing_reads * self.poll_seconds
        return not agree_in_time(
            replicas,
            registry,
            seconds=seconds,
            reads=self.agreeing_reads - 1,
            poll_seconds=min(self.poll_seconds, _SOON_SECONDS),
        )

    def _defer(self, registry: Registry, commit: Commit) -> NoReturn:
        self.log.info("not everywhere yet: waiting up to %g s without a worker slot", self.timeout_seconds)
        self.defer(
            trigger=FleetAgreesTrigger(
                conn_id=self.conn_id,
                desired=desired_text(registry),
                commit=commit,
                agreeing_reads=self.agreeing_reads,
                poll_seconds=self.poll_seconds,
                deadline=time.time() + self.timeout_seconds,
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=self.timeout_seconds + _GRACE_SECONDS),
        )
        raise AssertionError("defer never returns")

    def _put_back(
        self, context: Mapping[str, Any], stores: Stores, replicas: Sequence[Replica], disagreements: list[str]
    ) -> NoReturn:
        reason = f"not served everywhere in {self.timeout_seconds:g} s: {'; '.join(disagreements)}"
        back = put_back(
            stores,
            replicas,
            release_id=release_id_of(context, self.release_id),
            by=actor(context),
            reason=reason,
            seconds=self.put_back_seconds,
        )
        raise AirflowFailException(f"{reason}. Put back: {back.message}")

    def _move(self, context: Mapping[str, Any]) -> Move:
        lease = optional_number(self.lease_seconds)
        mode = one_of(_MODE, "mode", self.mode)
        move = Move(
            run_id=self.run_id,
            release_id=release_id_of(context, optional_text(self.release_id)),
            mode=mode,
            rollout=optional_number(self.rollout),
            lease_seconds=None if lease is None or mode == "primary" else int(lease),
            asked_at=asked_at(context),
        )
        try:
            move.request()
        except ValidationError as error:
            raise InvalidInputError(explain(error, ReloadRequest)) from error
        return move

    def _cause(self) -> Cause:
        return one_of(_CAUSE, "cause", self.cause)
