"""Where in a document a pydantic problem is: the library's locations also name branches of unions, readers don't."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Location = Sequence[int | str]


def written(model: type[BaseModel] | None, location: Location) -> list[int | str]:
    """Return the parts of ``location`` that stand in the document; all of them without a ``model``."""
    if model is None:
        return list(location)
    return [part for part, stands, _ in _walk(model, location) if stands]


def known_keys(model: type[BaseModel] | None, location: Location) -> list[str]:
    """Return the keys that could stand where the last part of ``location`` does; empty if that is not known."""
    if model is None or not location:
        return []
    beside = [kinds for _, _, kinds in _walk(model, location)][-1]
    return sorted({name for kind in beside if _is_model(kind) for name in kind.model_fields})


def _walk(model: type[BaseModel], location: Location) -> Iterator[tuple[int | str, bool, list[Any]]]:
    """Yield each part, whether it stands in the document, and the types of what holds it."""
    kinds: list[Any] = [model]
    for number, part in enumerate(location, start=1):
        tagged = [kind for kind in kinds if _is_model(kind) and _has_tag(kind, part)]
        # where one of several models is told by its tag, the tag comes first: it may be called like a key
        inside = [] if tagged and len(kinds) > 1 else [inner for kind in kinds for inner in _inside(kind, part)]
        # a key that no model knows stands there all the same
        unknown = number == len(location) and not tagged and all(_is_model(kind) for kind in kinds)
        yield part, bool(inside) or unknown, kinds
        kinds = inside or tagged or kinds


def _inside(kind: Any, part: int | str) -> list[Any]:
    """Return the types that ``part`` of a value of type ``kind`` may have."""
    if _is_model(kind):
        field = kind.model_fields.get(part) if isinstance(part, str) else None
        return [] if field is None else _flat(field.annotation)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {tuple, list} and isinstance(part, int):
        return [inner for argument in arguments if argument is not Ellipsis for inner in _flat(argument)]
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _flat(arguments[1])
    return []


def _flat(kind: Any) -> list[Any]:
    """Return the alternatives of a union, without what is annotated."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _flat(get_args(kind)[0])
    if origin in {Union, types.UnionType}:
        return [inner for argument in get_args(kind) if argument is not type(None) for inner in _flat(argument)]
    return [kind]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _has_tag(kind: type[BaseModel], part: int | str) -> bool:
    """Whether ``part`` is the name by which a union tells ``kind`` from its other models."""
    return any(
        part in get_args(field.annotation)
        for field in kind.model_fields.values()
        if get_origin(field.annotation) is Literal
    )
