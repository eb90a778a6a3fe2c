"""The data-quality file in Prometheus text format, read so strictly that half a file is never taken for a whole one."""

from __future__ import annotations

import math
import re

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from model_release.errors import InvalidInputError
from model_release.evidence import DataQuality

SCORE = "data_quality_score"
CHECK = "data_quality_check_score"
AGE = "data_quality_data_age_seconds"
LAST_RUN = "data_quality_last_run_timestamp_seconds"
TABLES = "data_quality_tables"
_LAST_LINE = re.compile(rf"^{TABLES} ([1-9][0-9]*)(?:\.0)?$")


def parse_data_quality(text: str) -> DataQuality:
    """Parse ``data_quality_metrics.prom``.

    The last line tells the number of tables, so that a file that was cut anywhere is noticed.  Values are passed on as
    they stand: a score of NaN is for the check to judge.

    Raises:
        InvalidInputError: the file is cut, malformed, holds a series twice, lacks one, or counts its tables wrongly.
    """
    tables = _tables(text)
    samples = _samples(text)
    scores = _by_table(samples, SCORE)
    ages = _by_table(samples, AGE)
    if len(scores) != tables:
        raise InvalidInputError(f"{len(scores)} series of {SCORE}, but {tables} tables: the file is incomplete")
    if not set(ages) <= set(scores):  # a table without times has a score and no age
        raise InvalidInputError(f"{AGE} is there, but no {SCORE}, for {sorted(set(ages) - set(scores))}")
    runs = [sample for sample in samples if sample.name == LAST_RUN]
    if len(runs) != 1 or runs[0].labels:
        raise InvalidInputError(f"{len(runs)} series of {LAST_RUN}, expected one without labels")
    if not math.isfinite(runs[0].value) or runs[0].value <= 0:
        raise InvalidInputError(f"{LAST_RUN} is {runs[0].value}, not a time")
    return DataQuality(
        scores=scores, data_age_seconds=ages, measured_at=runs[0].value, worst_checks=_worst_checks(samples)
    )


def _worst_checks(samples: list[Sample]) -> dict[str, str]:
    """Return the check with the lowest score per table: for the reason, never for the verdict."""
    worst: dict[str, tuple[float, str]] = {}
    for sample in samples:
        table, check = sample.labels.get("table"), sample.labels.get("check")
        if sample.name == CHECK and table and check and math.isfinite(sample.value):
            found = (float(sample.value), check)
            worst[table] = min(found, worst.get(table, found), key=lambda pair: pair[0])
    return {table: check for table, (_, check) in worst.items()}


def _tables(text: str) -> int:
    if not text.endswith("\n"):
        raise InvalidInputError("the file does not end with a newline: it was cut while it was written")
    last = text.rstrip("\n").rsplit("\n", 1)[-1]
    match = _LAST_LINE.match(last)
    if match is None:
        raise InvalidInputError(
            f"the last line is {last[:80]!r}, not '{TABLES} N': the file is cut, or covers no table"
        )
    return int(match[1])


def _samples(text: str) -> list[Sample]:
    try:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (ValueError, KeyError, IndexError) as error:
        raise InvalidInputError(f"not Prometheus text format: {error}") from error
    seen: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for sample in samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            raise InvalidInputError(f"series {sample.name}{sample.labels or ''} stands there twice")
        if sample.timestamp is not None:
            raise InvalidInputError(f"series {sample.name}{sample.labels or ''} has a timestamp of its own")
        seen.add(key)
    return samples


def _by_table(samples: list[Sample], name: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for sample in samples:
        if sample.name != name:
            continue
        if set(sample.labels) != {"table"} or not sample.labels["table"]:
            raise InvalidInputError(f"a series of {name} has labels {sample.labels}, expected table only")
        found[sample.labels["table"]] = float(sample.value)
    return found
