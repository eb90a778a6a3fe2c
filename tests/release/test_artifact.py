"""The manifest of a run."""

from __future__ import annotations

import datetime as dt

import pytest
from pydantic import ValidationError

from model_release.artifact import FileEntry, GoldenRequest, Manifest
from model_release.paths import ReleasePaths
from tests.runs import AS_OF, stage_run


@pytest.fixture
def manifest(paths: ReleasePaths) -> Manifest:
    """Give a good manifest."""
    return stage_run(paths, "run-a")


def test_a_manifest_survives_its_file(manifest: Manifest) -> None:
    """What is written is what is read."""
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"schema_version": 2},
        {"files": ()},
        {"as_of": "2026-01-05T00:00:00"},
        {"run_id": "../run"},
        {"metrics": {"ndcg_at_10": float("nan")}},
        {"serving": {"format": "pickle"}},
    ],
)
def test_a_manifest_that_says_something_else_is_refused(manifest: Manifest, change: dict[str, object]) -> None:
    """Unknown keys and versions, no files, times without a zone, paths, NaN and unknown formats are errors."""
    with pytest.raises(ValidationError):
        Manifest.model_validate({**manifest.model_dump(), **change})


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "../x", "/abs", "a b", "x" * 101])
def test_a_file_of_a_run_is_a_plain_name(name: str) -> None:
    """A manifest can't make anybody open a file elsewhere."""
    with pytest.raises(ValidationError):
        FileEntry(name=name, bytes=1, sha256="0" * 64)


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, "0" * 64 + "\n"])
def test_a_hash_is_64_lower_case_digits(digest: str) -> None:
    """Anything else could never match, or match two ways."""
    with pytest.raises(ValidationError):
        FileEntry(name="a", bytes=1, sha256=digest)


def test_a_run_saw_the_window_if_it_was_trained_past_its_start(manifest: Manifest) -> None:
    """A cutoff exactly at the start is clean: training uses what is strictly before it."""
    assert not manifest.trained_inside(AS_OF)
    assert manifest.trained_inside(AS_OF - dt.timedelta(microseconds=1))


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_golden_request_asks_for_what_the_api_would_answer(k: int) -> None:
    """The length of a list is 1 to 1000."""
    with pytest.raises(ValidationError):
        GoldenRequest(endpoint="recommend", id="u", k=k, expected=())
