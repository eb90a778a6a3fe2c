"""scripts/podman/relay.py: ids become names without a change of length, wherever the bytes are cut; all else goes by."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.deploy.compose import PROJECT

NAMES = ["model-release_state", "model-release_release"]
IDS = [f"{number}a" * 32 for number in range(len(NAMES))]
OTHER = ("bridge", "0" * 64)
BODY = json.dumps(
    [{"Name": name, "Id": one, "Scope": "local"} for name, one in [*zip(NAMES, IDS, strict=True), OTHER]],
    separators=(",", ":"),
).encode()


@pytest.fixture(scope="module")
def relay() -> ModuleType:
    spec = importlib.util.spec_from_file_location("relay", PROJECT / "scripts" / "podman" / "relay.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def through(relay: ModuleType, folder: Path, pieces: list[bytes]) -> tuple[bytes, bytes]:
    """Return what the engine got of a question, and what the client got of an answer in pieces."""
    got: list[bytes] = []

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())  # until the client says that it is done
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.close()

    listen, connect = str(folder / "docker.sock"), str(folder / "podman.sock")
    async with await asyncio.start_unix_server(engine, connect), await relay.listening(listen, connect, NAMES):
        reader, writer = await asyncio.open_unix_connection(listen)
        writer.write(f'"{IDS[0]}" is asked for'.encode())
        writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    return got[0], answer


@pytest.mark.parametrize("size", [1, 7, 65, 66, 67, 10_000])
def test_ids_become_names_of_the_same_length(relay: ModuleType, tmp_path: Path, size: int) -> None:
    pieces = [BODY[at : at + size] for at in range(0, len(BODY), size)]
    asked, answer = asyncio.run(through(relay, tmp_path, pieces))
    assert asked == f'"{IDS[0]}" is asked for'.encode()
    assert len(answer) == len(BODY)
    assert [one["Id"] for one in json.loads(answer)] == [*NAMES, OTHER[1]]


@pytest.mark.parametrize(
    "end", [b'"', b'a "quoted', b'""', f'"Name":"{NAMES[1]}","Id":"{IDS[1][:40]}'.encode(), b"\x00\xff"]
)
def test_what_is_no_id_goes_by(relay: ModuleType, tmp_path: Path, end: bytes) -> None:
    _, answer = asyncio.run(through(relay, tmp_path, [b"bytes ", end]))
    assert answer == b"bytes " + end
