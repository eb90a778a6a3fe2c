"""The rules of monitoring/prometheus as the tests read them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from scripts.monitoring_programs import tool
from tests.docs_pages import PROJECT

MONITORING = PROJECT / "monitoring"
PROMETHEUS = MONITORING / "prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*_test.yml"))


def run(name: str, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one of the command-line tools."""
    done = subprocess.run(
        [str(tool(name)), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for path in RULE_FILES for group in read(path)["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}


def unit_tests() -> list[dict[str, Any]]:
    return [case for path in TEST_FILES for case in read(path)["tests"]]


def selectors(expression: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the metrics that an expression names, with the labels that it wants them to have exactly."""
    yield from _selectors(promql_parser.parse(expression))


def _selectors(node: Any) -> Iterator[tuple[str, dict[str, str]]]:
    if isinstance(node, promql_parser.VectorSelector):
        equal = {one.name: one.value for one in node.matchers.matchers if one.op == promql_parser.MatchOp.Equal}
        yield node.name or equal.pop("__name__"), equal
        return
    parts = [getattr(node, name, None) for name in ("expr", "lhs", "rhs", "param", "vector_selector", "args")]
    for part in parts:
        for one in part if isinstance(part, list) else [part]:
            if isinstance(one, promql_parser.Expr):
                yield from _selectors(one)
