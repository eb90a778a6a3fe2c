#!/usr/bin/env python3
"""Stand between Docker's clients and Podman's socket, and give networks the ids that Podman's containers say they are in.

Podman 4 tells a network's name where Docker tells its id, in what it says of a container; Compose compares that with the id
of the network, and would make every container anew at each `up`.  A network's id is the SHA-256 of its name there, so
the id can be found in what goes by: the name takes its place, with blanks behind it, so that no length changes.

    relay.py LISTEN CONNECT NETWORK...      sockets, and the names of the networks
"""

import asyncio
import hashlib
import sys

_AT_ONCE = 1 << 16
_LENGTH = 66  # of an id in quotation marks


def ids_of(names: list[str]) -> dict[bytes, bytes]:
    """Return each quoted id, and what takes its place, of the same length."""
    found = {}
    for name in names:
        quoted = f'"{hashlib.sha256(name.encode()).hexdigest()}"'
        found[quoted.encode()] = f'"{name}"'.ljust(len(quoted)).encode()
    return found


def split(data: bytes, known: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Return what can go on, with names for ids, and an end that may be the beginning of an id."""
    for long, short in known.items():
        data = data.replace(long, short)
    at = data.rfind(b'"')
    end = data[at:] if at >= 0 else b""
    if len(end) < _LENGTH and end and any(long.startswith(end) for long in known):
        return data[:at], end
    return data, b""


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, known: dict[bytes, bytes]) -> None:
    """Pass everything on until the sender ends; then say so, since the other direction may go on."""
    kept = b""
    while data := await reader.read(_AT_ONCE):
        ready, kept = split(kept + data, known)
        writer.write(ready)
        await writer.drain()
    writer.write(kept)
    await writer.drain()
    writer.write_eof()


async def listening(listen: str, connect: str, names: list[str]) -> asyncio.Server:
    """Return the server; one relay for each connection."""
    known = ids_of(names)

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(connect)
        try:
            await asyncio.gather(carry(reader, back, {}), carry(there, writer, known))
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
