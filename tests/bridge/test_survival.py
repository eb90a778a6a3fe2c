"""A bridge that is killed, stopped, full, damaged or left alone: what was taken is told, and told once."""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.api.replica import wait_until
from tests.bridge.conftest import StartBridge
from tests.bridge.webhooks import alert, over, webhook
from tests.fakes_wecom import FakeWeCom, Fault, wecom

ONE = alert(run_id="r1", slot="candidate")
TWO = alert("ReplicaDown", fingerprint="00000000000000b2", severity="warning", instance="api-2:8000")
_LABEL = re.compile(r"^\((\d+)/(\d+) of message \d+\)\n")


def test_a_killed_bridge_loses_nothing(start: StartBridge, service: FakeWeCom) -> None:
    """What was answered with 2xx is told after ``kill -9``, or a note names it; nothing is told twice."""
    service.faults = [("http", 500)] * 4
    bridge = start(retry_seconds="0.4")
    names = [f"Alert{number}" for number in range(1, 7)]
    for place, name in enumerate(names):
        assert bridge.post(webhook(alert(name, fingerprint=f"{place:016x}"))).status_code == 200
    wait_until("something was tried", lambda: service.attempts > 0)
    for _ in range(3):
        bridge.kill()
        bridge.start()
    bridge.wait_idle(30)
    told = [text.splitlines()[0] for text in service.texts]
    for name in names:
        assert told.count(f"**🚨 {name}**") <= 1
        assert any(name in text for text in service.texts), name
    assert told.count("**🚨 Alert6**") == 1  # the last one was not under way


def test_killed_while_it_sends(start: StartBridge, service: FakeWeCom) -> None:
    """The message arrived, the answer did not: it is not sent again, and a note says so."""
    service.faults = [("hang", 30)]
    bridge = start()
    bridge.post(webhook(ONE))
    wait_until("WeCom has it", lambda: len(service.received) == 1)
    bridge.kill()
    bridge.start()
    bridge.wait_idle()
    assert [text.splitlines()[0] for text in service.texts] == [
        "**🚨 RecommendationErrors**",
        "**❔ May be missing above: message 1**",
    ]


def test_stopped_while_it_sends(start: StartBridge, service: FakeWeCom) -> None:
    """A bridge that is asked to end waits for the answer: nothing is in doubt, nothing sent again."""
    service.faults = [("slow", 1.0)]
    bridge = start()
    bridge.post(webhook(ONE))
    wait_until("WeCom has it", lambda: len(service.received) == 1)
    bridge.restart()
    assert bridge.value("alert_bridge_queue_messages") == 0
    assert len(service.received) == 1


def test_killed_in_the_middle_of_a_long_message(start: StartBridge, service: FakeWeCom) -> None:
    """Each part arrives once: those before the kill, those after it, in their order."""
    body = webhook(
        alert(annotations={"description": "\n".join(f"行{number:04d}" + "长" * 60 for number in range(100))})
    )
    service.faults = [0, 0]  # without keeping them: two parts that the service took, and the test forgets
    bridge = start(messages_per_minute="3")
    bridge.post(body)
    wait_until("three parts are sent", lambda: service.attempts == 3)
    bridge.kill()
    service.faults = []
    bridge.start()
    wait_until("the rate is remembered", lambda: bridge.value("alert_bridge_queue_messages") == 1)
    assert service.attempts == 3
    assert [_LABEL.match(text)[1] for text in service.texts] == ["3"]  # type: ignore[index]  # each has its label


def test_too_old_is_given_up(start: StartBridge, service: FakeWeCom) -> None:
    """With a line in the log and a metric; an alert that goes on is told when it is sent again."""
    service.faults = [("http", 500)] * 1000
    bridge = start(queue_hours="0.0003", retry_seconds="0.2")
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert bridge.messages("expired") == 1
    assert "given up after 0.0003 hours, nobody was told: message 1, firing" in bridge.log
    service.faults = []
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert len(service.received) == 1


def test_messages_to_a_target_that_is_gone_do_not_wait_for_ever(start: StartBridge, service: FakeWeCom) -> None:
    """They are given up by age like all others; one that is named again in time gets what waited."""
    service.faults = [("http", 500)] * 1000
    home = start(robots=f"old={service.key}", retry_seconds="30")
    home.post(webhook(ONE))
    wait_until("it was tried", lambda: service.attempts > 0)
    home.stop()
    service.faults = []
    state = str(home.home / "data" / "alert_bridge")
    other = start(state=state, robots=f"new={service.key}")
    assert other.value("alert_bridge_queue_messages") == 1
    other.stop()
    other = start(state=state, robots=f"new={service.key}", queue_hours="0.0001")
    other.wait_idle()
    assert other.messages("expired") == 1
    assert "messages to nobody's name" in other.log
    assert service.received == []
    other.stop()
    home.start()
    home.post(webhook(ONE))
    home.wait_idle()
    assert len(service.received) == 1  # it was never told, so it is told when it is sent again


