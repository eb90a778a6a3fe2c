"""The folder that the worker processes of one replica share while it runs: who is there, how to reach them, one lock.

<folder>/replica.alive         locked by the supervisor, likewise
<folder>/worker-<slot>.alive   locked by the process in that slot for as long as it lives, however it ends
<folder>/worker-<slot>.sock    its control socket, see ``control.py``
<folder>/change.lock           held by whoever changes what is served, or joins
<folder>/metrics/              memory-mapped metrics, one set of files a slot
<folder>/shadow/               counts of shadow trials, see ``shadow_counts.py``
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from filelock import FileLock, Timeout

from model_release.errors import ConfigurationError, StateBusyError

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
_PREFIX = "recommendation-api-"
_REPLICA = "replica.alive"
_YOUNG_SECONDS = 60.0  # a folder that is made at this moment has no lock yet
_POLL_SECONDS = 0.005
_LONGEST_SOCKET_PATH = 100  # bytes; the kernel takes 107


@dataclass(frozen=True)
class Runtime:
    """The shared folder of one replica.

    Attributes:
        folder: where it is; private to the user of the replica.
        workers: processes that the replica should have; their slots are 0 to ``workers - 1``.
    """

    folder: Path
    workers: int

    @classmethod
    @contextmanager
    def make(cls, workers: int) -> Iterator[Self]:
        """Make a folder below ``TMPDIR``, for processes of this user alone; it is removed at the end.

        Folders of replicas that were killed before they could do that are removed, too.

        Raises:
            ConfigurationError: its path is too long for a socket.
        """
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        try:
            made = cls(folder, workers)
            made.check_length()
            with _locked(folder / _REPLICA):
                _remove_leftovers(folder.parent)
                made.metrics.mkdir()
                made.shadow.mkdir()
                yield made
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def check_length(self) -> None:
        """Raise ``ConfigurationError`` if the path is too long for a socket."""
        longest = len(os.fsencode(self.socket(self.workers)))
        if longest > _LONGEST_SOCKET_PATH:
            raise ConfigurationError(
                f"the path of the control sockets would have {longest} bytes, at most {_LONGEST_SOCKET_PATH} can be "
                f"used: set TMPDIR to a shorter folder than {self.folder.parent}"
            )

    @property
    def metrics(self) -> Path:
        """Folder of the memory-mapped metrics."""
        return self.folder / "metrics"

    @property
    def shadow(self) -> Path:
        """Folder of the counts of shadow trials."""
        return self.folder / "shadow"

    def socket(self, slot: int) -> Path:
        """Return the control socket of the worker in ``slot``."""
        return self.folder / f"worker-{slot}.sock"

    @contextmanager
    def occupied_by_me(self, slot: int) -> Iterator[None]:
        """Say that this process is the worker in ``slot``; the kernel takes that back when it dies.

        Raises:
            StateBusyError: another process is there.
        """
        try:
            with _locked(self._alive(slot)):
                yield
        except BlockingIOError as error:
            raise StateBusyError(f"slot {slot} of this replica is taken by another process") from error

    def occupied(self, slot: int) -> bool:
        """Whether a process is in ``slot``."""
        return _is_locked(self._alive(slot))

    @contextmanager
    def changing(self, *, seconds: float) -> Iterator[None]:
        """Be the only one who changes what is served, or joins; wait for that at most ``seconds``.

        Raises:
            StateBusyError: somebody else was for all that time.
        """
        lock = FileLock(self.folder / "change.lock", timeout=seconds, poll_interval=_POLL_SECONDS, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise StateBusyError(
                f"another change of this replica was under way for more than {seconds:g} s; retry"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _alive(self, slot: int) -> Path:
        return self.folder / f"worker-{slot}.alive"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that the kernel takes back when this process dies; ``BlockingIOError`` if another one holds it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _is_locked(path: Path) -> bool:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders of this user's replicas of which no process lives."""
    for sign in parent.glob(f"{_PREFIX}*/{_REPLICA}"):
        folder = sign.parent
        stat = folder.lstat()
        ours = stat.st_uid == os.getuid() and not folder.is_symlink()
        if ours and time.time() - stat.st_mtime > _YOUNG_SECONDS and not any(map(_is_locked, folder.glob("*.alive"))):
            shutil.rmtree(folder, ignore_errors=True)
