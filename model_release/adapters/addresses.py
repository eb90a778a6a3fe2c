"""Addresses and tokens of services that are called over HTTP: refused here, before a library repeats them in an error."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from model_release.errors import ConfigurationError

_EXPECTED = "expected http://host:port"
_TOKEN = re.compile(r"[\x21-\x7e]*")  # the HTTP library would repeat any other one in its error


def bearer(token: str | None) -> dict[str, str]:
    """Return the header that carries ``token``; none without a token.

    Raises:
        ConfigurationError: it can't be in a header; the message never repeats it.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise ConfigurationError("the token holds a space, a line break or another character no header may hold")
    return {"Authorization": f"Bearer {token}"} if token else {}


def check_url(url: str, of: str = "a replica") -> str:
    """Return the base address of a service, ``of`` what, without a slash at its end.

    Raises:
        ConfigurationError: it is not ``http(s)://host[:port][/base]``; the message never repeats credentials.
    """
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none and may be a part of a password
        raise ConfigurationError(f"the address of {of} has no usable host and port; {_EXPECTED}") from None
    if parts.username or parts.password:
        raise ConfigurationError(f"the address of {parts.hostname} holds credentials: give the token separately")
    if parts.query or parts.fragment:
        raise ConfigurationError(f"the address of {parts.hostname} holds a query or a fragment; {_EXPECTED}")
    if not usable:
        raise ConfigurationError(f"{url!r} is not the base address of {of}; {_EXPECTED}")
    return f"{parts.scheme}://{parts.netloc}{parts.path}".rstrip("/")
