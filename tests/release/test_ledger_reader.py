"""Reading the ledger on gives what reading it whole gives, whatever happened to the file in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_release.adapters.file_ledger import FileLedger, parse_line
from model_release.adapters.ledger_reader import LedgerReader
from model_release.errors import StateCorruptError
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from tests.release.words import entry


@pytest.fixture
def paths(tmp_path: Path) -> ReleasePaths:
    return ReleasePaths(tmp_path)


def append(paths: ReleasePaths, *names: str) -> None:
    for name in names:
        assert FileLedger(paths).append(entry(Event.REGISTERED, release_id=name))


def names(reader: LedgerReader) -> list[str]:
    return [one.release_id for one in reader.read()]


def test_only_what_is_new_is_parsed(paths: ReleasePaths, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[int] = []

    def counted(path: Path, number: int, line: bytes) -> LedgerEntry:
        parsed.append(number)
        return parse_line(path, number, line)

    monkeypatch.setattr("model_release.adapters.ledger_reader.parse_line", counted)
    reader = LedgerReader(paths)
    assert names(reader) == []
    append(paths, "a", "b")
    assert names(reader) == ["a", "b"]
    assert reader.read() is reader.read()
    append(paths, "c")
    assert names(reader) == ["a", "b", "c"]
    assert parsed == [1, 2, 3]


def test_a_line_that_is_half_written_does_not_count_until_it_is_whole(paths: ReleasePaths) -> None:
    append(paths, "a")
    reader = LedgerReader(paths)
    line = entry(Event.REGISTERED, release_id="b").model_dump_json().encode() + b"\n"
    for part, expected in ((line[:30], ["a"]), (line[30:], ["a", "b"])):
        with paths.ledger.open("ab") as file:
            file.write(part)
        assert names(reader) == expected


def test_another_ledger_in_its_place_is_read_anew(paths: ReleasePaths) -> None:
    """A restored backup, a shorter one, none, and one that begins anew."""
    append(paths, "a", "b", "c")
    reader = LedgerReader(paths)
    whole = paths.ledger.read_bytes()
    assert names(reader) == ["a", "b", "c"]
    paths.ledger.write_bytes(whole.replace(b'"b"', b'"x"'))
    assert names(reader) == ["a", "x", "c"]
    paths.ledger.write_bytes(whole.splitlines(keepends=True)[0])
    assert names(reader) == ["a"]
    paths.ledger.unlink()
    assert names(reader) == []
    append(paths, "d")
    assert names(reader) == ["d"]


def test_a_damaged_line_is_named_each_time(paths: ReleasePaths) -> None:
    """Not only the first time: a reader that fell silent would show half a ledger as a whole one."""
    append(paths, "a")
    reader = LedgerReader(paths)
    assert names(reader) == ["a"]
    with paths.ledger.open("ab") as file:
        file.write(b"{}\n")
    for _ in range(2):
        with pytest.raises(StateCorruptError, match="line 2"):
            reader.read()
