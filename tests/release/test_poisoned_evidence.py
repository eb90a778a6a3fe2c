"""Evidence that is spoiled in one place, through the real adapters and the real gate: none of it ever passes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.sources import Sources
from model_release.errors import ConfigurationError
from model_release.registry import end_trial, set_latch
from model_release.verdict import Verdict
from tests.fakes_monitoring import Reply, Value, alert, said
from tests.gate_evidence import CANDIDATE
from tests.poisoned import ANSWERS, BAD, OVERLAP, PER_SECOND, SECONDS, UP, USERS, Scene, counter, scene

CANDIDATES, CURRENTS = '{variant="candidate"}', '{variant="current"}'
ERROR, FAIL, INCONCLUSIVE = Verdict.ERROR, Verdict.FAIL, Verdict.INCONCLUSIVE
TOKEN = "s3cret-token-of-prometheus"


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


def test_what_is_not_spoiled_passes(sound: Scene) -> None:
    """Else the table below would prove nothing."""
    decision = sound.judged()
    assert {result.check: result.verdict for result in decision.results} == dict.fromkeys(
        ["latch", "artifact", "trial", "replicas", "bad", "slow", "split", "overlap", "alerts", "reconciliation"],
        Verdict.PASS,
    )


# --- answers of Prometheus that are no answers


def of(query: str, change: Callable[[dict[str, Any]], Reply | dict[str, Any]]) -> Callable[[Scene], None]:
    """Return what spoils every answer to queries that hold ``query``."""

    def spoil(found: Scene) -> None:
        found.prometheus.poison = lambda _path, asked, right: change(right) if query in asked["query"] else None

    return spoil


def everything(reply: Reply) -> Callable[[Scene], None]:
    return of("", lambda _right: reply)


def first_series(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what changes the first series of an answer."""

    def spoil(right: dict[str, Any]) -> dict[str, Any]:
        change(right["data"]["result"][0])
        return right

    return spoil


