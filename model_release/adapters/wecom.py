"""Messages to a WeCom (企业微信) group robot.

The service answers failures with HTTP 200 and an ``errcode``; that alone decides what became of a message, never the
text beside it.  The key of a robot stands in its address, so no address is ever logged or put into an exception.
Limits and codes: https://developer.work.weixin.qq.com/document/path/91770.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import httpx

from model_release.errors import ConfigurationError, MessageNotSentError
from model_release.messages import MARKDOWN_BYTES, TEXT_BYTES

WECOM_URL = "https://qyapi.weixin.qq.com"
MOST_PARTS = 10  # of one message; the robot takes 20 a minute
_SEND_PATH = "/cgi-bin/webhook/send"
_OK, _BUSY, _THROTTLED = 0, -1, 45009
_TOO_MANY_REQUESTS, _SERVER_ERROR = 429, 500
_BUSY_RETRIES = 3
_CUT = "\n…"


class WeComRobot:
    """One group robot.

    ``-1`` (busy) is tried again at most three times; throttling (45009 or HTTP 429) and a connection that was never
    made as long as ``patience_seconds`` lasts; everything else is final.  An answer that got lost is not tried again:
    the message may have arrived, and a second one would be wrong.
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
        # Not a Client: that one logs every address that it asks, and the key is in it.
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
            self._send({"msgtype": "markdown", "markdown": {"content": part}})
        return len(parts)

    def send_text(self, content: str, *, mentioned: Sequence[str] = (), mobiles: Sequence[str] = ()) -> int:
        """Send plain text; the last message of it mentions people by user id or mobile number; return how many.

        Raises:
            MessageNotSentError: one was not taken.
        """
        parts = split(content, TEXT_BYTES)
        for number, part in enumerate(parts, start=1):
            text: dict[str, Any] = {"content": part}
            if number == len(parts):
                text |= {"mentioned_list": list(mentioned)} if mentioned else {}
                text |= {"mentioned_mobile_list": list(mobiles)} if mobiles else {}
            self._send({"msgtype": "text", "text": text})
        return len(parts)

    def _send(self, message: Mapping[str, Any]) -> None:
        waited, busy, pause = 0.0, 0, 1.0
        while True:
            error = self._attempt(message)
            if error is None:
                return
            busy += error.code == _BUSY
            if error.permanent or busy > _BUSY_RETRIES or waited + pause > self._patience_seconds:
                raise error
            self._sleep(pause)
            waited, pause = waited + pause, pause * 2

    def _attempt(self, message: Mapping[str, Any]) -> MessageNotSentError | None:
        request = httpx.Request(
            "POST",
            f"{self._base}{_SEND_PATH}",
            params={"key": self._key},
            content=json.dumps(message, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json"},
            extensions={"timeout": self._timeout},
        )
        try:
            response = self._transport.handle_request(request)
            body = response.read()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return MessageNotSentError(f"WeCom can't be reached: {type(error).__name__}", code=None, permanent=False)
        except httpx.HTTPError as error:
            reason = f"no answer from WeCom ({type(error).__name__}): it is not known whether the message arrived"
            return MessageNotSentError(reason, code=None, permanent=True)
        return _outcome(response.status_code, body)


def split(content: str, limit: int) -> list[str]:
    """Cut text into parts of at most ``limit`` UTF-8 bytes, between lines where possible, never inside a character.

    At most ``MOST_PARTS`` parts are made; the last then ends with an ellipsis.
    """
    parts: list[str] = []
    part = ""
    for line in _short_lines(content.strip("\n"), limit):
        if part and len((part + line).encode()) > limit:
            parts.append(part.rstrip("\n"))
            part = ""
        part += line
    parts.append(part.rstrip("\n"))
    if len(parts) <= MOST_PARTS:
        return parts
    last = parts[MOST_PARTS - 1].encode()[: limit - len(_CUT.encode())].decode(errors="ignore")
    return [*parts[: MOST_PARTS - 1], last + _CUT]


def _short_lines(content: str, limit: int) -> Iterator[str]:
    """Return the lines of ``content`` with their line ends; one that is too long in pieces."""
    for whole in content.splitlines(keepends=True):
        line = whole.encode()
        while len(line) > limit:
            piece = line[:limit].decode(errors="ignore")  # drops the bytes of a character that was cut
            yield piece
            line = line[len(piece.encode()) :]
        yield line.decode()


def _outcome(status: int, body: bytes) -> MessageNotSentError | None:
    """Return why a message was not taken; None: it was."""
    if status == _TOO_MANY_REQUESTS:
        return MessageNotSentError("WeCom answered 429: too many messages", code=None, permanent=False)
    if status >= _SERVER_ERROR:
        return MessageNotSentError(f"WeCom answered {status}", code=None, permanent=False)
    try:
        code = json.loads(body)["errcode"]
    except (ValueError, KeyError, TypeError):
        return MessageNotSentError(f"WeCom answered {status} without an errcode", code=None, permanent=True)
    if type(code) is not int:
        return MessageNotSentError(f"WeCom answered {status} with errcode {code!r}", code=None, permanent=True)
    if code == _OK:
        return None
    return MessageNotSentError(
        f"WeCom answered errcode {code}: {_MEANING.get(code, 'see its error table')}",
        code=code,
        permanent=code not in {_BUSY, _THROTTLED},
    )


_MEANING: Mapping[int, str] = {
    _BUSY: "busy",
    _THROTTLED: "too many messages, 20 a minute are allowed",
    40058: "the message is malformed or too long",
    93000: "no robot has this key; make a new one in the group",
}
