"""The page of a CI job that asked for a release: how it ended, its tasks, and what the gate said."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass

from model_release.adapters.airflow_api import TaskInstance
from model_release.asking import Asked
from model_release.automation.progress import line
from model_release.ending import Result
from model_release.report.neutral import cut, for_html

_REASON_BYTES = 4000
_MOST_TASKS = 200
_SIGNS = {Result.RELEASED: "✅", Result.REJECTED: "⛔"}


@dataclass(frozen=True)
class Told:
    """How it ended: ``reason`` for people; ``where`` people see the DAG run."""

    result: Result
    reason: str
    asked: Asked
    where: str


def head(told: Told, tasks: Iterable[TaskInstance]) -> str:
    """Return GitHub's markdown; nothing from outside is read as markdown or HTML."""
    result, asked = told.result, told.asked
    facts = [
        ("DAG", asked.dag_id),
        ("commit", asked.commit),
        ("mode", f"{asked.mode} {asked.conf.get('rollout', '')}"),
        *((("attempt", str(asked.attempt)),) if asked.attempt > 1 else ()),
        *((("rehearsal", "nothing is changed"),) if asked.dry_run else ()),
    ]
    lines = [
        f"## Release: {result.name.replace('_', ' ')} {_SIGNS.get(result, '❌')}",
        "",
        for_html(cut(told.reason, _REASON_BYTES)),
        "",
        f'DAG run <a href="{html.escape(told.where)}">{for_html(asked.dag_run_id)}</a>; '
        + ", ".join(f"{name} {for_html(value)}" for name, value in facts),
        "",
    ]
    shown = [f"<li>{for_html(line(task))}</li>" for task in list(tasks)[:_MOST_TASKS]]
    if shown:
        lines += ["<details><summary>Tasks</summary>", "", "<ul>", *shown, "</ul>", "", "</details>", ""]
    return "\n".join(lines)
