"""What WeCom takes in one message: text or markdown, so many bytes of UTF-8; what is longer is cut into parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

MOST_PARTS = 10  # of one message; the robot takes 20 a minute
_CUT = "\n…"


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
    last = parts[most - 1].encode()[: limit - len(_CUT.encode())].decode(errors="ignore")
    return [*parts[: most - 1], last + _CUT]


def _short_lines(content: str, limit: int) -> Iterator[str]:
    """Return the lines of ``content`` with their line ends; one that is too long in pieces."""
    for whole in content.splitlines(keepends=True):
        line = whole.encode()
        while len(line) > limit:
            piece = line[:limit].decode(errors="ignore")  # drops the bytes of a character that was cut
            yield piece
            line = line[len(piece.encode()) :]
        yield line.decode()
