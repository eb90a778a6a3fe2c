"""Replicas, Prometheus and Alertmanager as the page asks them: soon or not at all, and once for all who look.

What blocks does so in threads of its own: Airflow's API server has its own, for its own routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from airflow.models import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from model_release import fleet
from model_release.acknowledging import acknowledgement, owner_of, reason_of
from model_release.adapters.alertmanager import alerts
from model_release.adapters.alertmanager_silences import alerts_and_silences, set_silence, silences
from model_release.adapters.http_source import opened
from model_release.adapters.prometheus import Prometheus
from model_release.adapters.sources import Sources
from model_release.contract import utc_now
from model_release.errors import AlertsUnavailableError, EvidenceError, ModelReleaseError, NotFiringError
from model_release.evidence import Missing
from model_release.page.alerts import Alerts, alerts_now
from model_release.page.now import Fleet, observed
from model_release.page.part import Part, attempt, lack_of, there
from model_release.page.traffic import QUESTIONS, Line, Traffic, line, window
from model_release.silences import Wanted
from model_release_airflow.hooks.recommendation_api import DEFAULT_CONN_ID, RecommendationApiHook
from model_release_airflow.page.desk import Desk
from model_release_airflow.shared import Questions

T = TypeVar("T")
WAIT_SECONDS = 3.0  # longer than a service that is well takes; the page says that it is not
FRESH_SECONDS = 1.5  # of an answer that another who looks got

FILES = Questions(threads=4)
SERVICES = Questions(threads=4)


async def in_file_thread(read: Callable[[], T]) -> T:
    """Return what ``read`` gives, off the event loop."""
    return await FILES.in_thread(read)


async def fleet_now(desk: Desk) -> Part[Fleet]:
    """Return what every replica serves."""
    return await SERVICES.ask_in_thread(
        ("fleet", desk.paths.root), FRESH_SECONDS, lambda: attempt(lambda: _fleet(desk))
    )


async def traffic_now(desk: Desk) -> Part[Traffic]:
    """Return requests, latency and degraded answers of the last hour, as Prometheus has them."""
    return await _shared("traffic", desk, _traffic, 5.0)


async def firing_now(desk: Desk) -> Part[Alerts]:
    """Return what fires, as Alertmanager has it."""
    return await _shared("alerts", desk, _alerts, FRESH_SECONDS)


async def acknowledge(fingerprint: str, *, by: str, minutes: int, reason: str) -> Wanted | None:
    """Silence one alert that fires, in the name of who acknowledges it; None: it is silent as long already.

    Raises:
        NotFiringError: no such alert fires.
        InvalidInputError: the name, the reason or the time is none.
        AlertsUnavailableError, ConfigurationError: Alertmanager did not take it, or none is named.
    """
    owner, why = owner_of(by), reason_of(reason)
    async with opened("Alertmanager", _sources()) as source:
        found, silent = await alerts(source), await silences(source)
        if isinstance(found, Missing):
            raise AlertsUnavailableError(found.reason)
        alert = next((one for one in found if one.fingerprint == fingerprint), None)
        if alert is None:
            raise NotFiringError(f"no alert {fingerprint!r} fires any more")
        wanted = acknowledgement(alert, silent, by=owner, reason=why, minutes=minutes, now=utc_now())
        if wanted is not None:
            await set_silence(source, wanted)
        return wanted


async def _shared(name: str, desk: Desk, question: Callable[[Sources], Awaitable[T]], fresh: float) -> Part[T]:
    async def asked() -> Part[T]:
        try:
            return there(await question(_sources()))
        except ModelReleaseError as error:
            return lack_of(error)

    found: Part[T] = await SERVICES.ask((name, desk.paths.root), fresh, asked)
    return found


def _sources() -> Sources:
    given = Sources.from_environment()
    return Sources(
        prometheus_url=given.prometheus_url,
        prometheus_token=given.prometheus_token,
        alertmanager_url=given.alertmanager_url,
        alertmanager_token=given.alertmanager_token,
        timeout_seconds=min(WAIT_SECONDS, given.timeout_seconds),
    )


def _fleet(desk: Desk) -> Fleet:
    registry = desk.registry()
    hook = RecommendationApiHook(DEFAULT_CONN_ID, timeout_seconds=WAIT_SECONDS)
    with hook.replicas(_connection()) as replicas:
        return observed(*fleet.read_all(replicas), registry)


def _connection() -> Any:
    """Return the connection as the API server finds it: hooks look as a worker does, and never in the database themselves.

    None: there is none, which the hook says best.
    """
    try:
        return Connection.get_connection_from_secrets(DEFAULT_CONN_ID)
    except AirflowNotFoundException:
        return None


async def _alerts(sources: Sources) -> Alerts:
    return alerts_now(*await alerts_and_silences(sources))


async def _traffic(sources: Sources) -> Traffic:
    segment = window(utc_now().timestamp())
    async with opened("Prometheus", sources) as source:
        prometheus = Prometheus(source)
        found: list[Any] = await asyncio.gather(
            *(prometheus.history(question, [segment]) for question in QUESTIONS.values())
        )
    lines: dict[str, Line] = {}
    for name, history in zip(QUESTIONS, found, strict=True):
        if isinstance(history, Missing):
            raise EvidenceError(history.reason)
        lines[name] = line(history, segment)
    return Traffic(lines=lines)
