"""How a plain HTTP service is reloaded and asked: key ``service`` of the connection's extra, read in this one place."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import quote

from pydantic import AfterValidator, Field, ValidationError, model_validator

from model_release.artifact import Frozen
from model_release.contract import Mode
from model_release.errors import ConfigurationError
from model_release.explain import explain

Json: TypeAlias = Any  # what json.loads returns
Values: TypeAlias = Mapping[str, str | int | float | None]

PLACEHOLDERS = frozenset(
    {
        "run_id",
        "current_run_id",
        "previous_run_id",
        "mode",
        "rollout",
        "generation",
        "release_id",
        "lease_seconds",
    }
)
PROBE_PLACEHOLDERS = frozenset({"user_id", "k"})
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x20-\x7e]*")


def _checked(text: str, known: frozenset[str]) -> str:
    template = string.Template(text)
    if not template.is_valid():
        raise ValueError("a $ stands alone: write $$ for the sign itself")
    unknown = sorted(set(template.get_identifiers()) - known)
    if unknown:
        raise ValueError(
            f"unknown placeholder ${unknown[0]}; there are {', '.join(f'${one}' for one in sorted(known))}"
        )
    return text


def _path(text: str, known: frozenset[str] = PLACEHOLDERS) -> str:
    if not text.startswith("/") or text.startswith("//"):
        raise ValueError("a path begins with one /")
    return _checked(text, known)


def _body(value: Json) -> Json:
    match value:
        case str():
            _checked(value, PLACEHOLDERS)
        case dict():
            for entry in value.values():
                _body(entry)
        case list():
            for entry in value:
                _body(entry)
    return value


def _pointer(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("a JSON pointer is empty or begins with / (RFC 6901)")
    if re.search(r"~(?![01])", text):
        raise ValueError("in a JSON pointer ~ is written ~0, and / inside a name ~1 (RFC 6901)")
    return text


def _header_names(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"header {name!r} holds a character that no header may hold")
        if name.lower() in {"authorization", "host", "content-length"}:
            raise ValueError(f"header {name!r} is not for here: the password of the connection is the secret")
    return headers


Path = Annotated[str, AfterValidator(_path)]
Body = Annotated[Json, AfterValidator(_body)]
Pointer = Annotated[str, AfterValidator(_pointer)]
Headers = Annotated[Mapping[str, str], AfterValidator(_header_names)]
Method = Literal["POST", "PUT", "PATCH"]


class Call(Frozen):
    """One call that changes something: ``body`` is JSON with placeholders."""

    path: Path
    method: Method = "POST"
    headers: Headers = Field(default_factory=dict)
    body: Body = None


class Reload(Frozen):
    """The call that switches; one body for each mode that the service knows."""

    path: Path
    method: Method = "POST"
    headers: Headers = Field(default_factory=dict)
    bodies: Annotated[Mapping[Mode, Body], Field(min_length=1)]


class Status(Frozen):
    """Where the service says what it serves."""

    path: Annotated[str, AfterValidator(lambda text: _path(text, frozenset()))]
    run_id: Pointer
    candidate: Pointer | None = None
    rollout: Pointer | None = None
    generation: Pointer | None = None
    ready: Pointer | None = None


class Probe(Frozen):
    """How a user's recommendations are asked for."""

    path: Annotated[str, AfterValidator(lambda text: _path(text, PROBE_PLACEHOLDERS))]
    run_id: Pointer
    items: Pointer


class ServiceMapping(Frozen):
    """Everything about one plain service; see docs/how-to/release-another-service.md."""

    reload: Reload
    status: Status
    prepare: Call | None = None
    lease: Call | None = None
    probe: Probe | None = None
    auth_header: str = "Authorization"
    auth_scheme: str = "Bearer"
    trials_without_lease: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> ServiceMapping:
        if "primary" not in self.reload.bodies:
            raise ValueError(
                "reload.bodies needs a body for mode 'primary': every release ends with it, and goes back by it"
            )
        if set(self.reload.bodies) - {"primary"} and self.status.candidate is None:
            raise ValueError("status.candidate is missing: a trial that the service does not report can't be proved")
        if not _HEADER.fullmatch(self.auth_header) or not re.fullmatch(r"[A-Za-z0-9-]*", self.auth_scheme):
            raise ValueError("auth_header or auth_scheme holds a character that no header may hold")
        return self


def read_mapping(value: object, *, connection: str) -> ServiceMapping:
    """Return the mapping in the extra of ``connection``.

    Raises:
        ConfigurationError: it is not usable; names each key.
    """
    try:
        return ServiceMapping.model_validate(value)
    except ValidationError as error:
        raise ConfigurationError(f"service of connection {connection!r}: {explain(error, ServiceMapping)}") from None


def filled(body: Json, values: Values) -> Json:
    """Return ``body`` with its placeholders filled in; a text that is one placeholder keeps the value's type."""
    match body:
        case str():
            whole = re.fullmatch(r"\$(?:\{(\w+)\}|(\w+))", body)
            if whole:
                return values[whole[1] or whole[2]]
            return string.Template(body).substitute({name: "" if one is None else one for name, one in values.items()})
        case dict():
            return {key: filled(entry, values) for key, entry in body.items()}
        case list():
            return [filled(entry, values) for entry in body]
        case _:
            return body


def filled_path(path: str, values: Values) -> str:
    """Return ``path`` with its placeholders filled in, each quoted as one part of it."""
    quoted = {name: "" if one is None else quote(str(one), safe="") for name, one in values.items()}
    return string.Template(path).substitute(quoted)


def at(document: Json, pointer: str) -> Json:
    """Return what ``pointer`` (RFC 6901) points at.

    Raises:
        LookupError: nothing is there.
    """
    found = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and re.fullmatch(r"0|[1-9][0-9]*", name) and int(name) < len(found):
            found = found[int(name)]
        else:
            raise LookupError(pointer)
    return found
