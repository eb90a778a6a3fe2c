"""Values of annotated classes as strict JSON and back, exactly: NaN, infinity and every bit of a number survive.

A dataclass becomes an object that names its class in ``"is"``; only classes that the annotation allows are made.  A
mapping becomes a list of pairs, since keys may be objects.  Numbers that JSON lacks are written as text.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import math
import typing
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, TypeAdapter, ValidationError

from model_release.errors import InvalidInputError

_CLASS = "is"
_TIMES = TypeAdapter(dt.datetime)  # the zones that it makes are called as those of all files that are read
_LACKING = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def encoded(value: Any, hint: Any) -> Any:
    """Return ``value``, which is what ``hint`` says, as what :mod:`json` writes strictly.

    Raises:
        InvalidInputError: it holds something else than annotated classes, numbers, texts and times.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, UnionType}:
        return encoded(value, _kind_of(value, arguments))
    if origin is typing.Annotated:
        return encoded(value, arguments[0])
    if origin is tuple:
        return [encoded(part, arguments[0]) for part in value]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return [[encoded(key, arguments[0]), encoded(part, arguments[1])] for key, part in value.items()]
    return _encoded_by_value(value)


def _encoded_by_value(value: Any) -> Any:
    match value:
        case np.ndarray():
            return [_number(part) for part in value.astype(np.float64).tolist()]
        case BaseModel():
            return {_CLASS: type(value).__name__, "value": json.loads(value.model_dump_json())}
        case dt.datetime():
            return value.isoformat()
        case float():
            return _number(value)
        case None | str() | bool() | int():
            return value
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise InvalidInputError(f"a {type(value).__name__} can't be kept as evidence")
    fields = {name: encoded(getattr(value, name), kind) for name, kind in _fields(type(value)).items()}
    return {_CLASS: type(value).__name__, **fields}


def decoded(value: Any, hint: Any) -> Any:
    """Return what :func:`encoded` was given.

    Raises:
        InvalidInputError: it is not what ``hint`` says.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {typing.Union, UnionType}:
        return _one_of(value, arguments)
    if origin is typing.Annotated:
        return decoded(value, arguments[0])
    if origin is Literal:
        return _is(value, value in arguments, f"one of {arguments}")
    return _several(value, origin, arguments) if origin is not None else _plain(value, hint)


def _several(value: Any, origin: Any, arguments: tuple[Any, ...]) -> Any:
    """Return a tuple, an array of numbers or a mapping."""
    parts = _is(value, isinstance(value, list), "a list")
    if origin is tuple:
        return tuple(decoded(part, arguments[0]) for part in parts)
    if origin is np.ndarray:
        return np.array([_float(part) for part in parts], dtype=np.float64)
    pairs = _is(parts, all(_is_pair(part) for part in parts), "a list of pairs")
    return {decoded(key, arguments[0]): decoded(part, arguments[1]) for key, part in pairs}


def _plain(value: Any, hint: Any) -> Any:
    """Return a value whose kind is a class without parameters."""
    if hint is NoneType:
        return _is(value, value is None, "nothing")
    if hint is float:
        return _float(value)
    if hint is dt.datetime:
        return _time(value)
    if hint in {str, int, bool}:
        return _is(value, type(value) is hint, hint.__name__)
    content = _is(value, isinstance(value, dict) and value.get(_CLASS) == hint.__name__, f"a {hint.__name__}")
    return _model(content, hint) if issubclass(hint, BaseModel) else _dataclass(content, hint)


def _model(content: dict[str, Any], kind: type[BaseModel]) -> BaseModel:
    try:
        return kind.model_validate_json(json.dumps(content.get("value")))
    except ValidationError as error:
        raise InvalidInputError(f"{kind.__name__} has {error.error_count()} problems") from error


def _dataclass(content: dict[str, Any], kind: type) -> Any:
    kinds = _fields(kind)
    unknown = sorted(set(content) - set(kinds) - {_CLASS})
    if unknown:
        raise InvalidInputError(f"{kind.__name__} has no {unknown[0]!r}")
    try:
        return kind(**{name: decoded(part, kinds[name]) for name, part in content.items() if name != _CLASS})
    except TypeError as error:  # a field without a default is missing
        raise InvalidInputError(f"{kind.__name__}: {error}") from error


@functools.cache
def _fields(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _kind_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    """Return which of several annotations ``value`` was made for."""
    for kind in kinds:
        origin = typing.get_origin(kind) or kind
        if origin is Literal:
            if value in typing.get_args(kind):
                return kind
        elif isinstance(value, origin):
            return kind
    raise InvalidInputError(f"a {type(value).__name__} is none of {kinds}")


def _one_of(value: Any, kinds: tuple[Any, ...]) -> Any:
    problems = []
    for kind in kinds:
        try:
            return decoded(value, kind)
        except InvalidInputError as error:
            problems.append(str(error))
    raise InvalidInputError("; ".join(problems))


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _float(value: Any) -> float:
    if isinstance(value, str) and value in _LACKING:
        return _LACKING[value]
    return float(_is(value, type(value) in {int, float}, "a number"))


def _time(value: Any) -> dt.datetime:
    try:
        time = _TIMES.validate_strings(_is(value, isinstance(value, str), "a time"))
    except ValidationError as error:
        raise InvalidInputError(f"{value!r} is not a time") from error
    return time.astimezone(dt.UTC) if time.utcoffset() == dt.timedelta(0) else time


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2  # noqa: PLR2004


def _is(value: Any, right: bool, wanted: str) -> Any:
    if not right:
        raise InvalidInputError(f"{str(value)[:60]!r} is not {wanted}")
    return value
