"""Make every replica serve one run, and prove it."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, assert_never

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from pydantic import TypeAdapter, ValidationError

from model_release import rollout
from model_release.contract import Mode, ReloadRequest, utc_now
from model_release.errors import InvalidInputError
from model_release.explain import explain
from model_release.fencing import expect_unmoved
from model_release.policy.quorum import needed
from model_release.registry import Cause, Registry
from model_release.rollout import Move
from model_release_airflow.context import (
    Stores,
    actor,
    asked_at,
    decisions_fail,
    one_of,
    optional_number,
    optional_text,
    pass_over_unless,
    release_id_of,
    yes_or_no,
)
from model_release_airflow.durable import kept_time
from model_release_airflow.failures import record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, RecommendationApiHook
from model_release_airflow.operators.links import MODELS_LINKS
from model_release_airflow.roll import agree_at_once, agree_in_time, call_roll, quorum_of, report, tell
from model_release_airflow.triggers.fleet import (
    Commit,
    FleetAgreesTrigger,
    FleetEvent,
    Told,
    agreed_event,
    desired_text,
    parse_fleet_event,
    told_again,
)
from model_release_airflow.way_back import put_back

_MODE: TypeAdapter[Mode] = TypeAdapter(Mode)
_CAUSE: TypeAdapter[Cause] = TypeAdapter(Cause)
_SOON_SECONDS = 0.1  # between the reads of a fleet that agreed at once: a worker waits, and `verify` reads again later
_GRACE_SECONDS = 60.0  # for the triggerer: the deadline is its own, Airflow's time-out only the net below
_TOLD_AGAIN_AT_MOST = 5


class ModelReloadOperator(BaseOperator):
    """Make every replica of the recommendation API serve one run, and prove it.

    Prepares the run on every replica, commits it to the registry, tells every replica, and reads back until every
    worker of every replica agrees; for that it defers if need be.  A replica that joins or lags meanwhile is told too;
    one that nobody can reach may be missing if the policy's quorum allows it.  If they do not agree in time, the run
    from before is put back.  It posts only from the worker and may be repeated: each step finds what was done already.

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
    :param approval: Whether a person has to have approved before the run becomes current.
    :param gated: Whether a release needs the gate's PASS and builds on the generation that it decided on.
    :param policy: The policy file whose ``quorum`` counts; default: ``RELEASE_POLICY``. (templated)
    :param conn_id: The connection of the recommendation API.
    :param agreeing_reads: How often in a row all replicas must agree.
    :param poll_seconds: Pause between two reads.
    :param timeout_seconds: How long they may take to agree, whatever is tried again meanwhile.
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
        "policy",
    )
    operator_extra_links = MODELS_LINKS
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
        policy: str | None = None,
        approval: bool = False,
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
        self.policy = policy
        self.approval = approval
        self.conn_id = conn_id
        self.agreeing_reads = agreeing_reads
        self.poll_seconds = poll_seconds
        self.timeout_seconds = timeout_seconds
        self.put_back_seconds = put_back_seconds

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Prepare, commit, switch; then prove here if they agree at once, else defer."""
        stores, hook = Stores.from_environment(), RecommendationApiHook(self.conn_id)
        with decisions_fail():
            move = self._move(context)
            self._pass_over(stores.registry.read())
            quorum = quorum_of(optional_text(self.policy))
            rollout.check(stores.registry, stores.ledger, move, cause=self._cause())
            known, missing = self._prepare(hook, move, quorum)
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
            heard = tell(hook, registry, move, besides=missing)  # one that hangs would hang once more
            told = Told(quorum=quorum, replicas=known, acknowledged=heard, again=_TOLD_AGAIN_AT_MOST)
        commit = Commit(generation=registry.generation, changed=done.changed, previous_run_id=done.previous_run_id)
        # a second try gets no more time than the first one left
        about, until = {"generation": registry.generation}, time.time() + self.timeout_seconds
        deadline = kept_time(context, "prove_until", about, until)
        return self._prove(context, hook, registry, agreed_event(commit, told, deadline))

    def execute_complete(self, context: Mapping[str, Any], event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Go on in the worker after the triggerer's wait."""
        with decisions_fail():
            parsed = parse_fleet_event(event)
            match parsed["status"]:
                case "agreed" | "timed_out":
                    return self._finish(context, parsed)
                case "lagging":
                    return self._tell_again(context, parsed)
                case status:
                    assert_never(status)

    def _prepare(self, hook: RecommendationApiHook, move: Move, quorum: int | str) -> tuple[list[str], list[str]]:
        """Prepare on every replica; return the addresses of all, and of those that are missing."""
        with hook.replicas() as replicas:
            errors = rollout.prepare(replicas, move, needed=needed(quorum, len(replicas)))
            known = [replica.url for replica in replicas]
        for error in errors:
            self.log.warning("missing, which the quorum %s allows: %s", quorum, error)
        self.log.info("prepared: %d replicas can serve run %s", len(known) - len(errors), move.run_id)
        return known, [error.replica for error in errors]

    def _prove(
        self, context: Mapping[str, Any], hook: RecommendationApiHook, registry: Registry, event: FleetEvent
    ) -> dict[str, Any]:
        """Finish if the replicas agree at once, else wait in the triggerer, until the event's deadline."""
        quorum, reads = event["told"]["quorum"], self.agreeing_reads
        pause = min(self.poll_seconds, _SOON_SECONDS)
        if not agree_at_once(hook, registry, quorum=quorum, reads=reads, poll_seconds=pause):
            self._defer(registry, event)
        return self._finish(context, event)

    def _tell_again(self, context: Mapping[str, Any], event: FleetEvent) -> dict[str, Any]:
        """Tell those that joined or lag, which only a worker does, and go on waiting until the same deadline."""
        hook, stores = RecommendationApiHook(self.conn_id), Stores.from_environment()
        registry = stores.registry.read()
        expect_unmoved(registry, stores.ledger, event["commit"]["generation"])
        self.log.warning("telling those that joined or lag: %s", ", ".join(event["lagging"]))
        heard = tell(hook, registry, self._move(context), only=event["lagging"])
        return self._prove(context, hook, registry, told_again(event, heard))

    def _finish(self, context: Mapping[str, Any], event: FleetEvent) -> dict[str, Any]:
        """Look once more, here in the worker, and conclude; or go back."""
        stores, hook = Stores.from_environment(), RecommendationApiHook(self.conn_id)
        told, quorum = event["told"], event["told"]["quorum"]
        with decisions_fail():
            registry = stores.registry.read()
            roll = call_roll(hook, registry, quorum)
            if roll.blocking and event["status"] == "agreed":  # they agreed a moment ago: a busy one
                roll = agree_in_time(hook, registry, quorum=quorum, seconds=self.poll_seconds * 5)
                if roll.blocking and time.time() < event["deadline"]:
                    expect_unmoved(registry, stores.ledger, event["commit"]["generation"])
                    self._defer(registry, event)
            if roll.blocking:
                self._put_back(context, stores, hook, quorum, roll.blocking)
            expect_unmoved(registry, stores.ledger, event["commit"]["generation"])
            move, missing = self._move(context), report(roll, told["replicas"])
            rollout.conclude(
                stores.ledger,
                move,
                registry,
                by=actor(context),
                at=utc_now(),
                cause=self._cause(),
                reason=self.reason,
                missing=missing,
            )
        workers = roll.attendance.workers
        self.log.info("proved: %d workers serve generation %d", workers, registry.generation)
        return {"run_id": move.run_id, "mode": move.mode, "workers": workers, "missing": missing, **event["commit"]}

    def _pass_over(self, registry: Registry) -> None:
        """Skip what is not asked for, and a step that can find nothing out."""
        pass_over_unless(self.only_if)
        if self.step and registry.current is None:
            raise AirflowSkipException("no run is current yet, there is nothing to compare with: no trial")
        if self.step and registry.current is not None and registry.current.run_id == self.run_id:
            raise AirflowSkipException(f"run {self.run_id} is current already, there is nothing to try")

    def _defer(self, registry: Registry, event: FleetEvent) -> NoReturn:
        left = max(0.0, event["deadline"] - time.time())
        self.log.info("not everywhere yet: waiting up to %.0f s without a worker slot", left)
        self.defer(
            trigger=FleetAgreesTrigger(
                conn_id=self.conn_id,
                desired=desired_text(registry),
                commit=event["commit"],
                agreeing_reads=self.agreeing_reads,
                poll_seconds=self.poll_seconds,
                deadline=event["deadline"],
                told=event["told"],
            ),
            method_name="execute_complete",
            timeout=dt.timedelta(seconds=left + _GRACE_SECONDS),
        )
        raise AssertionError("defer never returns")

    def _put_back(
        self,
        context: Mapping[str, Any],
        stores: Stores,
        hook: RecommendationApiHook,
        quorum: int | str,
        blocking: Sequence[str],
    ) -> NoReturn:
        reason = f"not served everywhere in {self.timeout_seconds:g} s: {'; '.join(blocking)}"
        back = put_back(
            stores,
            hook,
            quorum=quorum,
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
            approval=self.approval,
        )
        try:
            move.request()
        except ValidationError as error:
            raise InvalidInputError(explain(error, ReloadRequest)) from error
        return move

    def _cause(self) -> Cause:
        return one_of(_CAUSE, "cause", self.cause)
