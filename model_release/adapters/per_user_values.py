"""``per_user.parquet`` of an evaluation: the values of every user, for both runs."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model_release.errors import InvalidInputError
from model_release.evidence import PER_USER_MARKS, Evaluation, Floats, Missing, PerUser, Strings, disagreement

SUMMARY_NAME = "summary.json"
PER_USER_NAME = "per_user.parquet"
_KEYS = ("user_id", "user_slice", "item_slice")


def per_user(data: bytes, metrics: frozenset[str]) -> PerUser:
    """Parse the columns of ``metrics``.

    Raises:
        InvalidInputError: a column is missing or of another type.
    """
    file = pq.ParquetFile(io.BytesIO(data))
    table = file.read()
    for name in _KEYS:
        if name not in table.column_names:
            raise InvalidInputError(f"no column {name!r}")
    candidate = {metric: f"candidate_{metric}" for metric in sorted(metrics)}
    current = {metric: f"current_{metric}" for metric in sorted(metrics)}
    users, user_slices, item_slices = (_strings(table, name) for name in _KEYS)
    return PerUser(
        users=users,
        user_slices=user_slices,
        item_slices=item_slices,
        candidate=_floats(table, candidate),
        current=_floats(table, current),
        marks=_marks(file.metadata),
    )


def _strings(table: pa.Table, name: str) -> Strings:
    column = table.column(name)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise InvalidInputError(f"column {name!r} is {column.type}, expected strings")
    if column.null_count:
        raise InvalidInputError(f"column {name!r} has {column.null_count} nulls")
    return np.asarray(column.cast(pa.string()).to_numpy(zero_copy_only=False), dtype=np.str_)


def _floats(table: pa.Table, columns: Mapping[str, str]) -> dict[str, Floats]:
    """Return the columns that are there; a null becomes NaN, which no check takes for a number."""
    found: dict[str, Floats] = {}
    for metric, name in columns.items():
        if name not in table.column_names:
            continue
        column = table.column(name)
        if not pa.types.is_floating(column.type):
            raise InvalidInputError(f"column {name!r} is {column.type}, expected floating point numbers")
        values = pc.fill_null(column.cast(pa.float64()), float("nan"))
        found[metric] = np.asarray(values.to_numpy(), dtype=np.float64)
    return found


def _marks(about: pq.FileMetaData) -> dict[str, str]:
    """Return what the file says of itself in its key-value metadata."""
    said = about.metadata or {}
    return {name: said[name.encode()].decode("utf-8", "replace") for name in PER_USER_MARKS if name.encode() in said}


def same_evaluation(per_user: PerUser, evaluation: Evaluation) -> PerUser | Missing:
    """Return the per-user values if they are those that the summary sums up; a leftover of another run is not."""
    difference = disagreement(per_user, evaluation)
    return per_user if difference is None else Missing(f"{PER_USER_NAME}: {difference}", settled=True)
