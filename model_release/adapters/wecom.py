"""Messages to a WeCom (企业微信) group robot.

The key of a robot stands in its address, so no address is ever logged or put into an exception.
Limits and codes: https://developer.work.weixin.qq.com/document/path/91770.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import httpx

from model_release.adapters.wecom_call import WECOM_URL, ask
from model_release.adapters.wecom_parts import Part, split
from model_release.errors import ConfigurationError, MessageNotSentError, Refusal
from model_release.messages import MARKDOWN_BYTES, TEXT_BYTES

_SEND_PATH = "/cgi-bin/webhook/send"
_BUSY_RETRIES = 3


class WeComRobot:
    """One group robot.

    ``send_markdown`` and ``send_text`` are for who can't wait long: ``-1`` (busy) is tried again at most three times;
    throttling (45009 or HTTP 429) and a connection that was never made as long as ``patience_seconds`` lasts; everything
    else is final.  An answer that got lost is not tried again: the message may have arrived, and a second one would be
    wrong.  ``send`` is for who keeps a queue: it tries once.
    """

    def __init__(
        self,
        key: str,
        *,
        url: str = WECOM_URL,
        timeout_seconds: float = 10.0,
        patience_seconds: float = 20.0,
        proxy: str | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Make a client of the robot with ``key``.

        Args:
            key: the last part of the robot's webhook address.
            url: base address of the service.
            timeout_seconds: for each attempt.
            patience_seconds: time to wait between attempts, all in all.
            proxy: an HTTP proxy on the way.
            transport: another transport, for tests.
            sleep: another way to wait, for tests.

        Raises:
            ConfigurationError: the key is empty, or a whole address.
        """
        if not key or any(character in key for character in "/?&= \n"):
            raise ConfigurationError("the key of a WeCom robot is what follows 'key=' in its webhook address")
        self._key = key
        self._base = url.rstrip("/")
        self._timeout = httpx.Timeout(timeout_seconds).as_dict()
        self._patience_seconds = patience_seconds
        self._transport = transport or httpx.HTTPTransport(proxy=proxy)
        self._sleep = sleep

    def __repr__(self) -> str:
        """Return the service's address without the key."""
        return f"WeComRobot(url={self._base!r})"

    def close(self) -> None:
        """Close its connections."""
        self._transport.close()

    def send_markdown(self, content: str) -> int:
        """Send markdown, in several messages if it is long; return how many.

        Raises:
            MessageNotSentError: one was not taken.
        """
        parts = split(content, MARKDOWN_BYTES)
        for part in parts:
            self._patiently(Part("markdown", part))
        return len(parts)

    def send_text(self, content: str, *, mentioned: Sequence[str] = (), mobiles: Sequence[str] = ()) -> int:
        """Send plain text; the last message of it mentions people by user id or mobile number; return how many.

        Raises:
            MessageNotSentError: one was not taken.
        """
        *before, last = split(content, TEXT_BYTES)
        for part in before:
            self._patiently(Part("text", part))
        self._patiently(Part("text", last, mentioned=tuple(mentioned), mobiles=tuple(mobiles)))
        return len(before) + 1

    def send(self, part: Part) -> None:
        """Send one message, once.

        Raises:
            MessageNotSentError: it was not taken, or it is not known whether it was.
        """
        ask(
            self._transport,
            "POST",
            f"{self._base}{_SEND_PATH}",
            params={"key": self._key},
            timeout=self._timeout,
            message=part.body(),
        )

    def _patiently(self, part: Part) -> None:
        waited, busy, pause = 0.0, 0, 1.0
        while True:
            try:
                self.send(part)
            except MessageNotSentError as error:
                busy += error.kind is Refusal.BUSY
                if error.permanent or busy > _BUSY_RETRIES or waited + pause > self._patience_seconds:
                    raise
            else:
                return
            self._sleep(pause)
            waited, pause = waited + pause, pause * 2
