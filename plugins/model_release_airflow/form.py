"""The form that people see when they trigger a release, and what it may say."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Literal

from airflow.sdk import Param
from pydantic import Field, ValidationError, model_validator

from model_release.artifact import Frozen, RunId
from model_release.contract import TRIED_ON
from model_release.errors import InvalidInputError
from model_release.explain import explain, unknown_key
from model_release.identifiers import RUN_ID_PATTERN
from model_release_airflow.context import decisions_fail

Algorithm = Literal["auto", "popular", "personal_frequency", "item_knn", "als", "next_basket", "ease"]
ALGORITHMS: tuple[str, ...] = ("auto", "popular", "personal_frequency", "item_knn", "als", "next_basket", "ease")
_TRAIN, _RELEASE = "What to release", "How to release it"

PIPELINE_PARAMS: dict[str, Param] = {
    "as_of": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Train on everything before",
        description="Empty: the newest day that leaves a whole test window of data after it.",
        section=_TRAIN,
    ),
    "algorithm": Param(
        None,
        type=["null", "string"],
        enum=[None, *ALGORITHMS],
        values_display={"null": "as configured", "auto": "auto: the best on earlier weeks"},
        title="Algorithm",
        description="As configured: in config/pipeline.yaml.",
        section=_TRAIN,
    ),
    "run_id": Param(
        None,
        type=["null", "string"],
        pattern=RUN_ID_PATTERN,
        title="Release this run instead of training",
        description="A folder of models/. It is evaluated and judged like a new one. Leave the fields above empty.",
        section=_TRAIN,
    ),
    "mode": Param(
        "primary",
        type="string",
        enum=["primary", "shadow", "canary"],
        values_display={
            "primary": "primary: everybody gets it",
            "shadow": "shadow: scored beside the current run, nobody sees it",
            "canary": "canary: a share of the users gets it",
        },
        title="Mode",
        section=_RELEASE,
    ),
    "rollout": Param(
        None,
        type=["null", "number"],
        minimum=0,
        maximum=1,
        title="Rollout",
        description="Share of requests for shadow, of users for canary, for example 0.1. Empty for primary.",
        section=_RELEASE,
    ),
    "lease_hours": Param(
        24,
        type="number",
        minimum=0.01,
        maximum=168,
        title="End a trial after (hours)",
        description="A shadow or canary drops out by itself then, even if Airflow is gone.",
        section=_RELEASE,
    ),
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Do everything up to the gate and let every replica prepare the run, but change nothing.",
        section=_RELEASE,
    ),
}
ROLLBACK_PARAMS: dict[str, Param] = {
    "reason": Param(
        "",
        type="string",
        minLength=1,
        maxLength=500,
        title="Why",
        description="Stands in the ledger and in the message.",
    ),
    "run_id": Param(
        None,
        type=["null", "string"],
        pattern=RUN_ID_PATTERN,
        title="Back to this run",
        description="Empty: the last run that served well and was not itself rolled back.",
    ),
    "away_from": Param(
        None,
        type=["null", "string"],
        pattern=RUN_ID_PATTERN,
        title="Away from this run",
        description="What an alert fills in. Current: as if empty. On trial: the trial is ended, users keep their run. "
        "Neither: nothing is done. Not together with the run to go back to.",
    ),
    "set_latch": Param(
        True,
        type="boolean",
        title="Stop automatic releases",
        description="Until somebody clears the latch with recommendation_latch: else the next schedule may bring back "
        "what you just took out.",
    ),
}
LATCH_PARAMS: dict[str, Param] = {
    "action": Param(
        "clear",
        type="string",
        enum=["clear", "set"],
        values_display={"clear": "clear: allow automatic releases", "set": "set: stop automatic releases"},
        title="Latch",
    ),
    "reason": Param("", type="string", minLength=1, maxLength=500, title="Why", description="Stands in the ledger."),
}
RECONCILIATION_PARAMS: dict[str, Param] = {
    "date": Param(
        None,
        type=["null", "string"],
        format="date",
        title="Day",
        description="In source.timezone. Empty: the last one that was over when the data interval ended.",
    ),
}

FORMS: Mapping[str, Mapping[str, Param]] = {
    "recommendation_pipeline": PIPELINE_PARAMS,
    "recommendation_rollback": ROLLBACK_PARAMS,
    "recommendation_latch": LATCH_PARAMS,
    "recommendation_reconcile_state": {},
    "recommendation_reconciliation": RECONCILIATION_PARAMS,
    "recommendation_act_on_alerts": {},
    "recommendation_alert_silences": {},
    "recommendation_prune": {},
}


def check_keys(given: Mapping[str, Any], form: Mapping[str, Param]) -> None:
    """Raise ``InvalidInputError`` if ``given`` has keys that ``form`` has not; the message says which were meant."""
    unknown = [f"{key}: {unknown_key(key, form)}" for key in given if key not in form]
    if unknown:
        raise InvalidInputError("; ".join(unknown))


def keys_checked(form: Mapping[str, Param]) -> Callable[[Any], None]:
    """Return the ``pre_execute`` of a first task: it fails for good if the trigger gave keys that ``form`` has not."""

    def check(context: Any) -> None:
        with decisions_fail():
            check_keys(context["params"], form)

    return check


class ReleaseForm(Frozen):
    """What was asked for, with the fields checked against each other: a JSON schema can't do that."""

    as_of: dt.date | None = None
    algorithm: Algorithm | None = None
    run_id: RunId | None = None
    mode: Literal["primary", "shadow", "canary"] = "primary"
    rollout: float | None = Field(default=None, ge=0.0, le=1.0)
    lease_hours: float = Field(default=24.0, gt=0.0)
    dry_run: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> ReleaseForm:
        if self.mode == "primary" and self.rollout is not None:
            raise ValueError(
                f"rollout {self.rollout:g} and mode 'primary' contradict each other: primary serves everybody; "
                "leave rollout empty, or choose shadow or canary"
            )
        if self.mode != "primary" and self.rollout is None:
            raise ValueError(
                f"mode {self.mode!r} needs a rollout between 0 and 1: the share of {TRIED_ON[self.mode]} to try it on"
            )
        if self.run_id is not None and (self.as_of is not None or self.algorithm is not None):
            raise ValueError(
                f"run_id {self.run_id!r} releases a run that exists: nothing is trained, so as_of and algorithm "
                "must be empty"
            )
        return self

    def training_cutoff(self, zone: dt.tzinfo) -> dt.datetime | None:
        """Return midnight of ``as_of`` in ``zone``; None: the newest possible."""
        return None if self.as_of is None else dt.datetime.combine(self.as_of, dt.time(), zone)


def read_form(params: Mapping[str, Any]) -> ReleaseForm:
    """Return the form of ``recommendation_pipeline``.

    Raises:
        InvalidInputError: its fields contradict each other; the message says which, and the way out.
    """
    try:
        return ReleaseForm.model_validate(dict(params))
    except ValidationError as error:
        raise InvalidInputError(explain(error, ReleaseForm)) from error
