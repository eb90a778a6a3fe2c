"""The app's client against a service that answers as documented: tokens, codes, duplicates, secrets."""

from __future__ import annotations

import logging
import traceback

import pytest

from model_release.adapters.wecom_app import APP_BYTES, WeComApp
from model_release.adapters.wecom_parts import Part
from model_release.errors import ConfigurationError, MessageNotSentError, Refusal
from tests.fakes_wecom import FakeWeCom, Fault

HELLO = Part("markdown", "hello")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def app(service: FakeWeCom, clock: Clock | None = None, *, secret: str = "") -> WeComApp:
    return WeComApp(
        corp_id=service.corp_id,
        secret=secret or service.secret,
        agent_id=service.agent_id,
        to_user="zhangsan",
        url=service.url,
        timeout_seconds=0.5,
        clock=clock or Clock(),
    )


def refused(one: WeComApp) -> MessageNotSentError:
    with pytest.raises(MessageNotSentError) as caught:
        one.send(HELLO)
    return caught.value


def test_a_message_of_an_app(service: FakeWeCom) -> None:
    """With the app, the people, and the service's check for duplicates."""
    app(service).send(HELLO)
    assert service.app_received == [
        {
            "touser": "zhangsan",
            "toparty": "",
            "agentid": service.agent_id,
            "msgtype": "markdown",
            "markdown": {"content": "hello"},
            "enable_duplicate_check": 1,
            "duplicate_check_interval": 14_400,
        }
    ]


def test_the_token_is_kept_until_just_before_it_expires(service: FakeWeCom) -> None:
    """7,200 seconds, less one minute."""
    clock = Clock()
    one = app(service, clock)
    for seconds, tokens in ((0, 1), (7139, 1), (7141, 2)):
        clock.now = 1000.0 + seconds
        one.send(Part("text", f"at {seconds}"))
        assert len(service.tokens) == tokens


@pytest.mark.parametrize("code", [42001, 40014])
def test_a_token_that_is_gone_is_replaced_at_once(service: FakeWeCom, code: int) -> None:
    """The message arrives in the same attempt."""
    one = app(service)
    one.send(HELLO)
    service.faults = [code]
    one.send(Part("text", "more"))
    assert len(service.app_received) == 2
    assert len(service.tokens) == 2


def test_a_token_that_is_gone_again_and_again_is_no_endless_loop(service: FakeWeCom) -> None:
    """Two attempts, then it is for the queue to wait."""
    service.faults = [42001] * 10
    assert refused(app(service)).kind is Refusal.BUSY
    assert service.attempts == 2


@pytest.mark.parametrize(
    ("faults", "token_faults", "kind"),
    [
        ([-1], [], Refusal.BUSY),
        ([45009], [], Refusal.THROTTLED),
        ([45033], [], Refusal.THROTTLED),
        ([("http", 407)], [], Refusal.UNREACHABLE),
        ([("http", 200)], [], Refusal.IN_DOUBT),
        ([("http", 429)], [], Refusal.THROTTLED),
        ([("http", 503)], [], Refusal.UNREACHABLE),
        ([("http", 504)], [], Refusal.IN_DOUBT),
        ([("drop", 0)], [], Refusal.IN_DOUBT),
        ([("stall", 30)], [], Refusal.IN_DOUBT),
        ([40058], [], Refusal.PERMANENT),
        ([81013], [], Refusal.PERMANENT),
        ([], [-1], Refusal.BUSY),
        ([], [45009], Refusal.THROTTLED),
        ([], [("http", 504)], Refusal.UNREACHABLE),
        ([], [("http", 200)], Refusal.UNREACHABLE),
        ([], [("drop", 0)], Refusal.UNREACHABLE),
        ([], [("stall", 30)], Refusal.UNREACHABLE),
        ([], [40013], Refusal.PERMANENT),
    ],
)
def test_what_an_answer_means(
    service: FakeWeCom, faults: list[Fault], token_faults: list[Fault], kind: Refusal
) -> None:
    """Of a token that was asked for in vain nothing is in doubt: no message was sent."""
    service.faults, service.token_faults = faults, token_faults
    assert refused(app(service)).kind is kind


def test_who_can_not_be_reached_is_named(service: FakeWeCom, caplog: pytest.LogCaptureFixture) -> None:
    """The message is taken for the others, so it is not sent again."""
    service.unknown_users = "lisi"
    app(service).send(HELLO)
    assert "may not write to: lisi" in caplog.text


def test_a_wrong_secret_is_final(service: FakeWeCom) -> None:
    """It would be wrong the next time too."""
    error = refused(app(service, secret="wrong"))
    assert (error.kind, error.code) == (Refusal.PERMANENT, 40001)


def test_an_app_takes_less_than_a_robot(service: FakeWeCom) -> None:
    """2,048 bytes of markdown, no more."""
    one = app(service)
    one.send(Part("markdown", "x" * APP_BYTES))
    with pytest.raises(MessageNotSentError, match="40058"):
        one.send(Part("markdown", "x" * (APP_BYTES + 1)))


def test_secrets_stay_secret(service: FakeWeCom, caplog: pytest.LogCaptureFixture) -> None:
    """No log at any level, no exception and no repr holds secret or token."""
    caplog.set_level(logging.DEBUG)
    one = app(service)
    said = [repr(one)]
    faults: list[tuple[list[Fault], list[Fault]]] = [
        ([], [40001]),
        ([], [("drop", 0)]),
        ([40058], []),
        ([("drop", 0)], []),
    ]
    for service.faults, service.token_faults in faults:
        said += traceback.format_exception(refused(one))
    down = WeComApp(corp_id="ww", secret=service.secret, agent_id=1, to_party="2", url="http://127.0.0.1:9")
    said += [*traceback.format_exception(refused(down)), caplog.text]
    for secret in (service.secret, *service.tokens):
        assert secret not in "\n".join(said)


def test_what_an_app_needs() -> None:
    """Somebody to write to, and the right to."""
    with pytest.raises(ConfigurationError, match="users or departments"):
        WeComApp(corp_id="ww", secret="s", agent_id=1)
