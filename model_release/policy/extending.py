"""One policy that builds on another: ``extends`` and ``without``.

Mappings are merged key by key, checks by their name, and every other list is replaced.  ``null`` takes a key away that
may be left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from model_release.errors import ConfigurationError

EXTENDS, WITHOUT = "extends", "without"
_NO_PLAIN_PATH = re.compile(r"^\s|\s$|^~|^$|[\x00-\x1f$*?\[\]{}\\]|^[A-Za-z][A-Za-z0-9+.-]*://")


def extended_file(document: Mapping[str, Any]) -> str:
    """Return the path that ``extends`` of ``document`` names.

    Raises:
        ConfigurationError: it is no plain path: a URL, ``~``, a variable or a pattern.
    """
    named = document[EXTENDS]
    if not isinstance(named, str):
        raise ConfigurationError(f"extends is {named!r}, expected the path of one policy file")
    if _NO_PLAIN_PATH.search(named):
        raise ConfigurationError(
            f"extends is {named!r}, expected a plain path, relative to this file: no URL, no ~, no variable, no pattern"
        )
    return named


def merged(base: Mapping[str, Any], extension: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``extension`` says on top of ``base``; neither is changed.

    Args:
        base: a whole policy.
        extension: has ``extends``, a ``name`` of its own, and what is to be different.

    Raises:
        ConfigurationError: the extension can't be meant so; the message begins with the key.
    """
    _check_name(base, extension)
    own = {key: value for key, value in extension.items() if key != EXTENDS}
    whole = _section("checks", base, own)
    if isinstance(extension.get("online"), Mapping):
        whole["online"] = _section("online.checks", base.get("online") or {}, extension["online"])
    return whole


def _check_name(base: Mapping[str, Any], extension: Mapping[str, Any]) -> None:
    if "name" not in extension:
        raise ConfigurationError("name is missing: a decision must tell this policy from the one that it extends")
    if extension["name"] == base.get("name"):
        raise ConfigurationError(
            f"name {extension['name']!r} is the name of the policy that it extends: a decision must tell them apart"
        )


def _section(where: str, base: Mapping[str, Any], extension: Mapping[str, Any]) -> dict[str, Any]:
    """Merge what has a list of checks: the policy itself, or what it says of trials."""
    whole: dict[str, Any] = dict(base)
    for key, value in extension.items():
        if key not in {"checks", WITHOUT}:
            whole[key] = _value(base.get(key), value)
    if "checks" in extension or WITHOUT in extension:
        whole["checks"] = _checks(where, base, extension)
    return whole


def _value(base: Any, change: Any) -> Any:
    """Return ``change``; a mapping on top of a mapping changes single keys."""
    if not (isinstance(base, Mapping) and isinstance(change, Mapping)):
        return change
    return {**base, **{key: _value(base.get(key), value) for key, value in change.items()}}


def _checks(where: str, base: Mapping[str, Any], extension: Mapping[str, Any]) -> list[Any]:
    """Return the checks of ``base`` that are kept, changed where ``extension`` names them, then its new ones."""
    before = {check["name"]: check for check in base.get("checks", ())}
    changes = _named(where, extension.get("checks", []))
    dropped = _dropped(where.removesuffix("checks") + WITHOUT, before, changes, extension)
    found: list[Any] = [_check(check, changes.get(name)) for name, check in before.items() if name not in dropped]
    for name, change in changes.items():
        if name in before:
            continue
        if "kind" not in change:
            raise ConfigurationError(
                f"{where}: {name!r} is no check of the policy that is extended{_meant(name, before)}; "
                "a new check needs its kind"
            )
        found.append(change)
    return found


def _check(base: Mapping[str, Any], change: Mapping[str, Any] | None) -> Any:
    """Return one check with its changes; another kind leaves nothing of the old check."""
    if change is None:
        return base
    return change if change.get("kind", base["kind"]) != base["kind"] else _value(base, change)


def _named(where: str, checks: Any) -> dict[str, Mapping[str, Any]]:
    """Return the checks of an extension by their name."""
    if not isinstance(checks, Sequence) or isinstance(checks, str):
        raise ConfigurationError(f"{where} is {checks!r}, expected a list")
    found: dict[str, Mapping[str, Any]] = {}
    for number, check in enumerate(checks):
        name = check.get("name") if isinstance(check, Mapping) else None
        if not isinstance(check, Mapping) or not isinstance(name, str):
            raise ConfigurationError(
                f"{where}.{number} has no name: it says which check is changed, or how a new one is called"
            )
        if name in found:
            raise ConfigurationError(f"{where}: two checks have the name {name!r}")
        found[name] = check
    return found


def _dropped(
    where: str, before: Mapping[str, Any], changes: Mapping[str, Any], extension: Mapping[str, Any]
) -> frozenset[str]:
    names = extension.get(WITHOUT, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"{where} is {names!r}, expected a list of names of checks")
    for name in names:
        if name not in before:
            raise ConfigurationError(
                f"{where}: {name!r} is no check of the policy that is extended{_meant(name, before)}"
            )
        if name in changes:
            raise ConfigurationError(f"{where} drops {name!r}, but checks changes it: they contradict each other")
        if names.count(name) > 1:
            raise ConfigurationError(f"{where} names {name!r} twice")
    return frozenset(names)


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f"; it has {', '.join(known) or 'none'}"
