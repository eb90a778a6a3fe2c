"""The parts of a day that others tell: what Prometheus counted, and what the replicas say that they serve."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest

from model_release.adapters.sources import Sources
from model_release.paths import ReleasePaths
from model_release.reconciling.document import Counted
from pipeline.reconciliation.counters import counted
from pipeline.reconciliation.day import Day
from tests.fake_replicas import FakeReplica
from tests.fakes_monitoring import FakePrometheus, Reply, fake_prometheus
from tests.pipeline.logs import DAY, Source
from tests.pipeline.served import DATE, SEVEN, Served, instant

START = instant(DATE, dt.time(tzinfo=dt.UTC))
SOON = START + DAY + dt.timedelta(hours=2)


@pytest.fixture
def served(grocery: Source, paths: ReleasePaths) -> Served:
    shop = Served(grocery.config(), paths)
    shop.write(shop.shown(shop.everybody(), instant(DATE, SEVEN)), instant(DATE, SEVEN))
    return shop


def grew(
    fake: FakePrometheus, seconds: int, *, answers: float | None, exposures: float = 45, dropped: float = 0
) -> None:
    """Let Prometheus tell these numbers of so many seconds, at whatever time."""
    window = f"[{seconds}s]"
    for query, value in (
        (f"sum(increase(recommendation_answers_total{window}))", answers),
        (f'sum(increase(recommendation_exposures_total{{variant!="event"}}{window}))', exposures),
        (f"sum(increase(recommendation_exposures_dropped_total{window}))", dropped),
    ):
        fake.series[query] = [({}, lambda _, value=value: value)]  # type: ignore[misc]


# Prometheus


def test_the_log_agrees_with_what_was_counted(served: Served) -> None:
    """It is asked about the whole day, at its end; the numbers stand in the file."""
    with fake_prometheus() as fake:
        grew(fake, 86_400, answers=45.3, dropped=0.2)
        document = served.reconcile(sources=Sources(fake.url))
    assert {asked["time"] for asked in fake.asked} == {f"{(START + DAY).timestamp():.3f}"}
    assert document.status == "agrees", document.problems
    assert (document.metrics.answers, document.metrics.exposures, document.metrics.dropped) == (45.3, 45.0, 0.2)


@pytest.mark.parametrize("answers", [60.0, 30.0])
def test_more_or_fewer_lines_than_were_counted_differ(served: Served, answers: float) -> None:
    with fake_prometheus() as fake:
        grew(fake, 86_400, answers=answers)
        document = served.reconcile(sources=Sources(fake.url))
    assert document.status == "differs"
    assert f"the exposure log has 45 answers, Prometheus counted about {answers:,.0f}" in document.problems[0]


def test_no_number_is_missing_not_zero(served: Served) -> None:
    """Nothing, not a number, an error, nobody there; and not configured is not asked."""
    with fake_prometheus() as fake:
        nothing = served.reconcile(sources=Sources(fake.url))
        grew(fake, 86_400, answers=float("nan"))
        nan = served.reconcile(sources=Sources(fake.url))
        fake.poison = lambda *_: Reply(b"no", status=500)
        error = served.reconcile(sources=Sources(fake.url))
    gone = served.reconcile(sources=Sources("http://127.0.0.1:9", timeout_seconds=1.0))
    for document in (nothing, nan, error, gone):
        assert document.metrics.status == document.status == "missing"
        assert (document.metrics.answers, document.metrics.exposures) == (None, None)
    assert "Prometheus has no answers of that day" in nothing.problems[0]
    assert "answered 500" in error.problems[0]
    assert served.reconcile().metrics == Counted(status="not_asked", reason="PROMETHEUS_URL is not set")


@pytest.mark.parametrize(("date", "seconds"), [(dt.date(2025, 3, 30), 82_800), (dt.date(2025, 10, 26), 90_000)])
def test_a_day_on_which_the_clocks_change_is_asked_about_in_its_length(date: dt.date, seconds: int) -> None:
    day = Day(date, ZoneInfo("Europe/Berlin"))
    with fake_prometheus() as fake:
        grew(fake, seconds, answers=7.0)
        assert counted(Sources(fake.url), day, day.end + DAY).answers == 7.0


def test_a_day_so_far_is_asked_about_until_now() -> None:
    day = Day(DATE, ZoneInfo("UTC"))
    with fake_prometheus() as fake:
        grew(fake, 3600, answers=7.0)
        assert counted(Sources(fake.url), day, day.start + dt.timedelta(hours=1)).answers == 7.0


# Replicas


def fleet(served: Served) -> list[FakeReplica]:
    found = [FakeReplica(served.registry, url=f"http://replica-{number}") for number in (1, 2)]
    for replica in found:
        replica.look()
    return found


def test_replicas_are_asked_what_they_serve(served: Served) -> None:
    replicas = fleet(served)
    document = served.reconcile(now=SOON, replicas=replicas)
    assert document.replicas.status == "agrees"
    replicas[1].served = served.registry.read().model_copy(update={"generation": 0, "current": None})
    document = served.reconcile(now=SOON, replicas=replicas)
    assert document.status == "differs"
    assert any(told.startswith("replicas: http://replica-2") for told in document.problems)
    replicas[1].down = True
    document = served.reconcile(now=SOON, replicas=replicas)
    assert document.replicas.status == document.status == "missing"


def test_a_replica_that_answers_now_and_has_no_file_is_a_gap(served: Served) -> None:
    replicas = fleet(served)
    assert any(
        "should have answered, and has no file" in gap for gap in served.reconcile(now=SOON, replicas=replicas).log.gaps
    )


def test_replicas_are_not_asked_about_days_long_over(served: Served) -> None:
    """What they serve now says nothing of then, and a replica of today needs no file of then."""
    replicas = fleet(served)
    replicas[0].down = True
    document = served.reconcile(now=SOON + DAY, replicas=replicas)
    assert (document.replicas.status, document.log.gaps, document.status) == ("not_asked", (), "agrees")


def test_replicas_are_not_asked_while_a_release_is_under_way(served: Served) -> None:
    replicas = fleet(served)
    replicas[1].served = served.registry.read().model_copy(update={"generation": 0, "current": None})
    changed = served.ledger.read()[-1].at + dt.timedelta(minutes=1)
    before = (changed - DAY).date()
    found = served.reconcile(before, now=changed, replicas=replicas)
    assert found.replicas.status == "not_asked"
    assert "not proved yet" in found.replicas.reason


def test_a_damaged_ledger_is_missing(served: Served) -> None:
    served.paths.ledger.write_bytes(b"{}\n")
    document = served.reconcile()
    assert {document.serving.status, document.registry.status} == {"missing"}
    assert document.status == "missing"
    assert "is not a valid ledger entry" in document.problems[0]
