"""What people are told of a release: composed from the ledger, so that it says what happened and nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from model_release import report
from model_release.errors import InvalidInputError
from model_release.gate_words import stage_of
from model_release.ledger import Event, LedgerEntry, of_release
from model_release.report.message import SHORTEST
from model_release.report.neutral import cut, for_robot
from model_release.verdict import Decision

MARKDOWN_BYTES = 4096  # of one message of a WeCom group robot, in UTF-8
TEXT_BYTES = 2048

_HEADLINES = {
    Event.VERIFIED: "✅ Released",
    Event.TRIAL_STARTED: "🧪 On trial",
    Event.ROLLED_BACK: "↩️ Rolled back",
    Event.PUT_BACK: "↩️ Put back",
    Event.TRIAL_ENDED: "↩️ Trial ended",
    Event.REJECTED: "⛔ Rejected by the gate",
    Event.FAILED: "❌ Failed",
    Event.GATE_DECIDED: "📋 Judged, nothing released",
    Event.COMMITTED: "❌ Ended before it was proved",
    Event.RELEASED: "❌ Ended before it was verified",
    Event.DECLINED: "⛔ Declined",
    Event.LATCH_SET: "🔒 Automatic releases are stopped",
    Event.LATCH_CLEARED: "🔓 Automatic releases are allowed again",
    Event.ALERT_ACTED: "✔️ Nothing was left to go back from",
}
_OVERTAKEN = {
    "OutdatedReleaseError": "⏸️ Overtaken, nothing moved",
    "GenerationConflictError": "⏸️ Another release went first",
}
_REJECTED_ON_TRIAL = "⛔ Rejected on trial"
_PASSED_ON_TRIAL = "🧪 On trial, passed by the gate"
_PROOFS = frozenset({Event.RELEASED, Event.TRIAL_STARTED, Event.ROLLED_BACK})
_GOOD = frozenset({"✅", "🧪", "📋", "🔓"})
_REASON_BYTES, _TITLE_BYTES, _LINK_BYTES = 600, 300, 1500
_MOST_REASONS = 3
_WITH_REASON = frozenset({Event.ROLLED_BACK, Event.FAILED, Event.DECLINED})
_UNDONE = frozenset({Event.PUT_BACK, Event.TRIAL_ENDED, Event.ROLLED_BACK})


@dataclass(frozen=True)
class Message:
    """A message in markdown; ``good`` whether nobody has to do anything; ``fact`` names what it reports, once."""

    title: str
    markdown: str
    good: bool
    fact: str


def compose(
    entries: Sequence[LedgerEntry],
    decision: Decision | None,
    *,
    release_id: str,
    failed: bool,
    link: str,
    max_bytes: int = MARKDOWN_BYTES,
) -> Message:
    """Return what to tell of one release.

    Args:
        entries: the ledger.
        decision: the gate's last decision for it, if there is one.
        release_id: the release.
        failed: whether its DAG run failed: a ledger that is silent about that must not look like success.
        link: where to look for more.
        max_bytes: of the whole message, in UTF-8; the decision takes what is left, its least important lines go first.

    Raises:
        InvalidInputError: ``max_bytes`` has no room for what must be told: at least 4096 have.
    """
    known = [entry for entry in of_release(entries, release_id) if entry.event is not Event.NOTIFIED]
    last = _telling(known)
    if last is None:
        title, fact = ("❌ Failed" if failed else "✔️ Finished"), "nothing in the ledger"
    else:
        title, fact = _title(last, known, failed=failed), f"{last.event} at {last.at.isoformat()}"
    title = cut(for_robot(title), _TITLE_BYTES)
    lines = [f"**{title}**", f"release `{for_robot(release_id)}`"]
    if last is not None:
        lines += _facts(last, known)
    foot = linked(link)
    room = max_bytes - len("\n".join([*lines, "", "", "", foot]).encode())
    if room < SHORTEST:
        raise InvalidInputError(f"a message of {max_bytes} bytes has no room for what happened")
    if decision is not None and decision.release_id == release_id:
        lines += ["", report.markdown(decision, max_bytes=room).rstrip("\n")]
    return Message(
        title=title,
        markdown="\n".join([*lines, "", foot]),
        good=title[0] in _GOOD and not failed,
        fact=fact,
    )


def approval_wanted(
    decisions: Sequence[Decision],
    *,
    release_id: str,
    run_id: str,
    since: dt.datetime,
    link: str,
    max_bytes: int = MARKDOWN_BYTES,
) -> Message:
    """Return the message that a person is asked, with the gate's last decision and the page to answer on."""
    title = cut(for_robot(f"🙋 May this run become current? {run_id}"), _TITLE_BYTES)
    lines = [f"**{title}**", f"release `{for_robot(release_id)}`", ""]
    foot = linked(link, "Approve or reject")
    room = max_bytes - len("\n".join([*lines, "", foot]).encode())
    if decisions:
        lines.append(report.markdown(decisions[-1], max_bytes=max(room, SHORTEST)).rstrip("\n"))
    return Message(
        title=title,
        markdown="\n".join([*lines, "", foot]),
        good=True,
        fact=f"{Event.APPROVAL_ASKED} at {since.isoformat()}",
    )


def linked(link: str, text: str = "DAG run", *, instead: str = "see Airflow") -> str:
    """Return a link that nothing in its address can leave; ``instead`` of an address that is too long for a message."""
    address = quote(link, safe=":/?#@!$&'*+,;=%~-._")
    return f"[{text}]({address})" if len(address) <= _LINK_BYTES else f"{text}: {instead}"


