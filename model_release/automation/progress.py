"""What happened between two looks at the tasks of a DAG run: one line per change."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping

from model_release.adapters.airflow_api import TaskInstance

Key = tuple[str, int]  # a task and its map index
Known = Mapping[Key, TaskInstance]
WORDLESS = frozenset({None, "scheduled", "removed"})  # states that tell nothing yet
ENDED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_LAST = dt.datetime.max.replace(tzinfo=dt.UTC)


def by_key(tasks: Iterable[TaskInstance]) -> dict[Key, TaskInstance]:
    """Return the tasks by what tells them apart."""
    return {(task.task_id, task.map_index): task for task in tasks}


def changes(before: Known, tasks: Iterable[TaskInstance]) -> Iterator[str]:
    """Yield a line for each task that stands otherwise than before, in the order in which they started."""
    for task in sorted(tasks, key=lambda task: (task.start_date or _LAST, task.task_id, task.map_index)):
        known = before.get((task.task_id, task.map_index))
        if task.state not in WORDLESS and (known is None or _standing(known) != _standing(task)):
            yield line(task)


def line(task: TaskInstance) -> str:
    """Return how a task stands: its state in Airflow's word, its time once it has ended, its try if not the first."""
    name = task.task_id if task.map_index < 0 else f"{task.task_id}[{task.map_index}]"
    took = f" after {task.duration:.1f} s" if task.state in ENDED_TASK and task.duration is not None else ""
    again = f" (try {task.try_number})" if task.try_number > 1 else ""
    return f"{name}: {task.state}{took}{again}"


def _standing(task: TaskInstance) -> tuple[str | None, int]:
    return task.state, task.try_number
