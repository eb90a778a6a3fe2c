"""How Prometheus and Alertmanager are asked: limits, seams, clocks, tokens.  What spoils an answer: test_poisoned_evidence."""

from __future__ import annotations

import dataclasses
import datetime as dt
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model_release import blocks
from model_release.adapters.decisions import write_decision
from model_release.adapters.evidence import collect
from model_release.adapters.http_source import ANSWER_BYTES
from model_release.adapters.reconciliation_files import newest_reconciliation
from model_release.adapters.sources import Sources
from model_release.evidence import Evidence, Missing, OnlineEvidence, RangeQuery
from model_release.verdict import Decision, Verdict
from tests.fakes_monitoring import Reply, alert, said
from tests.gate_evidence import CANDIDATE
from tests.poisoned import ANSWERS, POLICY, RELEASE, Scene, read, scene

SELECTOR = f'{ANSWERS}{{variant="candidate"}}'


@pytest.fixture
def sound(tmp_path: Path) -> Iterator[Scene]:
    with scene(tmp_path) as found:
        yield found


def gathered(found: Scene, **online: Any) -> Evidence:
    policy = read({**POLICY, "online": {**POLICY["online"], **online}})
    return collect(found.paths, policy, CANDIDATE, RELEASE, "online", sources=found.sources)


def on_trial(evidence: Evidence) -> OnlineEvidence:
    assert evidence.online is not None
    return evidence.online


def reasons(evidence: Evidence) -> set[str]:
    """Return why something is missing of what Prometheus was asked."""
    online = on_trial(evidence)
    answers = [online.clock_offset_seconds, online.scrapes, *online.histories.values(), *online.numbers.values()]
    return {answer.reason for answer in answers if isinstance(answer, Missing)}


def test_each_question_is_asked_once(sound: Scene) -> None:
    """The same selector in two checks too."""
    gathered(sound)
    asked = Counter((call["query"], call.get("start"), call.get("end")) for call in sound.prometheus.asked)
    assert set(asked.values()) == {1}
    answers = [query for query, *_ in asked if query == SELECTOR]
    assert len(answers) == len(blocks.segments(0.0, 20 * 60.0 - 2.0, 5.0))


def test_one_limit_holds_for_all_questions_together(sound: Scene) -> None:
    """Twelve that hang cost as much time as one, and each has its reason."""
    sound.prometheus.poison = lambda _path, asked, _right: (
        None if asked["query"] == "time()" else Reply(b"{}", wait_seconds=3.0)
    )
    sound.sources = dataclasses.replace(sound.sources, timeout_seconds=0.5)
    began = time.monotonic()
    evidence = gathered(sound)
    assert time.monotonic() - began < 2.5
    assert {reason.partition(" did ")[2] for reason in reasons(evidence)} == {"not answer within 0.5 seconds"}


def test_an_answer_that_is_too_large_is_not_read_to_its_end(sound: Scene) -> None:
    sound.prometheus.poison = lambda _path, _asked, _right: Reply(b" " * (ANSWER_BYTES + 1))
    assert all(f"answered more than {ANSWER_BYTES} bytes" in reason for reason in reasons(gathered(sound)))


def test_compressed_answers_are_neither_asked_for_nor_taken(sound: Scene) -> None:
    """A few bytes could unpack to more than there is memory for."""
    body = gzip.compress(json.dumps({"status": "success"}).encode())
    sound.prometheus.poison = lambda _path, _asked, _right: Reply(body, headers={"Content-Encoding": "gzip"})
    assert all("encoding 'gzip', which was not asked for" in reason for reason in reasons(gathered(sound)))
    assert {headers["Accept-Encoding"] for headers in sound.prometheus.seen} == {"identity"}


def test_a_token_that_a_service_repeats_stays_out_of_the_reason(sound: Scene) -> None:
    sound.sources = dataclasses.replace(sound.sources, prometheus_token="hunter2")
    refusal = {"status": "error", "errorType": "unauthorized", "error": "who is hunter2?"}
    sound.prometheus.poison = lambda _path, _asked, _right: said(refusal, status=401)
    assert all("hunter2" not in reason and "who is [token]?" in reason for reason in reasons(gathered(sound)))


def test_two_servers_that_disagree_where_answers_meet_are_noticed(sound: Scene) -> None:
    """A long trial is asked for in several ranges, which share a bound; a load balancer may ask another server each time."""
    calls: list[str] = []

    def other_server(_path: str, asked: Any, right: dict[str, Any]) -> dict[str, Any] | None:
        if asked["query"] != SELECTOR:
            return None
        calls.append(asked["start"])
        if float(asked["start"]) > sound.started + 1.0:
            for pair in right["data"]["result"][0]["values"]:
                pair[1] = str(float(pair[1]) + 5.0)
        return right

    sound.prometheus.poison = other_server
    evidence = gathered(sound, step_seconds=2.0, maximum_age_seconds=60.0)
    assert len(calls) > 1
    answer = on_trial(evidence).histories[RangeQuery(SELECTOR)]
    assert isinstance(answer, Missing)
    assert "disagree" in answer.reason
    assert "load balancer" in answer.reason


def test_joined_ranges_are_one_series_at_the_bounds_of_all_blocks(sound: Scene) -> None:
    """Including a series that appears only in the second range, and times between two milliseconds."""
    late = sound.started + 700.0
    labels = {"__name__": ANSWERS, "job": "api", "instance": "replica-3:8000", "variant": "candidate"}
    sound.prometheus.series[SELECTOR].append((labels, lambda at: at - late if at >= late else None))
    online = on_trial(gathered(sound, step_seconds=2.0))
    history = online.histories[RangeQuery(SELECTOR)]
    assert not isinstance(history, Missing)
    assert np.allclose(np.round(online.bounds, 3), online.bounds, atol=1e-6)
    widths = np.diff(online.bounds)
    assert set(np.round(widths, 3).tolist()) == {2.0, 4.0, 8.0}
    (third,) = [one for one in history.series if one.labels["instance"] == "replica-3:8000"]
    seen = ~np.isnan(third.values)
    assert (seen == (online.bounds >= late)).all()
    assert np.allclose(third.values[seen], online.bounds[seen] - late, atol=0.01)


