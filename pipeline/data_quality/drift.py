"""How far distributions moved: the population stability index (PSI) of recent rows against those before.

PSI = sum over the bins of (p - q) ln(p / q); customary reading: below 0.1 stable, from 0.25 on a shift (Siddiqi,
*Credit Risk Scorecards*, 2006).  Seasons move it too, which is why it is reported and blocks nothing.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.data_quality.report import Drift

SHIFTED = 0.25
_BINS = 10
_TOP_ITEMS = 50
_SMOOTHING = 0.5  # rows added to every bin, so that an empty one has a logarithm
_MINIMUM_ROWS = 200


def psi(recent: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> float:
    """Return the PSI of two histograms over the same bins, given as counts."""
    p = (recent + _SMOOTHING) / (recent + _SMOOTHING).sum()
    q = (reference + _SMOOTHING) / (reference + _SMOOTHING).sum()
    return float(((p - q) * np.log(p / q)).sum())


def measure(rows: pl.DataFrame, *, until: dt.datetime, recent_days: int, history_weeks: int) -> tuple[Drift, ...]:
    """Compare the last ``recent_days`` before ``until`` with the ``history_weeks`` before those.

    Returns nothing if either side has fewer than 200 rows: there, chance alone moves a distribution.
    """
    middle = until - dt.timedelta(days=recent_days)
    first = middle - dt.timedelta(weeks=history_weeks)
    recent = rows.filter(pl.col("timestamp").is_between(middle, until, closed="left"))
    reference = rows.filter(pl.col("timestamp").is_between(first, middle, closed="left"))
    if min(recent.height, reference.height) < _MINIMUM_ROWS:
        return ()
    found = [
        Drift(what=name, psi=_numbers(recent[name], reference[name]))
        for name in ("quantity", "price")
        if name in rows.columns
    ]
    hours = pl.col("timestamp").dt.hour()
    weekdays = pl.col("timestamp").dt.weekday()
    found.append(Drift(what="hour", psi=_categories(recent.select(hours), reference.select(hours))))
    found.append(Drift(what="weekday", psi=_categories(recent.select(weekdays), reference.select(weekdays))))
    counted = reference.group_by("item_id").len().sort(["len", "item_id"], descending=[True, False])
    top = counted["item_id"].head(_TOP_ITEMS).implode()
    items = pl.when(pl.col("item_id").is_in(top)).then(pl.col("item_id")).otherwise(pl.lit("other"))
    found.append(Drift(what="items", psi=_categories(recent.select(items), reference.select(items))))
    return tuple(found)


def _numbers(recent: pl.Series, reference: pl.Series) -> float:
    """Bin the numbers by the deciles of the reference; equal deciles become one bin."""
    known, new = (values.filter(values.is_finite()).to_numpy() for values in (reference, recent))
    if not len(known) or not len(new):
        counted = ((len(values), side.len() - len(values)) for values, side in ((new, recent), (known, reference)))
        return psi(*(np.array(pair, np.float64) for pair in counted))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
    counts = [
        np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1) for values in (new, known)
    ]
    return psi(counts[0].astype(np.float64), counts[1].astype(np.float64))


def _categories(recent: pl.DataFrame, reference: pl.DataFrame) -> float:
    name = recent.columns[0]
    joined = (
        recent.group_by(name)
        .len("recent")
        .join(reference.group_by(name).len("reference"), on=name, how="full", coalesce=True)
        .fill_null(0)
        .sort(name)  # the same sum to the last digit, every time
    )
    return psi(joined["recent"].to_numpy().astype(np.float64), joined["reference"].to_numpy().astype(np.float64))
