"""The routes of the Releases page; ``make_router`` asks for read permission on all of them.

Each part of the page has a route of its own, so that one that is slow or away holds up no other.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.api_fastapi.logging.decorators import action_logging
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, Field

from model_release.acknowledging import MOST_MINUTES
from model_release.artifact import Frozen
from model_release.contract import utc_now
from model_release.errors import InvalidInputError
from model_release.identifiers import check_run_id, release_id_for
from model_release.page import plan
from model_release.page.now import Desired
from model_release.page.now import desired as desired_now
from model_release.page.part import Part, attempt
from model_release.page.plan import Plan
from model_release.page.releases import Outcome
from model_release.page.timeline import MOST_RELEASES, Timeline, timeline
from model_release_airflow.page import asking, runs
from model_release_airflow.page.answers import answer
from model_release_airflow.page.behind import behind
from model_release_airflow.page.desk import Desk, desk
from model_release_airflow.page.security import (
    LATCH_DAG,
    ROLLBACK_DAG,
    from_here,
    may_act,
    may_read,
    may_trigger,
    page_dag,
)

_LONGEST = 300  # characters of what is searched for
Text = Annotated[str, Query(max_length=_LONGEST)]
_DAYS = 30


class Me(Frozen):
    """Who looks, and what the page may offer them."""

    name: str
    pipeline: str
    may_release: bool
    may_roll_back: bool
    may_latch: bool
    may_acknowledge: bool


class Acknowledge(Frozen):
    """What is said when an alert is acknowledged; who says it, Airflow knows."""

    reason: Annotated[str, Field(max_length=_LONGEST)]
    minutes: Annotated[int, Field(ge=1, le=MOST_MINUTES)]


class Acknowledged(Frozen):
    """How long the alert is silent; left out: as long as before."""

    until: AwareDatetime | None


class Planned(Frozen):
    """What a DAG run would do, and the one to ask Airflow for; ``dag_id`` is left out where this user may not."""

    plan: Plan
    dag_id: str | None
    conf: dict[str, str | bool | None]


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api", dependencies=[may_read()])
    for path, route in (
        ("/me", me),
        ("/desired", desired),
        ("/fleet", fleet),
        ("/traffic", traffic),
        ("/alerts", alerts),
        ("/health", health),
        ("/timeline", releases),
        ("/releases/{release_id}", release),
        ("/releases/{release_id}/behind", release_behind),
        ("/dag-run", release_of_dag_run),
        ("/runs", known_runs),
        ("/compare", compare),
        ("/lists", lists),
        ("/plan", planned),
    ):
        router.add_api_route(path, route, methods=["GET"])
    router.add_api_route(
        "/alerts/{fingerprint}/acknowledge",
        acknowledge,
        methods=["POST"],
        # the order is that of the questions: from where, who, and only then what
        dependencies=[Depends(from_here), may_act(), Depends(action_logging("acknowledge_alert"))],
    )
    return router


def me(request: Request, user: GetUserDep) -> Response:
    """Who looks, and what they may do."""
    body = Me(
        name=user.get_name(),
        pipeline=page_dag(),
        may_release=may_trigger(user, page_dag()),
        may_roll_back=may_trigger(user, ROLLBACK_DAG),
        may_latch=may_trigger(user, LATCH_DAG),
        may_acknowledge=may_trigger(user, ROLLBACK_DAG),
    )
    return answer(request, body)


async def desired(request: Request) -> Response:
    """What the registry desires."""
    here = desk()

    def read() -> Part[Desired]:
        return attempt(lambda: desired_now(here.registry(), utc_now()))

    return answer(request, await asking.in_file_thread(read))


async def fleet(request: Request) -> Response:
    """What every worker of every replica serves."""
    return answer(request, await asking.fleet_now(desk()))


async def traffic(request: Request) -> Response:
    """Requests, latency and degraded answers of the last hour."""
    return answer(request, await asking.traffic_now(desk()))


async def alerts(request: Request) -> Response:
    """What fires, and what is silent."""
    return answer(request, await asking.firing_now(desk()))


async def health(request: Request) -> Response:
    """How good the data is, and what was promised against what was observed."""
    return answer(request, await asking.in_file_thread(desk().health))


async def releases(
    request: Request,
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
    outcome: Outcome | None = None,
    after: Annotated[str | None, Query(max_length=_LONGEST)] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_RELEASES)] = 30,
) -> Response:
    """A stretch of time, by default the last 30 days that the ledger tells of, and a page of its releases."""
    here = desk()

    def read() -> Timeline:
        history = here.history()
        last = history.entries[-1].at if history.entries else utc_now()
        until = _zoned(end) or max(last, utc_now())
        since = _zoned(start) or until - dt.timedelta(days=_DAYS)
        return timeline(history, start=since, end=until, outcome=outcome, after=after, limit=limit)

    return answer(request, await asking.in_file_thread(lambda: attempt(read)))


async def release(request: Request, release_id: str) -> Response:
    """One release, step by step and check by check."""
    here = desk()
    return answer(request, await asking.in_file_thread(lambda: here.release(release_id)))


async def release_behind(request: Request, release_id: str) -> Response:
    """What stands behind a release: slices, ranking, the data, the promises and the policy."""
    here = desk()
    return answer(request, await asking.in_file_thread(lambda: behind(here, release_id)))


async def release_of_dag_run(request: Request, dag_id: Text, dag_run_id: Text) -> Response:
    """The release of a DAG run."""
    here = desk()
    return answer(request, await asking.in_file_thread(lambda: here.release(release_id_for(dag_id, dag_run_id))))


async def known_runs(
    request: Request, find: Text = "", skip: Annotated[int, Query(ge=0, le=1_000_000)] = 0
) -> Response:
    """Registered runs, the newest first."""
    here = desk()
    found = await asking.in_file_thread(lambda: attempt(lambda: runs.known_runs(here.registry(), find=find, skip=skip)))
    return answer(request, found)


async def compare(request: Request, left: Text, right: Text) -> Response:
    """Two runs beside each other."""
    here = desk()
    return answer(request, await asking.in_file_thread(lambda: runs.compare(here, left, right)))


async def lists(request: Request, left: Text, right: Text, user_id: Text) -> Response:
    """What two runs recommend to a user."""
    here = desk()
    return answer(request, await asking.in_file_thread(lambda: runs.lists(here, left, right, user_id)))


async def planned(
    request: Request, user: GetUserDep, action: Literal["rollback", "release"], run_id: str | None = None
) -> Response:
    """What a rollback, or a release of a run that exists, would do if it was asked for now."""
    here = desk()
    return answer(request, await asking.in_file_thread(lambda: _planned(here, user, action, run_id)))


async def acknowledge(fingerprint: str, body: Acknowledge, user: GetUserDep) -> Acknowledged:
    """Silence an alert for a while, in the name of who looks after it; until then it starts no rollback."""
    wanted = await asking.acknowledge(fingerprint, by=user.get_name(), minutes=body.minutes, reason=body.reason)
    return Acknowledged(until=None if wanted is None else wanted.ends_at)


def _planned(here: Desk, user: GetUserDep, action: Literal["rollback", "release"], run_id: str | None) -> Planned:
    if run_id is not None:
        check_run_id(run_id)
    dag_id = ROLLBACK_DAG if action == "rollback" else page_dag()
    registry = here.registry()
    if action == "rollback":
        found = plan.rollback(registry, here.history().entries, run_id=run_id, now=utc_now())
    elif run_id is None:
        raise InvalidInputError("say which run is to be released: run_id")
    else:
        found = plan.release(registry, run_id=run_id)
    return Planned(plan=found, dag_id=dag_id if may_trigger(user, dag_id) else None, conf={"run_id": found.to_run})


def _zoned(at: dt.datetime | None) -> dt.datetime | None:
    """Return a time with its zone: UTC, if none was said."""
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=dt.UTC)
