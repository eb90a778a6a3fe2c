"""Things that a hostile or broken writer may do to a published run.  Each has to be refused, with the file's name."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from model_release.adapters.files import sha256_of
from model_release.paths import ReleasePaths
from tests.runs import publish_factors, publish_run

Format = Literal["ranked_lists", "factors"]
FORMATS: tuple[Format, ...] = ("ranked_lists", "factors")
MAIN_ARRAY = {"ranked_lists": "user_lists.npy", "factors": "item_factors.npy"}


@dataclass(frozen=True)
class Attack:
    """One thing to do to a run.

    Attributes:
        name: of the attack.
        kind: serving format of the run.
        file: the name that the refusal has to mention.
        apply: does it to the folder of a published run.
        signed: whether the writer also makes sizes and hashes in the manifest right.
    """

    name: str
    kind: Format
    file: str
    apply: Callable[[Path], None]
    signed: bool

    def __str__(self) -> str:
        return f"{self.kind}-{self.name}".replace(" ", "-")

    def publish(self, paths: ReleasePaths, run_id: str) -> Path:
        """Publish a good run, attack it, and return its folder."""
        (publish_run if self.kind == "ranked_lists" else publish_factors)(paths, run_id, seed=11)
        folder = paths.models / run_id
        self.apply(folder)
        if self.signed:
            sign(folder)
        return folder


def sign(folder: Path) -> None:
    """Put the files of a folder, as they are now, into its manifest."""
    files = sorted(path for path in folder.iterdir() if path.name != "manifest.json")
    edit(files=[{"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in files])(folder)


def edit(**changes: Any) -> Callable[[Path], None]:
    """Change keys of the manifest; ``a__b`` is a key of a key."""

    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for key, value in changes.items():
            *outer, last = key.split("__")
            place = manifest
            for name in outer:
                place = place[name]
            place[last] = value
        path.write_text(json.dumps(manifest), encoding="utf-8")

    return apply


def edit_entry(name: str, /, **changes: Any) -> Callable[[Path], None]:
    """Change what the manifest says of one file."""

    def apply(folder: Path) -> None:
        files = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
        edit(files=[{**entry, **changes} if entry["name"] == name else entry for entry in files])(folder)

    return apply


def put(name: str, content: bytes) -> Callable[[Path], None]:
    """Write other bytes."""
    return lambda folder: _replace(folder / name, content)


def change(name: str, how: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the bytes of a file."""
    return lambda folder: _replace(folder / name, how((folder / name).read_bytes()))


