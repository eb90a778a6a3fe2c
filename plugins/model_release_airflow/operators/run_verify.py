"""Ask as a shop would, and see who answers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from model_release.announcement import of_release_verified
from model_release.artifact import GoldenRequest
from model_release.attendance import Attendance, attend, without
from model_release.contract import utc_now
from model_release.ledger import Event, LedgerEntry
from model_release.phases import record
from model_release.policy.quorum import needed
from model_release.registry import Registry
from model_release.rollout import generation_of
from model_release.verification import UNKNOWN_USER, objection, questions, serving_runs
from model_release_airflow import assets
from model_release_airflow.context import Stores, actor, decisions_fail, optional_text, release_id_of
from model_release_airflow.failures import record_failure
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, Client, RecommendationApiHook
from model_release_airflow.operators.links import MODELS_LINKS
from model_release_airflow.roll import quorum_of
from model_release_airflow.way_back import put_back

_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class _Seen:
    """One look: what was desired then, who was there, what is wrong, and what the ledger is to say if nothing is."""

    registry: Registry
    attendance: Attendance
    objections: list[str]
    details: dict[str, Any]


class RunVerifyOperator(BaseOperator):
    """Ask every replica for recommendations and compare them with what the run answered when it was trained.

    A run in mode ``primary`` must answer itself, in full; while one is on trial, users must still get the current
    run (or, in a canary, one of the two), and every worker must report the trial.  Wrong answers put the run from
    before back.  Replicas that nobody can reach may be missing if the policy's quorum allows it.  Returns ``{run_id,
    mode, replicas, requests, missing}``.  With ``**assets.announcing(assets.RELEASE)`` other DAGs hear of a run that
    users get now.

    :param run_id: The run that was released or put on trial. (templated)
    :param mode: ``primary``, ``shadow`` or ``canary``. (templated)
    :param release_id: Which release this is part of; default: derived from the DAG run. (templated)
    :param policy: The policy file whose ``quorum`` counts; default: ``RELEASE_POLICY``. (templated)
    :param conn_id: The connection of the recommendation API.
    :param users: How many known users to ask for; somebody unknown is asked for as well.
    :param agree_seconds: How long the replicas may be between two states, as they are while another release switches them.
    :param put_back_seconds: How long the replicas may take to go back.
    """

    template_fields: Sequence[str] = ("run_id", "mode", "release_id", "policy")
    operator_extra_links = MODELS_LINKS
    ui_color = "#d6eadf"

    def __init__(
        self,
        *,
        run_id: str,
        mode: str = "primary",
        release_id: str | None = None,
        policy: str | None = None,
        conn_id: str = DEFAULT_CONN_ID,
        users: int = 5,
        agree_seconds: float = 20.0,
        put_back_seconds: float = 60.0,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("on_failure_callback", record_failure)
        super().__init__(**kwargs)
        self.run_id = run_id
        self.mode = mode
        self.release_id = release_id
        self.policy = policy
        self.conn_id = conn_id
        self.users = users
        self.agree_seconds = agree_seconds
        self.put_back_seconds = put_back_seconds

    def execute(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, compare, and say so in the ledger; or go back."""
        stores = Stores.from_environment()
        release_id = release_id_of(context, optional_text(self.release_id))
        hook, quorum = RecommendationApiHook(self.conn_id), quorum_of(optional_text(self.policy))
        with decisions_fail(), hook.replicas() as replicas:
            seen = self._look_until_settled(stores, replicas, needed(quorum, len(replicas)))
            if seen.objections:
                reason = f"{len(seen.objections)} answers are wrong: {'; '.join(seen.objections[:5])}"
                back = put_back(
                    stores,
                    hook,
                    quorum=quorum,
                    release_id=release_id,
                    by=actor(context),
                    reason=reason,
                    seconds=self.put_back_seconds,
                )
                raise AirflowFailException(f"{reason}. Put back: {back.message}")
            entry = LedgerEntry(
                at=utc_now(),
                event=Event.VERIFIED,
                release_id=release_id,
                by=actor(context),
                run_id=self.run_id,
                generation=generation_of(seen.registry, "primary" if self.mode == "primary" else "canary"),
                details=seen.details,
            )
            record(stores.ledger, entry)
        missing = seen.attendance.missing
        for url in missing:
            self.log.warning("missing, which the quorum %s allows: %s can't be reached", quorum, url)
        self.log.info("verified: %s", dict(entry.details))
        released = of_release_verified(seen.registry, stores.ledger.read(), run_id=self.run_id, release_id=release_id)
        assets.announce(context, self.outlets, assets.RELEASE, released)
        return {"run_id": self.run_id, "mode": self.mode, "missing": list(missing), **entry.details}

    def _look_until_settled(self, stores: Stores, replicas: Sequence[Client], needed: int) -> _Seen:
        """Look; while the fleet is between two states, for another release switches it just now, look again."""
        deadline = time.monotonic() + self.agree_seconds
        while True:
            seen = self._look(stores, replicas, needed)
            if not seen.objections or time.monotonic() >= deadline:
                return seen
            if not seen.attendance.blocking and stores.registry.read().generation == seen.registry.generation:
                return seen  # they are settled, and wrong
            self.log.warning("not settled, looking again: %s", "; ".join(seen.objections[:5]))
            time.sleep(_PAUSE_SECONDS)

    def _look(self, stores: Stores, replicas: Sequence[Client], needed: int) -> _Seen:
        registry = stores.registry.read()
        there = attend(replicas, registry, needed=needed)
        allowed = serving_runs(registry, run_id=self.run_id, trial=self.mode != "primary")
        present = [replica for replica in replicas if replica.url not in there.missing]
        asked = [replica for replica in present if replica.probes]
        recorded = questions(stores.runs.golden(self.run_id), self.users) if asked else []
        objections = list(there.blocking)
        objections += [said for replica in asked for said in self._objections(replica, allowed, recorded)]
        details = {
            "replicas": len(present),
            "requests": (len(recorded) + 1) * len(asked),
            **without(there.missing),
            **({} if asked else {"checked": "status only: the service has no probe"}),
        }
        return _Seen(registry=registry, attendance=there, objections=objections, details=details)

    def _objections(self, replica: Client, allowed: dict[str, str], recorded: Sequence[GoldenRequest]) -> list[str]:
        trial = self.mode != "primary"
        found = []
        for request in (*recorded, GoldenRequest(endpoint="recommend", id=UNKNOWN_USER, k=10, expected=())):
            answer = replica.recommend(request.id, request.k)
            expected = request.expected if not trial and request.id != UNKNOWN_USER else None
            said = objection(answer, allowed, expected=expected)
            if said is not None:
                found.append(f"{replica.url} for user {request.id}: {said}")
        return found
