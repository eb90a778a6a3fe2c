"""What WeCom takes in one message: text or markdown, so many bytes of UTF-8; what is longer is cut into parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from model_release.report.neutral import beginning

MOST_PARTS = 10  # of one message; the robot takes 20 a minute
_CUT = "\n…"
_HEADS = "#>-"  # at the beginning of a line they are markdown


@dataclass(frozen=True)
class Part:
    """One message as WeCom takes it; people can be mentioned in text only."""

    kind: Literal["text", "markdown"]
    content: str
    mentioned: tuple[str, ...] = ()
    mobiles: tuple[str, ...] = ()

    def body(self) -> dict[str, Any]:
        """Return the message as JSON."""
        inner: dict[str, Any] = {"content": self.content}
        inner |= {"mentioned_list": list(self.mentioned)} if self.mentioned else {}
        inner |= {"mentioned_mobile_list": list(self.mobiles)} if self.mobiles else {}
        return {"msgtype": self.kind, self.kind: inner}


def split(content: str, limit: int, *, most: int = MOST_PARTS) -> list[str]:
    """Cut text into parts of at most ``limit`` UTF-8 bytes, between lines where possible, never inside a character.

    At most ``most`` parts are made; the last then ends with an ellipsis.
    """
    parts: list[str] = []
    part = ""
    for line in _short_lines(content.strip("\n"), limit):
        if part and len((part + line).encode()) > limit:
            parts.append(part.rstrip("\n"))
            part = ""
        part += line
    parts.append(part.rstrip("\n"))
    if len(parts) <= most:
        return parts
    return [*parts[: most - 1], beginning(parts[most - 1], limit - len(_CUT.encode())) + _CUT]


def _short_lines(content: str, limit: int) -> Iterator[str]:
    """Return the lines of ``content`` with their line ends; one that is too long in pieces."""
    for whole in content.splitlines(keepends=True):
        line = whole
        while len(line) > limit or len(line.encode()) > limit:
            piece = _piece(line, limit)
            yield piece
            line = line[len(piece) :]
        yield line


def _piece(line: str, limit: int) -> str:
    """Return the beginning of a line that is too long, up to a space in its second half, else up to a character's end."""
    most = line[:limit].encode()[:limit].decode(errors="ignore")
    for end in range(len(most), len(most) // 2, -1):
        if line[end - 1] == " " and line[end] not in _HEADS:
            return line[:end]
    return beginning(line, limit) or most  # one character may be longer than a part
