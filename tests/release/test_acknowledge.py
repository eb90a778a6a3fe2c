"""``python -m model_release.acknowledge`` and the adapter of silences, against a real Alertmanager."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from model_release.acknowledge import main
from model_release.adapters.alertmanager import firing
from model_release.adapters.alertmanager_silences import (
    alerts_and_silences,
    carry_out,
    expire_silence,
    set_silence,
    silences,
)
from model_release.adapters.http_source import opened
from model_release.adapters.sources import Sources
from model_release.errors import AlertsUnavailableError, ConfigurationError
from model_release.evidence import Missing
from model_release.quieting import Plan
from model_release.silences import OWNER, Silence, Wanted, extended
from scripts.monitoring_programs import Server
from tests import monitoring
from tests.fakes_monitoring import Reply, fake_alertmanager, said

LABELS = {"alertname": "RecommendationErrors", "severity": "critical", "run_id": "run-b"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Alertmanager, with two alerts under one name, and one of another."""
    monitoring.need("alertmanager", "amtool")
    with monitoring.alertmanager(tmp_path_factory.mktemp("alertmanager")) as found:
        for labels in (LABELS, {**LABELS, "run_id": "run-c"}, {"alertname": "DataQualityLow", "table": "[red]items"}):
            monitoring.fire(found, **labels)
        yield found


