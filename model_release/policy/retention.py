"""How much of the past is kept: ``retention`` of a policy."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import Field

from model_release.policy.base import Strict


class Retention(Strict):
    """What a run must be to be kept, beside what always is; each key alone is enough.

    Without ``retention`` a policy prunes nothing.
    """

    newest: Annotated[int, Field(ge=1)] = 10
    days: Annotated[float, Field(ge=0.0, le=3650.0)] = 30.0
    past_currents: Annotated[int, Field(ge=2)] = 5
    staging_hours: Annotated[float, Field(ge=1.0, le=8760.0)] = 48.0

    @property
    def age(self) -> dt.timedelta:
        """How long a run is kept after the last that happened with it."""
        return dt.timedelta(days=self.days)

    @property
    def staging_age(self) -> dt.timedelta:
        """How long an unfinished run is kept after the last write to it."""
        return dt.timedelta(hours=self.staging_hours)
