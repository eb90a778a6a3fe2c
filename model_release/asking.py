"""What is asked of Airflow: one release of one commit, under a name that a repetition gives it again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError

from model_release.contract import Mode, ReloadRequest
from model_release.errors import ConfigurationError
from model_release.explain import explain

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_DAG_ID = re.compile(r"[A-Za-z0-9_.-]{1,250}")
_DIGEST = 10


@dataclass(frozen=True)
class Asked:
    """One release.

    Attributes:
        dag_id: which DAG makes it.
        commit: of the code that asks for it, in full.
        conf: the DAG's form, as far as it is not left as it is.
        attempt: 1, or how often somebody has asked for it anew.
    """

    dag_id: str
    commit: str
    conf: Mapping[str, Any] = field(default_factory=dict)
    attempt: int = 1

    def __post_init__(self) -> None:
        """Raise ``ConfigurationError`` for what would make no name, or no path of an address."""
        if not _COMMIT.fullmatch(self.commit):
            raise ConfigurationError(f"commit {self.commit[:80]!r} is not a full commit id: 40 (or 64) of 0-9 a-f")
        check_dag_id(self.dag_id)
        if self.attempt < 1:
            raise ConfigurationError(f"attempt {self.attempt} is not a number from 1 on")

    @property
    def mode(self) -> Mode:
        """How the run is to be released."""
        return cast("Mode", self.conf.get("mode", "primary"))

    @property
    def dry_run(self) -> bool:
        """Whether nothing is to be changed."""
        return bool(self.conf.get("dry_run", False))

    @property
    def dag_run_id(self) -> str:
        """The name of the DAG run: the same for the same commit, form and attempt, and for nothing else."""
        parts = ["commit", self.commit]
        if self.conf:
            canonical = json.dumps(dict(self.conf), sort_keys=True, separators=(",", ":"))
            kind = "dry-run" if self.dry_run else self.mode
            parts.append(f"{kind}-{hashlib.sha256(canonical.encode()).hexdigest()[:_DIGEST]}")
        if self.attempt > 1:
            parts.append(str(self.attempt))
        return "__".join(parts)


def check_dag_id(dag_id: str) -> str:
    """Return ``dag_id`` unchanged if it can be one.

    Raises:
        ConfigurationError: it can't.
    """
    if not _DAG_ID.fullmatch(dag_id) or dag_id.strip(".") == "":
        raise ConfigurationError(f"{dag_id[:80]!r} is not the id of a DAG: letters, digits, _ . -")
    return dag_id


def form(*, mode: str, rollout: float | None, run_id: str | None, dry_run: bool) -> dict[str, Any]:
    """Return the form of ``recommendation_pipeline``, without what is left as it is.

    Raises:
        ConfigurationError: mode and rollout contradict each other, or the run's name is not valid.
    """
    if mode == "primary" and rollout is not None:
        raise ConfigurationError(
            f"rollout {rollout:g} and mode 'primary' contradict each other: choose shadow or canary, or leave rollout out"
        )
    try:  # the rules for a trial stand there; a run that is still to be trained has no name yet
        ReloadRequest.model_validate({"run_id": run_id or "not-trained-yet", "mode": mode, "rollout": rollout})
    except ValidationError as error:
        raise ConfigurationError(explain(error, ReloadRequest)) from error
    asked: dict[str, Any] = {} if mode == "primary" else {"mode": mode, "rollout": rollout}
    asked |= {} if run_id is None else {"run_id": run_id}
    return asked | ({"dry_run": True} if dry_run else {})
