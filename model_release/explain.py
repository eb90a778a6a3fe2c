"""What is wrong with a value from outside, as a sentence: which key, which value, and what would be accepted.

The library's own texts are for programmers; whoever reads a message of ours wrote a form, a request or a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from model_release.model_keys import known_keys, written
from model_release.versions import later_version

Location = Sequence[int | str]
_LONGEST_VALUE = 80
_KINDS = {
    "bool": "true or false",
    "date": "a date such as 2026-01-31",
    "datetime": "a time such as 2026-01-31T17:05+08:00",
    "decimal": "a number",
    "dict": "keys and values",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "mapping": "keys and values",
    "model": "keys and values",
    "string": "text",
    "timezone": "a time with an offset, such as 2026-01-31T17:05+08:00",
    "tuple": "a list",
}
_BOUNDS = {
    "greater_than": "a number above {gt}",
    "greater_than_equal": "a number from {ge} on",
    "less_than": "a number below {lt}",
    "less_than_equal": "a number up to {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_long": "at most {max_length} characters",
    "string_too_short": "at least {min_length} characters",
    "too_long": "at most {max_length} entries",
    "too_short": "at least {min_length} entries",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "union_tag_invalid": "{discriminator} one of {expected_tags}",
    "union_tag_not_found": "{discriminator}",
    "finite_number": "a finite number",
    "none_required": "nothing",
}


def dotted(location: Location) -> str:
    """Return a place as a reader would write it."""
    return ".".join(map(str, location))


def explain(
    error: ValidationError, model: type[BaseModel] | None = None, *, place: Callable[[Location], str] = dotted
) -> str:
    """Return every problem of ``error`` as a sentence.

    Args:
        error: what pydantic found.
        model: the model that was read: tells which keys there are.
        place: names a place in the document.
    """
    problems = error.errors(include_url=False)
    return explain_all(problems, model, place=place)


def explain_all(
    problems: Sequence[Mapping[str, Any]],
    model: type[BaseModel] | None = None,
    *,
    place: Callable[[Location], str] = dotted,
) -> str:
    """Return pydantic's ``problems`` as sentences; alternatives for one value are told together."""
    later = later_version(problems, model)
    if later is not None:
        return later  # what else seems wrong may be right there
    sentences: list[str] = []
    expected: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        if problem["type"] == "too_short" and any(_below(other["loc"], problem["loc"]) for other in problems):
            continue  # it only counts the entries that are right
        where = place(written(model, problem["loc"]))
        wanted = _wanted(problem)
        if wanted is None:
            sentences.append(_said(problem, where, known_keys(model, problem["loc"])))
            continue
        key = (where, _shown(problem["input"]))
        if key not in expected:
            sentences.append("")  # its place among the others
        expected.setdefault(key, []).append(wanted)
    told = iter(
        f"{where or 'it'} is {value}, expected {' or '.join(dict.fromkeys(wanted))}"
        for (where, value), wanted in expected.items()
    )
    return "; ".join(sentence or next(told) for sentence in sentences)


def _below(location: Location, other: Location) -> bool:
    return len(location) > len(other) and tuple(location[: len(other)]) == tuple(other)


def unknown_key(key: str, known: Collection[str]) -> str:
    """Return what to say of a key that is none of ``known``: the one that was meant, else all there are."""
    close = difflib.get_close_matches(key, known, n=1)
    if close:
        return f"unknown key, did you mean {close[0]!r}?"
    return f"unknown key; there are {', '.join(sorted(known))}" if known else "unknown key"


def _said(problem: Mapping[str, Any], where: str, known: Collection[str]) -> str:
    """Return the sentence for a problem that is not a value of the wrong kind."""
    match problem["type"]:
        case "extra_forbidden":
            return f"{where}: {unknown_key(str(problem['loc'][-1]), known)}"
        case "missing":
            return f"{where or 'it'} is missing"
        case "json_invalid":
            return f"it is not valid JSON: {problem['ctx']['error']}"
        case _:
            message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
            message = message.replace("Input should be", f"{_shown(problem['input'])} is not")
            return f"{where}: {message}" if where else message


def _wanted(problem: Mapping[str, Any]) -> str | None:
    """Return what would be accepted; None if the problem is of another sort."""
    kind = str(problem["type"])
    if kind in _BOUNDS:
        context = {name: _plain(value) for name, value in problem.get("ctx", {}).items()}
        return _BOUNDS[kind].format(**context)
    if kind in {"extra_forbidden", "missing", "value_error", "assertion_error", "json_invalid"}:
        return None
    return _KINDS.get(kind.partition("_")[0])


def _plain(value: object) -> object:
    return f"{value:g}" if isinstance(value, float) else value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
