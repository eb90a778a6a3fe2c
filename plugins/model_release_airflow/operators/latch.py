"""Stop automatic releases, or allow them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from model_release import registry as transitions
from model_release import rollout
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.phases import record
from model_release.registry import Registry
from model_release_airflow.context import Stores, actor, decisions_fail, release_id_of, started_by_person
from model_release_airflow.failures import record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, RecommendationApiHook


class LatchOperator(BaseOperator):
    """Set or clear the latch that stops automatic releases.

    Anything may set it; only a person clears it: the DAG run was started by one, and by no schedule, asset or other DAG.
    Either raises the generation, so that a release under way, whose gate decided before, can't commit any more.
    A DAG run changes the latch once: cleared later, it leaves what somebody decided since.
    Returns ``{latched, generation}``.

    :param action: ``set``, ``clear`` or ``keep``. (templated)
    :param reason: Why, for the registry and the ledger. (templated)
    :param conn_id: The connection of the recommendation API, whose replicas are told the new generation.
    """

    template_fields: Sequence[str] = ("action", "reason")

    def __init__(self, *, action: str, reason: str, conn_id: str = DEFAULT_CONN_ID, **kwargs: Any) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        super().__init__(**kwargs)
        self.action = action
        self.reason = reason
        self.conn_id = conn_id

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Change the latch and say so in the ledger."""
        stores = Stores.from_environment()
        if not self.reason.strip():
            raise AirflowFailException("a reason is needed: whoever finds the latch will want to know")
        by, at = actor(context), utc_now()
        with decisions_fail():
            before = stores.registry.read()
            if self.action in {"set", "clear"} and self._done_before(context, stores):
                self.log.info("this DAG run changed the latch before: it stays as somebody may have left it since")
                self._tell(before)
                return self._receipt(before)
            match self.action:
                case "set":
                    event = Event.LATCH_SET
                    after = stores.registry.update(
                        lambda state: transitions.set_latch(state, reason=self.reason, by=by, at=at)
                    )
                case "clear":
                    if not started_by_person(context):
                        raise AirflowFailException("only a person clears the latch: trigger the DAG run by hand")
                    event = Event.LATCH_CLEARED
                    after = stores.registry.update(transitions.clear_latch)
                case "keep":
                    return self._receipt(before)
                case other:
                    raise AirflowFailException(f"action {other!r} is none of set, clear, keep")
            entry = LedgerEntry(
                at=at,
                event=event,
                release_id=release_id_of(context),
                by=by,
                generation=after.generation,
                reason=self.reason,
            )
            record(stores.ledger, entry)
            self._tell(after)
        return self._receipt(after)

    def _done_before(self, context: Mapping[str, Any], stores: Stores) -> bool:
        changes = {Event.LATCH_SET, Event.LATCH_CLEARED}
        return any(entry.event in changes for entry in of_release(stores.ledger.read(), release_id_of(context)))

    def _tell(self, registry: Registry) -> None:
        with RecommendationApiHook(self.conn_id).replicas() as replicas:
            for error in rollout.switch(replicas, registry):
                self.log.warning("not told the new generation: %s", error)

    def _receipt(self, registry: Registry) -> dict[str, Any]:
        self.log.info("latch: %s", registry.latch.reason if registry.latch else "not set")
        return {"latched": registry.latch is not None, "generation": registry.generation}
