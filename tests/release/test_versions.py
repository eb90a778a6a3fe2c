"""Files of earlier versions are read, those of later ones refused in words that help, and nothing is written then."""

from __future__ import annotations

import datetime as dt
import gzip
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from alert_bridge.database import Database
from model_release import registry as transitions
from model_release.adapters.decisions import decision_path, read_decision
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.kept_evidence import evidence_path, read_kept
from model_release.adapters.reconciliation_files import read_reconciliation
from model_release.adapters.run_store import RunStore
from model_release.artifact import Manifest
from model_release.errors import ModelReleaseError
from model_release.evidence import Evaluation, Missing, Reconciliation
from model_release.explain import explain
from model_release.exposures import Exposure
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.policy import Policy, load_policy
from model_release.registry import Registry
from model_release.verdict import Decision, Verdict
from model_release.versions import versions_of
from pipeline.config import PipelineConfig, load_config
from tests.docs_pages import codes, table
from tests.runs import publish_run

OLD = Path(__file__).parent / "old_files"  # written by the version that first had the form; never changed
AT = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
MODELS: dict[str, type[BaseModel]] = {
    "models/model_registry.json": Registry,
    "models/release_ledger.jsonl": LedgerEntry,
    "models/<run_id>/manifest.json": Manifest,
    "config/release_policy.yaml": Policy,
    "config/pipeline.yaml": PipelineConfig,
    "data/evaluation/decisions/<release_id>.json": Decision,
    "data/evaluation/<run_id>/summary.json": Evaluation,
    "data/evaluation/reconciliation_<date>.json": Reconciliation,
    "data/exposures/*.jsonl": Exposure,
}
# Of the forms that refuse unknown fields or values.  If yours differs: would the program before yours misread the new form,
# or refuse it without saying why?  Then it needs a new version, and the old one a file in old_files.  Then write it here.
FORMS = {
    "models/model_registry.json": "630291aa",
    "models/release_ledger.jsonl": "0b668db2",
    "models/<run_id>/manifest.json": "a13c677f",
    "data/evaluation/decisions/<release_id>.json": "451f7d20",
    "data/exposures/*.jsonl": "d9c5b011",
}


def old(paths: ReleasePaths) -> ReleasePaths:
    paths.models.mkdir(parents=True)
    shutil.copy(OLD / "model_registry.json", paths.registry)
    shutil.copy(OLD / "release_ledger.jsonl", paths.ledger)
    return paths


def without_words(schema: Any) -> Any:
    """Return a JSON schema without what people read."""
    if isinstance(schema, dict):
        return {key: without_words(value) for key, value in schema.items() if key not in {"description", "title"}}
    return [without_words(one) for one in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize("file", FORMS)
def test_a_form_does_not_change_within_its_version(file: str) -> None:
    schema = json.dumps(without_words(MODELS[file].model_json_schema()), sort_keys=True)
    assert hashlib.sha256(schema.encode()).hexdigest()[:8] == FORMS[file], "read the comment of FORMS"


def test_a_registry_and_a_ledger_of_the_first_form_are_read_and_gone_on_with(paths: ReleasePaths) -> None:
    store, ledger = FileRegistry(old(paths)), FileLedger(paths)
    registry = store.read()
    assert (registry.generation, registry.last_good_run_id()) == (4, "run-a")
    assert registry.candidate is not None
    assert len(ledger.read()) == 5
    assert {entry.schema_version for entry in ledger.read()} == {1}
    after = store.update(
        lambda state: transitions.promote(state, run_id="run-a", release_id="back", at=AT, cause="rollback")
    )
    ledger.append(LedgerEntry(at=AT, event=Event.PRUNED, release_id="prune:x", by="me", run_id="x"))
    assert store.read() == after
    assert [entry.schema_version for entry in ledger.read()] == [1, 1, 1, 1, 1, 2]


def test_a_manifest_of_the_first_form_is_read() -> None:
    manifest = Manifest.model_validate_json((OLD / "manifest.json").read_bytes())
    assert (manifest.run_id, manifest.serving.format) == ("run-a", "ranked_lists")


def test_what_people_wrote_for_the_first_form_is_read() -> None:
    """And means what it meant: an old policy removes nothing."""
    policy = load_policy(OLD / "release_policy.yaml")
    assert (policy.retention, policy.quorum) == (None, "all")
    assert len(policy.checks) == 7
    assert load_config(OLD / "pipeline.yaml").horizon_days == 7


def test_a_decision_of_the_first_form_is_read(paths: ReleasePaths) -> None:
    """Before there were stages, and a time of the last measurement."""
    document = {
        "schema_version": 1, "verdict": "FAIL", "run_id": "a", "against": None, "no_baseline": True,
        "release_id": "r", "generation": 1, "decided_at": "2026-11-20T08:00:00Z", "policy_name": "default",
        "policy_sha256": "0" * 64, "code_version": "x", "summary": "no",
        "results": [{"check": "a", "kind": "absolute", "verdict": "FAIL", "reason": "too low"}],
    }  # fmt: skip
    document["verdict"] = document["results"][0]["verdict"] = Verdict.FAIL.value  # type: ignore[index]
    path = decision_path(paths, "r")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document))
    found = read_decision(paths, "r")
    assert found is not None
    assert (found.stage, found.measured_at) == ("offline", None)


