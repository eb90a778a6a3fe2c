"""Who says what served when: the ledger against the answers' own words, and against the registry."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_release.ledger import Event, LedgerEntry
from model_release.reconciling.document import Compared, Serving, Stint
from model_release.registry import Registry

SETTLE = dt.timedelta(minutes=5)  # from a commit to the last replica that follows, or is told to
_CHANGES = frozenset({Event.COMMITTED, Event.PUT_BACK, Event.TRIAL_ENDED})


@dataclass(frozen=True)
class Named:
    """Answers of one replica that name the same run, variant and generation."""

    replica: str
    run_id: str | None
    variant: str
    generation: int
    count: int
    first: dt.datetime
    last: dt.datetime


@dataclass(frozen=True)
class State:
    """What the ledger says was desired from ``generation`` on, until the next one."""

    generation: int
    since: dt.datetime
    current: str | None
    candidate: str | None


def states(entries: Iterable[LedgerEntry]) -> list[State]:
    """Return the states in the order of their generations."""
    changes = [entry for entry in entries if entry.event in _CHANGES and entry.generation is not None]
    found: list[State] = []
    for entry in sorted(changes, key=lambda entry: (entry.generation or 0, entry.at)):
        last = found[-1] if found else None
        current, candidate = (last.current, last.candidate) if last else (None, None)
        if entry.event is Event.TRIAL_ENDED:
            candidate = None
        elif entry.mode == "primary":
            current, candidate = entry.run_id, None
        else:
            candidate = entry.run_id
        if last is not None and last.generation == entry.generation:
            found.pop()
        found.append(State(entry.generation or 0, entry.at, current, candidate))
    return found


def stints(found: Sequence[State], start: dt.datetime, end: dt.datetime) -> list[Stint]:
    """Return the times in which a run was current between ``start`` and ``end``, cut to them."""
    moves = [state for place, state in enumerate(found) if place == 0 or found[place - 1].current != state.current]
    whole = []
    for place, state in enumerate(moves):
        until = moves[place + 1].since if place + 1 < len(moves) else None
        if state.since < end and (until is None or until > start):
            inside = until if until is not None and until < end else None
            since = max(state.since, start)
            whole.append(Stint(run_id=state.current, generation=state.generation, since=since, until=inside))
    return whole


def compare_answers(
    entries: Iterable[LedgerEntry], named: Sequence[Named], start: dt.datetime, end: dt.datetime
) -> Serving:
    """Compare the runs that the answers of a day name with those that the ledger had then.

    An answer names the generation that it was made at: its run must be the one that the ledger has at that generation.  And
    it must not come more than ``SETTLE`` after that run was replaced, nor before it was desired.
    """
    found = states(entries)
    held = stints(found, start, end)
    if not found:
        return Serving(status="missing", reason="the ledger knows of no run that was ever current")
    problems = [told for group in named for told in _wrong(group, found)]
    return Serving(status="differs" if problems else "agrees", problems=tuple(problems), stints=tuple(held))


def _wrong(group: Named, found: Sequence[State]) -> Iterable[str]:
    if group.run_id is None:
        return
    who = f"{group.count} answers of {group.replica} name {group.run_id} as {group.variant}"
    place = max((at for at, state in enumerate(found) if state.generation <= group.generation), default=None)
    if place is None:
        yield f"{who} in generation {group.generation}, which is older than all that the ledger knows"
        return
    state = found[place]
    allowed = {
        "current": {state.current}, "candidate": {state.candidate}, "degraded": {state.current, state.candidate},
    }[group.variant]  # fmt: skip
    if group.run_id not in allowed:
        told = " or ".join(sorted(run or "none" for run in allowed))
        yield f"{who} in generation {group.generation}, the ledger has {told} there"
        return
    if group.first < state.since - SETTLE:
        yield f"{who} from {group.first:%H:%M:%S}Z on, the ledger only since {state.since:%Y-%m-%d %H:%M:%S}Z"
    ended = next((later.since for later in found[place + 1 :] if _part(later, group) != _part(state, group)), None)
    if ended is not None and group.last > ended + SETTLE:
        yield f"{who} until {group.last:%H:%M:%S}Z, the ledger only until {ended:%Y-%m-%d %H:%M:%S}Z"


def _part(state: State, group: Named) -> str | None:
    return state.candidate if group.variant == "candidate" else state.current


def compare_registry(
    entries: Iterable[LedgerEntry], registry: Registry, start: dt.datetime, end: dt.datetime
) -> Compared:
    """Compare which runs ledger and registry had as current on a day; of the registry, as far as its history goes."""
    by_ledger = {stint.generation: stint.run_id for stint in stints(states(entries), start, end)}
    by_ledger = {generation: run_id for generation, run_id in by_ledger.items() if run_id is not None}
    kept = [(past.generation, past.run_id, past.since, past.until) for past in registry.history]
    if registry.current is not None:
        now = registry.current
        kept.insert(0, (now.generation, now.run_id, now.since, end))
    by_registry = {
        generation: run_id
        for generation, run_id, since, until in kept
        if since < end and max(until, since) > start
    }  # fmt: skip
    if not by_ledger and not by_registry:
        return Compared(status="missing", reason="neither ledger nor registry knows of a run that was current")
    problems = [
        f"generation {generation}: the ledger has {by_ledger.get(generation, 'nothing')}, the registry "
        f"{by_registry.get(generation, 'nothing')}"
        for generation in sorted({*by_ledger, *by_registry})
        if by_ledger.get(generation) != by_registry.get(generation)
    ]
    return Compared(status="differs" if problems else "agrees", problems=tuple(problems))
