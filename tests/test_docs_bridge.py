"""docs/reference/alert-bridge.md says what the bridge is: its settings, answers and metrics."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.metrics_core import Metric

from alert_bridge.app import ALERTMANAGER_PATH
from alert_bridge.metrics import OUTCOMES, RECEPTIONS, RESULTS, Metrics, QueueState
from alert_bridge.release_state import STATUSES, ReleaseState
from alert_bridge.settings import PREFIX, SECRETS, Settings
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.registry import promote, register, start_trial
from tests.docs_pages import REFERENCE, agree, codes, names, prose, table
from tests.fake_replicas import NOW

PAGE = "alert-bridge.md"


def test_every_setting_is_explained_with_its_default(tmp_path: Path) -> None:
    own = set(Settings.model_fields) - {"paths", "token_file"}
    rows = {codes(row[0])[0]: row for row in table(PAGE, "Settings", "variable")}
    files = {f"{PREFIX}{name.upper()}_FILE" for name in SECRETS}
    agree(set(rows), {"MODEL_RELEASE_HOME", *files, *(PREFIX + name.upper() for name in own)}, f"{PAGE}, Settings")
    made = Settings(paths=ReleasePaths(tmp_path))
    for name in own - {"state"}:
        value = getattr(made, name)
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        expected = ([], "none") if value in {None, ""} else ([shown], f"`{shown}`")
        cell = rows[PREFIX + name.upper()][1]
        assert (codes(cell), cell) == expected, f"default of {name}"


def test_every_answer_is_explained() -> None:
    rows = table(PAGE, "Routes", "status")
    assert sorted(codes(row[1])[0] for row in rows) == sorted(RECEPTIONS)
    assert ALERTMANAGER_PATH in prose(REFERENCE / PAGE)


def test_every_result_of_an_attempt_is_explained() -> None:
    told = {codes(row[1])[0] for row in table(PAGE, "What WeCom answers", "answer")}
    agree(told, set(RESULTS), f"{PAGE}, results")


def labels_of(metric: Metric) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for sample in metric.samples for name in sample.labels))


def test_every_metric_of_the_bridge_is_explained() -> None:
    """With its type and labels; and every value of ``outcome`` of a message is named."""
    rows = {codes(row[0])[0]: row for row in table(PAGE, "Metrics", "metric")}
    shown = [*Metrics().registry.collect(), *QueueState(lambda: (1, 1.0)).collect()]
    series = {f"{metric.name}_total" if metric.type == "counter" else metric.name: metric for metric in shown}
    agree(set(rows), set(series), f"{PAGE}, Metrics")
    for name, metric in series.items():
        assert rows[name][1] == metric.type, name
        assert tuple(codes(rows[name][2])) == labels_of(metric), name
    assert set(OUTCOMES) <= set(codes(rows["alert_bridge_messages_total"][3]))


def test_every_metric_of_the_releases_is_explained(tmp_path: Path) -> None:
    """With its labels, where everything is there."""
    paths = ReleasePaths(tmp_path)
    store = FileRegistry(paths)
    for run_id in ("a", "b"):
        store.update(
            lambda old, run_id=run_id: register(  # type: ignore[misc]  # bound at once
                old, run_id=run_id, manifest_sha256="0" * 64, release_id="r", at=NOW
            )
        )
    store.update(lambda old: promote(old, run_id="a", release_id="r", at=NOW))
    store.update(
        lambda old: start_trial(old, run_id="b", mode="shadow", rollout=1, release_id="r2", at=NOW, lease_until=NOW)
    )
    FileLedger(paths).append(LedgerEntry(at=NOW, event=Event.RELEASED, release_id="r", by="x"))
    paths.evaluation.mkdir(parents=True)
    paths.reconciliation_of(NOW.date()).write_text(
        f'{{"schema_version": 1, "date": "{NOW.date()}", "written_at": "{NOW.isoformat()}", "status": "agrees"}}'
    )
    shown = {metric.samples[0].name: labels_of(metric) for metric in ReleaseState(paths).collect() if metric.samples}
    rows = {codes(row[0])[0]: tuple(codes(row[1])) for row in table(PAGE, "State of releases", "metric")}
    assert rows == shown
    assert set(STATUSES) <= set(codes(table(PAGE, "State of releases", "metric")[-1][2]))


def test_no_series_is_made_up() -> None:
    """What the how-to page names is there."""
    text = prose(REFERENCE.parent / "how-to" / "get-alerts-in-wecom.md")
    known = names(PAGE, "Metrics", "metric") | names(PAGE, "Settings", "variable")
    for word in ("alert_bridge_webhooks_total", "alert_bridge_attempts_total", "alert_bridge_messages_total"):
        assert word in text
        assert word in known
    settings = {word.strip("='`:,.") for word in text.replace("=", " ").split() if word.startswith(PREFIX)}
    agree(settings & known, settings, "get-alerts-in-wecom.md")
