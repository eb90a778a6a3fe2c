"""A token is exchanged while the API runs: the file may hold the old one and the new one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from model_release.adapters.tokens import TokenFile, read_tokens
from model_release.contract import RELOAD_PATH
from model_release.errors import ConfigurationError
from recommendation_api.settings import Settings
from tests.api.conftest import StartReplica
from tests.api.replica import Replica

VARIABLE = "MODEL_RELOAD_TOKEN_FILE"


def status(replica: Replica, token: str) -> int:
    return replica.http.post(RELOAD_PATH, headers={"Authorization": f"Bearer {token}"}, json={}).status_code


def put(file: Path, text: str) -> None:
    """Replace the file as a secret's mount does."""
    beside = file.with_name("beside")
    beside.write_text(text)
    beside.replace(file)


def test_a_token_is_exchanged_without_a_restart(start: StartReplica, tmp_path: Path) -> None:
    """Old; old and new; new.  Nobody who holds a valid one is ever refused."""
    file = tmp_path / "token"
    put(file, "old-token\n")
    replica = start(token=None, settings={VARIABLE: str(file)})
    assert (status(replica, "old-token"), status(replica, "new-token")) == (200, 401)
    put(file, "new-token\n\n  old-token  \n")
    assert (status(replica, "old-token"), status(replica, "new-token")) == (200, 200)
    put(file, "new-token\n")
    assert (status(replica, "old-token"), status(replica, "new-token")) == (401, 200)
    for secret in ("old-token", "new-token"):
        assert secret not in replica.log


def test_a_file_written_in_place_is_read_again(tmp_path: Path) -> None:
    """Its time changes, though it is the same file and as long as before."""
    file = tmp_path / "token"
    file.write_text("token-1\n")
    tokens = TokenFile(file, VARIABLE)
    file.write_text("token-2\n")
    os.utime(file, ns=(1, 1))
    assert (tokens.accept("token-1"), tokens.accept("token-2")) == (False, True)


@pytest.mark.parametrize("content", [None, "", " \n", "a\nb\nc\n", "two words\n", "тайна\n"])
def test_a_file_that_cannot_be_used_any_more_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    """The fleet stays reachable; the log says so once, and shows no token."""
    file = tmp_path / "token"
    file.write_text("good-token\n")
    tokens = TokenFile(file, VARIABLE)
    if content is None:
        file.unlink()
    else:
        put(file, content)
    assert [tokens.accept("good-token"), tokens.accept(""), tokens.accept("a"), tokens.accept("good-token")] == [
        True, False, False, True,
    ]  # fmt: skip
    assert caplog.text.count("the tokens from before stay valid") == 1
    assert "good-token" not in caplog.text
    assert not content or content.strip() == "" or content.strip() not in caplog.text
    put(file, "next-token\n")
    assert [tokens.accept("good-token"), tokens.accept("next-token")] == [False, True]


@pytest.mark.parametrize("given", ["", "good-tokenx", "good-toke", "тайна", "\udcff"])
def test_nothing_but_a_token_is_accepted(tmp_path: Path, given: str) -> None:
    file = tmp_path / "token"
    file.write_text("good-token\nanother\n")
    assert TokenFile(file, VARIABLE).accept(given) is False


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"a\nb\nc", "3 tokens, at most 2"),
        (b"secret words", "without spaces"),
        (b"\xff", "is not text"),
    ],
)
def test_a_replica_does_not_start_with_an_unusable_file(tmp_path: Path, content: bytes, said: str) -> None:
    """The message names variable and file, and shows nothing of what the file holds."""
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=said) as caught:
        Settings.from_environment({"MODEL_RELEASE_HOME": str(tmp_path), VARIABLE: str(file)})
    assert f"{VARIABLE}={file}" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_variable_holds_one_token(tmp_path: Path) -> None:
    """Two lines in a variable would be a token that no header can carry."""
    with pytest.raises(ConfigurationError, match="MODEL_RELOAD_TOKEN: a token is made of printable") as caught:
        Settings.from_environment({"MODEL_RELEASE_HOME": str(tmp_path), "MODEL_RELOAD_TOKEN": "secret\nsecret"})
    assert "secret" not in str(caught.value)


def test_a_token_stands_in_its_own_line(tmp_path: Path) -> None:
    """White space around it and empty lines do not count; nor does how a line ends."""
    file = tmp_path / "token"
    file.write_bytes(b"\r\n  first \r\n\r\nsecond")
    assert read_tokens(file, VARIABLE) == (b"first", b"second")
