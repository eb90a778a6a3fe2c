"""Names of runs and releases: what they may look like, and how they are derived."""

from __future__ import annotations

import datetime as dt
import hashlib
import re

from model_release.errors import InvalidInputError, InvalidRunIdError

RUN_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_RUN_ID = re.compile(RUN_ID_PATTERN)
_RESERVED = frozenset({"staging", "decisions"})  # folders beside those of runs
_FILES = (".json", ".jsonl", ".prom", ".lock", ".tmp")  # files beside them: registry, ledger, reports
# check_run_id in the words of JSON Schema, which knows no other way to leave out ".."
RUN_ID_SCHEMA = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$",
    "maxLength": 64,
    "description": f"None of {', '.join(sorted(_RESERVED))}, and not ending in {', '.join(_FILES)}.",
}
_RELEASE_ID_LENGTH = 200
_PUT_BACK = ":put-back"
RELEASE_ID_PATTERN = rf"^[A-Za-z0-9][A-Za-z0-9._:+-]{{0,{_RELEASE_ID_LENGTH - 1}}}$"
_RELEASE_ID = re.compile(RELEASE_ID_PATTERN)


def check_run_id(run_id: str) -> str:
    """Return ``run_id`` unchanged if it is safe to become a path below ``models/``.

    Raises:
        InvalidRunIdError: it is not; the message names the value and the rule.
    """
    # fullmatch: `$` alone would let a trailing newline through
    lower = run_id.lower()
    if not _RUN_ID.fullmatch(run_id) or ".." in run_id or lower in _RESERVED or lower.endswith(_FILES):
        raise InvalidRunIdError(
            f"run_id {run_id!r} is not valid: 1 to 64 of A-Z a-z 0-9 . _ -, starting with a letter or digit, "
            f"without '..', not one of {sorted(_RESERVED)} and not ending in {', '.join(_FILES)}"
        )
    return run_id


def is_run_id(name: str) -> bool:
    """Whether ``name`` may be that of a run; see :func:`check_run_id`."""
    try:
        check_run_id(name)
    except InvalidRunIdError:
        return False
    return True


def check_release_id(release_id: str) -> str:
    """Return ``release_id`` unchanged if it is one printable token of at most 200 characters.

    Raises:
        InvalidInputError: it is not.
    """
    if not _RELEASE_ID.fullmatch(release_id):
        raise InvalidInputError(
            f"release_id {release_id!r} is not valid: 1 to 200 of A-Z a-z 0-9 . _ : + -, starting with a letter or digit"
        )
    return release_id


def new_run_id(algorithm: str, as_of: dt.datetime, content: str) -> str:
    """Name a run by its training cutoff, algorithm and a digest of everything that determines it.

    The same inputs give the same name, so a retried training job finds the run that it already published.

    Args:
        algorithm: name of the algorithm.
        as_of: training cutoff, in the zone whose days the name tells.
        content: canonical text of all inputs (data hash, parameters, seed, code version).
    """
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return check_run_id(f"{as_of:%Y%m%d}-{algorithm.replace('_', '-')}-{digest}")


def release_id_for(dag_id: str, dag_run_id: str) -> str:
    """Derive the release id of a DAG run: the same for every task, try and clear of that DAG run."""
    text = f"{dag_id}:{dag_run_id}"
    safe = re.sub(r"[^A-Za-z0-9._:+-]", "_", text)
    if not _RELEASE_ID.fullmatch(text):  # keep different DAG runs different after replacing characters
        safe = f"release-{safe[:160]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return check_release_id(safe)


def dag_run_of(release_id: str, by: str) -> tuple[str, str] | None:
    """Return DAG id and DAG run id that :func:`release_id_for` made ``release_id`` of; None: none did, or nobody can tell.

    Args:
        release_id: the release.
        by: who wrote of it: ``airflow:<dag_id>/<task_id>``.
    """
    dag_id, _, dag_run_id = release_id.partition(":")
    writer = by.removeprefix("airflow:").partition("/")[0].partition(" ")[0]
    if not by.startswith("airflow:") or writer != dag_id or not dag_run_id:
        return None
    return dag_id, dag_run_id


def task_of(by: str) -> tuple[str, str] | None:
    """Return DAG id and task id of the task that wrote an entry of the ledger; None: no task did.

    Args:
        by: who wrote it: ``airflow:<dag_id>/<task_id>``, and perhaps a person in brackets.
    """
    dag_id, slash, task_id = by.removeprefix("airflow:").partition(" ")[0].partition("/")
    return (dag_id, task_id) if by.startswith("airflow:") and slash and dag_id and task_id else None


def put_back_id(release_id: str) -> str:
    """Name the change that undoes a release, so that it is never taken for the release itself."""
    if len(release_id) <= _RELEASE_ID_LENGTH - len(_PUT_BACK):
        return check_release_id(release_id + _PUT_BACK)
    return check_release_id(f"{release_id[:150]}-{hashlib.sha256(release_id.encode()).hexdigest()[:12]}{_PUT_BACK}")
