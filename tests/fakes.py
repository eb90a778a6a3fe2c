"""Registry and ledger in memory: the same promises as the files, held to them by the same tests."""

from __future__ import annotations

import threading

from model_release.ledger import LedgerEntry
from model_release.registry import Registry, Transition, expect


class MemoryRegistry:
    """A ``RegistryStore`` that lives as long as the process."""

    def __init__(self) -> None:
        self._registry = Registry()
        self._lock = threading.Lock()

    def read(self) -> Registry:
        """Return the registry."""
        return self._registry

    def update(self, transition: Transition, *, expected_generation: int | None = None) -> Registry:
        """Apply ``transition`` under the lock."""
        with self._lock:
            expect(self._registry, expected_generation)
            self._registry = transition(self._registry)
            return self._registry


class MemoryLedger:
    """A ``Ledger`` that lives as long as the process."""

    def __init__(self) -> None:
        self._entries: list[LedgerEntry] = []
        self._lock = threading.Lock()

    def append(self, entry: LedgerEntry) -> bool:
        """Keep ``entry`` unless the same fact is there."""
        with self._lock:
            if any(known.key == entry.key for known in self._entries):
                return False
            self._entries.append(entry)
            return True

    def read(self) -> list[LedgerEntry]:
        """Return all entries, oldest first."""
        return list(self._entries)
