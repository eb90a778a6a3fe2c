"""The run and the release as Airflow assets, so that any DAG can be scheduled on "a model was released".

A plain outlet emits an event whenever its task succeeds: for a trial and for a cleared task too.  These go through an
alias, so that the task decides, and only what was not announced before is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowRuntimeError

RUN = Asset("recommendation_run")
RELEASE = Asset("recommendation_release")

_LOOKED_AT = 100  # newest events of the asset, when looking whether one was announced before
_log = logging.getLogger(__name__)


def announcing(asset: Asset) -> dict[str, Any]:
    """Return the arguments that make a register or verify operator announce ``asset``."""
    return {"inlets": [asset], "outlets": [_alias(asset)]}


def announce(
    context: Mapping[str, Any], outlets: Sequence[Any], asset: Asset, extra: Mapping[str, Any], identity: Sequence[str]
) -> bool:
    """Emit an event of ``asset`` once the task has succeeded, unless it was emitted before; return whether.

    :param context: The task's.
    :param outlets: The task's; one without the alias of ``asset`` announces nothing.
    :param asset: What it is about.
    :param extra: What the event says.
    :param identity: The keys of ``extra`` that make two events the same one.
    """
    alias = _alias(asset)
    if alias not in outlets:
        return False
    if _announced(context, asset, {key: extra[key] for key in identity}):
        _log.info("%s was announced before: %s", asset.name, dict(extra))
        return False
    context["outlet_events"][alias].add(asset, extra=dict(extra))
    _log.info("announced as %s: %s", asset.name, dict(extra))
    return True


def _announced(context: Mapping[str, Any], asset: Asset, wanted: Mapping[str, Any]) -> bool:
    try:
        events = list(context["inlet_events"][asset].ascending(False).limit(_LOOKED_AT))
    except AirflowRuntimeError as error:  # for example an asset that Airflow has not stored yet: nothing was announced
        _log.warning("can't look at earlier events of %s: %s", asset.name, error)
        return False
    return any(all(event.extra.get(key) == value for key, value in wanted.items()) for event in events)


def _alias(asset: Asset) -> AssetAlias:
    return AssetAlias(f"{asset.name}_events")
