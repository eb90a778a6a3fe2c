"""What an Arrow IPC file would make its reader do, found out before the reader is asked.

A file says how its buffers are compressed, and a reader believes it: a few kilobytes may ask for gigabytes.  The parts
of the format that matter are read here by hand: the list of blocks in the footer and the header of the record batch, both
flatbuffers.  Format: https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format and ``File.fbs``, ``Message.fbs``.
"""

from __future__ import annotations

import struct
from pathlib import Path

from model_release import limits
from model_release.errors import ArtifactInvalidError

_MAGIC = b"ARROW1"
_TAIL = len(_MAGIC) + 4  # length of the footer, and the magic again
_CONTINUATION = 0xFFFFFFFF
_RECORD_BATCH = 3  # in the union MessageHeader
# Places of fields in their tables
_FOOTER_DICTIONARIES, _FOOTER_BATCHES = 2, 3
_MESSAGE_KIND, _MESSAGE_HEADER = 1, 2
_BATCH_COMPRESSION = 3


def check_layout(data: memoryview, path: Path) -> None:
    """Check that a file holds at most one batch, uncompressed, without dictionaries, and small metadata.

    Raises:
        ArtifactInvalidError: it does not, or is no Arrow file.
    """
    try:
        _check(data)
    except (struct.error, ValueError) as error:
        raise ArtifactInvalidError(f"{path} is not a readable Arrow file of this format: {error}") from error


def _check(data: memoryview) -> None:
    end = len(data) - _TAIL
    if end < len(_MAGIC) or data[: len(_MAGIC)] != _MAGIC or data[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("it does not begin and end like one")
    length = _number(data, "<i", end)
    if not 0 < length <= min(limits.ARROW_METADATA_BYTES, end):
        raise ValueError(f"its footer has {length} bytes, allowed are {limits.ARROW_METADATA_BYTES}, inside the file")
    footer = data[end - length : end]
    root = _number(footer, "<I", 0)
    if _vector(footer, root, _FOOTER_DICTIONARIES)[1]:
        raise ValueError("it holds dictionaries")
    block, batches = _vector(footer, root, _FOOTER_BATCHES)
    if batches > 1:
        raise ValueError(f"it holds {batches} batches, expected one")
    if batches == 1:
        place, size = _number(footer, "<q", block), _number(footer, "<i", block + 8)
        if not (0 < size <= limits.ARROW_METADATA_BYTES and 0 <= place <= end - size):
            raise ValueError(f"its batch has {size} bytes of metadata at {place}: outside the file, or too many")
        _check_batch(data[place : place + size])


def _check_batch(message: memoryview) -> None:
    if _number(message, "<I", 0) != _CONTINUATION:
        raise ValueError("it is of a version of Arrow before 0.15")
    table = message[8:]
    root = _number(table, "<I", 0)
    kind, header = _field(table, root, _MESSAGE_KIND), _field(table, root, _MESSAGE_HEADER)
    if kind is None or header is None or _number(table, "<B", kind) != _RECORD_BATCH:
        raise ValueError("its block is no batch")
    if _field(table, header + _number(table, "<I", header), _BATCH_COMPRESSION) is not None:
        raise ValueError("it is compressed, but has to be mapped as it is")


def _number(data: memoryview, kind: str, at: int) -> int:
    if at < 0:  # would count from the end
        raise ValueError("an offset points before the file")
    return int(struct.unpack_from(kind, data, at)[0])


def _field(data: memoryview, table: int, place: int) -> int | None:
    """Return where a field of a flatbuffer's table lies, None if it is not there."""
    fields = table - _number(data, "<i", table)
    slot = 4 + 2 * place
    if slot >= _number(data, "<H", fields):
        return None
    offset = _number(data, "<H", fields + slot)
    return table + offset if offset else None


def _vector(data: memoryview, table: int, place: int) -> tuple[int, int]:
    """Return where the elements of a vector lie, and how many there are; none if it is not there."""
    field = _field(data, table, place)
    if field is None:
        return 0, 0
    start = field + _number(data, "<I", field)
    return start + 4, _number(data, "<I", start)
