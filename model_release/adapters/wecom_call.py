"""One question to WeCom, and what its answer means.

The service answers failures with HTTP 200 and an ``errcode``; that alone decides what became of a message, never the
text beside it.  The secrets stand in the addresses, so no address is ever logged or put into an exception: requests go
through a transport, because httpx's client logs every address that it asks.
Codes: https://developer.work.weixin.qq.com/document/path/90313; limits: the same path, 90312.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import httpx

from model_release.errors import MessageNotSentError, Refusal

WECOM_URL = "https://qyapi.weixin.qq.com"
_OK, _BUSY = 0, -1
_THROTTLED = frozenset({45009, 45033})
_SUCCESS, _TOO_MANY_REQUESTS, _SERVER_ERROR, _GATEWAY_TIMEOUT = range(200, 300), 429, 500, 504
_MEANING: Mapping[int, str] = {
    _BUSY: "busy",
    45009: "too many messages, 20 a minute are allowed",
    45033: "too many messages at the same time",
    40001: "the secret of the app is wrong",
    40013: "the corp id is wrong",
    40014: "the access token is not valid",
    40056: "the agent id is wrong",
    40058: "the message is malformed or too long",
    42001: "the access token has expired",
    60020: "this address may not call the app: add it to the app's trusted addresses",
    81013: "nobody of those who should get it can",
    93000: "no robot has this key; make a new one in the group",
}


def ask(
    transport: httpx.BaseTransport,
    method: Literal["GET", "POST"],
    url: str,
    *,
    params: Mapping[str, str],
    timeout: Mapping[str, float | None],
    message: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the answer, a JSON object with ``errcode`` 0.

    Args:
        transport: the way there.
        method: GET asks only; POST sends ``message``, which must not be done twice.
        url: without the secrets.
        params: the secrets.
        timeout: of httpx, in seconds.
        message: what is sent.

    Raises:
        MessageNotSentError: there is no such answer; its ``kind`` says what that means.
    """
    content = json.dumps(message, ensure_ascii=False).encode() if message is not None else None
    request = httpx.Request(
        method,
        url,
        params=dict(params),
        content=content,
        headers={"Content-Type": "application/json"} if content is not None else {},
        extensions={"timeout": dict(timeout)},
    )
    lost = Refusal.IN_DOUBT if method == "POST" else Refusal.UNREACHABLE
    try:
        response = transport.handle_request(request)
        body = response.read()
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
        reason = f"WeCom can't be reached: {type(error).__name__}"
        raise MessageNotSentError(reason, code=None, kind=Refusal.UNREACHABLE) from None
    except httpx.HTTPError as error:
        reason = f"no answer from WeCom ({type(error).__name__}): it is not known whether the message arrived"
        raise MessageNotSentError(reason, code=None, kind=lost) from None
    return _judged(response.status_code, body, lost)


def _judged(status: int, body: bytes, lost: Refusal) -> dict[str, Any]:
    if status == _TOO_MANY_REQUESTS:
        raise MessageNotSentError("WeCom answered 429: too many messages", code=None, kind=Refusal.THROTTLED)
    if status >= _SERVER_ERROR:
        # a gateway that waited in vain knows no more than we would
        kind = lost if status == _GATEWAY_TIMEOUT else Refusal.UNREACHABLE
        raise MessageNotSentError(f"WeCom answered {status}", code=None, kind=kind)
    code = None
    try:
        answer = json.loads(body)
        code = answer["errcode"]
    except (ValueError, KeyError, TypeError):
        pass
    if type(code) is not int:  # WeCom answers 200, always with one; who else answered a refusal took nothing
        kind = lost if status in _SUCCESS else Refusal.UNREACHABLE
        raise MessageNotSentError(
            f"WeCom, or somebody on the way, answered {status} without an errcode", code=None, kind=kind
        )
    if code == _OK:
        found: dict[str, Any] = answer
        return found
    kind = Refusal.BUSY if code == _BUSY else Refusal.THROTTLED if code in _THROTTLED else Refusal.PERMANENT
    meaning = _MEANING.get(code, "see its error table")
    raise MessageNotSentError(f"WeCom answered errcode {code}: {meaning}", code=code, kind=kind)
