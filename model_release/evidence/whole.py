"""Everything a gate may look at, in one object."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from model_release.evidence.context import Alert, Reconciliation, RegistryFacts, RunFacts
from model_release.evidence.missing import Missing
from model_release.evidence.offline import DataQuality, Evaluation, PerUser
from model_release.evidence.online import OnlineEvidence

_NOT_ASKED = Missing("it was not looked at: no check of the policy needs it")


@dataclass(frozen=True)
class Evidence:
    """Everything a gate may look at for one run.

    Attributes:
        online: what is known of the trial; None: this is not about a trial.
        measured_at: when this gate could last measure everything, from its kept decision; None: never, or not known.
        files: SHA-256 of every file that was read, by its name below the evaluation folder.
    """

    run_id: str
    release_id: str | None
    registry: RegistryFacts | Missing
    run: RunFacts | Missing
    data_quality: DataQuality | Missing
    evaluation: Evaluation | Missing
    per_user: PerUser | Missing
    alerts: tuple[Alert, ...] | Missing = _NOT_ASKED
    reconciliation: Reconciliation | Missing = _NOT_ASKED
    online: OnlineEvidence | None = None
    measured_at: dt.datetime | None = None
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def current_run_id(self) -> str | None:
        """The current run, if the registry could be read and names one."""
        return None if isinstance(self.registry, Missing) else self.registry.current_run_id

    @property
    def no_baseline(self) -> bool:
        """Whether it is known that there is no current run to compare with."""
        return not isinstance(self.registry, Missing) and self.registry.current_run_id is None
