"""Messages of a WeCom (企业微信) app to people and departments.

The secret and the access token stand in addresses, so no address is ever logged or put into an exception.
https://developer.work.weixin.qq.com/document/path/90236 and 91039 (the access token).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import httpx

from model_release.adapters.wecom_call import WECOM_URL, ask
from model_release.adapters.wecom_parts import Part
from model_release.errors import ConfigurationError, MessageNotSentError, Refusal

APP_BYTES = 2048  # of one message of an app, in UTF-8, text and markdown alike; a robot takes more
REPEATABLE_SECONDS = 14_400.0  # how long the service knows a message again: the longest that it offers
_TOKEN_PATH, _SEND_PATH = "/cgi-bin/gettoken", "/cgi-bin/message/send"
_TOKEN_GONE = frozenset({40014, 42001})
_log = logging.getLogger(__name__)
_EARLY_SECONDS = 60.0  # a token is renewed so long before it expires


class WeComApp:
    """One app.

    A message is sent with the service's own check for duplicates, so one whose answer got lost may be sent again within
    ``REPEATABLE_SECONDS`` if it is the same to the byte: nobody gets it twice.
    """

    def __init__(
        self,
        *,
        corp_id: str,
        secret: str,
        agent_id: int,
        to_user: str = "",
        to_party: str = "",
        url: str = WECOM_URL,
        timeout_seconds: float = 10.0,
        proxy: str | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a client of the app.

        Args:
            corp_id: of the company.
            secret: of the app.
            agent_id: of the app.
            to_user: user ids with ``|`` between; ``@all`` for everybody who may see the app.
            to_party: ids of departments with ``|`` between.
            url: base address of the service.
            timeout_seconds: for each attempt.
            proxy: an HTTP proxy on the way.
            transport: another transport, for tests.
            clock: another clock for the age of the access token, in seconds.

        Raises:
            ConfigurationError: something is missing.
        """
        if not corp_id or not secret or not (to_user or to_party):
            raise ConfigurationError("a WeCom app needs a corp id, a secret, and users or departments to write to")
        self._credentials = {"corpid": corp_id, "corpsecret": secret}
        self._envelope = {"touser": to_user, "toparty": to_party, "agentid": agent_id}
        self._base = url.rstrip("/")
        self._timeout = httpx.Timeout(timeout_seconds).as_dict()
        self._transport = transport or httpx.HTTPTransport(proxy=proxy)
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._token_until = 0.0

    def __repr__(self) -> str:
        """Return the service's address and the app, without secrets."""
        return f"WeComApp(url={self._base!r}, agent_id={self._envelope['agentid']})"

    def close(self) -> None:
        """Close its connections."""
        self._transport.close()

    def send(self, part: Part) -> None:
        """Send one message, once; a token that the service does not know any more is replaced by a new one first.

        Raises:
            MessageNotSentError: it was not taken, or it is not known whether it was.
        """
        for again in (False, True):
            token = self._access_token()
            try:
                self._post(part, token)
            except MessageNotSentError as error:
                if error.code not in _TOKEN_GONE:
                    raise
                self._forget(token)
                if again:  # no outage that passes by itself in a moment, but none for ever
                    raise MessageNotSentError(str(error), code=error.code, kind=Refusal.BUSY) from None
            else:
                return

    def _post(self, part: Part, token: str) -> None:
        check = {"enable_duplicate_check": 1, "duplicate_check_interval": int(REPEATABLE_SECONDS)}
        answer = ask(
            self._transport,
            "POST",
            f"{self._base}{_SEND_PATH}",
            params={"access_token": token},
            timeout=self._timeout,
            message={**self._envelope, **part.body(), **check},
        )
        lost = [str(answer[name]) for name in ("invaliduser", "invalidparty") if answer.get(name)]
        if lost:  # the others have it
            _log.warning("WeCom took the message, but does not know, or may not write to: %s", ", ".join(lost))

    def _access_token(self) -> str:
        with self._lock:
            if self._clock() >= self._token_until:
                answer = ask(
                    self._transport,
                    "GET",
                    f"{self._base}{_TOKEN_PATH}",
                    params=self._credentials,
                    timeout=self._timeout,
                )
                token, seconds = answer.get("access_token"), answer.get("expires_in")
                if not isinstance(token, str) or not token or type(seconds) is not int:
                    raise MessageNotSentError(
                        "WeCom answered without an access token", code=None, kind=Refusal.UNREACHABLE
                    )
                self._token = token
                self._token_until = self._clock() + max(0.0, seconds - _EARLY_SECONDS)
            return self._token

    def _forget(self, token: str) -> None:
        with self._lock:
            if token == self._token:
                self._token_until = 0.0
