"""Whether the values per user are those that the summary of an evaluation sums up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from model_release.evidence.offline import Evaluation, PerUser
from model_release.policy import ALL

# What per_user.parquet says of itself in its key-value metadata, by the names of summary.json.
PER_USER_MARKS = (
    "run_id",
    "against",
    "window_start",
    "window_end",
    "candidate_manifest_sha256",
    "current_manifest_sha256",
)
_MEAN_TOLERANCE = 1e-6  # between a mean in the summary and the mean of the users' values


def disagreement(per_user: PerUser, evaluation: Evaluation) -> str | None:
    """Return in what the values per user are of another evaluation than the summary; None: in nothing.

    They must name the same window, the same runs and the same files of them, hold as many users in every part that the
    summary counts, and have the same means.
    """
    return (
        _otherwise(per_user.marks, evaluation)
        or _other_users(per_user, evaluation)
        or _other_means(per_user, evaluation)
    )


def _otherwise(marks: Mapping[str, str], evaluation: Evaluation) -> str | None:
    """Compare window and runs: values of other days may add up to the same means, and are no evidence all the same."""
    for name in PER_USER_MARKS:
        wanted, said = getattr(evaluation, name), marks.get(name)
        if said is None:
            return f"no {name} in its metadata, so that it could be of any evaluation: evaluate again"
        same = _moment(said) == wanted if isinstance(wanted, dt.datetime) else said == (wanted or "")
        if not same:
            return f"its {name} is {said or 'none'}, that of the summary {wanted or 'none'}: they are of different evaluations"
    return None


def _moment(text: str) -> dt.datetime | None:
    """Return the time that a text names with its zone, None if it names none."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _other_users(per_user: PerUser, evaluation: Evaluation) -> str | None:
    for label, rows, wanted in _parts(per_user, evaluation):
        found = len(np.unique(per_user.users[rows]))
        if found != wanted:
            what = "are missing" if found < wanted else "are too many"
            return f"{found} users ({label}), the summary has {wanted}: {abs(wanted - found)} {what}"
    return None


def _parts(per_user: PerUser, evaluation: Evaluation) -> Iterator[tuple[str, npt.NDArray[np.bool_], int]]:
    """Give the label, the rows and the number of users of every part that the summary counts."""
    everyone = per_user.item_slices == ALL
    yield ALL, everyone, evaluation.users
    for label, facts in evaluation.slices.items():
        name, _, what = label.rpartition(" ")
        rows = (per_user.item_slices == name) if what == "items" else everyone & (per_user.user_slices == name)
        yield label, rows, facts.users


def _other_means(per_user: PerUser, evaluation: Evaluation) -> str | None:
    everyone = per_user.item_slices == ALL
    for values, means, who in (
        (per_user.candidate, evaluation.metrics.candidate, "candidate"),
        (per_user.current, evaluation.metrics.current or {}, "current"),
    ):
        for metric in sorted(set(values) & set(means)):
            mean = float(values[metric][everyone].mean()) if everyone.any() else float("nan")
            if np.isfinite(mean) and abs(mean - means[metric]) > _MEAN_TOLERANCE:
                return (
                    f"its mean {metric} of the {who} is {mean:.6f}, that of the summary {means[metric]:.6f}: they are of "
                    "different evaluations"
                )
    return None
