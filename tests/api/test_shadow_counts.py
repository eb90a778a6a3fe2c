"""What is kept of shadow trials: the last pairs, whole and exact, in whichever process they were counted; nothing of the others."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from model_release.ranking import head_count, overlap, rank_biased_overlap
from recommendation_api.exposition import exposition
from recommendation_api.metrics import Metrics
from recommendation_api.orders import TrialStates
from recommendation_api.shadow import Shadow
from recommendation_api.shadow_counts import (
    KEPT_PAIRS,
    MOST_PAIRS,
    Cells,
    CountsInFiles,
    CountsInMemory,
    PairCounts,
)
from recommendation_api.shadow_families import CELLS, OUTCOMES, REQUESTS, VARIANTS, Pair
from recommendation_api.shadow_metrics import PairMetrics, ShadowMetrics
from tests.api.replica import PROJECT, wait_until
from tests.api.test_shadow import on_trial

Make = Callable[[], PairCounts]
LETTERS = tuple("abcdefghij")
LIKENESS = [number / 10 for number in range(11)]
LATENCY = [0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0]


@pytest.fixture(params=["memory", "files"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Make the counts of a process: alone, or of one among several."""
    return CountsInMemory if request.param == "memory" else lambda: CountsInFiles(tmp_path, 0)


def pair(number: int) -> Pair:
    return f"run-{number}", f"run-{number + 1}"


def scored(counts: PairCounts, of: Pair) -> float | None:
    """Return how many requests are counted as scored; None: nothing is known of the pair."""
    row = counts.read().get(of)
    return None if row is None else row.cells[REQUESTS.start]


def count(counts: PairCounts, of: Pair, times: float) -> None:
    counts.open(of).add([(REQUESTS.start, times)])


