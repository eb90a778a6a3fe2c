"""docs/reference/evidence-sources.md and reconciliation-file.md say what is read."""

from __future__ import annotations

import datetime as dt
import os
from typing import get_args

import pytest
from pydantic import BaseModel

from model_release.adapters import sources
from model_release.adapters.reconciliation_files import parse_reconciliation
from model_release.adapters.sources import Sources
from model_release.evidence import Reconciliation
from model_release.reconciling.document import (
    DAILY_METRICS,
    Compared,
    Counted,
    Document,
    LogFacts,
    Measured,
    RunFacts,
    Serving,
    Stint,
    TakenFacts,
)
from pipeline.reconcile import _STATUS, parser
from scripts.replay_traffic import parser as replay_parser
from tests.docs_pages import DOCS, agree, codes, names, section, table

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
        names("reconciliation-file.md", "What the gate reads", "key"),
        set(Reconciliation.model_fields),
        "",
    )


@pytest.mark.parametrize(
    ("heading", "models"),
    [
        ("`log`", [LogFacts]),
        ("`taken`", [TakenFacts]),
        ("`runs`", [RunFacts]),
        ("A metric", [Measured]),
        ("Comparisons", [Compared, Serving, Counted]),
    ],
)
def test_every_key_of_a_part_of_a_reconciliation_is_explained(heading: str, models: list[type[BaseModel]]) -> None:
    keys = {name for model in models for name in model.model_fields}
    agree(names("reconciliation-file.md", heading, "key"), keys, heading)


def test_every_other_key_of_a_reconciliation_is_explained() -> None:
    own = set(Document.model_fields) - set(Reconciliation.model_fields)
    agree(names("reconciliation-file.md", "What else is written", "key"), own, "reconciliation-file.md")
    stints = section("reconciliation-file.md", "Comparisons")
    assert set(Stint.model_fields) <= set(codes(stints))


def test_the_command_and_its_results_are_explained() -> None:
    options = {option for action in parser()._actions for option in action.option_strings}
    agree(names("reconcile.md", "Reconcile a day", "option"), options - {"-h", "--help"}, "options")
    agree(names("reconcile.md", "Metrics", "metric"), set(DAILY_METRICS), "metrics")
    results = set(get_args(Measured.model_fields["result"].annotation))
    agree(names("reconcile.md", "The promise", "result"), results, "results")
    parts = {name for name, field in Document.model_fields.items() if issubclass_of(field.annotation)}
    agree(names("reconcile.md", "What else is compared", "part"), parts, "parts")
    written = {int(row[0]) for row in table("reconcile.md", "Exit status", "status")}
    assert written == {*_STATUS.values(), 1, 2}


def issubclass_of(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Compared)


def test_the_example_of_a_reconciliation_is_one() -> None:
    text = (DOCS / "reference" / "reconciliation-file.md").read_text(encoding="utf-8")
    example = text.split("```json\n")[1].split("```")[0]
    assert parse_reconciliation(example.encode(), dt.date(2026, 1, 12)).status == "differs"


def test_every_option_of_a_replay_is_explained() -> None:
    text = (DOCS / "how-to" / "replay-traffic.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| `--")]
    options = {action.option_strings[0]: action for action in replay_parser()._actions}
    agree({codes(row[0])[0] for row in rows}, set(options) - {"-h"}, "replay-traffic.md")
    for option, default in rows:
        if codes(default) and (value := options[codes(option)[0]].default) is not None:
            assert float(codes(default)[0]) == float(value), option
