"""docs/reference/gate-command.md and decisions.md say what the gate's commands and decisions are."""

from __future__ import annotations

import argparse

import pytest

from model_release.gate.__main__ import parser
from model_release.verdict import CheckResult, Decision
from tests.docs_pages import agree, codes, names, table


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def test_every_command_is_explained() -> None:
    rows = table("gate-command.md", "`python -m model_release.gate`", "command")
    agree({codes(row[0])[0] for row in rows}, set(commands()), "gate-command.md")


@pytest.mark.parametrize("command", ["check", "explain", "simulate"])
def test_every_option_is_explained(command: str) -> None:
    options = {option for action in commands()[command]._actions for option in action.option_strings}
    agree(names("gate-command.md", f"`{command}`", "option"), options - {"-h", "--help"}, f"gate-command.md, {command}")


def test_schema_has_no_options() -> None:
    assert [action.dest for action in commands()["schema"]._actions] == ["help"]


@pytest.mark.parametrize(("heading", "model"), [("A decision", Decision), ("A result", CheckResult)])
def test_every_key_of_a_decision_is_explained(heading: str, model: type[Decision | CheckResult]) -> None:
    keys = {code for row in table("decisions.md", heading, "key") for code in codes(row[0])}
    agree(keys, set(model.model_fields), f"decisions.md, {heading}")
