"""What Alertmanager posts: its webhook of version 4, read strictly in what is used and leniently in what is not.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from model_release.errors import InvalidInputError
from model_release.explain import explain_all

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Status = Literal["firing", "resolved"]


def _in_utc(at: dt.datetime) -> dt.datetime:
    try:
        return at.astimezone(dt.UTC)
    except OverflowError:
        raise ValueError(f"{at.isoformat()} is in no year of UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class NotJsonError(InvalidInputError):
    """The body is not JSON at all."""


class Alert(BaseModel):
    """One alert as it stands when the webhook was made."""

    model_config = ConfigDict(frozen=True)

    status: Status
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = Field(default_factory=dict)
    starts_at: Annotated[Moment, Field(alias="startsAt")]
    ends_at: Annotated[Moment | None, Field(alias="endsAt")] = None
    fingerprint: Annotated[str, Field(pattern=r"^[0-9A-Za-z]{1,64}$")]

    @property
    def name(self) -> str:
        """What the alert is called."""
        return self.labels.get("alertname") or "unnamed alert"

    @property
    def critical(self) -> bool:
        """Whether somebody has to act now."""
        return self.labels.get("severity") == "critical"

    @property
    def start(self) -> int:
        """When it began, in microseconds since 1970: exact, whatever the offset."""
        return (self.starts_at - _EPOCH) // dt.timedelta(microseconds=1)


class Webhook(BaseModel):
    """One group of alerts; keys that later versions of Alertmanager add are ignored."""

    model_config = ConfigDict(frozen=True)

    version: Literal["4"]
    group_key: Annotated[str, Field(alias="groupKey", min_length=1)]
    truncated: Annotated[int, Field(alias="truncatedAlerts", ge=0)] = 0
    external_url: Annotated[str, Field(alias="externalURL")] = ""
    alerts: tuple[Alert, ...]

    def only(self, alerts: tuple[Alert, ...]) -> Webhook:
        """Return the same group with these of its alerts."""
        return self.model_copy(update={"alerts": alerts})

    def dump(self) -> str:
        """Return it as JSON that :func:`parse` reads."""
        return self.model_dump_json(by_alias=True)


def parse(body: bytes | str) -> Webhook:
    """Read the body of a webhook.

    Raises:
        NotJsonError: it is not JSON.
        InvalidInputError: it is, and not what Alertmanager sends; the message names the first place.
    """
    try:
        return Webhook.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        if problems[0]["type"] == "json_invalid":
            raise NotJsonError("the body is not JSON") from None
        first = explain_all(problems[:1], Webhook)
        raise InvalidInputError(
            f"not a webhook of Alertmanager, version 4; {error.error_count()} problems, first: {first}"
        ) from None
