"""The registry as one JSON file: compare-and-set under a lock, written by rename."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError

from model_release import limits
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.files import write_atomic
from model_release.errors import StateBusyError, StateCorruptError
from model_release.explain import explain_all
from model_release.ledger import BEFORE_ANY_REGISTRY
from model_release.paths import ReleasePaths
from model_release.registry import Registry, Transition, expect
from model_release.versions import later_version

# Every field of a registry has a default: without these, `{}` would read as an empty one.
_ALWAYS_WRITTEN = frozenset({"schema_version", "generation", "current", "candidate", "latch", "history", "runs"})


class FileRegistry:
    """A ``RegistryStore`` in ``models/model_registry.json``; meant for a file system with working ``flock``."""

    def __init__(self, paths: ReleasePaths, *, lock_timeout_seconds: float = 30.0) -> None:
        self._path = paths.registry
        self._ledger = FileLedger(paths)
        self._lock_timeout_seconds = lock_timeout_seconds

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def read(self) -> Registry:
        """Return the registry; before the first registration that is generation 0 with nothing current.

        Raises:
            StateCorruptError: the file is damaged, or lost although the ledger tells of registered runs; or then the ledger is.
        """
        try:
            with self._path.open("rb") as file:
                text = file.read(limits.REGISTRY_BYTES + 1)
        except FileNotFoundError:
            return self._nothing_yet()
        if len(text) > limits.REGISTRY_BYTES:
            raise self._corrupt(f"it has more than {limits.REGISTRY_BYTES} bytes")
        try:
            registry = Registry.model_validate_json(text, strict=True)
        except ValidationError as error:
            problems = error.errors(include_url=False)
            later = later_version(problems, Registry)
            if later is not None:
                raise StateCorruptError(f"{self._path}: {later}; nothing was changed") from error
            first = explain_all(problems[:1], Registry)
            raise self._corrupt(f"{error.error_count()} problems, first: {first}") from error
        lacking = sorted(_ALWAYS_WRITTEN - registry.model_fields_set)
        if lacking:
            raise self._corrupt(f"it lacks {', '.join(lacking)}")
        return registry

    def update(self, transition: Transition, *, expected_generation: int | None = None) -> Registry:
        """Apply ``transition`` under the lock; see ``RegistryStore.update``.

        Raises:
            StateBusyError: the lock was not free in time.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{self._path}.lock", timeout=self._lock_timeout_seconds):
                before = self.read()
                expect(before, expected_generation)
                after = transition(before)
                if after != before:
                    self._clear_leftovers()
                    write_atomic(self._path, after.model_dump_json(indent=2) + "\n")
                return after
        except Timeout as error:
            raise StateBusyError(
                f"the lock of {self._path} was not free for {self._lock_timeout_seconds:g} s; retry"
            ) from error

    def _clear_leftovers(self) -> None:
        """Remove what writers left that were killed before their rename; only the holder of the lock writes."""
        for path in self._path.parent.glob(f".{self._path.name}.*.tmp"):
            path.unlink(missing_ok=True)

    def _corrupt(self, problem: str) -> StateCorruptError:
        return StateCorruptError(
            f"{self._path} is not a valid registry ({problem}); restore it from a backup; nothing was changed"
        )

    def _nothing_yet(self) -> Registry:
        # Read as empty, a lost registry would let the next release pass as a first one without comparison.  What failed, and
        # whom people were told of, before anything was registered does not need a registry.
        if any(entry.event not in BEFORE_ANY_REGISTRY for entry in self._ledger.read()):
            raise StateCorruptError(
                f"{self._path} is missing although {self._ledger.path.name} tells of runs that were registered; restore it "
                "from a backup, or move the ledger away to start anew"
            )
        return Registry()
