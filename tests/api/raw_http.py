"""HTTP as it is on the wire, for requests that no client library would send."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

HOST = b"Host: shop\r\n"


@dataclass(frozen=True)
class Said:
    """What came back before the server closed the connection, or fell silent."""

    status: int  # 0: nothing came
    headers: httpx.Headers
    body: bytes  # and whatever came after it
    closed: bool


def connect(url: str) -> socket.socket:
    """Return a connection to a replica, which waits at most 10 seconds for bytes."""
    where = urlsplit(url)
    assert where.hostname == "127.0.0.1"
    assert where.port is not None
    return socket.create_connection((where.hostname, where.port), timeout=10)


def say(url: str, data: bytes) -> Said:
    """Send ``data``, which has to end the connection, and return the answer."""
    with connect(url) as connection:
        connection.sendall(data)
        return listen(connection)


def listen(connection: socket.socket) -> Said:
    """Return all that comes until the server closes."""
    got = b""
    closed = True
    try:
        while piece := connection.recv(65_536):
            got += piece
    except TimeoutError:
        closed = False
    except ConnectionError:
        pass  # closed before it had read all that was sent
    return _parsed(got, closed=closed)


def _parsed(got: bytes, *, closed: bool) -> Said:
    head, _, body = got.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    status = int(first.split(b" ")[1]) if first else 0
    pairs = [line.split(b": ", 1) for line in lines]
    return Said(status, httpx.Headers([(name, value) for name, value in pairs]), body, closed)
