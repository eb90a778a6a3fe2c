"""One question, many who ask it: nobody gets an answer that is too old, or to another question."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import Awaitable, Callable

import pytest

from model_release_airflow.shared import Questions, pause


class Asking:
    """A question that counts, and answers with the number of the time it was asked."""

    def __init__(self) -> None:
        self.times = 0
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self) -> int:
        self.times += 1
        number = self.times
        await self.go.wait()
        return number


def looped(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in an event loop of its own."""

    def run() -> None:
        asyncio.run(test())  # type: ignore[arg-type]

    run.__doc__, run.__name__ = test.__doc__, test.__name__
    return run


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@looped
async def test_who_asks_meanwhile_gets_the_same_answer() -> None:
    """A thousand gates that look at the same moment are one look."""
    questions, asking = Questions(threads=1), Asking()
    assert set(await asyncio.gather(*(questions.ask("a", 60, asking) for _ in range(1000)))) == {1}
    assert await questions.ask("a", 60, asking) == 1
    assert (questions.asked, questions.made) == (1001, 1)


@looped
async def test_other_questions_are_not_mixed_up() -> None:
    questions, asking = Questions(threads=1), Asking()
    keys = [("look", "run", "release"), ("look", "run", "other"), ("look", "other", "release")]
    assert sorted(await asyncio.gather(*(questions.ask(key, 60, asking) for key in keys))) == [1, 2, 3]


@looped
async def test_an_answer_is_as_old_as_its_question() -> None:
    """However long it takes: whoever pauses for ``fresh_seconds`` never gets one twice, and counts N reads as N."""
    questions, asking = Questions(threads=1), Asking()
    asking.go.clear()
    first = asyncio.create_task(questions.ask("a", 0.05, asking))
    await settle()
    await asyncio.sleep(0.06)
    late = asyncio.create_task(questions.ask("a", 0.05, asking))
    await settle()
    asking.go.set()
    assert (await first, await late) == (1, 2)
    seen = []
    for _ in range(5):
        seen.append(await questions.ask("b", 0.01, asking))
        await asyncio.sleep(0.0101)
    assert len(set(seen)) == len(seen)
    assert await questions.ask("c", 0, asking) != await questions.ask("c", 0, asking)


@looped
async def test_an_error_is_shared_and_forgotten_like_an_answer() -> None:
    questions, times = Questions(threads=1), 0

    async def fail() -> None:
        nonlocal times
        times += 1
        raise OSError("away")

    together = await asyncio.gather(*(questions.ask("a", 0.05, fail) for _ in range(5)), return_exceptions=True)
    assert [str(one) for one in together] == ["away"] * 5
    assert times == 1
    await asyncio.sleep(0.06)
    assert await questions.ask("a", 0.05, Asking()) == 1


@looped
async def test_who_asked_first_may_leave() -> None:
    """Its trigger is cancelled: the others still get the answer, and it is asked once."""
    questions, asking = Questions(threads=1), Asking()
    asking.go.clear()
    first, second = (asyncio.create_task(questions.ask("a", 60, asking)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    assert first.cancelled()
    asking.go.set()
    assert await second == 1


@looped
async def test_a_question_that_was_cancelled_is_asked_again() -> None:
    questions = Questions(threads=1)

    async def cancelled() -> int:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await questions.ask("a", 60, cancelled)
    assert await questions.ask("a", 60, Asking()) == 1


def test_nobody_complains_when_all_have_left(caplog: pytest.LogCaptureFixture) -> None:
    """Asyncio logs an error that nobody looked at; a trigger that was cancelled is no error."""

    async def leave() -> None:
        questions, go = Questions(threads=1), asyncio.Event()

        async def fail() -> None:
            await go.wait()
            raise OSError("away")

        only = asyncio.create_task(questions.ask("a", 0, fail))
        await settle()
        only.cancel()
        go.set()
        await settle()
        await questions.ask("b", 0, Asking())
        gc.collect()

    with caplog.at_level(logging.ERROR):
        asyncio.run(leave())
    assert "never retrieved" not in caplog.text


@looped
async def test_answers_are_not_kept_for_ever() -> None:
    questions, asking = Questions(threads=1), Asking()
    for number in range(50):
        await questions.ask(number, 0.001, asking)
        await asyncio.sleep(0.002)
    (flights,) = questions._loops.values()
    assert len(flights) <= 2


@looped
async def test_what_blocks_does_not_stop_other_questions() -> None:
    """Evidence that can't be had takes all its threads; a lease is renewed meanwhile."""
    evidence, replicas, go = Questions(threads=2), Questions(threads=2), threading.Event()
    stuck = [asyncio.create_task(evidence.ask_in_thread(number, 60, go.wait)) for number in range(20)]
    await settle()
    assert await asyncio.wait_for(replicas.ask_in_thread("lease", 60, lambda: "renewed"), 5) == "renewed"
    assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 5) == "free"
    go.set()
    assert await asyncio.gather(*stuck) == [True] * 20


def test_each_event_loop_has_its_own_answers() -> None:
    """A future of one can't be awaited in another; triggers run in one, tests and tools in several."""
    questions = Questions(threads=2)
    got = [asyncio.run(questions.ask("a", 60, lambda number=number: asyncio.sleep(0, number))) for number in (1, 2)]  # type: ignore[misc]
    assert got == [1, 2]


def test_those_who_began_together_drift_apart_and_none_polls_faster() -> None:
    later = {pause(2.0) for _ in range(100)}
    assert min(later) >= 2.0
    assert max(later) <= 2.2
    assert len(later) > 50
    first = [pause(2.0, first=True) for _ in range(100)]
    assert 1.0 <= min(first) < max(first) <= 2.0
