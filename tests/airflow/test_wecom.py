"""The robot's client against a service that answers as documented."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.adapters.wecom import WeComRobot
from model_release.adapters.wecom_parts import MOST_PARTS, split
from model_release.errors import ConfigurationError, MessageNotSentError, Refusal
from model_release.messages import MARKDOWN_BYTES
from tests.fakes_wecom import FakeWeCom, wecom


@pytest.fixture
def service() -> Iterator[FakeWeCom]:
    with wecom() as fake:
        yield fake


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def robot(service: FakeWeCom, waits: list[float]) -> Iterator[WeComRobot]:
    made = WeComRobot(service.key, url=service.url, sleep=waits.append)
    yield made
    made.close()


def test_a_message_arrives_as_it_is(robot: WeComRobot, service: FakeWeCom) -> None:
    """Markdown is sent as markdown, Chinese as UTF-8."""
    assert robot.send_markdown("**已发布** run `r1`") == 1
    assert service.received == [{"msgtype": "markdown", "markdown": {"content": "**已发布** run `r1`"}}]


def test_people_are_mentioned_once_and_only_in_text(robot: WeComRobot, service: FakeWeCom) -> None:
    """The last part of a long text mentions; the parts before it do not."""
    assert robot.send_text("x\n" * 1500, mentioned=["@all"], mobiles=["13800001111"]) == 2
    assert "mentioned_list" not in service.received[0]["text"]
    assert service.received[1]["text"]["mentioned_list"] == ["@all"]
    assert service.received[1]["text"]["mentioned_mobile_list"] == ["13800001111"]


def test_a_long_message_comes_whole_in_parts(robot: WeComRobot, service: FakeWeCom) -> None:
    """The service refuses more than 4096 bytes (not characters): nothing is lost, no line is cut."""
    lines = [f"- 第{number}行：{'模型' * 20}" for number in range(60)]
    robot.send_markdown("\n".join(lines))
    assert len(service.received) > 1
    assert "\n".join(service.texts).split("\n") == lines


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        (-1, 4),
        (45009, 5),
        (45033, 5),
        (("http", 429), 5),
        (("http", 502), 5),
        (("http", 403), 5),
        (40058, 1),
        (93000, 1),
        (("http", 200), 1),
        (("http", 504), 1),
    ],
)
def test_what_is_tried_again(
    robot: WeComRobot, service: FakeWeCom, waits: list[float], fault: int | tuple[str, int], attempts: int
) -> None:
    """-1 three times more; throttling and outages while patience lasts; a permanent refusal never."""
    service.faults = [fault] * 50
    with pytest.raises(MessageNotSentError) as caught:
        robot.send_markdown("hello")
    assert service.attempts == attempts
    assert sum(waits) <= 20.0
    assert caught.value.code == (fault if isinstance(fault, int) else None)
    assert service.received == []


def test_a_busy_service_gets_the_message_once(robot: WeComRobot, service: FakeWeCom) -> None:
    """After a failure that passes, the message arrives, once."""
    service.faults = [-1, 45009, ("http", 429)]
    robot.send_markdown("hello")
    assert service.texts == ["hello"]


def test_a_lost_answer_is_not_sent_again(robot: WeComRobot, service: FakeWeCom) -> None:
    """Nobody knows whether the message arrived; here it did, and a second one would be wrong."""
    service.faults = [("drop", 0)]
    with pytest.raises(MessageNotSentError, match="not known"):
        robot.send_markdown("hello")
    assert service.texts == ["hello"]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"errcode": "0"}', b'{"errcode": null}'])
def test_an_answer_without_a_number_is_not_success(body: bytes) -> None:
    """Only errcode 0, as a number, means that the message was taken."""
    import httpx

    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    with pytest.raises(MessageNotSentError) as caught:
        WeComRobot("key", transport=transport).send_text("hello")
    assert caught.value.kind is Refusal.IN_DOUBT  # something answered: it may have been taken


def test_a_proxy_that_lets_nothing_through(waits: list[float]) -> None:
    """It refuses the tunnel, so nothing was sent: that is tried again, and is not in doubt."""

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            self.send_error(503)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the name in the base class)
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        robot = WeComRobot("the-key", url="https://wecom.invalid", proxy=address, sleep=waits.append)
        with pytest.raises(MessageNotSentError, match="ProxyError") as caught:
            robot.send_text("hello")
        robot.close()
        server.shutdown()
    assert caught.value.kind is Refusal.UNREACHABLE
    assert len(waits) == 4


def test_nobody_listens(waits: list[float]) -> None:
    """A refused connection is tried again while patience lasts, then reported."""
    robot = WeComRobot("the-key", url="http://127.0.0.1:9", sleep=waits.append)
    with pytest.raises(MessageNotSentError, match="ConnectError") as caught:
        robot.send_text("hello")
    assert waits == [1.0, 2.0, 4.0, 8.0]
    assert caught.value.permanent is False


def test_the_key_stays_secret(service: FakeWeCom, caplog: pytest.LogCaptureFixture) -> None:
    """No log at any level, no exception and no repr holds the key."""
    import traceback

    caplog.set_level(logging.DEBUG)
    service.faults = [-1, 93000]
    robot = WeComRobot(service.key, url=service.url, sleep=lambda _: None)
    robot_down = WeComRobot(service.key, url="http://127.0.0.1:9", patience_seconds=0)
    said = [repr(robot)]
    for broken in (robot, robot_down):
        with pytest.raises(MessageNotSentError) as caught:
            broken.send_markdown("hello")
        said += ["".join(traceback.format_exception(caught.value))]
        broken.close()
    with pytest.raises(ConfigurationError) as wrong:
        WeComRobot(f"https://example.org/send?key={service.key}")
    said += [str(wrong.value), caplog.text]
    assert service.key not in "\n".join(said)


@given(st.text(), st.integers(min_value=8, max_value=60))
def test_parts_fit_and_lose_nothing(content: str, limit: int) -> None:
    """Every part fits; joined they are the content, apart from line ends where it was cut; long ones end in '…'."""
    parts = split(content, limit)
    assert all(len(part.encode()) <= limit for part in parts)
    assert len(parts) <= MOST_PARTS
    kept = "".join(parts)
    if len(parts) < MOST_PARTS:
        assert [c for c in kept if c != "\n"] == [c for c in content if c != "\n"]
    for part in parts[:-1]:
        assert "�" not in part or "�" in content


@pytest.mark.parametrize("one", ["👨‍👩‍👧", "👍🏽", "🇨🇳", "e\u0301", "❤️"])
def test_what_looks_like_one_character_is_not_parted(one: str) -> None:
    """A family, a skin tone, a flag, an accent: each is several characters of Unicode."""
    for before in range(len(one.encode())):
        parts = split("x" * before + one * 20, 64, most=100)
        assert all(part.lstrip("x") == one * (len(part.lstrip("x")) // len(one)) for part in parts)
        assert "".join(parts) == "x" * before + one * 20
        (short,) = split("x" * before + one * 20, 64, most=1)
        kept = short.removesuffix("\n…").lstrip("x")
        assert kept == one * (len(kept) // len(one))


def test_one_character_that_is_longer_than_a_message_comes_in_pieces() -> None:
    """A letter with a thousand accents must not stop anybody."""
    text = "e" + "\u0301" * 100
    assert "".join(split(text, 16, most=100)) == text


def test_a_long_line_is_cut_between_words() -> None:
    """What stands in the second part begins no heading, quotation or list."""
    parts = split("word " * 30, 64)
    assert all(part.rstrip().endswith("word") and part.startswith("word") for part in parts)
    for sign, limit in itertools.product("#>-", range(40, 50)):
        assert not any(part.startswith(sign) for part in split(f"word {sign} " * 30, limit))


def test_a_line_longer_than_a_message_is_cut_between_characters() -> None:
    """4096 bytes fit 1365 characters of three bytes."""
    assert [len(part) for part in split("模" * 3000, MARKDOWN_BYTES)] == [1365, 1365, 270]
