"""Arrays in ``.npy`` files: the header is read by hand and checked before anything is mapped.

Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.  Of it this takes what ``numpy.save``
writes for plain arrays of one or two dimensions, in row order, of the types in ``TYPES``.  No text of a file is ever
evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_release import limits
from model_release.adapters.files import write_file
from model_release.adapters.run_files import OpenFile
from model_release.errors import ArtifactInvalidError

Array = npt.NDArray[Any]
TYPES = ("<f4", "<i4", "<i8", "<u8")
_MAGIC = b"\x93NUMPY\x01\x00"  # version 1.0: numpy writes others only for headers above 64 KiB
_PREFIX = len(_MAGIC) + 2  # and the length of the header
_ALIGNMENT = 64  # of the numbers in the file, so also in memory
_DIMENSION = rb"([0-9]{1,12})"
_HEADER = re.compile(
    rb"\{'descr': '([^']{1,16})', 'fortran_order': (True|False), 'shape': \("
    + _DIMENSION
    + rb",(?: "
    + _DIMENSION
    + rb")?\), \} *\n"
)
_SCAN = 1 << 20  # values looked at in one go: short enough for other threads, and it stays in the cache


@dataclass(frozen=True)
class Header:
    """What a file says of itself: ``offset`` is where the numbers begin, in bytes."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int


def read_header(head: bytes, size: int, *, name: str) -> Header:
    """Parse the beginning of a ``.npy`` file.

    Args:
        head: at least its first ``limits.ARRAY_HEADER_BYTES``, or all of it.
        size: of the whole file, in bytes.
        name: of the file, for messages.

    Raises:
        ArtifactInvalidError: it is no array of an allowed type and order, or its size is not what the shape says.
    """
    if not head.startswith(_MAGIC) or len(head) < _PREFIX:
        raise ArtifactInvalidError(f"{name} is not a readable array: it does not begin like a .npy file of version 1.0")
    offset = _PREFIX + int.from_bytes(head[len(_MAGIC) : _PREFIX], "little")
    if offset > min(limits.ARRAY_HEADER_BYTES, len(head)) or offset % _ALIGNMENT:
        raise ArtifactInvalidError(
            f"{name} has a header of {offset} bytes, expected a multiple of {_ALIGNMENT}, at most "
            f"{limits.ARRAY_HEADER_BYTES} and inside the file"
        )
    found = _HEADER.fullmatch(head, _PREFIX, offset)
    if found is None:
        raise ArtifactInvalidError(f"{name} is not a readable array: its header is not one of a plain array")
    kind, order, *dimensions = found.groups()
    if kind.decode("latin-1") not in TYPES or order == b"True":
        raise ArtifactInvalidError(
            f"{name} holds {kind.decode('latin-1')!r} in {'column' if order == b'True' else 'row'} order; allowed "
            f"are {', '.join(TYPES)} in row order"
        )
    dtype = np.dtype(kind.decode())
    shape = tuple(int(dimension) for dimension in dimensions if dimension is not None)
    expected = offset + dtype.itemsize * int(np.prod(shape, dtype=object))
    if size != expected:
        raise ArtifactInvalidError(f"{name} has {size} bytes, an array {dtype} {shape} has {expected}")
    return Header(dtype, shape, offset)


def map_array(file: OpenFile, kind: str, shape: tuple[int | None, ...], *, longest: int = 0) -> Array:
    """Map a file whose type and shape are known, for reading.

    Args:
        file: the open file.
        kind: one of ``TYPES``.
        shape: what it must have; None where any length up to ``longest`` will do.
        longest: the limit for these.

    Raises:
        ArtifactInvalidError: it is something else.
    """
    header = read_header(file.head(limits.ARRAY_HEADER_BYTES), file.size, name=str(file.path))
    fits = len(header.shape) == len(shape) and all(
        got <= longest if want is None else got == want for want, got in zip(shape, header.shape, strict=True)
    )
    if header.dtype != np.dtype(kind) or not fits:
        wanted = tuple(f"up to {longest}" if want is None else want for want in shape)
        raise ArtifactInvalidError(
            f"{file.path} is {header.dtype} {header.shape}, expected {np.dtype(kind)} ({', '.join(map(str, wanted))})"
        )
    return np.ndarray(header.shape, header.dtype, buffer=file.map(), offset=header.offset)


def write_array(path: Path, array: Array, kind: str) -> None:
    """Write an array as one of ``TYPES``.

    Raises:
        OSError: it could not be written; ENOSPC says how many bytes were missing.
    """
    data = np.ascontiguousarray(array, dtype=np.dtype(kind))
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(map(int, data.shape))}, }}".encode()
    padding = -(_PREFIX + len(text) + 1) % _ALIGNMENT
    header = text + b" " * padding + b"\n"
    write_file(path, _MAGIC + len(header).to_bytes(2, "little") + header, data)


def check_rows(array: Array, least: int, limit: int, path: Path) -> None:
    """Check that every value is a row of the catalogue, or padding.

    Raises:
        ArtifactInvalidError: a value is below ``least`` or not below ``limit``.
    """
    for part in parts(array):
        if part.min() < least or part.max() >= limit:
            raise ArtifactInvalidError(f"{path} points outside the catalogue of {limit} items")


def check_numbers(array: Array, path: Path) -> None:
    """Check that every value is a number, and none too large for sums of products.

    Raises:
        ArtifactInvalidError: there is NaN, infinity, or a value beyond ``limits.FACTOR_SIZE``.
    """
    for part in parts(array):
        with np.errstate(invalid="ignore"):  # min and max of NaN are NaN, which no comparison passes
            fits = part.min() >= -limits.FACTOR_SIZE and part.max() <= limits.FACTOR_SIZE
        if not fits:
            raise ArtifactInvalidError(f"{path} holds NaN, infinity or numbers beyond {limits.FACTOR_SIZE:g}")


def parts(array: Array) -> Iterator[Array]:
    """Return an array in flat pieces, without copying: numpy lets other threads run while it looks at each."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _SCAN):
        yield flat[start : start + _SCAN]
