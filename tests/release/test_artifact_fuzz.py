"""Whatever the bytes: a parser accepts them or raises an error of this project, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_release import golden
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.npy import TYPES, read_header, write_array
from model_release.adapters.run_files import RunFiles
from model_release.adapters.run_store import RunStore
from model_release.adapters.tables import read_table
from model_release.artifact import MANIFEST_NAME
from model_release.errors import ArtifactInvalidError, StateCorruptError
from model_release.paths import ReleasePaths
from model_release.registry import register
from tests.runs import AS_OF, publish_run

Change = Callable[[bytes], bytes]
FUZZ = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = (
    b"null",
    b"-1",
    b"1e999",
    b"9" * 5_000,
    b"[" * 3_000,
    b'"\\ud800"',
    b"\xff",
    b"\0",
    b"NaN",
    b"{}",
    b"True",
    b"\n",
)


@st.composite
def mutations(draw: st.DrawFn) -> Change:
    """Return a change: other bytes altogether, or some cut, flipped, doubled or put in."""
    kind = draw(st.sampled_from(["anything", "cut", "flip", "double", "put in"]))
    first, second = draw(st.integers(0, 4_000)), draw(st.integers(1, 300))
    word = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=20)))
    anything = draw(st.binary(max_size=200)) if kind == "anything" else b""

    def apply(data: bytes) -> bytes:
        place = first % (len(data) + 1)
        match kind:
            case "anything":
                return anything
            case "cut":
                return data[:place] + data[place + second :]
            case "flip":
                return (
                    data[:place]
                    + bytes(byte ^ (1 << second % 8) for byte in data[place : place + 1])
                    + data[place + 1 :]
                )
            case "double":
                return data[: place + second] + data[place:]
            case _:
                return data[:place] + word + data[place + second % 7 :]

    return apply


@pytest.fixture
def store(paths: ReleasePaths) -> RunStore:
    publish_run(paths, "run-a")
    return RunStore(paths)


@given(changes=st.lists(mutations(), min_size=1, max_size=3))
@FUZZ
def test_manifests(store: RunStore, changes: list[Change]) -> None:
    """Read as a manifest of that run, or the artifact is invalid."""
    path = store.folder("run-a") / MANIFEST_NAME
    original = path.read_bytes()
    data = original
    for change in changes:
        data = change(data)
    path.write_bytes(data)
    try:
        assert store.manifest("run-a").run_id == "run-a"
    except ArtifactInvalidError:
        assert data != original
    finally:
        path.write_bytes(original)


@given(changes=st.lists(mutations(), min_size=1, max_size=3))
@FUZZ
def test_golden_requests(store: RunStore, changes: list[Change]) -> None:
    """All lines are read, or the artifact is invalid."""
    data = (store.folder("run-a") / "golden.jsonl").read_bytes()
    for change in changes:
        data = change(data)
    try:
        requests = golden.parse(data, "golden.jsonl")
    except ArtifactInvalidError:
        return
    assert len(requests) == sum(1 for line in data.split(b"\n") if line)


@given(changes=st.lists(mutations(), min_size=1, max_size=3))
@FUZZ
def test_registries(paths: ReleasePaths, changes: list[Change]) -> None:
    """Read, or the registry is corrupt: it is never taken for an empty one, nor is anything else raised."""
    registry = FileRegistry(paths)
    if not paths.registry.exists():
        registry.update(
            lambda state: register(state, run_id="run-a", manifest_sha256="0" * 64, release_id="r", at=AS_OF)
        )
    original = paths.registry.read_bytes()
    data = original
    for change in changes:
        data = change(data)
    paths.registry.write_bytes(data)
    try:
        read = registry.read()
        assert set(json.loads(data)) == set(json.loads(read.model_dump_json()))
    except StateCorruptError:
        assert data != original
    finally:
        paths.registry.write_bytes(original)


@given(changes=st.lists(mutations(), max_size=3), kind=st.sampled_from(TYPES), dimensions=st.integers(1, 2))
@FUZZ
def test_array_headers(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change], kind: str, dimensions: int
) -> None:
    """What is accepted fills the file exactly, and numpy reads the same type, shape and values out of it."""
    path = tmp_path_factory.getbasetemp() / "fuzz.npy"
    write_array(path, np.arange(12).reshape((12,) if dimensions == 1 else (3, 4)), kind)
    data = path.read_bytes()
    for change in changes:
        data = change(data)
    try:
        header = read_header(data[:4_096], len(data), name="fuzz.npy")
    except ArtifactInvalidError:
        assert changes
        return
    assert header.offset + header.dtype.itemsize * int(np.prod(header.shape, dtype=object)) == len(data)
    path.write_bytes(data)
    assert (header.dtype.str, header.shape) == ((read := np.load(path, allow_pickle=False)).dtype.str, read.shape)
    assert data[header.offset :] == read.tobytes()


@given(changes=st.lists(mutations(), min_size=1, max_size=3))
@FUZZ
def test_tables(store: RunStore, changes: list[Change]) -> None:
    """A table of valid strings, or an error of ours: whatever stands in the flatbuffers, nothing outside is read."""
    path: Path = store.folder("run-a") / "users.arrow"
    original = path.read_bytes()
    data = original
    for change in changes:
        data = change(data)
    path.unlink()  # the old one may still be mapped
    path.write_bytes(data)
    try:
        with RunFiles.at(path.parent) as files:
            found = read_table(files.open(path.name), ("user_id",), rows=1_000)
        assert all(isinstance(value, str) for value in found["user_id"].to_pylist())
    except ArtifactInvalidError:
        assert data != original
    finally:
        path.write_bytes(original)
