"""One HTTP connection to a replica, whatever it speaks: time-outs, sizes, secrets, and which answer is an outage."""

from __future__ import annotations

import abc
import functools
import ssl
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx
from pydantic import ValidationError

from model_release.adapters.addresses import check_url
from model_release.contract import Problem
from model_release.errors import ReplicaRefusedError, ReplicaUnreachableError

LONGEST_ANSWER_BYTES = 8 * 2**20
_CONNECT_SECONDS = 10.0
_SHOWN = 200  # characters of an answer in a message


class ReplicaHttp:
    """Calls of one replica.

    Outages (no connection, time out, 429, 5xx) raise ``ReplicaUnreachableError``: worth a retry.  Every other answer
    that is no success, redirects too, raises ``ReplicaRefusedError``.  No message repeats a header's secret.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout_seconds: float,
        transport: httpx.BaseTransport | None = None,
        secrets: Sequence[str] = (),
        trust_env: bool = False,
    ) -> None:
        """Open nothing yet.

        Args:
            url: base address, ``http(s)://host[:port][/base]``.
            headers: of every call; their values are secrets.
            timeout_seconds: for a call that says nothing else.
            transport: another transport, for tests.
            secrets: further texts that no message may repeat.
            trust_env: whether the environment's proxy and certificates count: a proxy is not between us and a replica.

        Raises:
            ConfigurationError: the address is not usable, or holds credentials.
        """
        self.url = check_url(url)
        self._secrets = [part for value in headers.values() for part in (value, value.rpartition(" ")[2]) if part]
        self._secrets += [secret for secret in secrets if secret]
        self._client = httpx.Client(
            base_url=self.url,
            headers=dict(headers),
            timeout=timeout_seconds,
            transport=transport,
            follow_redirects=False,  # the token would travel along
            trust_env=trust_env,
            verify=_certificates(trust_env),
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
        any_success: bool = False,
    ) -> bytes:
        """Return the body of an answer 200; of any 2xx with ``any_success``.

        Raises:
            ReplicaUnreachableError, ReplicaRefusedError: as the class says.
        """
        sent = dict(headers or {}) | ({"Content-Type": "application/json"} if body is not None else {})
        limit = self._client.timeout
        if timeout_seconds is not None:
            limit = httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS)
        try:
            with self._client.stream(method, path, content=body, headers=sent, timeout=limit) as response:
                content = self._read(response, f"{method} {self.url}{path}")
        except httpx.HTTPError as error:
            raise ReplicaUnreachableError(
                self._safe(f"{method} {self.url}{path} failed: {type(error).__name__}: {error}"), replica=self.url
            ) from error
        if response.status_code == HTTPStatus.OK or (any_success and response.is_success):
            return content
        raise self._error(f"{method} {self.url}{path}", response, content)

    def refused(self, message: str, *, status: int = 200, title: str = "not the contract") -> ReplicaRefusedError:
        """Return the error for an answer, or a wish, that no retry makes better."""
        return ReplicaRefusedError(self._safe(message), replica=self.url, status=status, title=title)

    def _read(self, response: httpx.Response, call: str) -> bytes:
        content = bytearray()
        for part in response.iter_bytes():
            content += part
            if len(content) > LONGEST_ANSWER_BYTES:
                raise self.refused(f"{call} answered more than {LONGEST_ANSWER_BYTES} bytes", title="too long")
        return bytes(content)

    def _error(
        self, call: str, response: httpx.Response, content: bytes
    ) -> ReplicaRefusedError | ReplicaUnreachableError:
        status = response.status_code
        try:
            problem = Problem.model_validate_json(content)
        except ValidationError:
            text = content.decode("utf-8", "replace")[:_SHOWN]
            problem = Problem(title=response.reason_phrase or "error", status=status, detail=text)
        message = f"{call} answered {status} {problem.title}: {problem.detail}".rstrip(": ")
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
            return ReplicaUnreachableError(self._safe(message), replica=self.url)
        return self.refused(message, status=status, title=problem.title)

    def _safe(self, message: str) -> str:
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return message


class Client(abc.ABC):
    """What has connections that are closed at the end of a ``with`` block."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close its connections."""

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close its connections."""
        self.close()


@functools.cache
def _certificates(trust_env: bool) -> ssl.SSLContext:
    """Return whom to trust over TLS; reading it takes 20 ms, which 50 replicas asked every few seconds would each cost."""
    return httpx.create_ssl_context(trust_env=trust_env)


class HttpReplica(Client):
    """What clients of replicas have in common: an address, and connections that are closed at the end."""

    def __init__(self, http: ReplicaHttp) -> None:
        self._http = http

    @property
    def url(self) -> str:
        """Base address, without a slash at its end."""
        return self._http.url

    def close(self) -> None:
        """Close its connections."""
        self._http.close()
