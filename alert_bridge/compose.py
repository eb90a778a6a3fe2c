"""From a message that waits to what WeCom takes: its words, in parts that fit the target."""

from __future__ import annotations

import json
from dataclasses import dataclass

from alert_bridge import words
from alert_bridge.outbox import Kind
from alert_bridge.webhook import parse
from alert_bridge.words import Links, Text
from model_release.adapters.wecom_parts import Part, split
from model_release.report.neutral import cut

_LABEL_BYTES = 48  # room for "(12/20 of message 1234567890)" and its line end


@dataclass(frozen=True)
class Form:
    """How a target wants its messages.

    Attributes:
        markdown_bytes: of one message at most, in UTF-8.
        most_parts: of one message at most; the last then ends with an ellipsis.
        mentioned: user ids that are called about critical alerts.
        mobiles: the same by mobile number.
    """

    markdown_bytes: int
    most_parts: int
    mentioned: tuple[str, ...] = ()
    mobiles: tuple[str, ...] = ()


def text_of(kind: Kind, body: str, told: set[str], links: Links) -> tuple[Text, list[str]] | None:
    """Return what a message says and the titles of its alerts; None: there is nothing left to say.

    Args:
        kind: of the message.
        body: that it is composed from.
        told: fingerprints of the alerts whose beginning was told; nobody hears that another one ended.
        links: where links lead.
    """
    if kind == "note":
        note = json.loads(body)
        return words.in_doubt(note["number"], note["titles"]), []
    group = parse(body)
    if kind == "resolved":
        group = group.only(tuple(alert for alert in group.alerts if alert.fingerprint in told))
        if not group.alerts:
            return None
    text = words.firing(group, links) if kind == "firing" else words.resolved(group, links)
    return text, [words.headline(alert) for alert in group.alerts]


def parts_of(text: Text, number: int, form: Form) -> list[Part]:
    """Cut a text into parts, each labelled, so that one that is missing is missed; then call people if it is urgent."""
    pieces = split(text.markdown, form.markdown_bytes, most=form.most_parts)
    if len(pieces) > 1:
        pieces = split(text.markdown, form.markdown_bytes - _LABEL_BYTES, most=form.most_parts)
        pieces = [
            f"({place}/{len(pieces)} of message {number})\n{piece}" for place, piece in enumerate(pieces, start=1)
        ]
    parts = [Part("markdown", piece) for piece in pieces]
    if text.urgent and (form.mentioned or form.mobiles):
        title = cut(text.title, words.TITLE_BYTES)
        parts.append(Part("text", title, mentioned=form.mentioned, mobiles=form.mobiles))
    return parts
