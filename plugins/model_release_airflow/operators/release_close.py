"""The end of every release, whatever happened before: fully on the new run, or fully on the old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from model_release.changes import in_force
from model_release.contract import utc_now
from model_release.errors import ModelReleaseError
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.phases import Phase, may_stay, phase_of, record, why_back
from model_release_airflow.context import Stores, actor, decisions_fail, optional_text, release_id_of
from model_release_airflow.failures import record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, RecommendationApiHook
from model_release_airflow.roll import quorum_of
from model_release_airflow.way_back import put_back

_SAID = frozenset({Event.FAILED, Event.REJECTED})


class ReleaseCloseOperator(BaseOperator):
    """Put back what a release changed and may not stay, and see that the ledger says why it ended.

    A current run stays if it was verified; a run on trial only if, since then, the gate did not reject it and nothing
    failed.

    The picture of a decision that passed is drawn here, where nothing waits for it.

    Made for a teardown: it runs after a task was killed, marked as failed or marked as successful, too.
    Returns ``{release_id, phase}``.

    :param release_id: Which release; default: derived from the DAG run. (templated)
    :param policy: The policy file whose ``quorum`` counts; default: ``RELEASE_POLICY``. (templated)
    :param conn_id: The connection of the recommendation API.
    :param put_back_seconds: How long the replicas may take to go back.
    """

    template_fields: Sequence[str] = ("release_id", "policy")

    def __init__(
        self,
        *,
        release_id: str | None = None,
        policy: str | None = None,
        conn_id: str = DEFAULT_CONN_ID,
        put_back_seconds: float = 60.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        super().__init__(**kwargs)
        self.release_id = release_id
        self.policy = policy
        self.conn_id = conn_id
        self.put_back_seconds = put_back_seconds

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Look at registry and ledger, and do what is left to do."""
        stores = Stores.from_environment()
        release_id = release_id_of(context, optional_text(self.release_id))
        with decisions_fail():
            self._name_failed_tasks(context, stores, release_id)
            entries = stores.ledger.read()
            phase = phase_of(entries, release_id)
            # the registry went back already, but an earlier try could not prove that the replicas did
            unproved = phase is Phase.PUT_BACK
            if unproved or (not may_stay(entries, release_id) and in_force(stores.registry.read(), release_id)):
                self._put_back(context, stores, release_id)
                entries = stores.ledger.read()
                phase = phase_of(entries, release_id)
        self._draw(stores, release_id)
        for entry in of_release(entries, release_id):
            self.log.info(
                "%s %s %s %s", entry.at.isoformat(timespec="seconds"), entry.event, entry.run_id, entry.reason
            )
        return {"release_id": release_id, "phase": phase.value}

    def _draw(self, stores: Stores, release_id: str) -> None:
        """Draw the last decision, which the gate left undrawn if it passed; no picture is worth a failure."""
        from model_release.adapters.keeping import draw_missing

        try:
            draw_missing(stores.paths, release_id)
        except (ModelReleaseError, OSError) as error:
            self.log.warning("no picture of the decision: %s", error)

    def _put_back(self, context: Mapping[str, Any], stores: Stores, release_id: str) -> None:
        back = put_back(
            stores,
            RecommendationApiHook(self.conn_id),
            quorum=quorum_of(optional_text(self.policy)),
            release_id=release_id,
            by=actor(context),
            reason=why_back(stores.ledger.read(), release_id),
            seconds=self.put_back_seconds,
        )
        self.log.warning(back.message)
        if not back.proved:
            raise AirflowException(back.message)  # tried again: the registry is right already, the replicas lag

    def _name_failed_tasks(self, context: Mapping[str, Any], stores: Stores, release_id: str) -> None:
        """Write to the ledger which tasks failed, unless they have said so themselves."""
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        states = context["ti"].get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
        failed = sorted(task for task, state in states.items() if state == "failed")
        since = context["dag_run"].start_date
        said = [
            entry
            for entry in of_release(stores.ledger.read(), release_id)
            if entry.event in _SAID and (since is None or entry.at >= since)
        ]
        if not failed or said:
            return
        entry = LedgerEntry(
            at=utc_now(),
            event=Event.FAILED,
            release_id=release_id,
            by=actor(context),
            reason=f"{', '.join(failed)} failed without a word: killed, or marked as failed",
        )
        record(stores.ledger, entry)
