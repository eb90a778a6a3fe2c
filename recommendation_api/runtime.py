"""The folder that the worker processes of one replica share while it runs: who is there, how to reach them, one lock.

<folder>/worker-<slot>.alive   locked by the process in that slot for as long as it lives, however it ends
<folder>/worker-<slot>.sock    its control socket, see ``control.py``
<folder>/change.lock           held by whoever changes what is served, or joins
<folder>/metrics/              memory-mapped metrics, one set of files a slot
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from model_release.errors import ConfigurationError, StateBusyError

METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported
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

    def prepare(self) -> None:
        """Make the folder, for processes of this user alone.

        Raises:
            ConfigurationError: its path is too long for a socket.
        """
        longest = len(os.fsencode(self.socket(self.workers)))
        if longest > _LONGEST_SOCKET_PATH:
            raise ConfigurationError(
                f"the path of the control sockets would have {longest} bytes, at most {_LONGEST_SOCKET_PATH} can be "
                f"used: set TMPDIR to a shorter folder than {self.folder.parent}"
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.metrics.mkdir(exist_ok=True)

    @property
    def metrics(self) -> Path:
        """Folder of the memory-mapped metrics."""
        return self.folder / "metrics"

    def socket(self, slot: int) -> Path:
        """Return the control socket of the worker in ``slot``."""
        return self.folder / f"worker-{slot}.sock"

    @contextmanager
    def occupied_by_me(self, slot: int) -> Iterator[None]:
        """Say that this process is the worker in ``slot``; the kernel takes that back when it dies.

        Raises:
            StateBusyError: another process is there.
        """
        handle = self._open(slot)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise StateBusyError(f"slot {slot} of this replica is taken by another process") from error
            yield
        finally:
            os.close(handle)

    def occupied(self, slot: int) -> bool:
        """Whether a process is in ``slot``."""
        handle = self._open(slot)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

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

    def _open(self, slot: int) -> int:
        return os.open(self.folder / f"worker-{slot}.alive", os.O_RDWR | os.O_CREAT, 0o600)
