"""The model that all systems of the comparison serve: inner products, scored when asked.  Needs NumPy only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

import numpy as np

FOLDER_VARIABLE = "BENCHMARK_FACTORS"


class TopItems(TypedDict):
    """The answer: which run made it, and the best items first."""

    run_id: str
    items: list[str]


class Scorer:
    """The factors of one run, as ``benchmarks/serving/model.py`` saves them."""

    def __init__(self, folder: Path) -> None:
        self._run_id = (folder / "run_id.txt").read_text()
        self._users = np.load(folder / "user_factors.npy", mmap_mode="r", allow_pickle=False)
        self._items = np.load(folder / "item_factors.npy", mmap_mode="r", allow_pickle=False)
        self._rows = {user: row for row, user in enumerate((folder / "user_ids.txt").read_text().split())}
        self._ids = (folder / "item_ids.txt").read_text().split()

    @classmethod
    def from_environment(cls) -> Scorer:
        """Load the folder that ``BENCHMARK_FACTORS`` names."""
        return cls(Path(os.environ[FOLDER_VARIABLE]))

    def top(self, user_id: str, k: int = 10) -> TopItems:
        """Return the ``k`` best items of a user."""
        scores = self._items @ self._users[self._rows[user_id]]
        best = np.argpartition(scores, len(scores) - k)[-k:]
        return {"run_id": self._run_id, "items": [self._ids[row] for row in best[np.argsort(-scores[best])]]}
