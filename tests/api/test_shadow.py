"""The shadow thread: what it counts, that it counts each drawn request once, and that nothing ends it."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.registry import Collector

from model_release.contract import utc_now
from model_release.ranking import rank_biased_overlap
from model_release.registry import Registry, promote, register, start_trial
from recommendation_api.exposition import exposition
from recommendation_api.metrics import Metrics
from recommendation_api.model_store import LoadedRun
from recommendation_api.orders import TrialStates
from recommendation_api.pressure import LoopWatch
from recommendation_api.serving import Serving
from recommendation_api.shadow import Shadow
from recommendation_api.shadow_counts import MOST_PAIRS
from recommendation_api.shadow_exposition import PairState, merge
from recommendation_api.shadow_families import OUTCOMES
from tests.api.replica import wait_until

Answer = Callable[[str, int], Sequence[str]]
LETTERS = tuple("abcdefghij")


class Lists:
    """A model that answers what the test says."""

    depth = 10
    blocking = False

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def prefault(self) -> None:
        """There is nothing to bring into memory."""

    def recommend(self, user_id: str, k: int) -> Sequence[str] | None:
        return self._answer(user_id, k)

    def similar(self, item_id: str, k: int) -> Sequence[str] | None:
        return self._answer(item_id, k)

    def popular(self, k: int) -> Sequence[str]:
        return LETTERS[:k]


def first(_: str, k: int) -> Sequence[str]:
    return list(LETTERS[:k])


def loaded(run_id: str, answer: Answer, popular: Sequence[str] = LETTERS) -> LoadedRun:
    return LoadedRun(run_id, "0" * 64, (), Lists(answer), tuple(popular), utc_now())


def on_trial(
    candidate: Answer = first, *, run_id: str = "run-b", rollout: float = 1.0, popular: Sequence[str] = LETTERS
) -> Serving:
    """Return a state with ``run-a`` current and ``run_id`` in a shadow trial."""
    now, state = utc_now(), Registry()
    for name in ("run-a", run_id):
        state = register(state, run_id=name, manifest_sha256="0" * 64, release_id="setup", at=now)
    state = promote(state, run_id="run-a", release_id="setup", at=now)
    state = start_trial(state, run_id=run_id, mode="shadow", rollout=rollout, release_id="trial", at=now)
    return Serving(state, loaded("run-a", first, popular), loaded(run_id, candidate))


class Trial:
    """A shadow thread with what it is told to serve, and a way to wait until it has worked off everything."""

    def __init__(self, serving: Serving, *, size: int = 1000, expire: float = 60.0, hang: float = 60.0) -> None:
        self.serving = serving
        self.offered = 0
        self.metrics = Metrics()
        self.shadow = Shadow(self.metrics, size, lambda: self.serving, expire_seconds=expire, hang_seconds=hang)

    def offer(self, count: int = 1, *, k: int = 4, served: Sequence[str] = LETTERS[:4], seconds: float = 0.25) -> None:
        for number in range(count):
            self.shadow.offer(self.serving, "recommend", f"u{number}", k, served, seconds)
        self.offered += count

    def value(self, name: str, **labels: str) -> float:
        """Return a sample as it is exported; 0 if it is not."""
        pair = {"current": "run-a", "candidate": "run-b", **labels}
        shown = exposition(self.metrics.registry, lambda: [TrialStates(states=tuple(self.shadow.states()))])
        return shown.get_sample_value(f"recommendation_shadow_{name}", pair) or 0.0

    def outcomes(self, candidate: str = "run-b") -> dict[str, int]:
        counts = {name: int(self.value("requests_total", candidate=candidate, outcome=name)) for name in OUTCOMES}
        return {name: count for name, count in counts.items() if count}

    def wait(self, candidate: str = "run-b") -> dict[str, int]:
        """Wait until every offered request has its outcome; return the outcomes."""
        wait_until("all are counted", lambda: sum(self.outcomes(candidate).values()) >= self.offered)
        return self.outcomes(candidate)


@pytest.fixture
def begin() -> Iterator[Callable[..., Trial]]:
    """Start shadow threads; they end with the test."""
    trials: list[Trial] = []
    before = sys.getswitchinterval()

    def begin_one(candidate: Answer = first, *, size: int = 1000, expire: float = 60.0, hang: float = 60.0) -> Trial:
        trial = Trial(on_trial(candidate), size=size, expire=expire, hang=hang)
        trials.append(trial)
        trial.shadow.start()
        return trial

    yield begin_one
    for trial in trials:
        trial.shadow.stop()
    sys.setswitchinterval(before)


Begin = Callable[..., Trial]


class Gate:
    """A candidate that answers when it may."""

    def __init__(self) -> None:
        self.asked, self.open = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self, identifier: str, k: int) -> Sequence[str]:
        self.calls += 1
        self.asked.set()
        assert self.open.wait(30)
        return first(identifier, k)


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


def test_lists_are_compared_with_what_the_user_got(begin: Begin) -> None:
    """Overlap, order, items, popular ones and times: computed here by hand, for the pair of runs."""
    trial = begin(lambda _, k: ["d", "c", "x", "y"][:k])
    trial.serving = on_trial(lambda _, k: ["d", "c", "x", "y"][:k], popular=["a", "d", "z"])
    trial.offer(3)
    assert trial.wait() == {"scored": 3}
    assert trial.value("overlap_count") == 3
    assert trial.value("overlap_sum") == pytest.approx(3 * 2 / 4)
    assert trial.value("rbo_sum") == pytest.approx(3 * rank_biased_overlap(list("abcd"), list("dcxy")))
    for variant, popular in (("current", 2), ("candidate", 1)):
        assert trial.value("items_total", variant=variant) == 12
        assert trial.value("popular_items_total", variant=variant) == 3 * popular
        assert trial.value("empty_total", variant=variant) == 0
        assert trial.value("distinct_items", variant=variant) == pytest.approx(4, abs=0.01)
    assert trial.value("served_latency_seconds_sum") == pytest.approx(3 * 0.25)
    assert trial.value("latency_seconds_count") == trial.value("served_latency_seconds_count") == 3
    assert 0 < trial.value("latency_seconds_sum") < 0.25


def test_empty_lists_are_counted_for_each_run(begin: Begin) -> None:
    """One empty list is no likeness; two are nothing to compare."""
    trial = begin(lambda user, k: [] if user in {"u0", "u1"} else first(user, k))
    trial.offer(4)
    trial.wait()
    assert (trial.value("empty_total", variant="candidate"), trial.value("empty_total", variant="current")) == (2, 0)
    assert trial.value("overlap_count") == trial.value("rbo_count") == 4
    assert trial.value("overlap_sum") == 2
    trial.offer(3, served=())
    assert trial.wait() == {"scored": 7}
    assert (trial.value("empty_total", variant="candidate"), trial.value("empty_total", variant="current")) == (4, 3)
    assert trial.value("overlap_count") == trial.value("rbo_count") == 5


def raises(_: str, __: int) -> Sequence[str]:
    raise RuntimeError("told to fail")


def leaves(_: str, __: int) -> Sequence[str]:
    raise SystemExit(3)


GARBAGE: dict[str, Answer] = {
    "raises": raises,
    "leaves": leaves,
    "too long": lambda _, __: list(LETTERS),
    "twice the same": lambda _, __: ["a", "a"],
    "numbers": lambda _, __: [1, 2],  # type: ignore[list-item]  # what a careless model does
    "no list": lambda _, __: 7,  # type: ignore[dict-item, return-value]  # the same
    "unhashable": lambda _, __: [["a"]],  # type: ignore[list-item]  # the same
}


@pytest.mark.parametrize("what", GARBAGE)
def test_a_candidate_that_fails_or_answers_garbage_is_counted_and_the_thread_goes_on(begin: Begin, what: str) -> None:
    """And nothing of its answers is compared."""
    trial = begin(GARBAGE[what])
    trial.offer(3)
    assert trial.wait() == {"failed": 3}
    assert trial.value("overlap_count") == trial.value("latency_seconds_count") == 0
    trial.serving = on_trial(first)
    trial.offer(2)
    assert trial.wait() == {"failed": 3, "scored": 2}


def test_a_failing_candidate_does_not_fill_the_log(begin: Begin, caplog: pytest.LogCaptureFixture) -> None:
    trial = begin(raises)
    trial.offer(50)
    assert trial.wait() == {"failed": 50}
    assert caplog.text.count("the shadow candidate run-b failed") == 1
    assert "told to fail" in caplog.text


def test_what_does_not_fit_is_dropped_and_counted(begin: Begin, gate: Gate) -> None:
    """One in work, two that wait, seven dropped; the offer never waits for the candidate."""
    trial = begin(gate, size=2)
    trial.offer()
    assert gate.asked.wait(10)
    trial.offer(9)
    assert trial.outcomes() == {"dropped": 7}
    gate.open.set()
    assert trial.wait() == {"scored": 3, "dropped": 7}


def test_what_waited_too_long_expires(begin: Begin, gate: Gate) -> None:
    """It says nothing about the present any more."""
    trial = begin(gate, expire=0.0)
    trial.offer(2)
    assert trial.wait() == {"expired": 2}
    assert gate.calls == 0


@pytest.mark.parametrize("pressure", [(0.05, 0.0, 0.0), (0.0, 0.95, 0.0), (0.0, 0.0, 0.2)])
def test_under_pressure_samples_are_dropped_at_the_door_and_in_the_queue(
    begin: Begin, gate: Gate, pressure: tuple[float, float, float]
) -> None:
    """An event loop that is late, busy, or waits for a CPU: the shadow work goes first, the sample in work is the last one."""
    trial = begin(gate)
    trial.offer()
    assert gate.asked.wait(10)
    trial.offer(3)
    trial.shadow.set_pressure(*pressure)
    trial.offer(2)
    assert trial.outcomes() == {"dropped": 2}
    gate.open.set()
    assert trial.wait() == {"scored": 1, "dropped": 5}


def test_the_load_of_a_loop_is_what_it_did() -> None:
    """How late, and how much it computed: measured with real work of this thread."""
    loop = LoopWatch()
    end = time.thread_time() + 0.05
    while time.thread_time() < end:
        pass
    load = loop.look(0.04)
    passed = load.lag_seconds + 0.04
    assert passed >= 0.05
    assert load.busy_share * passed == pytest.approx(0.05, abs=0.01)
    assert 0.0 <= load.waiting_share <= 1.0


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="the system does not say")
def test_waiting_for_a_cpu_is_seen() -> None:
    """Two threads of another program on the one CPU that this thread may use: it waits for most of the time."""
    cpus = os.sched_getaffinity(0)
    hogs = []
    try:
        os.sched_setaffinity(0, {min(cpus)})
        hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]

        def waits() -> bool:
            loop = LoopWatch()
            end = time.thread_time() + 0.05
            while time.thread_time() < end:
                pass
            return loop.look(0.05).waiting_share > 0.3

        wait_until("it waits", waits)
    finally:
        os.sched_setaffinity(0, cpus)
        for hog in hogs:
            hog.kill()
            hog.wait()


def test_without_pressure_samples_are_scored(begin: Begin) -> None:
    """A loop that is in time and has time to spare."""
    trial = begin()
    trial.shadow.set_pressure(0.001, 0.5, 0.01)
    trial.offer(5)
    assert trial.wait() == {"scored": 5}


def promoted(trial: Trial) -> Serving:
    serving = trial.serving
    assert serving.candidate is not None
    state = promote(serving.registry, run_id="run-b", release_id="trial", at=utc_now())
    return Serving(state, serving.candidate, None)


def lapsed(trial: Trial) -> Serving:
    serving = trial.serving
    past = (utc_now() - dt.timedelta(seconds=1)).timestamp()
    return Serving(serving.registry, serving.current, serving.candidate, lease_until=past)


@pytest.mark.parametrize("change", [promoted, lapsed, lambda _: on_trial(run_id="run-c"), lambda _: Serving()])
def test_samples_of_a_trial_that_ended_are_dropped(
    begin: Begin, gate: Gate, change: Callable[[Trial], Serving]
) -> None:
    """A candidate replaced, promoted, lapsed or taken away while samples wait: none is scored, least of all wrongly."""
    trial = begin(gate)
    trial.offer()
    assert gate.asked.wait(10)
    trial.offer(4)
    trial.serving = change(trial)
    gate.open.set()
    assert trial.wait() == {"scored": 1, "dropped": 4}
    assert gate.calls == 1


def test_another_candidate_is_counted_apart(begin: Begin) -> None:
    """Each pair has its own series."""
    trial = begin()
    trial.offer(2)
    trial.wait()
    trial.serving, trial.offered = on_trial(raises, run_id="run-c"), 0
    trial.offer(3)
    assert trial.wait("run-c") == {"failed": 3}
    assert trial.outcomes("run-b") == {"scored": 2}


def test_a_candidate_that_hangs_is_given_up_on_and_another_one_is_scored(begin: Begin, gate: Gate) -> None:
    """Its sample failed, no more is asked of it, and when it comes back it counts nothing twice and may go on."""
    trial = begin(gate, hang=0.0)
    trial.offer()
    assert gate.asked.wait(10)
    assert trial.shadow.replace_hung()
    assert not trial.shadow.replace_hung()
    assert trial.outcomes() == {"failed": 1}
    trial.offer(2)
    assert trial.outcomes() == {"failed": 1, "dropped": 2}
    hung, trial.serving, trial.offered = trial.serving, on_trial(run_id="run-c"), 0
    trial.offer(2)
    assert trial.wait("run-c") == {"scored": 2}
    gate.open.set()
    left = [thread for thread in threading.enumerate() if thread.name == "shadow"]
    wait_until("one thread is left", lambda: sum(thread.is_alive() for thread in left) == 1)
    assert trial.outcomes() == {"failed": 1, "dropped": 2}
    trial.serving, trial.offered = hung, 3
    trial.offer()
    assert trial.wait() == {"failed": 1, "dropped": 2, "scored": 1}


def test_a_quick_candidate_is_not_given_up_on(begin: Begin, gate: Gate) -> None:
    trial = begin(gate, hang=60.0)
    assert not trial.shadow.replace_hung()
    trial.offer()
    assert gate.asked.wait(10)
    assert not trial.shadow.replace_hung()


@pytest.mark.parametrize(("rollout", "least", "most"), [(0.0, 0, 0), (0.5, 860, 1140), (1.0, 2000, 2000)])
def test_the_share_of_requests_is_drawn(begin: Begin, gate: Gate, rollout: float, least: int, most: int) -> None:
    """About as many of 2,000 as asked for (six standard deviations), and each drawn one has exactly one outcome."""
    trial = begin(gate, size=100)
    trial.serving = on_trial(gate, rollout=rollout)
    trial.offer(2000)
    trial.serving = on_trial(run_id="run-c")
    gate.open.set()
    trial.shadow.stop()
    assert least <= sum(trial.outcomes().values()) <= most


def test_what_waits_when_it_stops_is_counted_as_dropped(begin: Begin, gate: Gate) -> None:
    """So the outcomes add up to the requests that were drawn."""
    trial = begin(gate)
    trial.offer()
    assert gate.asked.wait(10)
    trial.offer(5)
    stopper = threading.Thread(target=trial.shadow.stop)
    stopper.start()
    wait_until("they are dropped", lambda: trial.outcomes() == {"dropped": 5})
    gate.open.set()
    stopper.join(10)
    trial.offer(2)
    assert trial.outcomes() == {"scored": 1, "dropped": 7}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_the_thread_yields_and_no_other_thread_does(begin: Begin) -> None:
    """Its own priority is lowered, that of the event loop is not; Python code of one thread lets others in soon."""
    seen: list[int] = []

    def look(user: str, k: int) -> Sequence[str]:
        seen.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        return first(user, k)

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    trial = begin(look)
    trial.offer()
    trial.wait()
    assert seen == [max(10, own)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own
    assert sys.getswitchinterval() <= 0.0005


def test_when_a_trial_is_over_its_runs_are_let_go(begin: Begin) -> None:
    """Without waiting for the next trial, or for the garbage collector: a run may be gigabytes, and its files deleted."""
    trial = begin()
    trial.offer(3)
    trial.wait()
    candidate = weakref.ref(trial.serving.candidate)
    gc.disable()
    try:
        trial.serving = Serving()
        trial.shadow.follow(trial.serving)
        wait_until("it is let go", lambda: candidate() is None, seconds=5.0)
    finally:
        gc.enable()


def test_labels_stay_bounded_after_a_thousand_trials() -> None:
    """The last pairs are exported, those that were seen last; nothing else of the past."""
    trial = Trial(on_trial())
    for number in range(1000):
        trial.serving = on_trial(run_id=f"run-{number}")
        trial.offer()
    shown = exposition(trial.metrics.registry, lambda: [TrialStates(states=tuple(trial.shadow.states()))])
    candidates = {
        sample.labels["candidate"]
        for family in shown.collect()
        for sample in family.samples
        if "candidate" in sample.labels
    }
    assert candidates == {f"run-{number}" for number in range(1000 - MOST_PAIRS, 1000)}
    assert len(trial.shadow.states()) == MOST_PAIRS
    trial.serving = on_trial(run_id="run-0")
    trial.offer()
    assert trial.value("requests_total", candidate="run-0", outcome="expired") == 0
    assert "run-0" in {state.candidate for state in merge(trial.shadow.states())}


def test_the_series_of_a_trial_are_there_before_its_first_request() -> None:
    """A process without traffic shows 0 for each new trial: nothing would look like a process that does not take part."""
    trial = Trial(Serving())
    names = ("requests_total", "overlap_count", "rbo_count", "empty_total", "items_total", "popular_items_total")

    def shown(candidate: str) -> dict[str, list[float]]:
        families = list(
            exposition(trial.metrics.registry, lambda: [TrialStates(states=tuple(trial.shadow.states()))]).collect()
        )
        samples = [
            sample for family in families for sample in family.samples if sample.labels.get("candidate") == candidate
        ]
        found = {
            name: [s.value for s in samples if s.name == f"recommendation_shadow_{name}"]
            for name in (*names, "distinct_items")
        }
        return {name: values for name, values in found.items() if values}

    def complete(candidate: str) -> bool:
        return set(shown(candidate)) == {*names, "distinct_items"}

    async def begin_and_wait() -> None:
        watched = asyncio.create_task(trial.shadow.watch())
        for candidate in ("run-b", "run-c"):
            assert shown(candidate) == {}
            trial.serving = on_trial(run_id=candidate)
            await asyncio.to_thread(wait_until, "its series are there", functools.partial(complete, candidate))
            assert not any(any(values) for values in shown(candidate).values())
        watched.cancel()

    asyncio.run(begin_and_wait())
    assert shown("run-b")["requests_total"] == [0.0] * len(OUTCOMES)


def test_the_other_metrics_are_exported_as_they_are() -> None:
    """Only shadow families lose series."""
    metrics = Metrics()
    metrics.count_request("recommend", "current", "200").inc()
    shown = {family.name: family for family in exposition(metrics.registry, list).collect()}
    for family in metrics.registry.collect():
        assert shown[family.name].type == family.type
        assert shown[family.name].documentation == family.documentation
        if not family.name.startswith("recommendation_shadow_"):
            assert shown[family.name].samples == family.samples


def test_distinct_items_of_several_processes_are_counted_once() -> None:
    """The states of all processes, sent as JSON; a pair is as recent as its most recent process says."""
    ones, others = Trial(on_trial(first)), Trial(on_trial(lambda _, k: list("cdefghij")[:k]))
    for trial in (ones, others):
        trial.shadow.start()
        trial.offer(3, served=LETTERS[:2])
        trial.wait()
        trial.shadow.stop()
    sent = [
        PairState.model_validate_json(state.model_dump_json())
        for trial in (ones, others)
        for state in trial.shadow.states()
    ]

    class Nothing(Collector):
        def collect(self) -> Iterator[object]:  # type: ignore[override]  # it yields nothing at all
            return iter(())

    shown = exposition(Nothing(), lambda: [TrialStates(states=(state,)) for state in sent])
    for variant, count in (("current", 2), ("candidate", 6)):  # abcd and cdef are six
        labels = {"current": "run-a", "candidate": "run-b", "variant": variant}
        value = shown.get_sample_value("recommendation_shadow_distinct_items", labels)
        assert value == pytest.approx(count, abs=0.01)
    assert merge(sent)[0].seen == max(state.seen for state in sent)


def test_the_newest_pairs_of_all_processes_are_kept() -> None:
    """A process that restarted knows one pair, and must not hide those that the others know."""
    old = [PairState(current="a", candidate=f"b{n}", seen=float(n), distinct={}) for n in range(10)]
    restarted = [PairState(current="a", candidate="b2", seen=99.0, distinct={})]
    assert [state.candidate for state in merge([*old, *restarted])] == ["b2", "b9", "b8", "b7"]
