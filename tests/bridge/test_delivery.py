"""A real bridge process between webhooks and WeCom on loopback: told once, whatever happens, and nothing lost on the way."""

from __future__ import annotations

import re
import threading

import httpx
import pytest

from model_release.messages import MARKDOWN_BYTES
from tests.api.replica import wait_until
from tests.bridge.conftest import StartBridge
from tests.bridge.process import TOKEN, bearer
from tests.bridge.webhooks import alert, over, webhook
from tests.fakes_wecom import FakeWeCom, Fault

ONE = alert(run_id="r1", slot="candidate")
TWO = alert("ReplicaDown", fingerprint="00000000000000b2", severity="warning", instance="api-2:8000")
_LABEL = re.compile(r"^\((\d+)/(\d+) of message \d+\)\n")


def test_an_alert_begins_and_ends(start: StartBridge, service: FakeWeCom) -> None:
    """One firing and one resolved message, and a person is called about a critical one."""
    bridge = start(mentioned="zhangsan,@all", mentioned_mobiles="13800001111")
    assert bridge.post(webhook(ONE)).json() == {"messages": 1}
    bridge.wait_idle()
    bridge.post(webhook(over(ONE)))
    bridge.wait_idle()
    told, called, ended = service.received
    assert told["markdown"]["content"].startswith("**🚨 RecommendationErrors**\nrun r1 answers 12 %")
    assert called["text"]["mentioned_list"] == ["zhangsan", "@all"]
    assert called["text"]["mentioned_mobile_list"] == ["13800001111"]
    assert ended["markdown"]["content"].startswith("**✅ Resolved: RecommendationErrors**")
    assert bridge.messages("delivered") == 2


def test_a_hundred_repeats_and_restarts_tell_it_once(start: StartBridge, service: FakeWeCom) -> None:
    """``repeat_interval``, a second Alertmanager and restarts change nothing: one firing, one resolved message."""
    bridge = start()
    for number in range(100):
        assert bridge.post(webhook(ONE, TWO, receiver=f"peer-{number % 2}")).status_code == 200
        if number in {30, 60}:
            (bridge.kill if number == 30 else bridge.stop)()
            bridge.start()
    for _ in range(50):
        bridge.post(webhook(over(ONE), TWO))
        bridge.post(webhook(ONE, TWO))  # a peer that lags
    bridge.wait_idle()
    assert [text.splitlines()[0] for text in service.texts] == [
        "**🚨 2 alerts: RecommendationErrors, ReplicaDown**",
        "**✅ Resolved: RecommendationErrors**",
    ]


def test_two_alertmanagers_at_the_same_moment(start: StartBridge, service: FakeWeCom) -> None:
    """Posted twenty times at once, it is one message."""
    bridge = start()
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(bridge.post(webhook(ONE)).json()["messages"])) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bridge.wait_idle()
    assert sorted(answers) == [0] * 19 + [1]
    assert len(service.received) == 1


def test_the_same_alert_again_later_is_a_new_one(start: StartBridge, service: FakeWeCom) -> None:
    """Another beginning, another message; of an end without a beginning nobody hears."""
    bridge = start()
    again = alert(start="2026-11-25T11:00:00Z")
    assert bridge.post(webhook(over(TWO))).json() == {"messages": 0}
    for body in (webhook(ONE), webhook(over(ONE)), webhook(again)):
        bridge.post(body)
    bridge.wait_idle()
    assert len(service.received) == 3
    assert "2026-11-25 11:00:00 UTC" in service.texts[2]


def test_an_earlier_beginning_is_the_same_alert(start: StartBridge, service: FakeWeCom) -> None:
    """Of two Prometheus, Alertmanager keeps the earlier beginning: no second message, and the end is told."""
    bridge = start()
    earlier = alert(start="2026-11-25T09:16:58Z", run_id="r1", slot="candidate")
    for body in (webhook(ONE), webhook(earlier), webhook(over(earlier)), webhook(over(ONE))):
        bridge.post(body)
    bridge.wait_idle()
    assert [text.splitlines()[0] for text in service.texts] == [
        "**🚨 RecommendationErrors**",
        "**✅ Resolved: RecommendationErrors**",
    ]


@pytest.mark.parametrize("fault", [-1, 45009, 45033, ("http", 500), ("http", 403), ("http", 429)])
def test_what_passes_is_waited_for(start: StartBridge, service: FakeWeCom, fault: Fault) -> None:
    """Busy, throttled or down, more often than the notifier's client would try: told once in the end."""
    service.faults = [fault] * 7
    bridge = start(retry_seconds="0.01", throttled_seconds="0.02")
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert len(service.received) == 1
    assert service.attempts == 8
    assert bridge.messages("delivered") == 1


@pytest.mark.parametrize("code", [93000, 40058])
def test_what_never_passes_is_reported_once(start: StartBridge, service: FakeWeCom, code: int) -> None:
    """In the log and as a metric; the alert sent again changes nothing, its end is no news, other alerts are told."""
    service.faults = [code]
    bridge = start()
    for body in (webhook(ONE), webhook(ONE), webhook(over(ONE)), webhook(TWO)):
        bridge.post(body)
        bridge.wait_idle()
    assert [text.splitlines()[0] for text in service.texts] == ["**⚠️ ReplicaDown**"]
    assert bridge.messages("refused") == 1
    assert bridge.log.count(f"errcode {code}") == 1
    bridge.restart()  # with a better key, say
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert service.texts[-1].startswith("**🚨 RecommendationErrors**")


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        (("drop", 0), True),
        (("hang", 30), True),
        (("close", 0), False),
        (("stall", 30), False),
        (("http", 504), False),
        (("http", 200), False),
    ],
)
def test_a_lost_answer(start: StartBridge, service: FakeWeCom, fault: Fault, arrives: bool) -> None:
    """The message is not sent twice; a note says what may be missing, so that nobody is left without the news."""
    service.faults = [fault]
    bridge = start(attempt_seconds="0.5")
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    *before, note = service.texts
    assert len(before) == (1 if arrives else 0)
    assert note.splitlines()[0] == "**❔ May be missing above: message 1**"
    assert "🚨 RecommendationErrors: run r1 answers 12 % of requests with errors" in note
    assert bridge.messages("unknown") == 1
    bridge.post(webhook(over(ONE)))
    bridge.wait_idle()
    assert service.texts[-1].startswith("**✅ Resolved")


