"""A day of the log replayed: the same order each time, outcomes after their answers, and every failure counted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from model_release.adapters.tokens import token_of
from model_release.errors import ConfigurationError, InvalidInputError
from model_release.exposures import Exposure, Outcome
from scripts import replay_traffic
from scripts.replay import Pace, Replay, plan
from scripts.replay_traffic import TOKEN, main
from scripts.services import PROJECT, free_port
from tests.api.exposures import logged
from tests.api.home import Home
from tests.api.replica import Replica, wait_until
from tests.pipeline import logs
from tests.pipeline.logs import AS_OF, DAY

EVENTS_TOKEN = "events-token-51d0"
SETTINGS = {
    "RECOMMENDATION_API_EVENTS": "true",
    "RECOMMENDATION_API_EXPOSURE_FLUSH_SECONDS": "0.05",
    "RECOMMENDATION_EVENTS_TOKEN": EVENTS_TOKEN,
}
FAST = Pace(speed=float("inf"), concurrency=1, k=4)


@pytest.fixture
def source(tmp_path: Path) -> logs.Source:
    found = logs.groceries(tmp_path / "data")
    found.config()
    return found


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Replica]:
    found = Replica(Home(tmp_path / "home"), settings=SETTINGS)
    try:
        yield found.start_ready()
    finally:
        found.close()


def test_the_plan_is_the_day_of_the_log_and_always_the_same(source: logs.Source) -> None:
    """In the order of time; without a date it is the last day; so many users are the first ones."""
    config = source.config()
    visits = plan(config, AS_OF.date(), None)
    rows = source.rows.filter(source.rows["when"].is_between(AS_OF, AS_OF + DAY, closed="left"))
    assert [(visit.at, visit.user, visit.items) for visit in visits] == [
        (when, str(who), (str(what),)) for when, who, what in rows.sort("when").select("when", "who", "what").rows()
    ]
    assert plan(config, AS_OF.date(), None) == visits
    first = plan(config, AS_OF.date(), 4)
    assert first == [visit for visit in visits if visit.user in {one.user for one in visits[:4]}]
    assert plan(config, None, None)[0].at.date() == source.rows["when"].max().date()  # type: ignore[union-attr]
    with pytest.raises(InvalidInputError, match="no usable interaction"):
        plan(config, AS_OF.date() + 60 * DAY, None)


def test_what_is_taken_at_once_is_one_visit(source: logs.Source) -> None:
    twice = source.rows.filter(source.rows["when"] >= AS_OF).head(1)
    source.rows = source.rows.vstack(twice.with_columns(what=twice["what"] + 1)).vstack(twice).sort("when")
    visit = plan(source.config(), AS_OF.date(), None)[0]
    assert visit.items == tuple(sorted(str(item) for item in (twice["what"][0], twice["what"][0] + 1)))


def test_outcomes_follow_their_answers_in_the_order_of_the_plan(source: logs.Source, replica: Replica) -> None:
    """One user at a time: the log has the plan itself, each outcome with the name of its answer, and later than it."""
    visits = plan(source.config(), AS_OF.date(), 6)
    replay = Replay([replica.url], FAST, token=EVENTS_TOKEN)
    asyncio.run(replay.run(visits))
    tally = replay.tally
    assert (tally.asked, tally.answered, tally.sent, tally.taken) == (6, 6, 6, 6)
    assert tally.whole
    wait_until("all is in the log", lambda: len(logged(replica.home.paths.root)) == 12)
    records = logged(replica.home.paths.root)
    answers = [record for record in records if isinstance(record, Exposure)]
    outcomes = [record for record in records if isinstance(record, Outcome)]
    assert [one.id for one in answers] == [visit.user for visit in visits]
    by_name = {one.request_id: one for one in answers}
    for outcome, visit in zip(outcomes, visits, strict=True):
        assert (outcome.user, outcome.item, outcome.type) == (visit.user, visit.items[0], "purchase")
        assert outcome.request_id is not None
        assert by_name[outcome.request_id].id == visit.user
        assert outcome.at >= by_name[outcome.request_id].at


def test_without_events_people_only_ask(source: logs.Source, replica: Replica) -> None:
    replay = Replay([replica.url], FAST, events=False)
    asyncio.run(replay.run(plan(source.config(), AS_OF.date(), 3)))
    assert (replay.tally.answered, replay.tally.sent, replay.tally.whole) == (3, 0, True)


def test_the_log_s_time_passes_as_fast_as_it_is_asked_to(source: logs.Source, replica: Replica) -> None:
    """The first request at once, the last outcome when its time has come."""
    visits = plan(source.config(), AS_OF.date(), None)
    span = (visits[-1].at - visits[0].at).total_seconds() + FAST.lead.total_seconds()
    replay = Replay([replica.url], Pace(speed=span / 0.8, k=4), token=EVENTS_TOKEN)
    started = time.monotonic()
    asyncio.run(replay.run(visits))
    assert 0.8 <= time.monotonic() - started < 4.0
    assert replay.tally.whole


def test_what_fails_is_counted_and_the_rest_goes_on(source: logs.Source, replica: Replica) -> None:
    """A wrong token, a list that is too long, and nobody there."""
    visits = plan(source.config(), AS_OF.date(), 5)
    wrong = Replay([replica.url], FAST, token="wrong")
    asyncio.run(wrong.run(visits))
    assert wrong.tally.failed == {"POST /events: status 401": 5}
    assert (wrong.tally.answered, wrong.tally.taken, wrong.tally.whole) == (5, 0, False)
    long = Replay([replica.url], Pace(speed=float("inf"), k=5000), token=EVENTS_TOKEN)
    asyncio.run(long.run(visits))
    assert long.tally.failed == {"GET /recommend: status 422": 5}
    assert long.tally.taken == 5
    gone = Replay([f"http://127.0.0.1:{free_port()}"], FAST)
    asyncio.run(gone.run(visits))
    assert gone.tally.failed == {"GET /recommend: ConnectError": 5, "POST /events: ConnectError": 5}
    assert "5 GET /recommend: ConnectError" in str(gone.tally)


def test_the_command_tells_what_became_of_it(
    source: logs.Source, replica: Replica, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its exit status too; the token comes from the environment or a file, and is never printed."""
    monkeypatch.setenv(TOKEN, EVENTS_TOKEN)
    options = ["--config", str(source.path), "--date", str(AS_OF.date()), "--users", "4", "--k", "4", "--speed", "inf"]
    assert main([*options, "--url", replica.url]) == 0
    said = capsys.readouterr()
    assert "requests  4 sent, 4 answered, 0 of them degraded\noutcomes  4 sent, 4 taken\n" in said.out
    assert EVENTS_TOKEN not in said.out + said.err
    assert main([*options, "--url", f"http://127.0.0.1:{free_port()}"]) == 1
    assert "failed    4 GET /recommend: ConnectError" in capsys.readouterr().out
    for bad in (["--speed", "0"], ["--speed", "-1"], ["--users", "0"], ["--date", "today"], ["--url", "here"]):
        with pytest.raises(SystemExit) as caught:
            main([*options, *bad])
        assert caught.value.code == 2


