"""A TCP proxy on loopback that can be told to misbehave: what stands between Airflow and a replica."""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CHUNK = 65536
_LINGER_ZERO = struct.pack("ii", 1, 0)  # close sends RST


class Mode(enum.StrEnum):
    """What becomes of what goes through."""

    PASS = "pass"
    SLOW = "slow"  # each piece waits
    RESET = "reset"  # a connection is taken and reset at once
    REFUSE = "refuse"  # nobody listens
    BLACK_HOLE = "black_hole"  # nothing gets through until the fault ends, as with lost packets; then it does
    ANSWER_LOST = "answer_lost"  # the request gets through, the answer does not: the connection breaks


class FaultProxy:
    """Forwards ``127.0.0.1:port`` to another port of loopback, in one of the modes.

    Attributes:
        port: where it listens; the same through every fault.
        mode: what it does now; connections that are open notice.
        slow_seconds: pause before each piece in mode ``slow``.
        lost: answers that were dropped so far.
        watch: is shown each piece of a request before it is forwarded, and may set a mode for it.
        disturbed: pieces and connections that something was done to so far; those that were refused are not seen.
    """

    def __init__(self, upstream: int, *, slow_seconds: float = 0.5) -> None:
        self.upstream = upstream
        self.mode = Mode.PASS
        self.slow_seconds = slow_seconds
        self.lost = 0
        self.disturbed = 0
        self.watch: Callable[[bytes], None] = lambda _: None
        self._faults = 0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener = _listen(0)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def set(self, mode: Mode, *, seconds: float | None = None) -> None:
        """Change the mode; with ``seconds`` back to ``pass`` after them, unless it was changed again meanwhile."""
        with self._lock:
            self._faults += 1
            self.mode, mine = mode, self._faults
        if seconds is not None:
            timer = threading.Timer(seconds, self._end, (mine,))
            timer.daemon = True
            timer.start()

    def _end(self, fault: int) -> None:
        with self._lock:
            if self._faults == fault:
                self.mode = Mode.PASS

    def close(self) -> None:
        """End it; open connections break."""
        self._closing.set()
        self._listener.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while not self._closing.is_set():
            if self.mode is Mode.REFUSE:
                self._listener.close()
                self._wait_while(Mode.REFUSE)
                if self._closing.is_set():
                    return
                self._listener = self._listen_again()
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._connection, args=(client,), daemon=True).start()

    def _listen_again(self) -> socket.socket:
        while True:  # somebody's outgoing connection may have been given the port meanwhile: it ends soon
            try:
                return _listen(self.port)
            except OSError:
                if self._closing.wait(0.05):
                    raise

    def _connection(self, client: socket.socket) -> None:
        if self.mode is Mode.RESET:
            self.disturbed += 1
            _reset(client)
            return
        try:
            server = socket.create_connection(("127.0.0.1", self.upstream), timeout=5)
        except OSError:
            _reset(client)  # as a refused connection would look from outside, near enough
            return
        for end in (client, server):
            end.settimeout(None)
        back = threading.Thread(target=self._pump, args=(server, client), kwargs={"answer": True}, daemon=True)
        back.start()
        self._pump(client, server, answer=False)
        back.join()
        for end in (client, server):
            end.close()

    def _pump(self, source: socket.socket, target: socket.socket, *, answer: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_CHUNK):
                if not answer:
                    self.watch(piece)
                if not self._let_through(answer=answer):
                    for end in (source, target):
                        _reset(end)
                    return
                target.sendall(piece)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _wait_while(self, mode: Mode) -> None:
        while self.mode is mode and not self._closing.is_set():
            time.sleep(0.02)

    def _let_through(self, *, answer: bool) -> bool:
        """Wait as the mode wants; return False if the connection is to break."""
        disturbs = self.mode is not Mode.PASS and (answer or self.mode is not Mode.ANSWER_LOST)
        self.disturbed += disturbs
        self._wait_while(Mode.BLACK_HOLE)
        match self.mode:
            case Mode.SLOW:
                time.sleep(self.slow_seconds)
            case Mode.RESET | Mode.REFUSE:
                return False
            case Mode.ANSWER_LOST if answer:
                self.lost += 1
                return False
            case _:
                pass
        return True


@contextmanager
def proxies(upstreams: list[int]) -> Iterator[list[FaultProxy]]:
    """Give one proxy in front of each port."""
    made = [FaultProxy(port) for port in upstreams]
    try:
        yield made
    finally:
        for proxy in made:
            proxy.close()


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    listener.settimeout(0.1)
    return listener


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        end.shutdown(socket.SHUT_RD)
    with contextlib.suppress(OSError):
        end.close()
