"""What stands against the desired state, and who heard of it: remembered in the ledger, so that it is told once.

``deviated`` opens a fact, ``recovered`` closes all facts of its subject, ``notified`` says that one of them was told.
Whoever comes next reads the same, after a restart too: a message that nobody claimed is told by the next run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence

from model_release.ledger import Event, LedgerEntry
from model_release.messages import Message, linked
from model_release.reconcile_state import CANDIDATE, Fact

_LONGEST_TEXT = 600
# subjects: work whose failures are facts of their own
ACTING, SILENCING, PRUNING = "acting on alerts", "silencing alerts", "pruning old runs"
_OF_OTHERS = frozenset({ACTING, SILENCING, PRUNING})  # not for a look at the fleet to close
_MOST_LINES = 12  # of a message; the rest is counted


def standing(entries: Iterable[LedgerEntry]) -> dict[tuple[str, str], LedgerEntry]:
    """Return the facts that stand, by subject and kind, each with the entry that opened it."""
    found: dict[tuple[str, str], LedgerEntry] = {}
    for entry in entries:
        _apply(found, entry)
    return found


def _apply(facts: dict[tuple[str, str], LedgerEntry], entry: LedgerEntry) -> bool:
    """Bring ``facts`` to what stands after ``entry``; return whether it changed anything."""
    before = len(facts)
    if entry.event is Event.DEVIATED:
        facts.setdefault(_name(entry), entry)
    elif entry.event is Event.RECOVERED:
        for name in [name for name in facts if name[0] == entry.details["subject"]]:
            del facts[name]
    return len(facts) != before


def opened(
    entries: Iterable[LedgerEntry],
    facts: Iterable[Fact],
    *,
    release_id: str,
    by: str,
    at: dt.datetime,
    generation: int | None,
) -> list[LedgerEntry]:
    """Return the entries of those ``facts`` that do not stand already."""
    known = standing(entries)
    return [
        LedgerEntry(
            at=at,
            event=Event.DEVIATED,
            release_id=release_id,
            by=by,
            generation=generation,
            reason=f"{fact.subject}: {fact.text}"[:_LONGEST_TEXT],
            details={"subject": fact.subject, "kind": fact.kind},
        )
        for fact in facts
        if (fact.subject, fact.kind) not in known
    ]


def closed(
    entries: Iterable[LedgerEntry], subject: str, *, release_id: str, by: str, at: dt.datetime
) -> list[LedgerEntry]:
    """Return the entry that ends the facts of ``subject``; none if none stands."""
    if not any(name == subject for name, _ in standing(entries)):
        return []
    reason, details = f"{subject}: it works again", {"subject": subject}
    return [
        LedgerEntry(at=at, event=Event.RECOVERED, release_id=release_id, by=by, reason=reason, details=details),
    ]


def news(
    entries: Sequence[LedgerEntry],
    facts: Sequence[Fact],
    healed: Mapping[str, str],
    *,
    replicas: Collection[str],
    release_id: str,
    by: str,
    at: dt.datetime,
    generation: int,
) -> list[LedgerEntry]:
    """Return what the ledger should learn of one look at the fleet: what healed, what is new, what is over.

    Args:
        entries: the ledger.
        facts: everything that is not as desired now.
        healed: the replicas that followed when told, each with how it differed before.
        replicas: who was asked.
        release_id: of the entries.
        by: who looked.
        at: when.
        generation: of the registry.
    """

    def entry(event: Event, subject: str, reason: str) -> LedgerEntry:
        return LedgerEntry(
            at=at,
            event=event,
            release_id=release_id,
            by=by,
            generation=generation,
            reason=f"{subject}: {reason}"[:_LONGEST_TEXT],
            details={"subject": subject},
        )

    followed = [entry(Event.HEALED, subject, f"followed when told; before: {text}") for subject, text in healed.items()]
    found = opened(entries, facts, release_id=release_id, by=by, at=at, generation=generation)
    wrong = {fact.subject for fact in facts}
    over = dict.fromkeys(subject for subject, _ in standing(entries) if subject not in wrong | _OF_OTHERS)
    ended = [entry(Event.RECOVERED, subject, _how_it_ended(subject, replicas, generation)) for subject in over]
    return followed + found + ended


def _how_it_ended(subject: str, replicas: Collection[str], generation: int) -> str:
    if subject in replicas:
        return f"every worker serves generation {generation}"
    if subject == CANDIDATE:
        return "the trial has ended, or its lease was renewed"
    return "it is not among the replicas any more" if "://" in subject else "it works again"


def untold(entries: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return what nobody was told yet, oldest first: facts when they opened, subjects when they recovered."""
    claimed = {(entry.release_id, entry.reason) for entry in entries if entry.event is Event.NOTIFIED}
    known: dict[tuple[str, str], LedgerEntry] = {}
    # an entry that changes nothing was written twice, by two tries of one task
    return [entry for entry in entries if _apply(known, entry) and (entry.release_id, _claim(entry)) not in claimed]


def claim(entry: LedgerEntry, *, by: str, at: dt.datetime) -> LedgerEntry:
    """Return the entry that says that ``entry`` is told; the same fact whoever tells it, so that only one may."""
    return LedgerEntry(at=at, event=Event.NOTIFIED, release_id=entry.release_id, by=by, reason=_claim(entry))


def compose(news: Sequence[LedgerEntry], entries: Sequence[LedgerEntry], *, link: str) -> Message:
    """Return the message about ``news``, with what stands from before.

    Args:
        news: from :func:`untold`, at least one.
        entries: the ledger.
        link: where to look for more.
    """
    still = standing(entries)
    if any(entry.event is Event.DEVIATED and _name(entry) in still for entry in news):
        title = "⚠️ Not everywhere what is desired"
    elif still:
        title = "⚠️ Better, but not everywhere what is desired"
    else:
        title = "✅ Everywhere what is desired again"
    lines = [_line(entry) for entry in news]
    older = [entry for entry in still.values() if entry not in news]
    lines += [f"{_line(entry)}, told before" for entry in older]
    hidden = len(lines) - _MOST_LINES
    lines = lines[:_MOST_LINES] + ([f"... and {hidden} more in the ledger"] if hidden > 0 else [])
    text = "\n".join([f"**{title}**", *lines, "", linked(link)])
    return Message(title=title, markdown=text, good=not still, fact=_claim(news[-1]))


def _line(entry: LedgerEntry) -> str:
    sign = "✅" if entry.event is Event.RECOVERED else "❌"
    return f"{sign} {entry.reason} ({entry.at.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC)"


def _name(entry: LedgerEntry) -> tuple[str, str]:
    return entry.details["subject"], entry.details["kind"]


def _claim(entry: LedgerEntry) -> str:
    what = " ".join(str(entry.details[name]) for name in ("subject", "kind") if name in entry.details)
    return f"{entry.event} {what} at {entry.at.isoformat()}"
