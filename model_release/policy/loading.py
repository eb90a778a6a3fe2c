"""Read a policy file: ``config/release_policy.yaml``, one policy for DAG, CI and command line."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from model_release.documents import read_yaml
from model_release.errors import ConfigurationError
from model_release.explain import explain
from model_release.policy.document import Policy

POLICY_VARIABLE = "RELEASE_POLICY"
POLICY_FILE = "config/release_policy.yaml"


def default_policy_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return ``$RELEASE_POLICY``, else ``config/release_policy.yaml`` here, else the one beside this package."""
    env = os.environ if environment is None else environment
    named = env.get(POLICY_VARIABLE)
    if named:
        return Path(named)
    here = Path(POLICY_FILE)
    return here if here.exists() else Path(__file__).resolve().parents[2] / POLICY_FILE


def load_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        ConfigurationError: it can't be read, or says something that can't be meant; every problem is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the policy {path} can't be read: {error}") from error
    return parse_policy(text, source=str(path))


def parse_policy(text: str, *, source: str) -> Policy:
    """Read a policy from YAML text; ``source`` names it in messages.

    Raises:
        ConfigurationError: as :func:`load_policy`.
    """
    try:
        document = read_yaml(text)
        # Through JSON, where a list may become a tuple although everything else is strict.
        return Policy.model_validate_json(json.dumps(document))
    except ValidationError as error:
        place = functools.partial(_place, document=document)
        raise ConfigurationError(f"{source}: {explain(error, Policy, place=place)}") from error
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{source} is not a valid policy: {error}") from error


def _place(location: Sequence[int | str], document: Any) -> str:
    """Say where a problem is, naming a check by its name where it has one."""
    match list(location):
        case ["checks", int(index), *rest]:
            check = document["checks"][index]
            name = check.get("name") if isinstance(check, dict) else None
            kind = check.get("kind") if isinstance(check, dict) else None
            inner = ".".join(str(part) for part in rest if part != kind)
            return f"check {name!r}" + (f" {inner}" if inner else "") if name else f"checks.{index} {inner}".strip()
        case parts:
            return ".".join(map(str, parts)) or "policy"
