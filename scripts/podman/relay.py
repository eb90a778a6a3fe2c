#!/usr/bin/env python3
"""Stand between Docker's clients and Podman's socket, and give networks the ids that Podman's containers say they are in.

Podman 4 tells a network's name where Docker tells its id, in what it says of a container; Compose compares that with the id
of the network, and would make every container anew at each `up`.  So wherever Podman tells a network's name and id, the name
takes the id's place, with blanks behind it, so that no length changes.  Podman takes a name wherever it takes an id.

    relay.py LISTEN CONNECT NETWORK...      sockets, and the names of the networks
"""

import asyncio
import sys
from collections.abc import Iterable

_AT_ONCE = 1 << 16
_LENGTH = 64  # of an id


def split(data: bytes, names: Iterable[str]) -> tuple[bytes, bytes]:
    """Return what can go on, with names for ids, and an end that may be the beginning of a network."""
    kept = len(data)
    for name in names:
        head = f'"Name":"{name}","Id":"'.encode()
        at = data.find(head)
        while at >= 0:
            begin = at + len(head)
            end = begin + _LENGTH + 1
            if end > len(data):
                kept = min(kept, at)
                break
            if data[end - 1 : end] == b'"':
                data = data[:begin] + f'{name}"'.encode().ljust(_LENGTH + 1) + data[end:]
            at = data.find(head, begin)
        partial = (length for length in range(min(len(head) - 1, len(data)), 0, -1) if data.endswith(head[:length]))
        kept = min(kept, len(data) - next(partial, 0))
    return data[:kept], data[kept:]


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, names: Iterable[str]) -> None:
    """Pass everything on until the sender ends; then say so, since the other direction may go on."""
    kept = b""
    while data := await reader.read(_AT_ONCE):
        ready, kept = split(kept + data, names)
        writer.write(ready)
        await writer.drain()
    writer.write(kept)
    await writer.drain()
    writer.write_eof()


async def listening(listen: str, connect: str, names: list[str]) -> asyncio.Server:
    """Return the server; one relay for each connection."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(connect)
        try:
            await asyncio.gather(carry(reader, back, ()), carry(there, writer, names))
        except OSError:
            pass  # one of them is gone, and so is the connection
        finally:
            writer.close()
            back.close()

    return await asyncio.start_unix_server(relay, listen)


async def main(listen: str, connect: str, *names: str) -> None:
    """Relay until ended."""
    async with await listening(listen, connect, list(names)) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
