"""Where a trial stands, on disk, while it is waited for: for people, and for whoever waits next."""

from __future__ import annotations

import logging
import time

from model_release.adapters.decisions import read_decision, write_decision
from model_release.errors import StateCorruptError
from model_release.paths import ReleasePaths
from model_release.verdict import Decision, Verdict

_log = logging.getLogger(__name__)
KEEP_SECONDS = 15.0


class TrialRecord:
    """Keeps the latest decision of a wait: at once when the verdict changes, else every 15 seconds."""

    def __init__(self, paths: ReleasePaths) -> None:
        self.paths = paths
        self._verdict: Verdict | None = None
        self._kept_at = 0.0

    def keep(self, decision: Decision) -> bool:
        """Keep ``decision`` if it is time, unless a later one is there; return whether it was kept.

        A disk that is full must not end a trial: it is logged, and tried again with the next decision.
        """
        if decision.verdict is self._verdict and time.monotonic() - self._kept_at < KEEP_SECONDS:
            return False
        try:
            if _later_one_is_kept(self.paths, decision):  # by the worker, or by the same trigger elsewhere
                return False
            write_decision(self.paths, decision)
        except OSError as error:
            _log.warning("the decision is not kept: %s", error)
            return False
        self._verdict, self._kept_at = decision.verdict, time.monotonic()
        return True


def _later_one_is_kept(paths: ReleasePaths, decision: Decision) -> bool:
    if decision.release_id is None:
        return False
    try:
        kept = read_decision(paths, decision.release_id, decision.stage)
    except StateCorruptError:
        return False
    return kept is not None and kept.decided_at >= decision.decided_at