def _replace(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def array(name: str, values: Any, **options: Any) -> Callable[[Path], None]:
    """Write an array as numpy does."""

    def apply(folder: Path) -> None:
        np.save(folder / name, np.array(values, **options), allow_pickle=True)

    return apply


def header(
    name: str, text: bytes, body: bytes = b"", *, version: bytes = b"\x01\x00", length: int | None = None
) -> Callable[[Path], None]:
    """Write a .npy file with such a header."""
    size = 2 if version == b"\x01\x00" else 4
    padded = text + b" " * (-(8 + size + len(text) + 1) % 64) + b"\n"
    announced = (len(padded) if length is None else length).to_bytes(size, "little")
    return put(name, b"\x93NUMPY" + version + announced + padded + body)


def shape(text: str, kind: str = "<i4", order: str = "False") -> bytes:
    """Return the header of an array."""
    return f"{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {text}, }}".encode()


def table(name: str, columns: dict[str, Any], **options: Any) -> Callable[[Path], None]:
    """Write an Arrow file."""
    return tables(name, [pa.table(columns)], **options)


def tables(name: str, parts: list[pa.Table], **options: Any) -> Callable[[Path], None]:
    """Write an Arrow file of several batches."""

    def apply(folder: Path) -> None:
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_file(sink, parts[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer,
        ):
            for part in parts:
                writer.write_table(part)

    return apply


def bomb(name: str) -> Callable[[Path], None]:
    """Write one user id of 256 MiB of zeros, compressed to some kilobytes."""
    return table(name, {"user_id": pa.array([bytes(1 << 28).decode()])}, compression="zstd")


def link(name: str, target: str | None = None) -> Callable[[Path], None]:
    """Replace a file by a link to ``target``, else to the same bytes outside of ``models/``."""

    def apply(folder: Path) -> None:
        outside = folder.parent.parent / f"{folder.name}-{name}"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(target or outside)

    return apply


def pipe(name: str) -> Callable[[Path], None]:
    """Replace a file by a pipe that nobody writes to."""

    def apply(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return apply


def folder_for(name: str) -> Callable[[Path], None]:
    """Replace a file by a folder."""

    def apply(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return apply


def without(name: str) -> Callable[[Path], None]:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def many_files(folder: Path) -> None:
    """Add a hundred files."""
    for number in range(100):
        (folder / f"extra-{number}").write_bytes(b"x")


def sparse(name: str, size: int) -> Callable[[Path], None]:
    """Make a file huge without taking room."""
    return lambda folder: os.truncate(folder / name, size)


def golden_lines(*lines: str) -> Callable[[Path], None]:
    """Write golden requests."""
    return put("golden.jsonl", "".join(f"{line}\n" for line in lines).encode())


def flipped(data: bytes) -> bytes:
    """Flip the last bit: in an array it is another number, of a valid one."""
    return data[:-4] + bytes([data[-4] ^ 1]) + data[-3:]


def offsets_outside(data: bytes) -> bytes:
    """Make the first user id begin at its place and end a gigabyte later."""
    good = np.array([0, 2, 4, 13], "<i4").tobytes()
    assert data.count(good) == 1
    return data.replace(good, np.array([0, 2, 1 << 30, 13], "<i4").tobytes())


def _common(kind: Format) -> Iterator[Attack]:
    main = MAIN_ARRAY[kind]
    asked = '{"endpoint":"recommend","id":"u1","k":3,"expected":[]}'
    unsigned: list[tuple[str, str, Callable[[Path], None]]] = [
        ("array cut", main, change(main, lambda data: data[:-3])),
        ("bit flipped", main, change(main, flipped)),
        ("bit flipped in a table", "items.arrow", change("items.arrow", flipped)),
        ("wrong hash", main, edit_entry(main, sha256="0" * 64)),
        ("wrong size", main, edit_entry(main, bytes=1)),
        ("file missing", main, without(main)),
        ("golden missing", "golden.jsonl", without("golden.jsonl")),
        ("file added", "extra.npy", put("extra.npy", b"x")),
        ("hidden file added", ".hidden", put(".hidden", b"x")),
        ("many files added", "files", many_files),
        ("link out of models", main, link(main)),
        ("link to endless zeros", main, link(main, "/dev/zero")),
        ("link to nothing", main, link(main, "/nowhere/at/all")),
        ("link for the manifest", "manifest.json", link("manifest.json")),
        ("pipe", main, pipe(main)),
        ("pipe for the manifest", "manifest.json", pipe("manifest.json")),
        ("folder", main, folder_for(main)),
        ("manifest missing", "manifest.json", without("manifest.json")),
        ("manifest cut", "manifest.json", change("manifest.json", lambda data: data[:-9])),
        ("manifest huge", "manifest.json", sparse("manifest.json", 1 << 40)),
        ("manifest nested", "manifest.json", put("manifest.json", b"[" * 500_000)),
        ("manifest not text", "manifest.json", put("manifest.json", b"\xff\xfe" * 99)),
        ("manifest names a path", "manifest.json", edit_entry(main, name="../../etc/passwd")),
        ("manifest names itself", "manifest.json", edit_entry(main, name="manifest.json")),
        ("manifest too large in sum", "manifest.json", edit_entry(main, bytes=1 << 62)),
        ("unknown format", "manifest.json", edit(serving={"format": "pickle"})),
        ("another version", "manifest.json", edit(serving__version=2)),
        ("another run", "manifest.json", edit(run_id="run-a")),
    ]
    signed: list[tuple[str, str, Callable[[Path], None]]] = [
        ("golden missing, signed", "golden.jsonl", without("golden.jsonl")),
        ("golden without end", "golden.jsonl", golden_lines(*[asked] * 100_000)),
        ("golden of newlines", "golden.jsonl", put("golden.jsonl", b"\n" * (8 << 20))),
        ("golden huge", "golden.jsonl", sparse("golden.jsonl", 80 << 20)),
        ("golden asks for a billion", "golden.jsonl", golden_lines(asked.replace("3", "1000000000"))),
        ("golden expects a million", "golden.jsonl", golden_lines(asked.replace("[]", json.dumps(["i"] * 10**6)))),
        ("golden no json", "golden.jsonl", put("golden.jsonl", b"\x80\x04K\x01.")),
        ("array cut, signed", main, change(main, lambda data: data[:-4])),
        ("array longer", main, change(main, lambda data: data + b"\0" * 64)),
        ("array empty", main, put(main, b"")),
        ("header longer than the file", main, header(main, shape("(3, 4)"), length=65_535)),
        ("header huge", main, header(main, shape("(3, 4)") + b" " * 60_000)),
        ("header of version 2", main, header(main, shape("(3, 4)"), bytes(48), version=b"\x02\x00")),
        ("header is code", main, header(main, b"__import__('os').abort()")),
        ("header nested", main, header(main, b"(" * 3_000)),
        ("header minus", main, header(main, shape("(-3, 4)"), bytes(48))),
        ("array of terabytes", main, header(main, shape("(274877906944, 4)"))),
        ("shape overflows", main, header(main, shape("(999999999999, 999999999999)"))),
        ("shape overflows to the size", main, header(main, shape("(4611686018427387904, 4)"))),
        ("three dimensions", main, header(main, shape("(3, 2, 2)"), bytes(48))),
        ("columns first", main, header(main, shape("(3, 4)", order="True"), bytes(48))),
        ("pickle", main, array(main, [{"a": 1}], dtype=object)),
        ("records", main, array(main, [(1, 2.0)], dtype=[("a", "<i4"), ("b", "<f4")])),
        ("big endian", main, array(main, [[1, 2]], dtype=">i4")),
        ("doubles", main, array(main, np.zeros((3, 4)))),
        ("too few rows", main, array(main, np.zeros((2, 4), "<i4"))),
        ("popular outside", "popular.npy", array("popular.npy", [4], dtype="<i4")),
        ("popular negative", "popular.npy", array("popular.npy", [-1], dtype="<i4")),
        ("popular empty", "popular.npy", array("popular.npy", [], dtype="<i4")),
        ("popular endless", "popular.npy", array("popular.npy", np.zeros(10_001), dtype="<i4")),
        ("index unsorted", "user_index.npy", array("user_index.npy", [[3, 2, 1], [0, 1, 2]], dtype="<u8")),
        ("index outside", "user_index.npy", array("user_index.npy", [[1, 2, 3], [0, 1, 2**63]], dtype="<u8")),
        ("index twice", "item_index.npy", array("item_index.npy", [[1, 2, 3, 4], [0, 1, 2, 2]], dtype="<u8")),
        ("table bomb", "users.arrow", bomb("users.arrow")),
        ("table compressed", "users.arrow", table("users.arrow", {"user_id": ["a" * 99] * 3}, compression="lz4")),
        (
            "table of a dictionary",
            "users.arrow",
            table("users.arrow", {"user_id": pa.array(["a"]).dictionary_encode()}),
        ),
        ("table of numbers", "users.arrow", table("users.arrow", {"user_id": [1, 2, 3]})),
        ("table of an extension", "users.arrow", table("users.arrow", {"user_id": pa.array(["1"], pa.json_())})),
        (
            "table of large strings",
            "users.arrow",
            table("users.arrow", {"user_id": pa.array(["a"], pa.large_string())}),
        ),
        ("table with null ids", "users.arrow", table("users.arrow", {"user_id": ["a", None, "c"]})),
        ("table of another column", "users.arrow", table("users.arrow", {"user": ["a", "b", "c"]})),
        ("table of two batches", "users.arrow", tables("users.arrow", [pa.table({"user_id": ["a"]})] * 3)),
        ("table with a huge id", "users.arrow", table("users.arrow", {"user_id": ["a" * 2_000, "b", "c"]})),
        ("table with a huge name", "items.arrow", table("items.arrow", {"item_id": ["a"], "name": ["b" * 70_000]})),
        ("table of a few", "item_index.npy", table("items.arrow", {"item_id": ["a"], "name": ["b"]})),
        ("table points outside", "users.arrow", change("users.arrow", offsets_outside)),
        ("table cut", "users.arrow", change("users.arrow", lambda data: data[:-7])),
        (
            "table with a huge footer",
            "users.arrow",
            change("users.arrow", lambda data: data[:-10] + b"\xff\xff\xff\x7fARROW1"),
        ),
        ("table empty", "users.arrow", put("users.arrow", b"")),
        (
            "table not UTF-8",
            "users.arrow",
            change("users.arrow", lambda data: data.replace("用户".encode(), b"\xff" * 6)),
        ),
    ]
    for name, file, apply in unsigned:
        yield Attack(name, kind, file, apply, signed=False)
    for name, file, apply in signed:
        yield Attack(name, kind, file, apply, signed=True)


def _on_factors() -> Iterator[Attack]:
    rows: list[tuple[str, str, Callable[[Path], None]]] = [
        ("NaN in an item", "item_factors.npy", array("item_factors.npy", np.full((4, 8), np.nan), dtype="<f4")),
        ("infinity in a user", "user_factors.npy", array("user_factors.npy", np.full((3, 8), np.inf), dtype="<f4")),
        ("NaN in a bias", "item_bias.npy", array("item_bias.npy", [0, 0, np.nan, 0], dtype="<f4")),
        ("numbers that overflow", "user_factors.npy", array("user_factors.npy", np.full((3, 8), 1e38), dtype="<f4")),
        ("vectors of another length", "user_factors.npy", array("user_factors.npy", np.ones((3, 7)), dtype="<f4")),
        ("vectors without end", "item_factors.npy", array("item_factors.npy", np.ones((4, 1_025)), dtype="<f4")),
        ("bias for others", "item_bias.npy", array("item_bias.npy", np.ones(5), dtype="<f4")),
        ("seen missing", "seen_items.npy", without("seen_items.npy")),
        ("seen offsets fall", "seen_offsets.npy", array("seen_offsets.npy", [0, 2, 1, 3], dtype="<i8")),
        ("seen offsets outside", "seen_offsets.npy", array("seen_offsets.npy", [0, 1, 1, 2**40], dtype="<i8")),
        ("seen offsets negative", "seen_offsets.npy", array("seen_offsets.npy", [-1, 1, 1, 3], dtype="<i8")),
        ("seen outside", "seen_items.npy", array("seen_items.npy", [2, 0, 4], dtype="<i4")),
        ("seen negative", "seen_items.npy", array("seen_items.npy", [2, 0, -4], dtype="<i4")),
        ("endless lists", "manifest.json", edit(serving__depth=10**9)),
    ]
    for name, file, apply in rows:
        yield Attack(name, "factors", file, apply, signed=True)


def _on_lists() -> Iterator[Attack]:
    rows: list[tuple[str, str, Callable[[Path], None]]] = [
        ("row outside", "user_lists.npy", array("user_lists.npy", np.full((3, 2), 4), dtype="<i4")),
        ("row negative", "user_lists.npy", array("user_lists.npy", np.full((3, 2), -2), dtype="<i4")),
        ("lists without end", "user_lists.npy", array("user_lists.npy", np.zeros((3, 10_001)), dtype="<i4")),
        ("similar outside", "similar_lists.npy", array("similar_lists.npy", np.full((4, 2), 2**30), dtype="<i4")),
        ("read as factors", "user_factors.npy", edit(serving={"format": "factors", "exclude_seen": False})),
    ]
    for name, file, apply in rows:
        yield Attack(name, "ranked_lists", file, apply, signed=True)


ATTACKS = (*_common("ranked_lists"), *_common("factors"), *_on_lists(), *_on_factors())