class Library:
    """The same families made with the client library's own metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = self._counter("requests", "Requests drawn for a shadow candidate", "outcome")
        self.overlap = self._histogram("overlap", "Share of items that both lists name", LIKENESS)
        self.rbo = self._histogram("rbo", "Rank-biased overlap of both lists, p = 0.9, extrapolated", LIKENESS)
        self.empty = self._counter("empty", "Lists without items", "variant")
        self.items = self._counter("items", "Items of the lists", "variant")
        self.popular = self._counter("popular_items", "Items among the current run's 100 most popular", "variant")
        self.latency = self._histogram("latency_seconds", "Time of the candidate for one list", LATENCY)
        self.served = self._histogram("served_latency_seconds", "Time of the current run for the same list", LATENCY)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        labels = ["current", "candidate", label]
        return Counter(f"recommendation_shadow_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float]) -> Histogram:
        name, labels = f"recommendation_shadow_{name}", ["current", "candidate"]
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def begin(self, of: Pair) -> None:
        for outcome in OUTCOMES:
            self.requests.labels(*of, outcome)
        for histogram in (self.overlap, self.rbo, self.latency, self.served):
            histogram.labels(*of)
        for counter in (self.empty, self.items, self.popular):
            for variant in VARIANTS:
                counter.labels(*of, variant)

    def compare(self, of: Pair, served: Sequence[str], found: Sequence[str], head: frozenset[str]) -> None:
        if served or found:
            self.overlap.labels(*of).observe(overlap(served, found))
            self.rbo.labels(*of).observe(rank_biased_overlap(served, found))
        for variant, items in zip(VARIANTS, (served, found), strict=True):
            if items:
                self.items.labels(*of, variant).inc(len(items))
                self.popular.labels(*of, variant).inc(head_count(items, head))
            else:
                self.empty.labels(*of, variant).inc()


def lines(registry: CollectorRegistry, *, created: bool) -> list[str]:
    """Return what a scrape says, in no order; of the times at which something was created only that there are some."""
    found = generate_latest(registry).decode().splitlines()
    text = [line.rpartition(" ")[0] if "_created{" in line else line for line in found]
    return sorted(line for line in text if created or "_created" not in line)


def test_a_scrape_says_what_the_client_library_would_say(make: Make) -> None:
    """Names, help, types, labels, buckets and values, for lists of all lengths and times on and between the bounds."""
    counts, library, draw = make(), Library(), np.random.default_rng(7)
    metrics = ShadowMetrics(counts)
    times = [*LATENCY, 0.0, 3.0, *(draw.random() for _ in range(50))]
    for of in (pair(1), pair(2)):
        mine, head = PairMetrics(metrics, *of), frozenset("abc")
        library.begin(of)
        for number, seconds in enumerate(times):
            served, found = (draw.permutation(LETTERS)[: draw.integers(5)].tolist() for _ in range(2))
            outcome = OUTCOMES[number % 4]
            mine.compare(served, found, head)
            mine.time(seconds, 2 * seconds)
            mine.count(outcome)
            library.compare(of, served, found, head)
            library.served.labels(*of).observe(seconds)
            library.latency.labels(*of).observe(2 * seconds)
            library.requests.labels(*of, outcome).inc()
    shown = CollectorRegistry()
    shown.register(metrics)
    alone = isinstance(counts, CountsInMemory)  # the library says when something was created only there
    assert lines(shown, created=True) == lines(library.registry, created=alone)
    assert any('le="+Inf"' in line for line in lines(shown, created=False))


def test_when_a_pair_was_first_seen_is_told_by_a_process_that_is_alone() -> None:
    before = time.time()
    counts = CountsInMemory()
    counts.open(pair(1))
    after = time.time()
    counts.open(pair(2))
    counts.open(pair(1))
    created = counts.read()[pair(1)].created
    assert created is not None
    assert before <= created <= after


def test_the_last_pairs_are_kept_and_nothing_of_the_others(make: Make, tmp_path: Path) -> None:
    """Also on disk; one that comes back begins with 0, one that was not gone goes on."""
    counts = make()
    for number in range(KEPT_PAIRS + 3):
        count(counts, pair(number), number + 1)
    assert {of: scored(counts, of) for of in counts.read()} == {
        pair(number): number + 1 for number in range(3, KEPT_PAIRS + 3)
    }
    assert len(list(tmp_path.iterdir())) in {0, KEPT_PAIRS}
    count(counts, pair(3), 100)  # the oldest one is the last one now
    count(counts, pair(0), 7)  # it was gone
    assert (scored(counts, pair(3)), scored(counts, pair(4)), scored(counts, pair(0))) == (104, None, 7)
    assert len(counts.read()) == KEPT_PAIRS
    assert len(list(tmp_path.iterdir())) in {0, KEPT_PAIRS}


def test_what_is_exported_is_kept() -> None:
    """By a wide margin: two processes of a replica may have seen different short trials."""
    assert KEPT_PAIRS >= 2 * MOST_PAIRS


def test_a_late_count_of_a_dropped_pair_goes_nowhere(make: Make) -> None:
    """A sample may wait while its pair is dropped; if that comes back, it is another trial."""
    counts = make()
    late = counts.open(pair(0))
    for number in range(1, KEPT_PAIRS + 1):
        counts.open(pair(number))
    late.add([(REQUESTS.start, 5)])
    assert scored(counts, pair(0)) is None
    counts.open(pair(0))
    late.add([(REQUESTS.start, 5)])
    assert scored(counts, pair(0)) == 0


def held() -> tuple[int, int, int]:
    """Return bytes of Python objects, open files, and mappings of this process."""
    gc.collect()
    maps = len(Path("/proc/self/maps").read_text().splitlines()) if Path("/proc/self/maps").exists() else 0
    return tracemalloc.get_traced_memory()[0], len(list(Path("/dev/fd").iterdir())), maps


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
def test_hundreds_of_trials_leave_memory_files_and_mappings_where_they_were(make: Make) -> None:
    """A trial needs 0.5 KiB in the counts and 256 KiB in its sketches, while it is among the last ones."""
    metrics = Metrics(shadow_counts=make())
    serving = on_trial()
    shadow = Shadow(metrics, 10, lambda: serving)

    def try_some(first: int, number: int) -> None:
        for place in range(first, first + number):
            shadow.offer(on_trial(run_id=f"run-{place}"), "recommend", "u1", 4, LETTERS[:4], 0.1)
        shadow.stop()  # what waits is dropped

    try_some(0, 2 * KEPT_PAIRS)
    memory, files, maps = held()
    try_some(2 * KEPT_PAIRS, 300)
    now = held()
    assert now[0] - memory < 100_000
    assert (now[1] - files, now[2] - maps) <= (0, 4)
    assert len(list(metrics.shadow.counts.read())) == KEPT_PAIRS


def test_processes_add_up_and_a_successor_goes_on(tmp_path: Path) -> None:
    """Each slot counts in its own file; one that ended is there until its successor goes on in the same file."""
    zero, ten = CountsInFiles(tmp_path, 0), CountsInFiles(tmp_path, 10)
    count(zero, pair(1), 3)
    count(ten, pair(1), 4)
    count(ten, pair(2), 1)
    assert scored(zero, pair(1)) == scored(ten, pair(1)) == 7
    assert scored(zero, pair(2)) == 1
    successor = CountsInFiles(tmp_path, 0)
    assert scored(successor, pair(1)) == 7
    count(successor, pair(1), 10)
    assert scored(ten, pair(1)) == 17
    assert len(list(tmp_path.iterdir())) == 3


def test_files_of_dead_predecessors_do_not_pile_up(tmp_path: Path) -> None:
    """A successor drops the oldest of them first, never what another slot counts nor what it counts itself."""
    other = CountsInFiles(tmp_path, 1)
    count(other, pair(0), 1)
    predecessor = CountsInFiles(tmp_path, 0)
    for number in range(KEPT_PAIRS):
        count(predecessor, pair(number), 1)
        os.utime(tmp_path / f"0~run-{number}~run-{number + 1}", (number, number))
    successor = CountsInFiles(tmp_path, 0)
    for number in (100, 101):
        count(successor, pair(number), 1)
    assert scored(successor, pair(0)) == 1  # of slot 1 only
    assert scored(successor, pair(1)) is None
    assert [scored(successor, pair(number)) for number in (2, KEPT_PAIRS - 1, 100, 101)] == [1.0] * 4
    for number in range(200, 300):
        count(CountsInFiles(tmp_path, 0), pair(number), 1)
    assert len(list(tmp_path.iterdir())) == KEPT_PAIRS + 1


def test_a_file_that_counts_something_else_is_not_added_and_is_replaced(tmp_path: Path) -> None:
    """Of another version of the program, which was replaced while its supervisor lived on; or cut by whomever."""
    counts = CountsInFiles(tmp_path, 0)
    count(counts, pair(1), 3)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for strange in (b"", whole[:-8], whole + bytes(8), bytes(8) + whole[8:]):
        file.write_bytes(strange)
        assert scored(counts, pair(1)) is None
        fresh = CountsInFiles(tmp_path, 0)
        count(fresh, pair(1), 5)
        assert scored(fresh, pair(1)) == 5


class Slow(float):
    """A number that other threads overtake while it is added."""

    def __radd__(self, other: float) -> float:
        time.sleep(0.001)
        return other + float(self)


def test_threads_that_count_at_once_lose_nothing() -> None:
    """The event loop and the scoring thread count in one row."""
    cells = Cells(memoryview(bytearray(8 * CELLS)).cast("d"))

    def count_some() -> None:
        for _ in range(20):
            cells.add([(0, Slow(1)), (1, 2)])

    threads = [threading.Thread(target=count_some) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cells.values()[:3] == [80, 160, 0]


_COUNTER = """
import sys
from pathlib import Path
from recommendation_api.shadow_counts import CountsInFiles
counts = CountsInFiles(Path(sys.argv[1]), 3)
cells = counts.open(("run-a", "run-b"))
print(flush=True)
while True:
    cells.add([(0, 1), (1, 1)])
