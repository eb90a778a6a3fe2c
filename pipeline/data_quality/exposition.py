"""The report for Prometheus' textfile collector, and for the gate: ``data_quality_metrics.prom``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from pipeline.data_quality.report import QualityReport


def exposition(report: QualityReport) -> str:
    """Return the report in Prometheus text format.

    Every table has every series, zeros included.  The last line tells the number of tables: a file that was cut is
    recognised by it.
    """
    registry = CollectorRegistry()
    score = _gauge(registry, "data_quality_score", "Quality of a table, 0 to 100: that of its worst check.", "table")
    checks = _gauge(registry, "data_quality_check_score", "Score of one check of a table.", "table", "check")
    anomalies = _gauge(registry, "data_quality_anomalies", "Things that looked odd; reported, not scored.", "table")
    violations = _gauge(
        registry, "data_quality_schema_violations", "Columns or values missing, or of another type.", "table"
    )
    rows = _gauge(registry, "data_quality_rows", "Rows that were looked at.", "table")
    drift = _gauge(registry, "data_quality_drift_psi", "Population stability index.", "table", "what")
    age = _gauge(registry, "data_quality_data_age_seconds", "Age of the newest row.", "table")
    last = Gauge("data_quality_last_run_timestamp_seconds", "When this was measured.", registry=registry)
    tables = Gauge("data_quality_tables", "Number of tables; always the last line.", registry=registry)
    for name, table in report.tables.items():
        score.labels(name).set(table.score)
        for measured in table.measurements:
            if measured.score is not None:
                checks.labels(name, measured.name).set(measured.score)
        anomalies.labels(name).set(len(table.anomalies))
        violations.labels(name).set(table.schema_violations)
        rows.labels(name).set(table.rows)
        for moved in table.drift:
            drift.labels(name, moved.what).set(moved.psi)
        if table.age_seconds is not None:
            age.labels(name).set(table.age_seconds)
    last.set(report.measured_at.timestamp())
    tables.set(len(report.tables))
    return generate_latest(registry).decode()


def _gauge(registry: CollectorRegistry, name: str, help_text: str, *labels: str) -> Gauge:
    return Gauge(name, help_text, labels, registry=registry)
