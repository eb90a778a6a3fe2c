"""The whole policy, as one document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, model_validator

from model_release.policy.base import Budgets, CheckPolicy, Name, Strict, twice
from model_release.policy.context import AlertsPolicy, ReconciliationPolicy, Tolerance
from model_release.policy.offline import (
    AbsolutePolicy,
    ComparisonPolicy,
    DataQualityPolicy,
    FreshnessPolicy,
    NonInferiorityPolicy,
    SuperiorityPolicy,
)
from model_release.policy.online import OnlineCheck, OnlineCheckPolicy, OnlinePolicy
from model_release.policy.quorum import EVERYONE, Quorum
from model_release.policy.retention import Retention

OfflineCheck = Annotated[
    DataQualityPolicy
    | FreshnessPolicy
    | AbsolutePolicy
    | NonInferiorityPolicy
    | SuperiorityPolicy
    | AlertsPolicy
    | ReconciliationPolicy,
    Field(discriminator="kind"),
]
AnyCheck = OfflineCheck | OnlineCheck
Stage = Literal["offline", "online"]


class Policy(Strict):
    """All checks of a gate: ``checks`` before a trial, ``online`` during it; who must be there: ``quorum``; what is kept: ``retention``."""

    schema_version: Literal[1]
    name: Name
    on_no_baseline: Literal["pass", "fail"] = "fail"
    budgets: Budgets = Budgets()
    quorum: Quorum = EVERYONE
    retention: Retention | None = None
    checks: Annotated[tuple[OfflineCheck, ...], Field(min_length=1)]
    online: OnlinePolicy | None = None

    @model_validator(mode="after")
    def _can_block(self) -> Policy:
        _check_list("checks", self.checks)
        if self.online is not None:
            _check_list("online.checks", self.online.checks)
            if not any(isinstance(check, OnlineCheckPolicy) and check.blocks for check in self.online.checks):
                raise ValueError(
                    "online.checks: no check that can block is about the trial; alerts and reconciliation are not"
                )
        return self

    @property
    def sha256(self) -> str:
        """Hash of what the policy says, defaults included; comments and layout do not count."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def strictest_data_quality(self) -> DataQualityPolicy | None:
        """The blocking data-quality check that demands the highest score; None if there is no such check."""
        kinds = [check for check in self.checks if isinstance(check, DataQualityPolicy) and check.blocks]
        return max(kinds, key=lambda check: check.minimum_score, default=None)

    @property
    def tolerance(self) -> Tolerance:
        """What a reconciliation may differ by: the check that allows the smallest drop; the defaults without a check."""
        online = self.online.checks if self.online is not None else ()
        kinds = [check for check in (*self.checks, *online) if isinstance(check, ReconciliationPolicy)]
        strictest = min(kinds, key=lambda check: check.maximum_relative_drop, default=None)
        if strictest is None:
            return Tolerance()
        return Tolerance(**{name: getattr(strictest, name) for name in Tolerance.model_fields})

    def metrics(self) -> frozenset[str]:
        """Return the per-user metrics that are compared."""
        return frozenset(check.metric for check in self.checks if isinstance(check, ComparisonPolicy))


def _check_list(where: str, checks: Sequence[CheckPolicy]) -> None:
    again = twice(check.name for check in checks)
    if again is not None:
        raise ValueError(f"{where}: two checks have the name {again!r}")
    if not any(check.blocks for check in checks):
        raise ValueError(
            f"{where}: every check has dry_run: true or severity: warning, so that no run could ever be rejected"
        )