def _telling(known: Sequence[LedgerEntry]) -> LedgerEntry | None:
    """Return the entry that says how it ended; a failure that came after what it undid says why, not how."""
    for entry in reversed(known):
        undone = [index for index, other in enumerate(known) if other.event in _UNDONE]
        fenced = _overtaken(entry) is not None and (not undone or known.index(entry) > undone[-1])
        if entry.event is Event.FAILED and undone and not fenced:
            continue
        if entry.event in _HEADLINES:
            return entry
    return None


def _title(last: LedgerEntry, known: Sequence[LedgerEntry], *, failed: bool) -> str:
    title = _headline(last, known)
    if failed and last.event in {Event.GATE_DECIDED, Event.VERIFIED}:
        title += ", then failed"
    no = {_REJECTED_ON_TRIAL, _HEADLINES[Event.DECLINED]}
    run_id = _tried(known) if title in no else last.run_id
    return f"{title}: {run_id}" if run_id else title


def _headline(last: LedgerEntry, known: Sequence[LedgerEntry]) -> str:
    events = [entry.event for entry in known]
    no = _no(events) if last.event in {Event.DECLINED, Event.REJECTED, Event.TRIAL_ENDED, Event.ROLLED_BACK} else None
    if no is not None:
        return no
    match last.event:
        case Event.VERIFIED:
            proofs = [event for event in events if event in _PROOFS]
            proof = Event.VERIFIED if proofs[-1:] in ([], [Event.RELEASED]) else proofs[-1]
            return _HEADLINES[Event.TRIAL_ENDED if proof is Event.ROLLED_BACK and _stayed(known) else proof]
        case Event.ROLLED_BACK if Event.PUT_BACK in events:
            return _HEADLINES[Event.PUT_BACK]
        case Event.ROLLED_BACK if Event.TRIAL_ENDED in events or _stayed(known):
            return _HEADLINES[Event.TRIAL_ENDED]
        case Event.GATE_DECIDED if stage_of(last) == "online":
            return _PASSED_ON_TRIAL
        case event:
            return _overtaken(last) or _HEADLINES[event]


def _stayed(known: Sequence[LedgerEntry]) -> bool:
    """Whether the last commit left users with the run that they had: a rollback that only ended a trial."""
    made = [entry for entry in known if entry.event is Event.COMMITTED]
    return bool(made) and made[-1].run_id is not None and made[-1].run_id == made[-1].previous_run_id


def _overtaken(entry: LedgerEntry) -> str | None:
    """Return the headline of a failure that means: somebody else was first, and users are as well off as before."""
    return _OVERTAKEN.get(str(entry.details.get("error"))) if entry.event is Event.FAILED else None


def _no(events: Sequence[Event]) -> str | None:
    """Return who said no, if it was a person, or the gate during a trial."""
    if _declined(events):
        return _HEADLINES[Event.DECLINED]
    return _REJECTED_ON_TRIAL if _rejected_on_trial(events) else None


def _rejected_on_trial(events: Sequence[Event]) -> bool:
    """Whether the last rejection came after the last trial had begun, and nothing became current since."""
    moves = [event for event in events if event in {Event.TRIAL_STARTED, Event.REJECTED, Event.RELEASED}]
    return moves[-1:] == [Event.REJECTED] and moves[-2:-1] == [Event.TRIAL_STARTED]


def _declined(events: Sequence[Event]) -> bool:
    """Whether the last no was a person's, or their silence, and nothing became current since."""
    answers = [event for event in events if event in {Event.DECLINED, Event.GATE_DECIDED, Event.RELEASED}]
    return answers[-1:] == [Event.DECLINED]


def _tried(known: Sequence[LedgerEntry]) -> str | None:
    """Return the run of the last rejection: what comes after it names the run from before."""
    return next((entry.run_id for entry in reversed(known) if entry.event is Event.REJECTED), None)


def _facts(last: LedgerEntry, known: Sequence[LedgerEntry]) -> list[str]:
    changes = [entry for entry in known if entry.event in {Event.COMMITTED, *_UNDONE}]
    lines = []
    if changes:
        change = changes[-1]
        share = f", rollout {change.rollout:g}" if change.rollout is not None else ""
        before = f", before: `{for_robot(change.previous_run_id)}`" if change.previous_run_id else ""
        lines.append(f"{change.mode or 'primary'}{share}, generation {change.generation}{before}")
    reasons = [entry.reason for entry in known if entry.event in _WITH_REASON and entry.reason]
    reasons += [f"approved by {_who(entry)}" for entry in known if entry.event is Event.APPROVED]
    if last.reason and last.event not in {Event.REJECTED, Event.GATE_DECIDED}:  # the decision follows, with its table
        reasons.insert(0, last.reason)
    told = list(dict.fromkeys(reasons))
    lines += [cut(for_robot(reason), _REASON_BYTES) for reason in told[:_MOST_REASONS]]
    return [*lines, f"and {len(told) - _MOST_REASONS} more reasons"] if len(told) > _MOST_REASONS else lines


def _who(entry: LedgerEntry) -> str:
    """Return who answered, and why if they said so."""
    who = str(entry.details.get("who", "somebody"))
    return f"{who}: {entry.reason}" if entry.reason else who
