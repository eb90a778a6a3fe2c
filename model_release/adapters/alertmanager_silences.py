"""Silences in Alertmanager: ``/api/v2/silences``, in the shape that versions 0.16 and later share."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from model_release.adapters.alertmanager import alerts
from model_release.adapters.http_source import HttpSource, opened
from model_release.adapters.sources import Sources
from model_release.errors import AlertsUnavailableError, EvidenceError
from model_release.evidence import Alert, Missing
from model_release.quieting import Plan
from model_release.silences import Silence, Wanted

_SILENCES, _SILENCE = "/api/v2/silences", "/api/v2/silence"


class _Matcher(BaseModel):
    name: str
    value: str
    is_regex: bool = Field(alias="isRegex")
    is_equal: bool = Field(default=True, alias="isEqual")  # 0.21 and older know no other


class _Status(BaseModel):
    state: Literal["active", "pending", "expired"]


class _Silence(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str = Field(min_length=1)
    matchers: tuple[_Matcher, ...] = Field(min_length=1)
    created_by: str = Field(alias="createdBy")
    comment: str
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")
    status: _Status


class _Silences(RootModel[tuple[_Silence, ...]]):
    """A JSON list, without an envelope."""


class _Set(BaseModel):
    silence_id: str = Field(alias="silenceID", min_length=1)


async def alerts_and_silences(sources: Sources) -> tuple[tuple[Alert, ...], list[Silence]]:
    """Return what fires and what is silent.

    Raises:
        ConfigurationError: no Alertmanager is named.
        AlertsUnavailableError: it gave no usable answer.
    """
    async with opened("Alertmanager", sources) as source:
        found = await alerts(source)
        if isinstance(found, Missing):
            raise AlertsUnavailableError(found.reason)
        return found, await silences(source)


async def carry_out(sources: Sources, plan: Plan) -> None:
    """Tell Alertmanager what a plan says.

    Raises:
        ConfigurationError: no Alertmanager is named.
        AlertsUnavailableError: it did not take all of it; what it took stays.
    """
    async with opened("Alertmanager", sources) as source:
        for wanted in plan.wanted:
            await set_silence(source, wanted)
        for silence_id in plan.expired:
            await expire_silence(source, silence_id)


async def silences(source: HttpSource) -> list[Silence]:
    """Return all silences, expired ones too as long as Alertmanager keeps them.

    Raises:
        AlertsUnavailableError: it gave no usable answer.
    """
    try:
        found = (await source.ask("GET", _SILENCES, _Silences)).root
    except EvidenceError as error:
        raise AlertsUnavailableError(str(error)) from error
    return [
        Silence(
            id=one.id,
            labels=_equalities(one.matchers),
            created_by=one.created_by,
            comment=one.comment,
            starts_at=one.starts_at,
            ends_at=one.ends_at,
            state=one.status.state,
        )
        for one in found
    ]


async def set_silence(source: HttpSource, wanted: Wanted) -> str:
    """Set or extend a silence; return its id.

    Raises:
        AlertsUnavailableError: Alertmanager did not take it.
    """
    document: dict[str, Any] = {
        "matchers": [
            {"name": name, "value": value, "isRegex": False, "isEqual": True}
            for name, value in sorted(wanted.labels.items())
        ],
        "startsAt": _time(wanted.starts_at),
        "endsAt": _time(wanted.ends_at),
        "createdBy": wanted.created_by,
        "comment": wanted.comment,
    }
    if wanted.id is not None:
        document["id"] = wanted.id
    try:
        return (await source.ask("POST", _SILENCES, _Set, json=document)).silence_id
    except EvidenceError as error:
        raise AlertsUnavailableError(str(error)) from error


async def expire_silence(source: HttpSource, silence_id: str) -> None:
    """End a silence now.

    Raises:
        AlertsUnavailableError: Alertmanager did not do it; it may have ended by itself.
    """
    try:
        await source.tell("DELETE", f"{_SILENCE}/{quote(silence_id, safe='')}")
    except EvidenceError as error:
        raise AlertsUnavailableError(str(error)) from error


def _equalities(matchers: Sequence[_Matcher]) -> Mapping[str, str] | None:
    if any(matcher.is_regex or not matcher.is_equal for matcher in matchers):
        return None
    return {matcher.name: matcher.value for matcher in matchers}


def _time(at: dt.datetime) -> str:
    return at.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