@pytest.fixture
def quiet(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    """Nothing is silenced, before and after."""
    sources = Sources(alertmanager_url=server.url)
    monkeypatch.setenv("ALERTMANAGER_URL", server.url)
    yield sources
    asyncio.run(carry_out(sources, Plan(expired=tuple(one.id for one in active(sources)))))


def active(sources: Sources) -> list[Silence]:
    _, found = asyncio.run(alerts_and_silences(sources))
    return [one for one in found if one.state == "active"]


def told(sources: Sources, work: Any) -> Any:
    async def inside() -> Any:
        async with opened("Alertmanager", sources) as source:
            return await work(source)

    return asyncio.run(inside())


def test_without_arguments_it_lists_what_fires(quiet: Sources, capsys: pytest.CaptureFixture[str]) -> None:
    """With fingerprint and labels, as they are; changes nothing."""
    assert main([]) == 0
    out = capsys.readouterr().out
    assert out.count("RecommendationErrors") == 2
    assert "table=[red]items" in out
    alerts, _ = asyncio.run(alerts_and_silences(quiet))
    assert all(alert.fingerprint in out for alert in alerts)
    assert active(quiet) == []


def test_all_that_fire_under_a_name_are_silenced_each_for_itself(
    quiet: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    """For exactly their labels, with owner, reason and end; the list says so, and Alertmanager holds them back."""
    before = dt.datetime.now(dt.UTC)
    arguments = ["RecommendationErrors", "--by", "zhang san", "--reason", "the index is rebuilt", "--minutes", "30"]
    assert main(arguments) == 0
    found = active(quiet)
    assert sorted(str((one.labels or {})["run_id"]) for one in found) == ["run-b", "run-c"]
    assert {(one.created_by, one.comment) for one in found} == {("zhang san", "acknowledged: the index is rebuilt")}
    for one in found:
        assert dt.timedelta(minutes=29) < one.ends_at - before < dt.timedelta(minutes=31)
    alerts = asyncio.run(firing(quiet))
    assert not isinstance(alerts, Missing)
    assert {alert.labels["alertname"]: alert.silenced for alert in alerts} == {
        "RecommendationErrors": True,
        "DataQualityLow": False,
    }
    capsys.readouterr()
    assert main([]) == 0
    assert "silenced by zhang san until" in capsys.readouterr().out


def test_said_again_by_the_same_person_it_is_extended_not_duplicated(
    quiet: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never shortened; somebody else's is another one."""
    (alert,) = [
        one for one in asyncio.run(alerts_and_silences(quiet))[0] if one.labels["alertname"] == "DataQualityLow"
    ]
    base = [alert.fingerprint, "--reason", "looking"]
    assert main([*base, "--by", "zhang san", "--minutes", "5"]) == 0
    (first,) = active(quiet)
    assert main([*base, "--by", "zhang san", "--minutes", "50"]) == 0
    (second,) = active(quiet)
    assert second.id == first.id
    assert second.ends_at > first.ends_at + dt.timedelta(minutes=40)
    assert main([*base, "--by", "zhang san", "--minutes", "5"]) == 0
    assert active(quiet) == [second]
    assert main([*base, "--by", "li si", "--minutes", "5"]) == 0
    assert len(active(quiet)) == 2
    out = capsys.readouterr().out
    assert [word in out for word in ("acknowledged until", "extended until", "acknowledged already")] == [True] * 3


@pytest.mark.parametrize(
    ("arguments", "said_then"),
    [
        (["RecommendationErrors"], "--by and --reason are needed"),
        (["RecommendationErrors", "--by", "a"], "--by and --reason are needed"),
        (["--by", "a"], "--by without an alert"),
        (["X", "--by", "model-release", "--reason", "because"], "is nobody"),
        (["X", "--by", " ", "--reason", "because"], "is nobody"),
        (["X", "--by", "a", "--reason", "x"], "is no reason"),
        (["X", "--by", "a", "--reason", "because", "--minutes", "0"], "from 1 to 1440"),
        (["X", "--by", "a", "--reason", "because", "--minutes", "1441"], "from 1 to 1440"),
        (["X", "--by", "a", "--reason", "because", "--minutes", "soon"], "from 1 to 1440"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_silences_nothing(
    quiet: Sources, capsys: pytest.CaptureFixture[str], arguments: list[str], said_then: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said_then in capsys.readouterr().err
    assert active(quiet) == []


def test_what_does_not_fire_is_not_acknowledged_and_a_name_is_proposed(
    quiet: Sources, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["RecommendationError", "--by", "a", "--reason", "because"]) == 1
    assert "did you mean 'RecommendationErrors'" in capsys.readouterr().err
    assert main(["zzz", "--by", "a", "--reason", "because"]) == 1
    assert "firing are DataQualityLow, RecommendationErrors" in capsys.readouterr().err
    assert active(quiet) == []


def test_without_alertmanager_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not set: wrong usage.  Set, and nobody is there: it could not be done."""
    monkeypatch.delenv("ALERTMANAGER_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "ALERTMANAGER_URL is not set" in capsys.readouterr().err
    monkeypatch.setenv("ALERTMANAGER_URL", "http://127.0.0.1:9")
    assert main([]) == 1
    assert "can't be asked: ConnectError" in capsys.readouterr().err


# The adapter


def test_a_silence_is_set_extended_in_place_and_ended(quiet: Sources) -> None:
    """Alertmanager keeps its id; ended twice is ended; nothing else is touched."""
    now = dt.datetime.now(dt.UTC)
    wanted = Wanted(labels=LABELS, created_by=OWNER, comment="why", starts_at=now, ends_at=now + dt.timedelta(hours=1))
    made = told(quiet, lambda source: set_silence(source, wanted))
    (one,) = active(quiet)
    assert (one.id, one.labels, one.created_by, one.comment) == (made, LABELS, OWNER, "why")
    longer = extended(one, ends_at=now + dt.timedelta(hours=23))
    assert longer is not None
    assert told(quiet, lambda source: set_silence(source, longer)) == made
    (again,) = active(quiet)
    assert again.ends_at - one.ends_at == pytest.approx(dt.timedelta(hours=22), abs=dt.timedelta(seconds=1))
    for _ in range(2):
        told(quiet, lambda source: expire_silence(source, made))
    assert active(quiet) == []


def test_a_silence_with_a_pattern_has_no_labels(server: Server, quiet: Sources) -> None:
    """So that nobody takes it for one of exactly one alert."""
    now = dt.datetime.now(dt.UTC)
    document = {
        "matchers": [{"name": "alertname", "value": "Data.*", "isRegex": True, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + dt.timedelta(hours=1)).isoformat(),
        "createdBy": "a",
        "comment": "b",
    }
    server.http.post("/api/v2/silences", json=document).raise_for_status()
    (one,) = active(quiet)
    assert one.labels is None


def test_an_alert_has_a_fingerprint_and_who_keeps_it_back(quiet: Sources) -> None:
    """The same one each time."""
    first, second = asyncio.run(firing(quiet)), asyncio.run(firing(quiet))
    assert not isinstance(first, Missing)
    assert first == second
    assert len({alert.fingerprint for alert in first}) == 3
    now = dt.datetime.now(dt.UTC)
    wanted = Wanted(labels=LABELS, created_by="a", comment="b", starts_at=now, ends_at=now + dt.timedelta(hours=1))
    made = told(quiet, lambda source: set_silence(source, wanted))
    alerts = asyncio.run(firing(quiet))
    assert not isinstance(alerts, Missing)
    assert {alert.silenced_by for alert in alerts if alert.labels == LABELS} == {(made,)}


def test_answers_that_are_none_are_an_outage(server: Server) -> None:
    """A refusal, a page of a proxy, a list that is none; and without an address a wrong configuration."""
    sources = Sources(alertmanager_url=server.url)
    with pytest.raises(AlertsUnavailableError, match="must be of type uuid"):
        told(sources, lambda source: expire_silence(source, "nonsense"))
    with fake_alertmanager() as fake:
        for reply in (Reply(b"<html>login</html>"), said({"silences": []}), Reply(b"no", status=503)):
            fake.reply = reply
            with pytest.raises(AlertsUnavailableError, match="Alertmanager at"):
                told(Sources(alertmanager_url=fake.url), silences)
    with pytest.raises(ConfigurationError, match="ALERTMANAGER_URL is not set"):
        told(Sources(), silences)
    nowhere = asyncio.run(firing(Sources()))
    assert isinstance(nowhere, Missing)
