"""One worker process: the application behind a listening socket, and a shutdown that loses no request.

``python -m recommendation_api.process --slot N --workers N --folder DIR --listener FD --lifeline FD`` is started by the
supervisor; the settings come from the environment.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import socket
import struct
import sys
import threading
from pathlib import Path
from types import FrameType

import uvicorn
from prometheus_client import values

from recommendation_api.app import create_app
from recommendation_api.connection import Connection
from recommendation_api.runtime import Runtime
from recommendation_api.settings import Settings

_log = logging.getLogger("recommendation_api")
_GRACE_SECONDS = 15
_LAST_SECONDS = 0.1  # for requests of connections that came before the last moment
_SO_ATTACH_FILTER = 26  # of Linux; Python's socket module has no name for it
_BPF_RETURN = 0x06  # with a constant: how many bytes of a packet are let through


class Server(uvicorn.Server):
    """Goes away in two steps: first it says so to whoever asks, then it stops listening."""

    def __init__(self, settings: Settings, runtime: Runtime | None = None, slot: int = 0) -> None:
        app = create_app(settings, runtime, slot)
        super().__init__(
            uvicorn.Config(
                app,
                http=type("Connection", (Connection,), {"request_seconds": settings.request_seconds}),
                ws="none",  # no route speaks it
                workers=1,
                proxy_headers=False,  # who calls is who is connected
                access_log=False,  # the metrics count; a line per request costs more than the answer
                server_header=False,
                timeout_keep_alive=settings.keep_alive_seconds,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self._parts = app.parts
        self._drain_seconds = settings.drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Answer on, saying "not ready" and closing connections, for a while; a second signal ends that."""
        if self._parts.replica.closing.is_set() or not self.started:
            self._parts.server.close()
            super().handle_exit(sig, frame)
            return
        self._parts.server.close()
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain_seconds, super().handle_exit, sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, but only after those were answered whom the kernel has connected already."""
        for listener in sockets or []:
            _admit_nobody(listener)
        await asyncio.sleep(_LAST_SECONDS)
        await super().shutdown(sockets)


def _admit_nobody(listener: socket.socket) -> None:
    """Let the kernel drop what arrives for new connections, where it can: closing a listener resets those that wait.

    Whoever is dropped tries again within about a second, and then finds nobody listening.
    """
    if sys.platform != "linux":
        return
    accept_no_byte = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(accept_no_byte))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError as error:
        _log.info("connections that begin while this process ends may be reset: %s", error)


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket that is not listening yet.

    Raises:
        OSError: the address can't be used.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(address)
    made.set_inheritable(True)
    return made


def address_of(listener: socket.socket) -> str:
    """Return where a socket listens, as an address to call."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def main() -> int:
    """Be the worker in one slot until told to stop, or until the supervisor is gone."""
    parser = argparse.ArgumentParser(prog="python -m recommendation_api.process")
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--listener", type=int, required=True)
    parser.add_argument("--lifeline", type=int, required=True)
    options = parser.parse_args()
    # the files of a slot go on counting where the dead predecessor stopped
    values.ValueClass = values.MultiProcessValue(lambda: options.slot)  # type: ignore[no-untyped-call]
    threading.Thread(target=_end_with_supervisor, args=(options.lifeline,), daemon=True).start()
    server = Server(Settings.from_environment(), Runtime(options.folder, options.workers), options.slot)
    with socket.socket(fileno=options.listener) as listener:
        server.run(sockets=[listener])
    return 0


def _end_with_supervisor(lifeline: int) -> None:
    """Wait for the other end of the pipe to close: nobody would restart, or stop, this process any more."""
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
