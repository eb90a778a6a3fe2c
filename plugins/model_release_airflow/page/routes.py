"""The routes of the Releases page; ``make_router`` asks for read permission on all of them."""

from __future__ import annotations

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Request, Response

from model_release.artifact import Frozen
from model_release_airflow.page.answers import answer
from model_release_airflow.page.security import LATCH_DAG, ROLLBACK_DAG, may_read, may_trigger, page_dag


class Me(Frozen):
    """Who looks, and what the page may offer them."""

    name: str
    pipeline: str
    may_release: bool
    may_roll_back: bool
    may_latch: bool


def make_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/api", dependencies=[may_read()])
    router.add_api_route("/me", me, methods=["GET"])
    return router


def me(request: Request, user: GetUserDep) -> Response:
    """Who looks, and what they may do."""
    body = Me(
        name=user.get_name(),
        pipeline=page_dag(),
        may_release=may_trigger(user, page_dag()),
        may_roll_back=may_trigger(user, ROLLBACK_DAG),
        may_latch=may_trigger(user, LATCH_DAG),
    )
    return answer(request, body)