def test_a_full_queue_says_come_again(start: StartBridge, service: FakeWeCom) -> None:
    """503, so that Alertmanager keeps what has no room; nothing is thrown away for it, and nothing told twice."""
    service.faults = [("http", 500)] * 6
    bridge = start(queue_messages="2", retry_seconds="0.1")
    third = alert("Third", fingerprint="00000000000000c3")
    assert [bridge.post(webhook(one)).status_code for one in (ONE, TWO, third)] == [200, 200, 503]
    assert bridge.webhooks("full") == 1
    wait_until("there is room", lambda: bridge.post(webhook(third)).status_code == 200)
    bridge.wait_idle()
    assert len(service.received) == 3


def test_wecom_down_for_a_while(start: StartBridge) -> None:
    """Nobody listens at its address, then somebody does."""
    with wecom() as gone:
        port = int(gone.url.rpartition(":")[2])
        bridge = start(wecom_url=gone.url)
    bridge.post(webhook(ONE))
    wait_until("it was tried", lambda: bridge.value('alert_bridge_attempts_total{result="unreachable"}') != 0)
    with wecom(port) as back:
        bridge.wait_idle()
        assert len(back.received) == 1


def test_only_one_bridge_in_a_folder(start: StartBridge, tmp_path: Path) -> None:
    """Two would tell everything twice."""
    bridge = start(state=str(tmp_path / "shared"))
    with pytest.raises(Exception, match="another bridge uses"):
        start(state=str(tmp_path / "shared"))
    assert bridge.http.get("/health").status_code == 200


def test_a_damaged_queue_is_put_aside(start: StartBridge, service: FakeWeCom) -> None:
    """Alerts told twice are better than none; what was there stays for whoever wants to look."""
    bridge = start()
    bridge.stop()
    queue = bridge.home / "data" / "alert_bridge" / "queue.sqlite"
    queue.write_bytes(b"this is no database" * 1000)
    bridge.start()
    bridge.post(webhook(ONE))
    bridge.wait_idle()
    assert len(service.received) == 1
    assert [path.read_bytes()[:19] for path in queue.parent.glob("*.damaged-*")] == [b"this is no database"]
    assert "is damaged" in bridge.log


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_killed_again_and_again(start: StartBridge, service: FakeWeCom, seed: int) -> None:
    """Whatever WeCom answers and whenever the bridge is killed: each beginning and each end is told or noted, and told once."""
    chance = random.Random(seed)  # noqa: S311
    passing: list[Fault] = [
        -1,
        45009,
        ("http", 500),
        ("http", 429),
        ("drop", 0),
        ("close", 0),
        ("hang", 5),
        ("slow", 0.2),
    ]
    service.faults = [chance.choice(passing) if chance.random() < 0.4 else ("slow", 0.0) for _ in range(400)]
    bridge = start(attempt_seconds="0.4", messages_per_minute="20", robots=f"ops={service.key},night=second-key")
    service.more_keys = ("second-key",)
    alerts = [alert(f"Alert{number}", fingerprint=f"{number:016x}") for number in range(1, 6)]
    done = threading.Event()

    def tell() -> None:
        """Do as Alertmanager: everything again and again, until it is over."""
        for body in [webhook(one) for one in alerts] + [webhook(over(one)) for one in alerts]:
            taken = 0
            while taken < 3:  # each is repeated
                with contextlib.suppress(httpx.TransportError):
                    taken += bridge.post(body).status_code == 200
                time.sleep(0.02)
        done.set()

    teller = threading.Thread(target=tell)
    teller.start()
    for _ in range(6):
        time.sleep(chance.uniform(0.1, 1.5))
        bridge.kill()
        bridge.start()
    teller.join(60)
    assert done.is_set()
    service.faults = []
    bridge.wait_idle(150)  # more than twenty messages take more than a minute
    for key in (service.key, "second-key"):
        texts = [message["markdown"]["content"] for message in service.by_key[key]]
        heads = [text.splitlines()[0] for text in texts]
        notes = "\n".join(text for text in texts if text.startswith("**❔"))
        for one in alerts:
            name = one["labels"]["alertname"]
            for head, sign in ((f"**🚨 {name}**", "🚨"), (f"**✅ Resolved: {name}**", "✅")):
                assert heads.count(head) <= 1, (key, head)
                assert head in heads or f"{sign} {name}:" in notes, (key, head, heads)
