"""Read a policy file: ``config/release_policy.yaml``, one policy for DAG, CI and command line."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from model_release.documents import read_yaml
from model_release.errors import ConfigurationError
from model_release.explain import explain
from model_release.policy.document import Policy
from model_release.policy.extending import EXTENDS, WITHOUT, extended_file, merged

POLICY_VARIABLE = "RELEASE_POLICY"
POLICY_FILE = "config/release_policy.yaml"
LONGEST_CHAIN = 8  # policies that extend each other


def default_policy_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return ``$RELEASE_POLICY``, else ``config/release_policy.yaml`` here, else the one beside this package."""
    env = os.environ if environment is None else environment
    named = env.get(POLICY_VARIABLE)
    if named:
        return Path(named)
    here = Path(POLICY_FILE)
    return here if here.exists() else Path(__file__).resolve().parents[2] / POLICY_FILE


def load_policy(path: Path) -> Policy:
    """Read a policy file, and those that it extends.

    Raises:
        ConfigurationError: one can't be read, or says something that can't be meant; the file and every problem in it
            are named.
    """
    return _validated(_whole(path, ()), source=str(path))


def parse_policy(text: str, *, source: str) -> Policy:
    """Read a policy from YAML text; ``source`` names it in messages.

    Raises:
        ConfigurationError: as :func:`load_policy`; a text that ``extends`` a file is not whole.
    """
    document = _document(text, source)
    if isinstance(document, dict) and EXTENDS in document:
        raise ConfigurationError(f"{source}: extends: only a policy that lies in a file can extend another")
    return _validated(document, source)


def _whole(path: Path, extending: tuple[Path, ...]) -> Any:
    """Return what ``path`` says on top of what it extends; ``extending``: the files that led here.

    Each file of a chain is valid together with those that it extends: a problem is told of the file that made it.
    """
    document = _document(_text(path, extending), str(path))
    here = path.resolve()
    if here in extending:
        loop = " -> ".join(str(one) for one in (*extending[extending.index(here) :], here))
        raise ConfigurationError(f"{path}: extends: the policies extend each other in a circle: {loop}")
    if len(extending) >= LONGEST_CHAIN:
        raise ConfigurationError(f"{path}: extends: more than {LONGEST_CHAIN} policies extend each other")
    if not (isinstance(document, dict) and EXTENDS in document):
        return document
    with _problems(str(path)):
        base_path = path.parent / extended_file(document)
    base = _whole(base_path, (*extending, here))
    _validated(base, source=str(base_path))
    with _problems(str(path)):
        return merged(base, document)


def _text(path: Path, extending: Sequence[Path]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        by = f", which {extending[-1]} extends," if extending else ""
        raise ConfigurationError(f"the policy {path}{by} can't be read: {error}") from error


def _document(text: str, source: str) -> Any:
    try:
        return read_yaml(text)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{source} is not a valid policy: {error}") from error


def _validated(document: Any, source: str) -> Policy:
    if isinstance(document, dict) and WITHOUT in document:
        raise ConfigurationError(f"{source}: {WITHOUT} needs {EXTENDS}: there is nothing to drop")
    try:
        # Through JSON, where a list may become a tuple although everything else is strict.
        return Policy.model_validate_json(json.dumps(document))
    except ValidationError as error:
        place = functools.partial(_place, document=document)
        raise ConfigurationError(f"{source}: {explain(error, Policy, place=place)}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{source} is not a valid policy: {error}") from error


@contextlib.contextmanager
def _problems(source: str) -> Iterator[None]:
    """Name the file in what is wrong with how it extends another."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from error


def _place(location: Sequence[int | str], document: Any) -> str:
    """Say where a problem is, naming a check by its name where it has one."""
    match list(location):
        case ["checks", int(index), *rest]:
            return _place_in_check("check", "checks", document["checks"], index, rest)
        case ["online", "checks", int(index), *rest]:
            return _place_in_check("online check", "online.checks", document["online"]["checks"], index, rest)
        case parts:
            return ".".join(map(str, parts)) or "policy"


def _place_in_check(what: str, where: str, checks: Any, index: int, rest: Sequence[int | str]) -> str:
    check = checks[index]
    name = check.get("name") if isinstance(check, dict) else None
    inner = ".".join(map(str, rest))
    return f"{what} {name!r} {inner}".strip() if name else f"{where}.{index} {inner}".strip()
