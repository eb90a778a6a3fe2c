"""Who may change what is served."""

from __future__ import annotations

import hmac
import ipaddress
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from recommendation_api.settings import Settings

_CHALLENGE = {"WWW-Authenticate": "Bearer"}


def caller(request: Request) -> str:
    """Return who calls, for the ledger, if they may change what is served.

    Raises:
        HTTPException: 401 without the right token; 403 where no token is configured.
    """
    settings: Settings = request.app.state.settings
    host = request.client.host if request.client else "unknown"
    if settings.reload_token is None:
        # behind a proxy everybody comes from loopback
        direct = not any(name in request.headers for name in ("forwarded", "x-forwarded-for"))
        if settings.development and direct and _is_loopback(host):
            return f"api:{host}"
        raise HTTPException(
            403,
            "no MODEL_RELOAD_TOKEN is configured: reload and lease are refused, except from loopback in development",
        )
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    expected = settings.reload_token.get_secret_value().encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), expected):
        raise HTTPException(401, "needs the header Authorization: Bearer <MODEL_RELOAD_TOKEN>", headers=_CHALLENGE)
    return f"api:{host}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


Caller = Annotated[str, Depends(caller)]
