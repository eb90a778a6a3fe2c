"""Bring mapped files into this process's memory before a request needs them."""

from __future__ import annotations

import ctypes
import errno
import mmap
from collections.abc import Iterable

import numpy as np

_POPULATE_READ = 22  # MADV_POPULATE_READ, Linux 5.14
_NOT_THERE = (errno.EINVAL, errno.ENOSYS)  # an older kernel, another system
_PIECE = 32 << 20  # bytes per call: short, so that other threads of the process wait little for its page tables


def prefault(mappings: Iterable[mmap.mmap]) -> None:
    """Map every page now; a request then never waits for the disk.  Meant for a thread: others run meanwhile."""
    for mapping in mappings:
        data = np.frombuffer(mapping, np.uint8)
        if not _populate(data.ctypes.data, data.size):
            touch(data)


def touch(data: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    """Read one byte of every page; return how many pages that were."""
    pages = data[:: mmap.PAGESIZE]
    pages.max(initial=0)
    return len(pages)


def _populate(address: int, length: int) -> bool:
    """Ask the kernel; return False where it does not know how.

    Raises:
        OSError: the file can't be read.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        madvise = libc.madvise
    except AttributeError:
        return False
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start in range(0, length, _PIECE):
        if madvise(address + start, min(_PIECE, length - start), _POPULATE_READ) != 0:
            code = ctypes.get_errno()
            if code in _NOT_THERE:
                return False
            raise OSError(code, "a mapped file can't be read into memory")
    return True
