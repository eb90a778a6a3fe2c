"""What a gate judges from.  Each part is either there, or missing for a stated reason; never silently absent."""

from model_release.evidence.agreement import PER_USER_MARKS, disagreement
from model_release.evidence.context import Alert, Reconciliation, RegistryFacts, RunFacts
from model_release.evidence.missing import Missing
from model_release.evidence.offline import (
    NO_CURRENT,
    DataQuality,
    Evaluation,
    Floats,
    Metrics,
    Paired,
    PerUser,
    Strings,
)
from model_release.evidence.online import (
    ARMS,
    Arm,
    History,
    NumberQuery,
    OnlineEvidence,
    Point,
    Points,
    Question,
    RangeQuery,
    Scrape,
    TrialFacts,
    bucket_selector,
    questions,
    questions_of,
)
from model_release.evidence.whole import Evidence

__all__ = [
    "ARMS",
    "NO_CURRENT",
    "PER_USER_MARKS",
    "Alert",
    "Arm",
    "DataQuality",
    "Evaluation",
    "Evidence",
    "Floats",
    "History",
    "Metrics",
    "Missing",
    "NumberQuery",
    "OnlineEvidence",
    "Paired",
    "PerUser",
    "Point",
    "Points",
    "Question",
    "RangeQuery",
    "Reconciliation",
    "RegistryFacts",
    "RunFacts",
    "Scrape",
    "Strings",
    "TrialFacts",
    "bucket_selector",
    "disagreement",
    "questions",
    "questions_of",
]
