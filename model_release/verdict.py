"""What checks and gates say: four verdicts, kept apart, and the decision with all its evidence."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field, model_validator

from model_release.artifact import Frozen, Sha256
from model_release.errors import InvalidInputError


class Verdict(enum.StrEnum):
    """What a check or a gate says.  Ordered from best to worst."""

    PASS = "pass"  # noqa: S105  (a verdict, not a password)
    INCONCLUSIVE = "inconclusive"  # not enough evidence yet
    ERROR = "error"  # could not measure
    FAIL = "fail"

    @property
    def badness(self) -> int:
        """Position in the order: 0 is best."""
        return list(Verdict).index(self)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Combine verdicts: FAIL beats ERROR beats INCONCLUSIVE beats PASS.

    Raises:
        InvalidInputError: there are none; no evidence is not a pass.
    """
    found = list(verdicts)
    if not found:
        raise InvalidInputError("no verdicts to combine: a gate that checked nothing must not pass")
    return max(found, key=lambda verdict: verdict.badness)


class CheckResult(Frozen):
    """What one check found, with every number it used.

    ``interval`` is the confidence interval of ``value`` (one-sided ones leave the other end None); ``limit`` is the
    threshold, or minus the margin of a comparison: what the value, or the interval's end, was held against.
    """

    check: str
    kind: str
    verdict: Verdict
    reason: str
    value: float | None = None
    limit: float | None = None
    direction: Literal["at_least", "at_most"] | None = None
    interval: tuple[float | None, float | None] | None = None
    samples: Annotated[int, Field(ge=0)] | None = None
    minimum_samples: Annotated[int, Field(ge=0)] | None = None
    unit: str = ""
    subject: str = ""  # the table, slice or metric it is about
    dry_run: bool = False
    severity: Literal["critical", "warning"] = "critical"
    settled: bool = False  # its evidence is complete and fixed: waiting would not change the verdict
    details: Mapping[str, Any] = Field(default_factory=dict)

    @property
    def blocking(self) -> Verdict:
        """The verdict that counts for the decision: a dry run and a warning report and never block."""
        return self.verdict if self.severity == "critical" and not self.dry_run else Verdict.PASS


class Decision(Frozen):
    """The gate's answer.  The same evidence, policy and time give the same decision.

    ``generation`` is the registry's at the moment the evidence was taken: a release commits by compare-and-set on
    exactly that one, so a decision that was overtaken can't be acted on.  None: the registry could not be read.
    ``measured_at`` is the last time that nothing was ERROR; a gate that waits counts its budget for errors from there.
    ``evidence`` holds the SHA-256 of every file that was read, by its name below the evaluation folder.
    """

    schema_version: Literal[1] = 1
    stage: Literal["offline", "online"] = "offline"
    verdict: Verdict
    run_id: str
    against: str | None  # the current run compared with; None: no baseline
    no_baseline: bool
    release_id: str | None
    generation: Annotated[int, Field(ge=0)] | None
    decided_at: AwareDatetime
    measured_at: AwareDatetime | None = None
    policy_name: str
    policy_sha256: str
    code_version: str
    results: Annotated[tuple[CheckResult, ...], Field(min_length=1)]
    summary: str
    evidence: Mapping[str, Sha256] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Decision:
        expected = worst(result.blocking for result in self.results)
        if self.verdict is not expected:
            raise ValueError(f"the verdict is {self.verdict}, but its results say {expected}")
        if self.verdict is Verdict.PASS and self.generation is None:
            raise ValueError("a decision that passed names no generation: nothing could be committed on it")
        return self

    @property
    def released(self) -> bool:
        """Whether the run may be released: PASS and nothing else."""
        return self.verdict is Verdict.PASS
