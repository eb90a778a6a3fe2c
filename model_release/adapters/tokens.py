"""Tokens that give a caller a right; they may be exchanged while a server runs, with both in a file for a while."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from model_release.adapters.files import mark_of
from model_release.errors import ConfigurationError

_log = logging.getLogger(__name__)
MOST_TOKENS = 2  # the old one and the new one


def given_once(env: Mapping[str, str], variable: str, what: str = "the token") -> tuple[str | None, Path | None]:
    """Return the value of a secret's variable, or the file that ``<variable>_FILE`` names; what is empty is not given.

    ``what`` the secret is called in the error.

    Raises:
        ConfigurationError: both are set.
    """
    direct, file = env.get(variable) or None, env.get(f"{variable}_FILE") or None
    if direct and file:
        raise ConfigurationError(f"{variable} and {variable}_FILE are both set: give {what} once")
    return direct, Path(file) if file else None


def token_of(env: Mapping[str, str], variable: str) -> str | None:
    """Return the token to send: from its variable, or the first one of the file that another variable names.

    Raises:
        ConfigurationError: both are set, or the file can't be used.
    """
    direct, file = given_once(env, variable)
    return read_tokens(file, f"{variable}_FILE")[0].decode() if file else direct


def secret_of(env: Mapping[str, str], variable: str) -> str | None:
    """Return a secret that may hold spaces, such as a password: from its variable or the file that another one names.

    Raises:
        ConfigurationError: both are set, or the file is empty or can't be read.
    """
    direct, file = given_once(env, variable, "it")
    if file is None:
        return direct
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{variable}_FILE={file} can't be read: {type(error).__name__}") from None
    if not text:
        raise ConfigurationError(f"{variable}_FILE={file} is empty")
    return text


def tokens_of(token: SecretStr | None, file: Path | None, variable: str) -> Tokens | None:
    """Return the tokens in a file, read again when it changes, else the one that is given; None: there are none."""
    if file is not None:
        return TokenFile(file, f"{variable}_FILE")
    return FixedToken(token.get_secret_value()) if token is not None else None


def is_bearer(tokens: Tokens, authorization: str) -> bool:
    """Whether the header ``Authorization`` carries one of ``tokens``."""
    scheme, _, given = authorization.partition(" ")
    return scheme.lower() == "bearer" and tokens.accept(given.strip())


def is_from_here(headers: Mapping[str, str], host: str) -> bool:
    """Whether a call comes from loopback, and from nobody else's: behind a proxy everybody seems to."""
    if any(name in headers for name in ("forwarded", "x-forwarded-for")):
        return False
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Tokens(Protocol):
    """The tokens that give one right."""

    def accept(self, given: str) -> bool:
        """Whether ``given`` is one of them; takes the same time whichever it is not."""


class FixedToken:
    """One token, for as long as the process lives."""

    def __init__(self, token: str) -> None:
        self._tokens = (token.encode(),)

    def accept(self, given: str) -> bool:
        """Compare in constant time."""
        return _is_one_of(given, self._tokens)


class TokenFile:
    """One token in each line of a file, at most two; the file is read again when it changes.

    A file that can't be used any more changes nothing: the tokens that were valid stay valid, and the log says so.
    """

    def __init__(self, path: Path, variable: str) -> None:
        self._path = path
        self._variable = variable
        self._lock = threading.Lock()
        self._mark = mark_of(path)
        self._tokens = read_tokens(path, variable)

    def accept(self, given: str) -> bool:
        """Compare in constant time with what the file holds now."""
        return _is_one_of(given, self._current())

    def _current(self) -> tuple[bytes, ...]:
        mark = mark_of(self._path)
        with self._lock:
            if mark != self._mark:
                self._mark = mark
                try:
                    self._tokens = read_tokens(self._path, self._variable)
                except ConfigurationError as error:
                    _log.error("the tokens from before stay valid: %s", error)
                else:
                    _log.warning("%s has changed: %d valid from now on", self._path, len(self._tokens))
            return self._tokens


def read_tokens(path: Path, variable: str) -> tuple[bytes, ...]:
    """Return the tokens in a file, one in each line that is not empty.

    Raises:
        ConfigurationError: the file can't be read, or holds none, more than two, or something that is no token; the
            message never shows what it holds.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigurationError(f"{variable}={path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigurationError(f"{variable}={path} is not text") from None
    tokens = tuple(check_token(line, f"{variable}={path}").encode() for line in map(str.strip, lines) if line)
    if not tokens:
        raise ConfigurationError(f"{variable}={path} is empty")
    if len(tokens) > MOST_TOKENS:
        raise ConfigurationError(
            f"{variable}={path} holds {len(tokens)} tokens, at most {MOST_TOKENS} are valid at a time: take the oldest out"
        )
    return tokens


def check_token(token: str, where: str) -> str:
    """Return ``token`` without white space around it.

    Raises:
        ConfigurationError: no header could carry it.
    """
    token = token.strip()
    if not token or not all("!" <= character <= "~" for character in token):
        raise ConfigurationError(f"{where}: a token is made of printable ASCII characters without spaces")
    return token


def _is_one_of(given: str, tokens: Sequence[bytes]) -> bool:
    sent = given.encode(errors="replace")
    found = False
    for token in tokens:  # all of them: the time tells nothing
        found |= hmac.compare_digest(sent, token)
    return found
