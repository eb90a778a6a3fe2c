"""Every error of a release, as one tree.

ModelReleaseError
├── InvalidInputError           a value from outside is not usable: say which, and what would be
│   ├── InvalidRunIdError
│   └── ConfigurationError      a settings or policy file
├── ArtifactError
│   ├── RunNotFoundError
│   ├── RunExistsError          nothing is ever overwritten in place
│   ├── ArtifactInvalidError    missing, altered or malformed files
│   └── GoldenMismatchError     it loads, but does not answer as it did when it was trained
├── StateError
│   ├── StateCorruptError       a registry or ledger file that cannot be trusted: never read as "empty"
│   ├── GenerationConflictError somebody else changed the desired state first
│   ├── LatchedError            automatic releases are stopped until a person clears the latch
│   ├── GateMissingError        nothing is released that the gate did not pass
│   ├── ApprovalMissingError    ... or, where a person is to be asked, that nobody approved of
│   ├── IllegalMoveError        a release can't go from where it stands to where it was told
│   │   └── OutdatedReleaseError it was overtaken: a later release is in force
│   └── StateBusyError          the lock was not free in time
├── ReplicaError
│   ├── ReplicaUnreachableError an outage: retry
│   │   └── QuorumError         there are fewer replicas than the policy's quorum counts
│   └── ReplicaRefusedError     a decision of the replica: do not retry
├── UnmeasurableError           a check lacks a part of its evidence: its verdict is ERROR
├── EvidenceError               a source of evidence gave no usable answer: becomes ``Missing``, never leaves collect
├── AlertsUnavailableError      Alertmanager could not be asked or told: an outage, retry
├── NotFiringError              no alert of that name fires
├── NotConvergedError           the replicas did not agree in time
├── AirflowError                asked by its REST API
│   ├── AirflowUnreachableError an outage: retry
│   ├── AirflowRefusedError     a decision of Airflow's: do not retry
│   ├── DagRunGoneError         somebody deleted the DAG run that was followed
│   └── DagRunTimeoutError      it did not end in time: it goes on
└── MessageNotSentError         nobody was told: WeCom did not take a message
"""

from __future__ import annotations

import enum


class ModelReleaseError(Exception):
    """Base of everything that this project raises on purpose."""


class InvalidInputError(ModelReleaseError, ValueError):
    """A value from outside cannot be used."""


class InvalidRunIdError(InvalidInputError):
    """A run id that must not become a path."""


class ConfigurationError(InvalidInputError):
    """A configuration or policy file has an unknown key, a contradiction or an impossible value."""


class ArtifactError(ModelReleaseError):
    """A run artifact cannot be used."""


class RunNotFoundError(ArtifactError):
    """No such run."""


class RunExistsError(ArtifactError):
    """A run with this id is already published."""


class ArtifactInvalidError(ArtifactError):
    """The files of a run are missing, altered or malformed."""


class GoldenMismatchError(ArtifactError):
    """A loaded run does not give the answers recorded when it was trained."""


class StateError(ModelReleaseError):
    """Registry or ledger cannot be read or changed."""


class StateCorruptError(StateError):
    """A state file is damaged or lost; it is never taken for an empty one."""


class StateBusyError(StateError):
    """Another process held the state's lock for too long."""


class LatchedError(StateError):
    """Automatic releases are stopped by the latch."""


class GateMissingError(StateError):
    """The gate did not pass this run for this release."""


class ApprovalMissingError(StateError):
    """A person was to be asked, and none approved of this decision."""


class IllegalMoveError(StateError):
    """The transition table of a release does not allow this step."""


class OutdatedReleaseError(IllegalMoveError):
    """A release that was overtaken moves nothing: one asked for later is in force, or was carried out since."""


