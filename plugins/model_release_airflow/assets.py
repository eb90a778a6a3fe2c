"""The run and the release as Airflow assets, so that any DAG can be scheduled on "a model was released".

A plain outlet emits an event whenever its task succeeds: for a trial and for a cleared task too.  These go through an
alias, so that the task decides, and only what was not announced before is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, AssetAlias, AssetWatcher
from airflow.sdk.exceptions import AirflowRuntimeError

from model_release.announcement import Announcement

RUN = Asset("recommendation_run")
RELEASE = Asset("recommendation_release")
ALERTS = "recommendation_alerts"

_log = logging.getLogger(__name__)


def firing_alerts(*, poll_seconds: float = 5.0) -> Asset:
    """Return the asset whose events are firings that nobody has decided on; the triggerer watches Alertmanager for it.

    :param poll_seconds: Pause between two looks.
    """
    from model_release_airflow.triggers.alerts import AlertsTrigger  # only who watches has to import that

    return Asset(ALERTS, watchers=[AssetWatcher(name="alertmanager", trigger=AlertsTrigger(poll_seconds=poll_seconds))])


def announcing(asset: Asset) -> dict[str, Any]:
    """Return the arguments that make a register or verify operator announce ``asset``."""
    return {"inlets": [asset], "outlets": [_alias(asset)]}


def announce(
    context: Mapping[str, Any], outlets: Sequence[Any], asset: Asset, announcement: Announcement | None
) -> bool:
    """Emit an event of ``asset`` once the task has succeeded, unless it was emitted before; return whether.

    :param context: The task's.
    :param outlets: The task's; without the alias of ``asset`` nothing is announced.
    :param asset: What it is about.
    :param announcement: What the event says; None: there is nothing to say.
    """
    alias = _alias(asset)
    if announcement is None or alias not in outlets:
        return False
    if _announced(context, asset, announcement):
        _log.info("%s was announced before: %s", asset.name, announcement.extra)
        return False
    context["outlet_events"][alias].add(asset, extra=dict(announcement.extra))
    _log.info("announced as %s: %s", asset.name, announcement.extra)
    return True


def _announced(context: Mapping[str, Any], asset: Asset, announcement: Announcement) -> bool:
    """Ask Airflow, which keeps an event together with the success of its task.

    Only for events since the announced thing happened, of which there are none the first time: the question fails with
    any event whose consumer still waits in the queue (apache/airflow #71360).
    """
    try:
        events = list(context["inlet_events"][asset].after(announcement.since.isoformat()))
    except AirflowRuntimeError as error:  # a consumer that runs twice is better than one that never runs
        _log.warning("can't look at earlier events of %s: %s", asset.name, error)
        return False
    return any(announcement.is_said_by(event.extra or {}) for event in events)


def _alias(asset: Asset) -> AssetAlias:
    return AssetAlias(f"{asset.name}_events")
