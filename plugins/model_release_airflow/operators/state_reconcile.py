"""Compare desired with observed state, and let replicas that lag follow."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from airflow.sdk import BaseOperator

from model_release import fleet, rollout
from model_release.contract import utc_now
from model_release.fleet import Deviation, Replica
from model_release.reconcile_state import Fact, change_under_way, expected, facts, to_tell
from model_release.registry import Registry
from model_release.standing import news
from model_release_airflow.context import Stores, actor, decisions_fail, release_id_of
from model_release_airflow.failures import record_failed_work
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, RecommendationApiHook
from model_release_airflow.operators.links import MODELS_LINKS
from model_release_airflow.triggers.fleet import Commit, FleetAgreesTrigger, desired_text, parse_fleet_event

_GRACE_SECONDS = 60.0  # for the triggerer: the deadline is its own, Airflow's time-out only the net below


def record_state_failure(context: Mapping[str, Any]) -> None:
    """Write to the ledger that the reconciliation itself failed, unless that stands there already."""
    record_failed_work(context["dag"].dag_id, context)


class StateReconcileOperator(BaseOperator):
    """Compare what the registry desires with what every worker of every replica serves; let those that lag follow.

    Healing is ``POST /models/reload`` with the registry's generation and nothing else: it can't change what is desired.
    What does not agree in time then is written to the ledger, once; so is its end.  A change of the desired state that
    is under way, or that came in between, is left alone.  Returns ``{outcome, generation, healed, facts}``; the outcome
    is ``agrees``, ``healed``, ``deviates``, ``under_way`` or ``moved``.

    :param conn_id: The connection of the recommendation API.
    :param settle_seconds: How long a release may take from its commit to its proof, and the watchers to end a trial.
    :param agreeing_reads: How often in a row all replicas must agree after a wait.
    :param poll_seconds: Pause between two reads.
    :param timeout_seconds: How long replicas that lag, restart or do not answer may take to agree.
    """

    operator_extra_links = MODELS_LINKS
    ui_color = "#d6eadf"

    def __init__(
        self,
        *,
        conn_id: str = DEFAULT_CONN_ID,
        settle_seconds: float = 300.0,
        agreeing_reads: int = 2,
        poll_seconds: float = 2.0,
        timeout_seconds: float = 60.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", record_state_failure)
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.settle_seconds = settle_seconds
        self.agreeing_reads = agreeing_reads
        self.poll_seconds = poll_seconds
        self.timeout_seconds = timeout_seconds

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Look, tell those that lag to follow, and look again; wait in the triggerer if that was not enough."""
        stores = Stores.from_environment()
        with decisions_fail(), RecommendationApiHook(self.conn_id).replicas() as replicas:
            registry = stores.registry.read()
            under_way = change_under_way(
                registry, stores.ledger.read(), now=utc_now(), settle_seconds=self.settle_seconds
            )
            if under_way is not None:
                self.log.info("nothing to do now: %s", under_way)
                return self._receipt("under_way", registry)
            deviations = self._look(replicas, registry)
            told = self._heal(replicas, registry, deviations)
            if told:
                deviations = self._look(replicas, registry)
            if deviations and stores.registry.read().generation == registry.generation:
                self._defer(registry, told)
            return self._finish(context, stores, replicas, registry.generation, told, patient=False)

    def execute_complete(
        self, context: Mapping[str, Any], event: dict[str, Any] | None = None, told: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Go on in the worker after the triggerer's wait."""
        with decisions_fail(), RecommendationApiHook(self.conn_id).replicas() as replicas:
            parsed = parse_fleet_event(event)
            stores, generation = Stores.from_environment(), parsed["commit"]["generation"]
            patient = parsed["status"] == "agreed"
            return self._finish(context, stores, replicas, generation, told or {}, patient=patient)

    def _look(self, replicas: Sequence[Replica], registry: Registry) -> list[Deviation]:
        return fleet.observe(replicas, expected(registry, utc_now()))

    def _heal(self, replicas: Sequence[Replica], registry: Registry, deviations: Sequence[Deviation]) -> dict[str, str]:
        """Tell the replicas that lag to follow; return which, and how they differed."""
        told = to_tell(deviations)
        for deviation in deviations:
            self.log.warning("%s: %s", deviation.replica, deviation.text)
        lagging = [replica for replica in replicas if replica.url in told]
        if lagging:
            self.log.info("telling %s to follow generation %d", ", ".join(told), registry.generation)
            for error in rollout.switch(lagging, registry):
                self.log.warning("%s did not follow: %s", error.replica, error)
        return told

    def _defer(self, registry: Registry, told: Mapping[str, str]) -> NoReturn:
        self.log.info("not everywhere yet: waiting up to %g s without a worker slot", self.timeout_seconds)
        self.defer(
            trigger=FleetAgreesTrigger(
                conn_id=self.conn_id,
                desired=desired_text(expected(registry, utc_now())),
                commit=Commit(generation=registry.generation, changed=False, previous_run_id=None),
                agreeing_reads=self.agreeing_reads,
                poll_seconds=self.poll_seconds,
                deadline=time.time() + self.timeout_seconds,
            ),
            method_name="execute_complete",
            kwargs={"told": dict(told)},
            timeout=dt.timedelta(seconds=self.timeout_seconds + _GRACE_SECONDS),
        )
        raise AssertionError("defer never returns")

    def _finish(
        self,
        context: Mapping[str, Any],
        stores: Stores,
        replicas: Sequence[Replica],
        generation: int,
        told: Mapping[str, str],
        *,
        patient: bool,
    ) -> dict[str, Any]:
        """Read back, and write down what healed, what deviates and what does so no more."""
        registry = stores.registry.read()
        deviations = self._look(replicas, registry)
        for _ in range(self.agreeing_reads if patient and deviations else 0):  # they agreed a moment ago: a busy one
            time.sleep(self.poll_seconds)
            deviations = self._look(replicas, registry)
        if stores.registry.read().generation != generation:
            self.log.info("nothing to say: the registry moved on from generation %d meanwhile", generation)
            return self._receipt("moved", registry)
        now = utc_now()
        wrong = facts(registry, deviations, now=now, settle_seconds=self.settle_seconds)
        failing = {fact.subject for fact in wrong}
        healed = {url: text for url, text in told.items() if url not in failing}
        for entry in news(
            stores.ledger.read(),
            wrong,
            healed,
            replicas=[replica.url for replica in replicas],
            release_id=release_id_of(context),
            by=actor(context),
            at=now,
            generation=generation,
        ):
            stores.ledger.append(entry)
        for fact in wrong:
            self.log.error("%s: %s", fact.subject, fact.text)
        return self._receipt("deviates" if wrong else "healed" if healed else "agrees", registry, healed, wrong)

    def _receipt(
        self, outcome: str, registry: Registry, healed: Iterable[str] = (), wrong: Sequence[Fact] = ()
    ) -> dict[str, Any]:
        self.log.info("generation %d: %s", registry.generation, outcome)
        texts = [f"{fact.subject}: {fact.text}" for fact in wrong]
        return {"outcome": outcome, "generation": registry.generation, "healed": list(healed), "facts": texts}