def sample(value: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what changes one sample in the middle of the first series."""
    return first_series(lambda one: one["values"][100].__setitem__(1, value))


def doubled(right: dict[str, Any]) -> dict[str, Any]:
    right["data"]["result"].append(right["data"]["result"][0])
    return right


def without(selector: str, *places: int) -> Callable[[Scene], None]:
    def spoil(found: Scene) -> None:
        kept = [one for place, one in enumerate(found.prometheus.series[selector]) if place not in places]
        found.prometheus.series[selector] = kept if places else []

    return spoil


def stopped(selector: str, *, minutes_ago: float) -> Callable[[Scene], None]:
    """Return what ends the first series of a selector some minutes ago."""

    def spoil(found: Scene) -> None:
        until = found.prometheus.now() - 60.0 * minutes_ago
        value = found.prometheus.series[selector][0][1]
        found.replace(selector, lambda at: value(at) if at <= until else None, only=0)

    return spoil


def constant(selector: str, value: float | str, *, only: int | None = None) -> Callable[[Scene], None]:
    return lambda found: found.replace(selector, lambda _at: value, only=only)


def faster(selector: str, times: float) -> Callable[[Scene], None]:
    """Return what lets a counter of the candidate run so many times as fast as answers come in."""
    return lambda found: found.replace(selector, counter(PER_SECOND["candidate"] * times, found.started))


def restarted_down(found: Scene) -> None:
    """The candidate's counter falls at every second block: that is no restart, but no counter."""
    found.replace(BAD + CANDIDATES, lambda at: -float(int(at) % 7))


def skewed(seconds: float) -> Callable[[Scene], None]:
    def spoil(found: Scene) -> None:
        found.prometheus.skew_seconds = seconds

    return spoil


def stale_scrape(right: dict[str, Any]) -> dict[str, Any]:
    one = right["data"]["result"][0]
    one["value"][1] = str(float(one["value"][1]) - 600.0)
    return right


def gone(found: Scene) -> None:
    """Nothing listens at the address any more."""
    found.sources = Sources(
        prometheus_url="http://127.0.0.1:9", alertmanager_url=found.alertmanager.url, timeout_seconds=3.0
    )


def unset(found: Scene) -> None:
    found.sources = Sources(alertmanager_url=found.alertmanager.url)


def prometheus_error(kind: str, text: str, status: int) -> Reply:
    return said({"status": "error", "errorType": kind, "error": text}, status=status)


def cut_in_half(right: dict[str, Any]) -> Reply:
    body = json.dumps(right).encode()
    return Reply(body, cut=len(body) // 2)


def drop(found: Scene) -> None:
    FileRegistry(found.paths).update(end_trial)


def latched(found: Scene) -> None:
    at = dt.datetime.now(dt.UTC)
    FileRegistry(found.paths).update(lambda state: set_latch(state, reason="look", by="me", at=at))


def damaged(found: Scene) -> None:
    found.paths.registry.write_text('{"schema_version": 1, "gener', encoding="utf-8")


def tampered(found: Scene) -> None:
    manifest = found.paths.models / CANDIDATE / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"git_commit"', ' "git_commit"'), encoding="utf-8")


def removed(found: Scene) -> None:
    (found.paths.models / CANDIDATE).rename(found.paths.models / "moved-away")


def no_traffic(found: Scene) -> None:
    constant(ANSWERS + CANDIDATES, 7.0)(found)
    constant(BAD + CANDIDATES, 7.0)(found)


def slow_answers(found: Scene) -> None:
    """Of the candidate's answers only a tenth is within 0.1 seconds."""
    for place in range(4):  # both bounds that are not +Inf, at both replicas
        found.replace(SECONDS + CANDIDATES, counter(PER_SECOND["candidate"] * 0.1, found.started), only=place)


OF_PROMETHEUS: Mapping[str, tuple[Callable[[Scene], None], Verdict, str]] = {
    "not there": (gone, ERROR, "can't be asked: ConnectError"),
    "not configured": (unset, ERROR, "PROMETHEUS_URL is not set"),
    "an error of its own": (
        everything(prometheus_error("execution", "too many samples", 422)),
        ERROR,
        "execution: too many samples",
    ),
    "an error with status 200": (everything(prometheus_error("timeout", "slow", 200)), ERROR, "timeout: slow"),
    "a page of a proxy": (everything(Reply(b"<html>welcome</html>")), ERROR, "a page of HTML"),
    "a gateway that failed": (everything(Reply(b"Bad Gateway", status=502)), ERROR, "answered 502: Bad Gateway"),
    "a login that is asked for": (everything(Reply(b"", status=401)), ERROR, "answered 401"),
    "a redirect": (
        everything(Reply(b"", status=302, headers={"Location": "http://127.0.0.1:9/"})),
        ERROR,
        "redirects are not followed",
    ),
    "half an answer": (of(ANSWERS, cut_in_half), ERROR, "without sending complete message body"),
    "half a document": (everything(Reply(b'{"status":"success","data":{"resu')), ERROR, "not valid JSON"),
    "nothing at all": (everything(Reply(b"")), ERROR, "answered nothing"),
    "a list instead of an object": (everything(said([1, 2])), ERROR, "expected keys and values"),
    "no data": (everything(said({"status": "success"})), ERROR, "success without data"),
    "bytes that are no text": (everything(Reply(b'{"status":"\xff\xfe"}')), ERROR, "not UTF-8"),
    "an answer that comes too late": (
        everything(Reply(b"{}", wait_seconds=4.0)),
        ERROR,
        "did not answer within 3 seconds",
    ),
    "an answer that drips": (
        everything(Reply(b" " * 200, drip_seconds=0.05)),
        ERROR,
        "did not answer within 3 seconds",
    ),
    "a warning of partial data": (
        of(ANSWERS, lambda right: {**right, "warnings": ["remote read failed"]}),
        ERROR,
        "may be partial: remote read failed",
    ),
    "another kind of answer": (
        of(ANSWERS, lambda right: {**right, "data": {**right["data"], "resultType": "vector"}}),
        ERROR,
        "expected a matrix",
    ),
    "a native histogram": (
        of(ANSWERS, first_series(lambda one: one.update(histograms=[]))),
        ERROR,
        "native histogram",
    ),
    "a sample that is NaN": (of(ANSWERS, sample("NaN")), ERROR, "is NaN at"),
    "a sample that is infinite": (of(BAD, sample("+Inf")), ERROR, "infinite sample"),
    "a sample that is a word": (of(BAD, sample("many")), ERROR, "'many', which is not a number"),
    "a sample without quotes": (of(BAD, sample(12)), ERROR, "is 12, expected text"),
    "a sample that is null": (of(BAD, sample(None)), ERROR, "is None, expected text"),
    "a sample that is beyond counting": (of(ANSWERS, sample("1e300")), ERROR, "beyond 2^53"),
    "a negative count": (constant(BAD + CANDIDATES, -3.0), ERROR, "negative"),
    "a counter that is none": (restarted_down, ERROR, "negative"),
    "a time that is a word": (
        of(ANSWERS, first_series(lambda one: one["values"][5].__setitem__(0, "noon"))),
        ERROR,
        "is 'noon', expected a number",
    ),
    "samples between the blocks": (
        of(ANSWERS, first_series(lambda one: one["values"][5].__setitem__(0, one["values"][5][0] + 1.3))),
        ERROR,
        "which was not asked for",
    ),
    "samples in the wrong order": (
        of(ANSWERS, first_series(lambda one: one["values"].reverse())),
        ERROR,
        "out of order",
    ),
    "a series twice": (of(ANSWERS, doubled), ERROR, "twice"),
    "labels that are no text": (
        of(ANSWERS, first_series(lambda one: one["metric"].update(x=1))),
        ERROR,
        "metric.x is 1, expected text",
    ),
    "a clock that is ahead": (skewed(3600.0), ERROR, "clock differs by +3600 seconds"),
    "a clock that is behind": (skewed(-300.0), ERROR, "clock differs by -300 seconds"),
    "a time that is none": (
        of(
            "time()", lambda _right: said({"status": "success", "data": {"resultType": "scalar", "result": [1, "NaN"]}})
        ),
        ERROR,
        "answered time() with nan",
    ),
}

# --- right answers that do not bear out a release

OF_THE_TRIAL: Mapping[str, tuple[Callable[[Scene], None], Verdict, str]] = {
    "no replica": (without(UP), ERROR, "no series of up"),
    "a replica that is down": (constant(UP, 0.0, only=1), ERROR, "replica-2:8000 can't be scraped"),
    "a replica that is neither up nor down": (constant(UP, "NaN", only=0), ERROR, "replica-1:8000 can't be scraped"),
    "a replica that was scraped long ago": (of("timestamp(up)", stale_scrape), ERROR, "600 seconds old"),
    "a replica that does not count": (without(ANSWERS + CANDIDATES, 1), ERROR, "replica-2:8000: scraped, but without"),
    "a counter that ended": (stopped(ANSWERS + CURRENTS, minutes_ago=10), ERROR, "replica-1:8000"),
    "no answers counted": (without(ANSWERS + CANDIDATES), ERROR, "no series of answers_total"),
    "nobody who counts the bad ones": (without(BAD + CANDIDATES), ERROR, "no series of bad_total"),
    "no current run to compare with": (without(ANSWERS + CURRENTS), ERROR, "no series of answers_total"),
    "more bad answers than answers": (faster(BAD + CANDIDATES, 3.0), ERROR, "more answers count than there were"),
    "bad answers": (faster(BAD + CANDIDATES, 0.2), FAIL, "at most +0.0100 is allowed"),
    "no traffic for the candidate": (no_traffic, INCONCLUSIVE, "no answers yet"),
    "buckets that decrease": (constant(SECONDS + CANDIDATES, 5.0, only=4), ERROR, "slow"),
    "buckets without +Inf": (without(SECONDS + CANDIDATES, 4, 5), ERROR, "+Inf"),
    "bounds that differ between the runs": (without(SECONDS + CURRENTS, 0, 1), ERROR, "slow"),
    "slow answers": (slow_answers, FAIL, "slow"),
    "users of one arm only": (without(USERS + CANDIDATES), ERROR, "no series of users"),
    "users that are NaN": (constant(USERS + CURRENTS, "NaN"), ERROR, "the value is nan"),
    "users that are infinite": (constant(USERS + CURRENTS, "+Inf"), ERROR, "the value is inf"),
    "few users": (constant(USERS + CANDIDATES, 10.0), FAIL, "split"),
    "another number instead of one": (
        lambda found: found.prometheus.series.update(
            {OVERLAP: [({"a": "1"}, lambda _: 0.7), ({"a": "2"}, lambda _: 0.8)]}
        ),
        ERROR,
        "2 series of overlap",
    ),
    "no number": (without(OVERLAP), ERROR, "no series of overlap"),
    "a number that is NaN": (constant(OVERLAP, "NaN"), ERROR, "the value is nan"),
    "a number that is too low": (constant(OVERLAP, 0.1), FAIL, "at least 0.2"),
    "a number that is too high": (constant(OVERLAP, 1.5), FAIL, "at most 1"),
    "no trial": (
        drop,
        ERROR,
        "no run is on trial",
    ),
    "the latch": (
        latched,
        FAIL,
        "automatic releases are stopped",
    ),
    "a registry that is damaged": (damaged, ERROR, "registry"),
    "files of the run that changed": (tampered, FAIL, "the run was changed"),
    "a run that is gone": (removed, ERROR, "artifact no run"),
}


# --- Alertmanager and the last reconciliation

SINCE = (dt.datetime.now(dt.UTC) - dt.timedelta(minutes=30)).isoformat()


def firing(**about: Any) -> Callable[[Scene], None]:
    labels = {"severity": "critical", **{key: about.pop(key) for key in list(about) if key == "severity"}}
    return lambda found: found.alertmanager.alerts.append(alert("Broken", **{"since": SINCE, **about}, **labels))


def replied(reply: Reply) -> Callable[[Scene], None]:
    def spoil(found: Scene) -> None:
        found.alertmanager.reply = reply

    return spoil


def no_watchdog(found: Scene) -> None:
    found.alertmanager.alerts = []


def days_ago(days: int) -> dt.date:
    return (dt.datetime.now(dt.UTC) - dt.timedelta(days=days)).date()


def reconciled(**changes: Any) -> Callable[[Scene], None]:
    def spoil(found: Scene) -> None:
        for path in found.paths.evaluation.glob("reconciliation_*"):
            path.unlink()
        found.reconciliation(**changes)

    return spoil


def none_reconciled(found: Scene) -> None:
    for path in found.paths.evaluation.glob("reconciliation_*"):
        path.unlink()


def half_written(found: Scene) -> None:
    """The newest file is cut; the one before it is sound, and must not stand in for it."""
    found.reconciliation(days_ago(2))
    path = found.reconciliation(days_ago(1))
    path.write_bytes(path.read_bytes()[:40])


AROUND: Mapping[str, tuple[Callable[[Scene], None], Verdict, str]] = {
    "a critical alert": (firing(), FAIL, "1 firing: Broken{severity=critical}"),
    "a silenced alert, which counts": (firing(silenced=True), FAIL, "(silenced)"),
    "an inhibited alert": (firing(inhibited=True), FAIL, "Broken"),
    "an alert of tomorrow": (firing(since="2099-01-01T00:00:00Z"), FAIL, "since 2099-01-01"),
    "an Alertmanager that hears nothing": (no_watchdog, ERROR, "Watchdog is not firing"),
    "an Alertmanager that refuses": (replied(said("not ready", status=503)), ERROR, 'answered 503: "not ready"'),
    "an Alertmanager that says something else": (replied(said({"alerts": []})), ERROR, "expected a list"),
    "alerts without a state": (
        replied(said([{"labels": {"a": "b"}, "startsAt": SINCE}])),
        ERROR,
        "answered something unexpected",
    ),
    "an Alertmanager that is a web page": (replied(Reply(b"<html>")), ERROR, "a page of HTML"),
    "no reconciliation": (none_reconciled, ERROR, "no reconciliation_<date>.json"),
    "an old reconciliation": (
        reconciled(day=days_ago(6), written_at=(dt.datetime.now(dt.UTC) - dt.timedelta(days=5)).isoformat()),
        ERROR,
        "hours old",
    ),
    "a reconciliation of the future": (reconciled(written_at="2099-01-01T00:00:00+00:00"), ERROR, "in the future"),
    "a reconciliation that differs": (reconciled(status="differs", problems=["hit rate fell"]), FAIL, "hit rate fell"),
    "a reconciliation that lacks data": (
        reconciled(status="missing", problems=["no log"]),
        ERROR,
        "could not be told what happened: no log",
    ),
    "a reconciliation of another day than its name": (
        reconciled(day=days_ago(3), name=f"reconciliation_{days_ago(1).isoformat()}.json"),
        ERROR,
        "not of the date in its name",
    ),
    "a reconciliation with an unknown word": (reconciled(status="fine"), ERROR, "1 problems"),
    "half a reconciliation": (half_written, ERROR, "problems"),
}
ALL = {**OF_PROMETHEUS, **OF_THE_TRIAL, **AROUND}


def test_the_table_is_as_long_as_it_should_be() -> None:
    assert len(ALL) >= 80
    assert len(ALL) == len(OF_PROMETHEUS) + len(OF_THE_TRIAL) + len(AROUND)


@pytest.mark.parametrize("name", ALL)
def test_no_spoiled_evidence_passes(sound: Scene, name: str) -> None:
    """The verdict is the one that the situation deserves, and a reason names what is wrong."""
    spoil, expected, words = ALL[name]
    spoil(sound)
    decision = sound.judged()
    told = [f"{result.check} {result.reason}" for result in decision.results if result.verdict is not Verdict.PASS]
    assert decision.verdict is expected, told
    assert any(words in reason for reason in told), told


def restarted(value: Value, when: float) -> Value:
    """Return a counter that begins at 0 again at a time."""

    def sampled(at: float) -> float:
        now, then = value(at), value(when)
        assert isinstance(now, float)
        assert isinstance(then, float)
        return now if at < when else now - then

    return sampled


def test_a_restart_is_no_poison(sound: Scene) -> None:
    """Counters of one replica begin at 0 again in the middle: it passes, and what came after is counted."""
    restart = sound.started + 600.0
    for selector, series in sound.prometheus.series.items():
        if "total" not in selector and "bucket" not in selector:
            continue
        _, value = series[0]
        for place in range(0, len(series), 2):
            value = series[place][1]
            sound.replace(selector, restarted(value, restart), only=place)
    assert sound.judged().verdict is Verdict.PASS


def test_tokens_travel_in_a_header_and_nowhere_else(sound: Scene) -> None:
    """Not in an address, an error, a decision, or what an object shows of itself."""
    sources = Sources(prometheus_url=sound.prometheus.url, prometheus_token=TOKEN, timeout_seconds=3.0)
    sound.sources = sources
    decision = sound.judged()
    assert TOKEN not in repr(sources) + decision.model_dump_json()
    assert {headers.get("Authorization") for headers in sound.prometheus.seen} == {f"Bearer {TOKEN}"}
    assert not any(TOKEN in str(asked) for asked in sound.prometheus.asked)


@pytest.mark.parametrize(
    "address", ["http://user:hunter2@127.0.0.1:9090", "127.0.0.1:9090", "http://h:9090/?t=hunter2"]
)
def test_an_address_that_holds_more_than_an_address_is_refused(address: str) -> None:
    """Before anything is asked, and without repeating what may be a password."""
    with pytest.raises(ConfigurationError) as refused:
        Sources(prometheus_url=address)
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="address of"):
        Sources.from_environment({"ALERTMANAGER_URL": address})
