"""Part ``change``: constant requests while the model changes, the way each system has for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load import Answer, Load, get, post, summarise
from benchmarks.serving import model, systems
from benchmarks.serving.compare import FACTORS, LISTS
from benchmarks.serving.report import Report, spread, table
from benchmarks.serving.running import START_SECONDS, Running
from benchmarks.serving.systems import System, read

RATE = 200.0
_BEFORE_SECONDS = _AFTER_SECONDS = 2.0
_PATIENCE_SECONDS = 20.0  # after the command, for an answer of the new run
_LONGEST_SECONDS = 2 * START_SECONDS
_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True)
class Change:
    """What requests saw of one change.

    Attributes:
        lost: requests without an answer, of ``sent``.
        gap_seconds: longest time between two answers.
        new_seconds: from the command to the first answer of the new run; infinity: none came in time.
        command_seconds: how long the command took.
        stale: answers of the old run to requests that fell due after the command was done.
        p99_before, p99_after: milliseconds, before and from the command.
        failures: lost requests by kind.
    """

    sent: int
    lost: int
    gap_seconds: float
    new_seconds: float
    command_seconds: float
    stale: int
    p99_before: float
    p99_after: float
    failures: dict[str, int]


def run(folder: Path, cache: Path, *, items: int, changes: int) -> Report:
    """Change the model of every system ``changes`` times, under load."""
    drawn = model.draw(items)
    chosen = [systems.ours(LISTS, folder / "lists", drawn, "ranked_lists")]
    if model.factors_format_exists():
        chosen.append(systems.ours(FACTORS, folder / "factors", drawn, "factors"))
    chosen += systems.peers(cache, folder / "peers", drawn, tuned_only=True)
    rows = []
    for system in chosen:
        with Running(system, folder) as started:
            found = [_change(started, model.RUNS[(number + 1) % 2]) for number in range(changes)]
        rows.append((system, found))
        print(f"{system.name}: {found}", flush=True)
    return _report(rows, {"items": items, "changes": changes, "requests/s": round(RATE)})


def _change(started: Running, run_id: str) -> Change:
    answers, began, ended = asyncio.run(_probed(started, run_id))
    good = sorted((one for one in answers if one.failure is None), key=lambda one: one.finished)
    runs = {one.number: read(one.body)[0] for one in good}
    failed = summarise(answers).failures
    new = [one.finished for one in good if one.finished > began and runs[one.number] == run_id]
    if not any(one.finished < began for one in good):
        raise RuntimeError(f"{started.system.name} did not answer before the change: {failed}")
    every, moments = summarise(answers), [one.finished for one in good]
    return Change(
        sent=every.sent,
        lost=every.lost,
        gap_seconds=max(later - earlier for earlier, later in itertools.pairwise(moments)),
        new_seconds=min(new, default=math.inf) - began,
        command_seconds=ended - began,
        stale=sum(one.scheduled > ended and runs[one.number] != run_id for one in good),
        p99_before=summarise([one for one in answers if one.scheduled < began]).p99 * 1e3,
        p99_after=summarise([one for one in answers if one.scheduled >= began]).p99 * 1e3,
        failures=dict(failed),
    )


async def _probed(started: Running, run_id: str) -> tuple[list[Answer], float, float]:
    """Return the answers, and when the command began and ended."""
    of, answered = started.system, asyncio.Event()

    def look(answer: Answer) -> None:
        if answer.failure is None and read(answer.body)[0] == run_id:
            answered.set()

    load = Load(
        host="127.0.0.1",
        port=started.port,
        rate=RATE,
        seconds=_LONGEST_SECONDS,
        request=lambda number: _request(of, f"u{number % model.USERS}"),
        timeout_seconds=_TIMEOUT_SECONDS,
        on_answer=look,
    )
    probing = asyncio.create_task(load.run())
    await asyncio.sleep(_BEFORE_SECONDS)
    began = time.monotonic()
    await asyncio.to_thread(started.move, run_id)
    ended = time.monotonic()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(answered.wait(), _PATIENCE_SECONDS)
    await asyncio.sleep(_AFTER_SECONDS)
    load.finish()
    return await probing, began, ended


def _request(system: System, user_id: str) -> bytes:
    path = system.path.replace("USER", user_id)
    return get(path) if system.body is None else post(path, json.loads(system.body.replace("USER", user_id)))


def _report(rows: Sequence[tuple[System, Sequence[Change]]], options: dict[str, float | list[int]]) -> Report:
    titles = ["system, one worker", "how", "requests lost", "longest time without an answer, s"]
    titles += ["until the new run answers, s", "stale answers after", "p99 before / from the change, ms"]
    lines = [
        [
            system.name,
            "`POST /models/reload`" if system.ours else "restart",
            spread([float(one.lost) for one in found], ".0f"),
            spread([one.gap_seconds for one in found], ".3f"),
            spread([one.new_seconds for one in found], ".3f"),
            sum(one.stale for one in found),
            f"{statistics.median([one.p99_before for one in found]):.1f} / {statistics.median([one.p99_after for one in found]):.1f}",
        ]
        for system, found in rows
    ]
    return Report(
        part="change",
        options=options,
        rows=[{"name": system.name, "changes": [dataclasses.asdict(one) for one in found]} for system, found in rows],
        table=table(titles, lines),
    )
