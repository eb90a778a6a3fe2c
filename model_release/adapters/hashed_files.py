"""Evidence in files: read once, hashed, and parsed from exactly the bytes that were hashed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pyarrow as pa

from model_release.errors import InvalidInputError
from model_release.evidence import Missing
from model_release.paths import ReleasePaths

_Part = TypeVar("_Part")


def read_hashed(
    paths: ReleasePaths, path: Path, files: dict[str, str], parse: Callable[[bytes], _Part | Missing]
) -> _Part | Missing:
    """Read a file once, note its hash, and parse exactly the bytes that were hashed."""
    try:
        name = path.relative_to(paths.evaluation).as_posix()
        data = path.read_bytes()
    except FileNotFoundError:
        return Missing(f"{name} does not exist")
    except OSError as error:
        return Missing(f"{name} can't be read: {error.strerror}")
    files[name] = hashlib.sha256(data).hexdigest()
    try:
        return parse(data)
    except (InvalidInputError, UnicodeDecodeError, pa.ArrowException) as error:
        return Missing(f"{name}: {error}")
