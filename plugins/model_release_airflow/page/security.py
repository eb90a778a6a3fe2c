"""Who may see the Releases page, who may act on it, and from where: Airflow's own permissions, on every route."""

from __future__ import annotations

import os
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

READ_VARIABLE = "RELEASES_PAGE_DAG"
ROLLBACK_DAG, LATCH_DAG = "recommendation_rollback", "recommendation_latch"
_SAME_SITE = frozenset({"same-origin", "none"})  # none: typed by a person, or no browser

# Nothing but our own files, no script in the page itself, and no frame but Airflow's: what slips through is text.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page_dag() -> str:
    """Return the DAG whose readers see the page."""
    return os.environ.get(READ_VARIABLE) or "recommendation_pipeline"


def may_read() -> Any:
    """Return the dependency of every route: logged in, and read access to the page's DAG."""
    return Depends(requires_access_dag(method="GET", param_dag_id=page_dag()))


def may_act() -> Any:
    """Return the dependency of a route that changes something: the right to trigger a rollback."""
    return Depends(
        requires_access_dag(method="POST", access_entity=DagAccessEntity.RUN, param_dag_id=ROLLBACK_DAG),
    )


def may_trigger(user: Any, dag_id: str) -> bool:
    """Return whether a user may trigger a DAG; what the page offers, Airflow's API decides again."""
    details = DagDetails(id=dag_id)
    return bool(
        get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=details, user=user
        )
    )


def from_here(request: Request) -> None:
    """Refuse what another site makes a browser send: JSON only, and from our own origin.

    A form of another site can't send JSON, and a script of another site can't without asking first (CORS), which nobody
    here answers.  What browsers themselves say of where it comes from is looked at too, else the origin, where there is one.
    Behind a proxy that gives another host, the origin is that of ``[api] base_url``.

    Raises:
        HTTPException: 415 for another content type, 403 for another origin.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in _SAME_SITE:
            raise HTTPException(HTTPStatus.FORBIDDEN, "this comes from another site")
        return
    # over plain HTTP browsers do not say it; then the origin has to be the host that was asked, or Airflow's address
    origin = request.headers.get("origin")
    if origin is not None and origin not in _our_origins(request):
        raise HTTPException(HTTPStatus.FORBIDDEN, "this comes from another origin")


def _our_origins(request: Request) -> set[str]:
    """Return the origins that Airflow has; whether a proxy took the request by HTTPS, only Airflow's address can tell."""
    ours = urlsplit(conf.get("api", "base_url", fallback=""))
    host = request.headers.get("host", "")
    return {f"http://{host}", f"https://{host}", f"{ours.scheme}://{ours.netloc}"} - {"http://", "https://", "://"}


class PageHeaders:
    """Middleware that puts :data:`HEADERS` on every answer, errors and files included."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and add the headers to what comes back."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)
