"""The reference pages say what the code says: no key, metric, field or parameter is missing there or made up."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Any, get_args
from urllib.parse import unquote

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from model_release import limits
from model_release.artifact import GoldenRequest, Manifest
from model_release.contract import (
    Answer,
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    ReloadReceipt,
    ReloadRequest,
    WorkerReport,
)
from model_release.exposures import Exposure, NewOutcome, Outcome
from model_release.ledger import Event, LedgerEntry
from model_release.registry import Candidate, Current, Latch, PastCurrent, RegisteredRun, Registry
from pipeline.algorithms import catalogue
from pipeline.config import ALGORITHMS, PipelineConfig
from pipeline.daily import Daily
from pipeline.data_quality.exposition import exposition
from pipeline.data_quality.report import Drift, Measurement, QualityReport, TableQuality, table_quality
from pipeline.evaluate import EvaluationSummary
from pipeline.judging import USER_SLICES
from pipeline.metrics import METRICS
from tests.docs_pages import (
    DOCS,
    LINK,
    PROJECT,
    Row,
    agree,
    anchors,
    codes,
    names,
    pages,
    prose,
    section,
    table,
)

# Links


def test_every_link_and_anchor_leads_somewhere() -> None:
    """Relative links of README.md and of all pages resolve, and so do the headings they name."""
    wrong = [f"{page.relative_to(PROJECT)}: {problem}" for page in pages() for problem in broken_links(page)]
    assert not wrong, "\n".join([f"{len(wrong)} broken links", *wrong])


def broken_links(page: Path) -> Iterator[str]:
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or not found.is_relative_to(PROJECT):
            yield f"{target}: nothing is there"
        elif anchor and (found.suffix != ".md" or anchor not in anchors(found)):
            yield f"{target}: no heading {anchor!r}"


def test_every_page_is_in_the_index() -> None:
    """docs/README.md leads to every page but single decisions, which have an index of their own."""
    index = DOCS / "README.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in LINK.findall(prose(index))}
    lost = [page for page in pages()[1:] if page not in {*linked, index} and page.parent != DOCS / "decisions"]
    assert not lost, f"not in docs/README.md: {[str(page.relative_to(DOCS)) for page in lost]}"


# Models of pydantic


@pytest.mark.parametrize(
    ("page", "heading", "first", "model"),
    [
        ("recommendation-api.md", "Fields of an answer", "field", Answer),
        ("recommendation-api.md", "`POST /models/reload`", "field", ReloadRequest),
        ("recommendation-api.md", "Fields of a reload's answer", "field", ReloadReceipt),
        ("recommendation-api.md", "`POST /models/lease`", "field", LeaseRequest),
        ("recommendation-api.md", "Fields of a lease's answer", "field", LeaseReceipt),
        ("recommendation-api.md", "`GET /models`", "field", ModelsReport),
        ("recommendation-api.md", "Fields of a worker", "field", WorkerReport),
        ("recommendation-api.md", "`POST /events`", "field", NewOutcome),
        ("exposure-log.md", "An answer", "field", Exposure),
        ("exposure-log.md", "An outcome", "field", Outcome),
        ("data-quality.md", "The report", "key", QualityReport),
        ("data-quality.md", "Keys of a table", "key", TableQuality),
        ("data-quality.md", "Keys of a measurement", "key", Measurement),
        ("evaluation.md", "`summary.json`", "key", EvaluationSummary),
        ("evaluation.md", "`daily`", "key", Daily),
        ("artifact-and-registry.md", "`golden.jsonl`", "key", GoldenRequest),
        ("artifact-and-registry.md", "`model_registry.json`", "key", Registry),
        ("artifact-and-registry.md", "`current`", "key", Current),
        ("artifact-and-registry.md", "`candidate`", "key", Candidate),
        ("artifact-and-registry.md", "`latch`", "key", Latch),
        ("artifact-and-registry.md", "`history`", "key", PastCurrent),
        ("artifact-and-registry.md", "`runs`", "key", RegisteredRun),
        ("artifact-and-registry.md", "`release_ledger.jsonl`", "key", LedgerEntry),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_every_key_of_a_document_is_explained(page: str, heading: str, first: str, model: type[BaseModel]) -> None:
    agree(names(page, heading, first), set(model.model_fields), f"{page}, {heading}")


def test_every_key_of_the_manifest_is_explained() -> None:
    flat = {path for path, _ in leaves(Manifest)}
    agree(names("artifact-and-registry.md", "`manifest.json`", "key"), flat, "manifest.json")


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Return the dotted path of every key of ``model`` that holds no further keys, and its field."""
    for name, field in model.model_fields.items():
        inner = submodels(field.annotation)
        if not inner:
            yield prefix + name, field
        for one in inner:
            yield from leaves(one, f"{prefix}{name}.")


