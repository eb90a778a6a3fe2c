"""What every online check looks at: one trial, at one moment, with the answers of Prometheus."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from model_release.evidence import OnlineEvidence, TrialFacts
from model_release.policy import OnlinePolicy


@dataclass(frozen=True)
class TrialView:
    """One trial at one moment; ``online.trial`` is there."""

    policy: OnlinePolicy
    trial: TrialFacts
    online: OnlineEvidence
    now: dt.datetime

    @property
    def minutes(self) -> float:
        """How long the trial has been going on."""
        return (self.now - self.trial.started_at).total_seconds() / 60.0

    @property
    def too_early(self) -> str | None:
        """Why no trial passes yet; None: it may."""
        minimum = self.policy.minimum_minutes
        return None if self.minutes >= minimum else f"no trial passes within {minimum:g} minutes"
