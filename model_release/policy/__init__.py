"""What a run must satisfy to be released: ``config/release_policy.yaml``, one policy for DAG, CI and command line."""

from model_release.policy.base import ALL, Budgets, CheckPolicy, Slice
from model_release.policy.context import AlertsPolicy, ReconciliationPolicy, Tolerance
from model_release.policy.document import AnyCheck, Policy, Stage
from model_release.policy.loading import default_policy_path, load_policy, parse_policy
from model_release.policy.offline import (
    AbsolutePolicy,
    ComparisonPolicy,
    DataQualityPolicy,
    FreshnessPolicy,
    NonInferiorityPolicy,
    SuperiorityPolicy,
)
from model_release.policy.online import (
    LatencyPolicy,
    OnlineCheckPolicy,
    OnlinePolicy,
    QueryPolicy,
    RatioPolicy,
    SampleRatioPolicy,
    SequentialPolicy,
)

__all__ = [
    "ALL",
    "AbsolutePolicy",
    "AlertsPolicy",
    "AnyCheck",
    "Budgets",
    "CheckPolicy",
    "ComparisonPolicy",
    "DataQualityPolicy",
    "FreshnessPolicy",
    "LatencyPolicy",
    "NonInferiorityPolicy",
    "OnlineCheckPolicy",
    "OnlinePolicy",
    "Policy",
    "QueryPolicy",
    "RatioPolicy",
    "ReconciliationPolicy",
    "SampleRatioPolicy",
    "SequentialPolicy",
    "Slice",
    "Stage",
    "SuperiorityPolicy",
    "Tolerance",
    "default_policy_path",
    "load_policy",
    "parse_policy",
]