def test_the_token_is_given_once(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{EVENTS_TOKEN}\nthe-old-one-9a\n", encoding="ascii")
    assert token_of({}, TOKEN) is None
    assert token_of({TOKEN: "one"}, TOKEN) == "one"
    assert token_of({f"{TOKEN}_FILE": str(file)}, TOKEN) == EVENTS_TOKEN
    with pytest.raises(ConfigurationError, match="give the token once"):
        token_of({TOKEN: "one", f"{TOKEN}_FILE": str(file)}, TOKEN)


def test_an_interruption_ends_it_at_once_and_tells_what_was_done(source: logs.Source, replica: Replica) -> None:
    """In the middle of a day that would take an hour: no traceback, and a status of its own."""
    command = [sys.executable, "-m", "scripts.replay_traffic", "--config", str(source.path), "--url", replica.url]
    command += ["--date", str(AS_OF.date()), "--speed", "24", "--k", "4"]
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        env={**os.environ, TOKEN: EVENTS_TOKEN},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until("it has begun", lambda: len(logged(replica.home.paths.root)) > 0)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == replay_traffic.INTERRUPTED == 130
    assert "interrupted\nrequests  " in out
    assert "Traceback" not in err


def test_a_replay_leaves_no_connection(source: logs.Source, replica: Replica) -> None:
    """The replica can be stopped politely at once."""
    asyncio.run(Replay([replica.url], FAST, events=False).run(plan(source.config(), AS_OF.date(), 2)))
    replica.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{replica.url}/health/live")