def later_registry(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    document = {**json.loads((OLD / "model_registry.json").read_text()), "schema_version": 7, "shards": []}
    paths.registry.write_text(json.dumps(document))
    return paths.registry, lambda: FileRegistry(paths).update(
        lambda state: transitions.set_latch(state, reason="r", by="b", at=AT)
    )


def later_ledger(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    with paths.ledger.open("a") as file:
        file.write(json.dumps({"schema_version": 7, "event": "teleported"}) + "\n")
    return paths.ledger, lambda: FileLedger(paths).append(
        LedgerEntry(at=AT, event=Event.FAILED, release_id="r", by="b")
    )


def later_manifest(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    publish_run(paths, "run-a")
    path = paths.models / "run-a" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 7, "signature": "x"}))
    return path, lambda: RunStore(paths).verify("run-a")


def later_policy(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    path = paths.root / "policy.yaml"
    path.write_text((OLD / "release_policy.yaml").read_text().replace("schema_version: 1", "schema_version: 7\nnew: 1"))
    return path, lambda: load_policy(path)


def later_pipeline(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    path = paths.root / "pipeline.yaml"
    path.write_text((OLD / "pipeline.yaml").read_text().replace("schema_version: 1", "schema_version: 7\nnew: 1"))
    return path, lambda: load_config(path)


def later_decision(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    path = decision_path(paths, "r")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"schema_version": 7}))
    return path, lambda: read_decision(paths, "r")


def later_evidence(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    path = evidence_path(paths, "r", "offline")
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(json.dumps({"schema_version": 7}).encode()))
    return path, lambda: read_kept(paths, "r", "offline")


def later_queue(paths: ReleasePaths) -> tuple[Path, Callable[[], object]]:
    Database(paths.root).close()
    path = paths.root / "queue.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path, lambda: Database(paths.root)


@pytest.mark.parametrize(
    "make",
    [
        later_registry, later_ledger, later_manifest, later_policy, later_pipeline, later_decision, later_evidence,
        later_queue,
    ],
)  # fmt: skip
def test_a_later_file_is_refused_by_name_with_the_way_out_and_stays_as_it_is(
    paths: ReleasePaths, make: Callable[[ReleasePaths], tuple[Path, Callable[[], object]]]
) -> None:
    path, use = make(old(paths))
    before = path.read_bytes()
    with pytest.raises(ModelReleaseError) as caught:
        use()
    message = str(caught.value)
    for part in (str(path), "schema_version is 7, this program reads up to", "install that version again", "backup"):
        assert part in message
    assert "restore the file from a backup" not in message  # it is not damaged
    assert path.read_bytes() == before


def test_a_later_reconciliation_is_missing_for_the_gate_and_says_why(paths: ReleasePaths) -> None:
    date = dt.date(2026, 11, 20)
    paths.evaluation.mkdir(parents=True)
    document = {"schema_version": 7, "date": "2026-11-20", "written_at": "2026-11-21T04:00:00Z", "status": "fine"}
    paths.reconciliation_of(date).write_text(json.dumps(document))
    found = read_reconciliation(paths, date)
    assert isinstance(found, Missing)
    assert "schema_version is 7, this program reads up to 1" in found.reason


def test_an_unknown_key_of_our_own_version_is_not_taken_for_a_later_one() -> None:
    with pytest.raises(ValueError, match="Extra inputs") as caught:
        Registry.model_validate({"schema_version": 1, "shards": []})
    assert "later version" not in explain(caught.value, Registry)  # type: ignore[arg-type]


def test_the_page_tells_every_file_with_its_version() -> None:
    """docs/upgrades.md: the version that is written, and those that are read."""
    rows = table("../upgrades.md", "Versions of files", "file")
    told = {codes(row[0])[0]: (row[1], row[2]) for row in rows}
    assert set(MODELS) <= set(told)
    for file, model in MODELS.items():
        versions = versions_of(model)
        assert told[file] == (str(versions[-1]), ", ".join(map(str, versions))), file