def test_a_lost_note_is_not_followed_by_another(start: StartBridge, service: FakeWeCom) -> None:
    """A service that swallows all answers gets two messages, not a flood."""
    service.faults = [("drop", 0)] * 20
    bridge = start()
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert len(service.received) == 2


def test_ten_thousand_characters_arrive(start: StartBridge, service: FakeWeCom) -> None:
    """In parts that fit, none of which ends within a character, in order, complete."""
    text = "".join(chr(0x4E00 + number % 20_000) for number in range(10_000))
    bridge = start()
    bridge.post(webhook(alert(annotations={"description": text})))
    bridge.wait_idle()
    assert len(service.texts) > 7
    assert all(len(part.encode()) <= MARKDOWN_BYTES and "�" not in part for part in service.texts)
    labels = [match.groups() for part in service.texts if (match := _LABEL.match(part))]
    assert labels == [(str(place), str(len(labels))) for place in range(1, len(labels) + 1)]
    whole = "".join(_LABEL.sub("", part) for part in service.texts).replace("\n", "")
    assert text in whole


def test_twenty_a_minute(start: StartBridge, service: FakeWeCom) -> None:
    """The robot is never asked for more than it takes, across a restart too: its service refuses nothing."""
    service.per_minute = 20
    bridge = start(throttled_seconds="3600")
    for number in range(1, 26):
        bridge.post(webhook(alert(f"Alert{number}", fingerprint=f"{number:016x}")))
    wait_until("a minute's messages are told", lambda: len(service.received) == 20)
    bridge.restart()
    wait_until("it looks again", lambda: bridge.value("alert_bridge_queue_messages") == 5)
    assert service.attempts == 20
    assert bridge.value('alert_bridge_attempts_total{result="throttled"}') == 0


def test_every_target_has_its_own_queue(start: StartBridge, service: FakeWeCom) -> None:
    """A robot that is gone holds up nobody; a path names one target."""
    service.more_keys = ("second-key",)
    bridge = start(robots=f"gone=no-such-key,ops={service.key},night=second-key")
    assert bridge.post(webhook(ONE)).json() == {"messages": 3}
    bridge.post(webhook(TWO), path="/alertmanager/night")
    bridge.wait_idle()
    assert [len(service.by_key[key]) for key in (service.key, "second-key")] == [1, 2]
    assert bridge.messages("refused") == 1
    assert bridge.post(webhook(TWO), path="/alertmanager/nobody").status_code == 404


def test_only_the_log(start: StartBridge, service: FakeWeCom) -> None:
    """Where nobody has a robot yet, what would be told stands in the log."""
    bridge = start(robots="", log_only="true")
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert "**🚨 RecommendationErrors**\nrun r1 answers 12 %" in bridge.log
    assert service.attempts == 0


def test_an_app_tells_it_too(start: StartBridge, service: FakeWeCom) -> None:
    """With an access token that is kept, and replaced when it has expired."""
    bridge = start(
        robots="",
        app_corp_id=service.corp_id,
        app_secret=service.secret,
        app_agent_id=str(service.agent_id),
        app_to_user="zhangsan|lisi",
    )
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    bridge.post(webhook(over(ONE)))
    bridge.wait_idle()
    assert len(service.tokens) == 1
    service.expired = set(service.tokens)
    bridge.post(webhook(TWO))
    bridge.wait_idle()
    assert len(service.tokens) == 2
    assert [message["touser"] for message in service.app_received] == ["zhangsan|lisi"] * 3


def test_an_app_is_asked_again_after_a_lost_answer(start: StartBridge, service: FakeWeCom) -> None:
    """The service's own check knows the message again: everybody has it, nobody twice, and no note is needed."""
    service.faults = [("drop", 0), ("close", 0)]
    bridge = start(
        robots="",
        app_corp_id=service.corp_id,
        app_secret=service.secret,
        app_agent_id=str(service.agent_id),
        app_to_party="2",
    )
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert (len(service.app_received), len(service.app_repeated)) == (1, 1)
    assert bridge.messages("delivered") == 1


def test_secrets_stay_secret(start: StartBridge, service: FakeWeCom) -> None:
    """No log, no answer and no metric holds a key, a secret or a token, whatever goes wrong."""
    service.faults = [-1, 93000, ("drop", 0), ("http", 500), 40058]
    service.token_faults = [-1, ("http", 500), 40001]
    bridge = start(
        robots=f"ops={service.key}",
        app_corp_id=service.corp_id,
        app_secret=service.secret,
        app_agent_id=str(service.agent_id),
        app_to_user="zhangsan",
    )
    for number in range(6):
        bridge.post(webhook(alert(fingerprint=f"{number:016x}")))
    bridge.wait_idle()
    said = [bridge.log, bridge.metrics(), bridge.http.get("/health").text]
    said += [httpx.post(f"{bridge.url}/alertmanager", json={}, headers=bearer("wrong"), trust_env=False).text]
    for secret in (service.key, service.secret, TOKEN, *service.tokens):
        assert secret not in "\n".join(said)