def test_an_answer_about_another_time_is_none(sound: Scene) -> None:
    """A cache in between would give the numbers of before."""

    def cached(path: str, asked: Any, right: dict[str, Any]) -> dict[str, Any] | None:
        if path != "query" or asked["query"] != "overlap":
            return None
        right["data"]["result"][0]["value"][0] -= 30.0
        return right

    sound.prometheus.poison = cached
    assert any("another time, -30.0 seconds off" in reason for reason in reasons(gathered(sound)))


def test_a_trial_that_has_just_begun_waits_for_its_first_block(tmp_path: Path) -> None:
    """Nothing is asked about answers yet, nothing is missing; whatever is about the trial is INCONCLUSIVE."""
    with scene(tmp_path, minutes=0.5) as young:
        online = {**POLICY["online"], "step_seconds": 60.0}
        decision = young.judged({**POLICY, "online": online})
        evidence = gathered(young, step_seconds=60.0)
    assert (len(on_trial(evidence).bounds), reasons(evidence)) == (0, set())
    verdicts = {result.check: result.verdict for result in decision.results if result.verdict is not Verdict.PASS}
    assert verdicts == dict.fromkeys(("bad", "slow", "overlap", "split"), Verdict.INCONCLUSIVE)


@pytest.mark.parametrize(("silenced", "expected"), [("count", Verdict.FAIL), ("ignore", Verdict.PASS)])
def test_a_silenced_alert_counts_as_the_policy_says(sound: Scene, silenced: str, expected: Verdict) -> None:
    since = dt.datetime.now(dt.UTC).isoformat()
    sound.alertmanager.alerts.append(alert("Broken", since=since, silenced=True, severity="critical"))
    checks = [
        {**check, "silenced": silenced} if check["kind"] == "alerts" else check for check in POLICY["online"]["checks"]
    ]
    decision = sound.judged({**POLICY, "online": {**POLICY["online"], "checks": checks}})
    assert decision.verdict is expected


@pytest.mark.parametrize(
    ("matcher", "fires"),
    [
        ({"severity": "crit"}, False),
        ({"severity": "=~crit"}, False),
        ({"severity": "=~crit.*"}, True),
        ({"severity": "critical", "service": "shop"}, False),
        ({"severity": "critical", "service": "=~(api)?"}, True),
        ({"alertname": "=~Bro.+|Other"}, True),
    ],
)
def test_matchers_are_those_of_alertmanager(sound: Scene, matcher: dict[str, str], fires: bool) -> None:
    """A regular expression must match the whole value; a label that is not there is empty; all of one matcher must hold."""
    since = dt.datetime.now(dt.UTC).isoformat()
    sound.alertmanager.alerts.append(alert("Broken", since=since, severity="critical"))
    checks = [
        {**check, "matchers": [{"a": "b"}, matcher]} if check["kind"] == "alerts" else check
        for check in POLICY["online"]["checks"]
    ]
    decision = sound.judged({**POLICY, "online": {**POLICY["online"], "checks": checks}})
    assert decision.verdict is (Verdict.FAIL if fires else Verdict.PASS)


def test_a_firing_alert_is_a_fail_even_if_the_watchdog_is_not_there(sound: Scene) -> None:
    """What is known to be wrong is not made milder by what is not known."""
    since = dt.datetime.now(dt.UTC).isoformat()
    sound.alertmanager.alerts = [alert("Broken", since=since, severity="critical")]
    assert sound.judged().verdict is Verdict.FAIL


def test_the_newest_reconciliation_is_that_of_the_latest_day(sound: Scene) -> None:
    """Whichever was written last; and a name that is no date makes it unknown."""
    today = dt.datetime.now(dt.UTC).date()
    sound.reconciliation(today - dt.timedelta(days=9))
    assert newest_reconciliation(sound.paths) == today - dt.timedelta(days=1)
    (sound.paths.evaluation / "reconciliation_2026-13-45.json").write_text("{}", encoding="utf-8")
    found = newest_reconciliation(sound.paths)
    assert isinstance(found, Missing)
    assert "reconciliation_2026-13-45.json names no date" in found.reason
    assert sound.judged().verdict is Verdict.ERROR


def test_the_last_time_that_everything_was_measured_survives_a_restart(sound: Scene) -> None:
    """From the kept decision of this run, release and stage; one of another run, or of tomorrow, tells nothing."""
    measured = sound.judged()
    write_decision(sound.paths, measured)
    sound.sources = Sources()
    assert gathered(sound).measured_at == measured.decided_at
    error = sound.judged()
    assert (error.verdict, error.measured_at) == (Verdict.ERROR, measured.decided_at)
    write_decision(sound.paths, Decision(**{**dict(measured), "stage": "offline", "measured_at": measured.decided_at}))
    write_decision(sound.paths, Decision(**{**dict(measured), "release_id": "release-2", "measured_at": None}))
    assert gathered(sound).measured_at == measured.decided_at  # what other stages and releases saw changes nothing
    for change in (
        {"run_id": "other"},
        {"measured_at": dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)},
    ):
        write_decision(sound.paths, Decision(**{**dict(measured), **change}))
        assert gathered(sound).measured_at is None
