"""Was a promise kept?  A metric of a day against what the run's evaluation promised of a day."""

from __future__ import annotations

from collections.abc import Mapping

from model_release.policy import Tolerance
from model_release.reconciling.document import Measured
from model_release.statistics import Floats, contrast_interval, moments, t_interval

_FEWEST = 2  # users that have a spread
Moments = tuple[float, float, int]


def measure(values: Floats, promised: Moments | None, tolerance: Tolerance, *, why_not: str = "") -> Measured:
    """Return one metric with its interval and result.

    ``kept``: the day's mean is certainly not below the floor, which is the promise less the allowed drop; ``broken``: it
    certainly is; ``unclear``: neither.  The bound is one-sided at ``tolerance.confidence``, of mean - (1 - drop) * promise:
    the promise is an estimate too.

    Args:
        values: (n,) the metric of each user who was shown something and then took something; one user is one observation.
        promised: mean, standard error and users of the promise; None: there is none.
        tolerance: of the policy.
        why_not: why there is no promise to compare with.
    """
    factor = 1.0 - tolerance.maximum_relative_drop
    about = _seen(values, tolerance.confidence)
    if promised is not None:
        about |= {
            "promised": promised[0], "promised_standard_error": promised[1], "floor": factor * promised[0],
        }  # fmt: skip
    if len(values) < max(tolerance.minimum_users, _FEWEST):
        told = f"{len(values)} users took something after such an answer, {tolerance.minimum_users} are needed"
        return Measured(**about, result="too_few_users", reason=told)
    if promised is None:
        return Measured(**about, result="not_comparable", reason=why_not)
    margin = contrast_interval(moments(values), promised, factor, tolerance.confidence)
    if margin.lower >= 0.0:
        return Measured(**about, result="kept", reason="")
    if margin.upper < 0.0:
        told = f"{about['mean']:.4f} of {len(values)} users, promised {promised[0]:.4f}: below {about['floor']:.4f}"
        return Measured(**about, result="broken", reason=told)
    return Measured(**about, result="unclear", reason="the interval holds both more and less than the floor")


def _seen(values: Floats, confidence: float) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = dict.fromkeys(Measured.model_fields.keys() - {"result", "reason"})
    found["users"] = len(values)
    if len(values) < _FEWEST:
        return found | ({"mean": float(values[0])} if len(values) else {})
    seen = t_interval(values, confidence)
    return found | {
        "mean": seen.mean, "lower": seen.lower, "upper": seen.upper, "standard_error": seen.standard_error,
    }  # fmt: skip


def promise_of(daily: Mapping[str, object], metric: str) -> Moments | None:
    """Return mean, standard error and users that ``daily`` of a summary promises of ``metric``; None: nothing."""
    means, errors, users = daily.get("metrics"), daily.get("standard_errors"), daily.get("users")
    if not (isinstance(means, Mapping) and isinstance(errors, Mapping) and isinstance(users, int)):
        return None
    mean, error = means.get(metric), errors.get(metric)
    if not (isinstance(mean, float) and isinstance(error, float)) or users < _FEWEST:
        return None
    return mean, error, users