def submodels(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that a field may hold: several where one key says which."""
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def test_every_limit_is_explained_with_its_value() -> None:
    rows = table("artifact-and-registry.md", "Limits", "limit")
    documented = {codes(row[0])[0]: float(codes(row[1])[0].replace(",", "")) for row in rows}
    assert documented == {name: float(value) for name, value in vars(limits).items() if name.isupper()}


# Configuration


def configuration_rows() -> dict[str, Row]:
    headings = ("General", "`source`", "`training`", "`data_quality`", "`reconciliation`")
    rows = [row for heading in headings for row in table("pipeline-configuration.md", heading, "key")]
    return {codes(row[0])[0]: row for row in rows}


def test_every_key_of_the_pipeline_configuration_is_explained() -> None:
    agree(set(configuration_rows()), {path for path, _ in leaves(PipelineConfig)}, "pipeline-configuration.md")


def test_the_defaults_of_the_pipeline_configuration_are_true() -> None:
    rows = configuration_rows()
    minimal = {"name": "x", "interactions": {"path": "x"}, "items": {"path": "x"}}
    config = PipelineConfig.model_validate({"source": minimal, "repeat_purchases": True})
    wrong = []
    for path, field in leaves(PipelineConfig):
        value: Any = config
        for part in path.split("."):
            value = getattr(value, part)
        expected = ["required"] if field.is_required() else shown(value)
        if codes(rows[path][2]) != expected:
            wrong.append(f"{path}: documented {rows[path][2]}, is {expected}")
    assert not wrong, "\n".join(wrong)


def shown(value: object) -> list[str]:
    if value is None or value == {}:
        return ["none"]
    if isinstance(value, tuple):
        return [str(part) for part in value]
    return [f"{value:g}" if isinstance(value, float) else str(value)]


# Data quality


def measured() -> QualityReport:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    moved = (Drift(what="price", psi=0.1),)
    found = table_quality(1, (Measurement(name="rows", kind="rows", score=1.0),), age_seconds=1.0, drift=moved)
    return QualityReport(source="x", measured_at=now, now=now, visible_until=now, tables={"interactions": found})


def test_every_series_of_the_data_quality_file_is_explained() -> None:
    lines = [line for line in exposition(measured()).splitlines() if not line.startswith("#")]
    actual = {re.split(r"[{ ]", line)[0]: tuple(re.findall(r'(\w+)="', line)) for line in lines}
    rows = table("data-quality.md", "Series", "series")
    agree({codes(row[0])[0] for row in rows}, set(actual), "data-quality.md, Series")
    for row in rows:
        assert tuple(codes(row[1])) == actual[codes(row[0])[0]], row[0]


def test_every_kind_of_measurement_is_explained() -> None:
    documented = {
        code
        for heading in ("`interactions`", "`items`")
        for row in table("data-quality.md", heading, "check")
        for code in codes(row[1])
    }
    agree(documented, set(get_args(Measurement.model_fields["kind"].annotation)), "data-quality.md, Checks")


# Algorithms, evaluation, ledger


def test_every_algorithm_is_explained_with_its_parameters() -> None:
    agree(names("algorithms.md", "Algorithms", "name"), set(ALGORITHMS), "algorithms.md")
    for name in ALGORITHMS:
        rows = table("algorithms.md", f"`{name}`", "parameter")
        documented = {codes(row[0])[0]: codes(row[1])[0] for row in rows}
        fields = dataclasses.fields(catalogue.make(name, {}))  # type: ignore[arg-type]
        assert documented == {field.name: str(field.default) for field in fields}, name


def test_the_table_of_figures_has_its_place() -> None:
    assert section("algorithms.md", "Measured on the demo data").strip()


def test_every_metric_and_slice_of_the_evaluation_is_explained() -> None:
    agree(names("evaluation.md", "Metrics", "metric"), set(METRICS), "evaluation.md, Metrics")
    slices = {f"{name} users" for name in USER_SLICES} | {"new items", "known items"}
    agree(names("evaluation.md", "Slices", "slice"), slices, "evaluation.md, Slices")


def test_every_event_of_the_ledger_is_explained() -> None:
    agree(names("artifact-and-registry.md", "Events", "event"), {event.value for event in Event}, "Events")
