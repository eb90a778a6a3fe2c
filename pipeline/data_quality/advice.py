"""What pulled a score down, and where to look: in the data first, else at the key of the configuration behind the check."""

from __future__ import annotations

from pipeline.data_quality.report import Measurement, TableQuality

_MEASURED_BY = {"ranges: quantity": "data_quality.quantity", "ranges: price": "data_quality.price"}


def pulled_down(table: str, quality: TableQuality) -> str:
    """Return a sentence on the measurement that made the score of ``table``, with the key it was measured by."""
    worst = quality.worst
    if worst is None:
        return "nothing could be measured"
    detail = f" ({worst.detail})" if worst.detail else ""
    return f"pulled down by {worst.name!r}{detail}; if the data is right, look at {key_of(table, worst)}"


def key_of(table: str, measured: Measurement) -> str:
    """Return the key of the pipeline's configuration that says what is right."""
    column = measured.name.partition(": ")[2]
    match measured.kind:
        case "ranges" if measured.name in _MEASURED_BY:
            return _MEASURED_BY[measured.name]
        case "volume":
            return "data_quality.volume_factor"
        case "references":
            return "source.items.path"
        case "future":
            return "source.timezone"
        case "rows" | "duplicates":
            return f"source.{table}.path"
        case _:
            return f"source.{table}.columns.{column}"