class GenerationConflictError(StateError):
    """The desired state is at another generation than the caller expected.

    Attributes:
        expected: the generation the caller built on.
        actual: the generation found.
        moved_by: what changed it meanwhile, in words; empty if the caller could not tell.
    """

    def __init__(self, *, expected: int, actual: int, moved_by: str = "") -> None:
        super().__init__(
            f"the registry is at generation {actual}, expected {expected}: {moved_by or 'somebody else changed it'}; "
            "read it again and decide anew"
        )
        self.expected = expected
        self.actual = actual
        self.moved_by = moved_by


class ReplicaError(ModelReleaseError):
    """A replica of the recommendation API did not do what was asked.

    Attributes:
        replica: its base URL.
    """

    def __init__(self, message: str, *, replica: str) -> None:
        super().__init__(message)
        self.replica = replica


class ReplicaUnreachableError(ReplicaError):
    """The replica could not be reached, timed out or answered 5xx: an outage, worth a retry."""


class QuorumError(ReplicaUnreachableError):
    """There are fewer replicas than the quorum counts; an outage, as a name may resolve to fewer for a moment.

    Attributes:
        count: how many the quorum asks for.
        replicas: how many there are.
    """

    def __init__(self, *, count: int, replicas: int) -> None:
        super().__init__(
            f"the policy's quorum is {count} replicas, and there are {replicas}: it can't be reached; "
            "correct quorum in the policy, or the replicas of the connection",
            replica="the fleet",
        )
        self.count = count
        self.replicas = replicas


class ReplicaRefusedError(ReplicaError):
    """The replica understood and said no: a retry would get the same answer.

    Attributes:
        status: HTTP status of the answer.
        title: short reason from its problem document.
    """

    def __init__(self, message: str, *, replica: str, status: int, title: str) -> None:
        super().__init__(message, replica=replica)
        self.status = status
        self.title = title


class UnmeasurableError(ModelReleaseError):
    """A check lacks a part of its evidence; ``settled``: waiting would not bring it."""

    def __init__(self, reason: str, *, settled: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.settled = reason, settled


class EvidenceError(ModelReleaseError):
    """A source of evidence did not answer, or not with what was asked for; the message is the reason of a ``Missing``."""


class AlertsUnavailableError(ModelReleaseError):
    """Alertmanager gave no usable answer, or did not take what it was told: an outage, worth a retry."""


class NotFiringError(ModelReleaseError):
    """No alert of that name fires: there is nothing to acknowledge."""


class NotConvergedError(ModelReleaseError):
    """Not every worker of every replica reports the desired state in time."""


class AirflowError(ModelReleaseError):
    """Airflow did not do what its REST API was asked for."""


class AirflowUnreachableError(AirflowError):
    """Airflow could not be reached, timed out or answered 429 or 5xx: an outage, worth a retry."""


class AirflowRefusedError(AirflowError):
    """Airflow understood and said no, or is none: a retry would get the same answer.

    Attributes:
        status: HTTP status of the answer.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class DagRunGoneError(AirflowError):
    """The DAG run that was followed is not there any more."""


class DagRunTimeoutError(AirflowError):
    """The DAG run that is followed did not end in time; it goes on."""


class Refusal(enum.StrEnum):
    """Why a message was not taken, which decides what may be done about it."""

    BUSY = "busy"  # the service said so: try again
    THROTTLED = "throttled"  # too many messages: try again, later
    UNREACHABLE = "unreachable"  # no connection, or the service is down: the message was not taken; try again
    PERMANENT = "permanent"  # the same message would be refused again
    IN_DOUBT = "in doubt"  # the answer got lost: it may have been taken


class MessageNotSentError(ModelReleaseError):
    """A message was not taken, or it is not known whether it was.

    Attributes:
        code: WeCom's ``errcode``; None if there was no answer to read one from.
        kind: why.
    """

    def __init__(self, message: str, *, code: int | None, kind: Refusal) -> None:
        super().__init__(message)
        self.code = code
        self.kind = kind

    @property
    def permanent(self) -> bool:
        """Whether sending the same message again would fail again, or might send it twice."""
        return self.kind in {Refusal.PERMANENT, Refusal.IN_DOUBT}
