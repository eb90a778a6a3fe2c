"""Texts from outside (names, reasons, labels of alerts) in places where some characters mean something.

Group robots know a subset of markdown without escapes, and ``<@all>`` in it calls everybody; so what could mean
something there is replaced by a character that looks like it.  GitHub knows character references, which show the text
exactly and are never read as markdown or HTML.
"""

from __future__ import annotations

import html
import unicodedata

_LOOKALIKES = str.maketrans({"<": "＜", ">": "＞", "[": "［", "]": "］", "*": "＊", "`": "'", "\\": "＼", "&": "＆"})
_JOINER, _ELLIPSIS = "\u200d", "…"
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_HARMLESS = frozenset(" ,-")
_SKIN_TONES = ("\U0001f3fb", "\U0001f3ff")
_FLAG_LETTERS = ("\U0001f1e6", "\U0001f1ff")


def one_line(text: str) -> str:
    """Return ``text`` in one line: no line ends, no controls, nothing that turns the direction of what follows."""
    kept = (
        character if character == _JOINER or unicodedata.category(character) not in _INVISIBLE else " "
        for character in text
    )
    return " ".join("".join(kept).split())


def for_robot(text: str) -> str:
    """Return ``text`` for a message of a group robot: in one line, without anything that it could read as markdown."""
    return one_line(text).translate(_LOOKALIKES)


def for_html(text: str) -> str:
    """Return ``text`` for GitHub's markdown: in one line, every mark as a character reference."""
    clean = one_line(text)
    return "".join(character if _plain(clean, at) else f"&#{ord(character)};" for at, character in enumerate(clean))


def cut(text: str, limit: int) -> str:
    """Return ``text`` in at most ``limit`` UTF-8 bytes, with an ellipsis if it was cut; what looks like one character is kept whole."""
    if len(text.encode()) <= limit:
        return text
    kept = beginning(text, limit - len(_ELLIPSIS.encode()))
    return kept.rstrip() + _ELLIPSIS if limit >= len(_ELLIPSIS.encode()) else ""


def beginning(text: str, limit: int) -> str:
    """Return as much of ``text`` as fits in ``limit`` UTF-8 bytes; what looks like one character is kept whole."""
    most = max(0, limit)
    end = len(text[:most].encode()[:most].decode(errors="ignore"))
    while 0 < end < len(text) and not _may_part(text, end):
        end -= 1
    return text[:end]


def _plain(text: str, at: int) -> bool:
    character = text[at]
    if character == ".":
        return text[at - 1 : at].isdigit() or text[at + 1 : at + 2] in {"", " "}
    return (
        character.isalnum()
        or character in _HARMLESS
        or (not character.isascii() and html.escape(character) == character)
    )


def _may_part(text: str, at: int) -> bool:
    """Return whether a cut before ``text[at]`` parts two characters, and not one that is written as several."""
    before, after = text[at - 1], text[at]
    if _JOINER in {before, after} or unicodedata.category(after) in {"Mn", "Me", "Mc"}:
        return False
    if _SKIN_TONES[0] <= after <= _SKIN_TONES[1]:
        return False
    letters = 0
    while letters < at and _FLAG_LETTERS[0] <= text[at - 1 - letters] <= _FLAG_LETTERS[1]:
        letters += 1
    return not (letters % 2 and _FLAG_LETTERS[0] <= after <= _FLAG_LETTERS[1])
