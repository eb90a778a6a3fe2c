"""A shop that served its customers: a released run, and an exposure log of it, made up line by line."""

from __future__ import annotations

import datetime as dt
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from model_release import rollout
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.ranked_lists import RankedLists
from model_release.adapters.run_store import RunStore
from model_release.exposures import FileName, timestamp
from model_release.golden import answer
from model_release.paths import ReleasePaths
from model_release.policy import Tolerance
from model_release.reconciling.document import Document
from model_release.registry import register
from model_release.rollout import Move
from pipeline.config import PipelineConfig
from pipeline.evaluate import evaluate
from pipeline.reconcile import reconcile
from pipeline.train_models import train
from tests.pipeline.logs import AS_OF, END

DATE = AS_OF.date() + dt.timedelta(days=2)
SEVEN = dt.time(7, tzinfo=dt.UTC)
LOOSE = Tolerance(minimum_users=5, maximum_relative_drop=0.9)
Line = dict[str, Any]


class Served:
    """An installation whose run ``current`` was released at ``AS_OF``."""

    def __init__(self, config: PipelineConfig, paths: ReleasePaths, *, evaluated: bool = True) -> None:
        self.config, self.paths = config, paths
        self.registry, self.ledger = FileRegistry(paths), FileLedger(paths)
        self.current = train(config, paths, AS_OF, "personal_frequency").run_id
        if evaluated:
            evaluate(config, paths, self.current, None)
        self.commit(self.current, AS_OF)
        self._numbers = 0

    def commit(self, run_id: str, at: dt.datetime, *, mode: str = "primary", share: float | None = None) -> int:
        """Make a run desired, as a release does; return the generation."""
        digest = RunStore(self.paths).manifest_sha256(run_id)
        release_id = f"r-{run_id}-{mode}"
        self.registry.update(
            lambda state: register(state, run_id=run_id, manifest_sha256=digest, release_id=release_id, at=at)
        )
        move = Move(run_id=run_id, release_id=release_id, mode=mode, rollout=share)  # type: ignore[arg-type]
        done = rollout.commit(self.registry, self.ledger, move, by="test", at=at, cause="person", gated=False)
        return done.registry.generation

    def lists(self, run_id: str) -> RankedLists:
        return RankedLists(RunStore(self.paths).folder(run_id))

    def shown(self, users: Iterable[str], at: dt.datetime, **changes: Any) -> list[Line]:
        """Return a line for the answer to each of ``users``, a second apart."""
        run_id, k = changes.get("run_id", self.current), changes.get("k", 20)
        model = self.lists(run_id)
        return [
            {
                "schema_version": 1,
                "kind": "exposure",
                "at": timestamp((at + dt.timedelta(seconds=number)).timestamp()),
                "request_id": f"q-{number}",
                "endpoint": "recommend",
                "id": user,
                "k": k,
                "run_id": run_id,
                "variant": "current",
                "release_id": None,
                "generation": 1,
                "items": list(answer(model, "recommend", user, k)),
                "known": True,
                "degraded": None,
                "latency_ms": 0.5,
                "replica": "api-1",
                "worker": 0,
                **changes,
            }
            for number, user in enumerate(users)
        ]

    def done(self, user: str, item: str, at: dt.datetime, **changes: Any) -> Line:
        """Return the line of an outcome."""
        stamp = timestamp(at.timestamp())
        line = {"schema_version": 1, "kind": "event", "at": stamp, "received_at": stamp, "user": user, "item": item}
        return {**line, "type": "purchase", "request_id": None, "replica": "api-1", "worker": 0, **changes}

    def write(self, lines: Sequence[Mapping[str, Any]], start: dt.datetime, *, tail: str = "", **name: Any) -> None:
        """Write lines as one file that begins at ``start``."""
        self._numbers += 1
        named = {"replica": "api-1", "worker": 0, "number": self._numbers, **name}
        file = self.paths.exposures / str(FileName(start=start.replace(microsecond=0), **named))
        file.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
        file.write_text(text + tail, encoding="utf-8")

    def everybody(self) -> list[str]:
        return [str(number + 1) for number in range(45)]

    def reconcile(self, date: dt.date = DATE, *, tolerance: Tolerance = LOOSE, **how: Any) -> Document:
        return reconcile(self.config, self.paths, tolerance, date, **{"now": END, **how})


def instant(date: dt.date, time: dt.time) -> dt.datetime:
    return dt.datetime.combine(date, time).astimezone(dt.UTC)


Answers = list[tuple[dt.datetime, str, str, str, int, list[str]]]
"""at, user, run_id, variant, k, items: what a test knows of the answers."""


def expected(answers: Answers, taken: Iterable[tuple[str, str, dt.datetime]], cutoff: int) -> dict[Any, dict[str, Any]]:
    """Compute by loops, for each run and variant: hits and takings of each user at ``cutoff``."""
    found: dict[Any, dict[str, dict[str, bool]]] = defaultdict(lambda: defaultdict(dict))
    for user, item, at in taken:
        before = [one for one in answers if one[1] == user and one[0] <= at]
        if not before:
            continue
        _, _, run_id, variant, k, items = max(before, key=lambda one: one[0])
        if k >= cutoff:
            hits = found[run_id, variant][user]
            hits[item] = hits.get(item, False) or item in items[:cutoff]
    return {key: dict(users) for key, users in found.items()}


def recall(users: Mapping[str, Mapping[str, bool]]) -> float:
    return sum(sum(hits.values()) / len(hits) for hits in users.values()) / len(users)


def hit_rate(users: Mapping[str, Mapping[str, bool]]) -> float:
    return sum(any(hits.values()) for hits in users.values()) / len(users)


def bought(rows: pl.DataFrame, start: dt.datetime, end: dt.datetime) -> list[tuple[str, str, dt.datetime]]:
    """Return what the raw log of groceries has between two instants."""
    inside = rows.filter(pl.col("when").is_between(start, end, closed="left"))
    return [(str(who), str(what), when) for who, what, when in inside.select("who", "what", "when").rows()]
