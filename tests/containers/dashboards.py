"""What Grafana's container was given, read there: its data source, its dashboards, and an answer for each of their questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import yaml

from tests.containers.stack import Stack, StackError

_PROVISIONING = "/etc/grafana/provisioning"
_INTERVAL = ("$__rate_interval", "1m")  # what Grafana would put there
# each address on a line of its own comes back if nobody answers it with 200
_UNANSWERED = 'for url in "$@"; do wget -q -O /dev/null -T 10 "$url" || echo "$url"; done'


def loaded(stack: Stack) -> tuple[int, int]:
    """Return how many dashboards are there, and how many questions they ask, all of them answered by the data source.

    Raises:
        StackError: a dashboard is not there or none, or a question is not answered from within the container.
    """
    (source,) = _yaml(stack, "datasources")["datasources"]
    (provider,) = _yaml(stack, "dashboards")["providers"]
    files = _in_grafana(stack, "find", provider["options"]["path"], "-name", "*.json").split()
    boards = [json.loads(_in_grafana(stack, "cat", file)) for file in files]
    if not boards or not all(board["uid"] and board["title"] for board in boards):
        raise StackError(f"dashboards in Grafana's container: {files}")
    asked = sorted({question for board in boards for question in _questions(board)})
    urls = [f"{source['url']}/api/v1/query?query={quote(question)}" for question in asked]
    if not urls or (lost := _in_grafana(stack, "sh", "-c", _UNANSWERED, "sh", *urls).split()):
        raise StackError(f"questions that the data source of the dashboards does not answer: {lost}")
    return len(boards), len(urls)


def _questions(board: dict[str, Any]) -> Iterator[str]:
    for panel in board["panels"]:
        yield from (target["expr"].replace(*_INTERVAL) for target in panel["targets"])
    yield from (note["expr"].replace(*_INTERVAL) for note in board["annotations"]["list"] if "expr" in note)


def _yaml(stack: Stack, kind: str) -> dict[str, Any]:
    (file,) = _in_grafana(stack, "find", f"{_PROVISIONING}/{kind}", "-type", "f").split()
    return dict(yaml.safe_load(_in_grafana(stack, "cat", file)))


def _in_grafana(stack: Stack, *command: str) -> str:
    return stack.compose("exec", "--no-TTY", "grafana", *command)
