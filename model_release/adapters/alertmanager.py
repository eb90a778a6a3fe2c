"""Alerts as Alertmanager has them: ``GET /api/v2/alerts``, in the shape that versions 0.16 and later share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel

from model_release.adapters.http_source import HttpSource, opened
from model_release.adapters.sources import Sources
from model_release.errors import ConfigurationError, EvidenceError
from model_release.evidence import Alert, Missing

ALERTS = 10_000
_PATH = "/api/v2/alerts"
_ALL = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}
_SUMMARIES = ("summary", "description", "message")


class _Status(BaseModel):
    model_config = ConfigDict(frozen=True)

    state: Literal["active", "suppressed", "unprocessed"]
    silenced_by: tuple[str, ...] = Field(alias="silencedBy")
    inhibited_by: tuple[str, ...] = Field(alias="inhibitedBy")


class _Alert(BaseModel):
    model_config = ConfigDict(frozen=True)

    labels: dict[str, str]
    annotations: dict[str, str]
    fingerprint: str = Field(min_length=1)
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")
    status: _Status


class _Alerts(RootModel[tuple[_Alert, ...]]):
    """A JSON list, without an envelope."""


async def firing(sources: Sources, *, deadline: float | None = None) -> tuple[Alert, ...] | Missing:
    """Return what :func:`alerts` gives; Missing also where no Alertmanager is named."""
    try:
        async with opened("Alertmanager", sources, deadline=deadline) as source:
            return await alerts(source)
    except ConfigurationError as error:
        return Missing(str(error))


async def alerts(source: HttpSource) -> tuple[Alert, ...] | Missing:
    """Return every alert that is not resolved: active, silenced and inhibited ones, as they are."""
    try:
        found = (await source.ask("GET", _PATH, _Alerts, params=_ALL)).root
        _each_once(found)
    except EvidenceError as error:
        return Missing(source.plain(str(error)))
    return tuple(_alert(one) for one in found)


def _alert(one: _Alert) -> Alert:
    said: Any = next((one.annotations[name] for name in _SUMMARIES if one.annotations.get(name)), "")
    return Alert(
        labels=one.labels,
        state=one.status.state,
        silenced=bool(one.status.silenced_by),
        starts_at=one.starts_at,
        summary=said,
        fingerprint=one.fingerprint,
        silenced_by=one.status.silenced_by,
        inhibited=bool(one.status.inhibited_by),
    )


def _each_once(found: tuple[_Alert, ...]) -> None:
    if len(found) > ALERTS:
        raise EvidenceError(f"Alertmanager has {len(found)} alerts, more than {ALERTS}")
    seen: set[frozenset[tuple[str, str]]] = set()
    for one in found:
        key = frozenset(one.labels.items())
        if not key:
            raise EvidenceError("Alertmanager tells of an alert without labels")
        if key in seen:
            raise EvidenceError(f"Alertmanager tells of the same alert twice: {dict(sorted(one.labels.items()))}")
        seen.add(key)
