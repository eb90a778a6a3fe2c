"""docs/reference/evidence-sources.md and reconciliation-file.md say what is read."""

from __future__ import annotations

import datetime as dt
import os

import pytest

from model_release.adapters import sources
from model_release.adapters.reconciliation_files import parse_reconciliation
from model_release.adapters.sources import Sources
from model_release.evidence import Reconciliation
from tests.docs_pages import DOCS, agree, codes, names, table

PAGE = "evidence-sources.md"


def test_every_variable_is_explained() -> None:
    """All that ``Sources`` takes from the environment, and no other."""
    known = {value for name, value in vars(sources).items() if name.isupper() and not name.startswith("_")}
    assert len(known) == 5
    agree(names(PAGE, "Environment variables", "variable"), known, PAGE)


def test_every_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name that the page gives it, and with the default that the page gives it."""
    for variable in names(PAGE, "Environment variables", "variable"):
        monkeypatch.delenv(variable, raising=False)
    assert Sources.from_environment(os.environ) == Sources()
    default = {codes(row[0])[0]: row[1] for row in table(PAGE, "Environment variables", "variable")}
    assert default[sources.TIMEOUT] == f"`{Sources().timeout_seconds:g}`"
    said = {
        sources.PROMETHEUS_URL: "http://p:1",
        sources.PROMETHEUS_TOKEN: "one",
        sources.ALERTMANAGER_URL: "http://a:1",
        sources.ALERTMANAGER_TOKEN: "two",
        sources.TIMEOUT: "3",
    }
    assert Sources.from_environment(said) == Sources("http://p:1", "one", "http://a:1", "two", 3.0)


def test_the_schema_of_a_reconciliation_is_explained() -> None:
    agree(
        names("reconciliation-file.md", "`data/evaluation/reconciliation_<date>.json`", "key"),
        set(Reconciliation.model_fields),
        "",
    )


def test_the_example_of_a_reconciliation_is_one() -> None:
    text = (DOCS / "reference" / "reconciliation-file.md").read_text(encoding="utf-8")
    example = text.split("```json\n")[1].split("```")[0]
    assert parse_reconciliation(example.encode(), dt.date(2026, 1, 12)).status == "differs"
