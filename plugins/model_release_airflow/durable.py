"""Times that outlive a try: a task that is killed and tried again waits no longer than one that was not.

Airflow's task state store keeps values from one try of a task instance to the next, and, unlike an XCom, over a clear
too.  A clear is told from a retry by ``max_tries``, which only a clear raises: a cleared task begins anew.  Cleared while a
worker runs it, it is ended and tried again: that is a retry, for Airflow and so here.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping
from typing import Any

from airflow.sdk.exceptions import AirflowRuntimeError

_log = logging.getLogger(__name__)
_RETENTION = dt.timedelta(days=30)  # the longest budget of a policy is 7 days


def kept_time(context: Mapping[str, Any], name: str, about: Mapping[str, str | int | None], fresh: float) -> float:
    """Return the Unix time that an earlier try kept under ``name``; the first one, about something else: keep ``fresh``.

    Without a task state store, or with one that does not answer, this is ``fresh``.

    :param context: The task's context.
    :param name: What the time means.
    :param about: What it holds for; another generation or decision begins anew.
    :param fresh: The time if none was kept.
    """
    store = context.get("task_state_store")
    if store is None:
        return fresh
    key = {**about, "max_tries": getattr(context["ti"], "max_tries", None)}
    try:
        kept = store.get(name)
        if isinstance(kept, dict) and kept.get("about") == key and isinstance(kept.get("at"), float):
            at: float = kept["at"]
            return at
        store.set(name, {"about": key, "at": float(fresh)}, retention=_RETENTION)
    except AirflowRuntimeError as error:
        _log.warning("%s does not outlive this try, the task state store fails: %s", name, error)
    return fresh