"""


def test_whoever_reads_while_another_process_counts_sees_numbers_go_up_only(tmp_path: Path) -> None:
    """And what was counted stays when that process is killed."""
    reader, seen = CountsInFiles(tmp_path, 0), [0.0]
    command = [sys.executable, "-c", _COUNTER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            seen += [reader.read()["run-a", "run-b"].cells[0] for _ in range(3000)]
            wait_until("it counts", lambda: reader.read()["run-a", "run-b"].cells[0] > seen[-1])
        finally:
            process.kill()
    assert seen == sorted(seen)
    assert all(value == int(value) for value in seen)
    last = reader.read()["run-a", "run-b"].cells
    assert last[0] - last[1] in {0, 1}
    assert last[0] >= seen[-1] > 0


def test_without_space_for_counts_there_is_no_trial_and_the_user_gets_the_answer(tmp_path: Path) -> None:
    """Nothing is exported of it, so that nobody takes the replica for one that takes part."""
    metrics = Metrics(shadow_counts=CountsInFiles(tmp_path / "nowhere", 0))
    serving = on_trial()
    shadow = Shadow(metrics, 10, lambda: serving)
    shadow.offer(serving, "recommend", "u1", 4, LETTERS[:4], 0.1)
    shown = exposition(metrics.registry, lambda: [TrialStates(states=tuple(shadow.states()))])
    samples = [sample for family in shown.collect() for sample in family.samples if "candidate" in sample.labels]
    assert samples == []
    assert shadow.states() == []
