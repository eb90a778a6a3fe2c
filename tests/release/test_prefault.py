"""Mapped files are brought into memory, with or without help from the kernel."""

from __future__ import annotations

import errno
import mmap
from pathlib import Path

import numpy as np
import pytest

from model_release.adapters import prefault as module
from model_release.adapters.factors import Factors
from model_release.adapters.prefault import prefault, touch
from model_release.adapters.ranked_lists import RankedLists
from model_release.artifact import FactorsFormat
from model_release.paths import ReleasePaths
from tests.runs import publish_factors, publish_run

_NO_KERNEL_KNOWS_THIS = 9_999


def mapped(path: Path, size: int) -> mmap.mmap:
    path.write_bytes(bytes(size))
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def resident(mapping: mmap.mmap) -> int:
    """Return how many KiB of a mapping this process has in its page tables."""
    address = f"{np.frombuffer(mapping, np.uint8).ctypes.data:x}-"
    lines = Path("/proc/self/smaps").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(address))
    return int(next(line.split()[1] for line in lines[start:] if line.startswith("Rss:")))


@pytest.mark.parametrize("size", [1, 4096, 100_001, 70 << 20])
def test_every_page_is_there_afterwards(tmp_path: Path, size: int) -> None:
    """Whatever the size: the last part of a page, several pieces."""
    mapping = mapped(tmp_path / "file", size)
    assert resident(mapping) == 0
    prefault([mapping])
    assert resident(mapping) * 1024 >= size


def test_on_an_older_kernel_every_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers EINVAL to what it does not know."""
    mapping = mapped(tmp_path / "file", 1 << 20)
    monkeypatch.setattr(module, "_POPULATE_READ", _NO_KERNEL_KNOWS_THIS)
    prefault([mapping])
    assert resident(mapping) == 1024


def test_a_file_that_can_not_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any other answer of the kernel is not taken for an old kernel."""
    monkeypatch.setattr(module, "_POPULATE_READ", _NO_KERNEL_KNOWS_THIS)
    monkeypatch.setattr(module, "_NOT_THERE", (errno.ENOSYS,))
    with pytest.raises(OSError, match="can't be read"):
        prefault([mapped(tmp_path / "file", 4096)])


def test_one_byte_of_each_page_is_read() -> None:
    """The last page too, if it is not whole."""
    assert touch(np.zeros(3 * mmap.PAGESIZE + 1, np.uint8)) == 4
    assert touch(np.zeros(0, np.uint8)) == 0


def test_models_bring_in_all_their_files(paths: ReleasePaths) -> None:
    """Seven files of lists, ten of factors."""
    publish_run(paths, "run-a")
    publish_factors(paths, "run-b")
    lists = RankedLists(paths.models / "run-a")
    factors = Factors(paths.models / "run-b", FactorsFormat(exclude_seen=True))
    lists.prefault()
    factors.prefault()
    assert (len(lists._mappings), len(factors._mappings)) == (7, 10)
    assert all(resident(mapping) > 0 for mapping in (*lists._mappings, *factors._mappings))
