"""Keep the worker processes of one replica alive: replace those that die or hang, and stop them all together."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from recommendation_api.control import RemoteMember
from recommendation_api.problems import WorkerLostError
from recommendation_api.runtime import METRICS_VARIABLE, Runtime
from recommendation_api.settings import Settings

_log = logging.getLogger("recommendation_api")
_POLL_SECONDS = 0.1
_ASK_SECONDS = 2.0
_STOP_SECONDS = 20.0  # beside the time for draining
_YOUNG_SECONDS = 5.0  # a worker that dies younger is replaced later and later
_LONGEST_PAUSE_SECONDS = 10.0


@dataclass
class _Place:
    """One slot: the process in it, and when it may be started again."""

    slot: int
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.0
    answered: float = 0.0


class Supervisor:
    """Starts ``settings.workers`` processes behind one listening socket.

    Args:
        settings: of the replica; the workers read the same environment.
        listener: bound; the workers listen on it.
        runtime: the folder that they share.
    """

    def __init__(self, settings: Settings, listener: socket.socket, runtime: Runtime) -> None:
        self._settings = settings
        self._listener = listener
        self._runtime = runtime
        self._places = [_Place(slot) for slot in range(settings.workers)]
        self._stopping = threading.Event()
        self._lifeline: tuple[int, int] = os.pipe()

    def run(self) -> None:
        """Run until SIGTERM or SIGINT; requests under way are answered first."""
        for sig in (signal.SIGTERM, signal.SIGINT):
            signal.signal(sig, lambda *_: self._stopping.set())
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a restart would lose what a reload keeps
        try:
            watcher = threading.Thread(target=self._ask, name="hung", daemon=True)
            watcher.start()
            while not self._stopping.wait(_POLL_SECONDS):
                for place in self._places:
                    self._tend(place)
        finally:
            self._stop()

    def _tend(self, place: _Place) -> None:
        process = place.process
        if process is not None:
            status = process.poll()
            if status is None:
                return
            _log.warning("worker %d (process %d) ended with status %d", place.slot, process.pid, status)
            young = time.monotonic() - place.started < _YOUNG_SECONDS
            place.pause = min(max(0.25, place.pause * 2), _LONGEST_PAUSE_SECONDS) if young else 0.0
            place.process = None
            place.started = time.monotonic()
        if time.monotonic() - place.started >= place.pause or place.started == 0.0:
            self._start(place)

    def _start(self, place: _Place) -> None:
        reader, _ = self._lifeline
        listener = self._listener.fileno()
        place.process = subprocess.Popen(  # noqa: S603  (this project's own program)
            [sys.executable, "-m", "recommendation_api.process", "--slot", str(place.slot),
             "--workers", str(self._settings.workers), "--folder", str(self._runtime.folder),
             "--listener", str(listener), "--lifeline", str(reader)],
            env={**os.environ, METRICS_VARIABLE: str(self._runtime.metrics)},
            pass_fds=(listener, reader),
            start_new_session=True,  # ctrl-C in a terminal reaches the supervisor, which stops the workers in order
        )  # fmt: skip
        place.started = place.answered = time.monotonic()

    def _ask(self) -> None:
        """Kill workers that have not answered for too long: stopped, or stuck beyond repair."""
        while not self._stopping.wait(_ASK_SECONDS):
            for place in self._places:
                process = place.process
                if process is None or not self._runtime.occupied(place.slot):
                    place.answered = time.monotonic()
                    continue  # not there yet, or gone already
                try:
                    silent = RemoteMember(self._runtime, place.slot).pulse().silent_seconds
                    place.answered = time.monotonic() - silent
                except WorkerLostError as error:
                    _log.warning("%s", error)
                silent = time.monotonic() - place.answered
                if silent > self._settings.hung_seconds and process.poll() is None:
                    _log.error("worker %d shows no sign of life for %.0f s and is replaced", place.slot, silent)
                    process.kill()

    def _stop(self) -> None:
        self._stopping.set()
        processes = [place.process for place in self._places if place.process is not None]
        for process in processes:
            process.terminate()
        self._listener.close()  # the last one to close it refuses new connections
        deadline = time.monotonic() + self._settings.drain_seconds + _STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("process %d does not end and is killed", process.pid)
                process.kill()
                process.wait()
        for end in self._lifeline:
            os.close(end)
