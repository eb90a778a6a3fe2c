"""One worker's two steps: what PREPARE has checked, SWITCH serves."""

from __future__ import annotations

from recommendation_api.orders import Prepare, Switch
from recommendation_api.serving import wanted_of
from recommendation_api.worker import Worker
from tests.api.home import Home, alter_a_byte
from tests.api.in_process import settings_of


def test_a_switch_serves_what_was_prepared_and_reads_nothing(home: Home) -> None:
    """A file that is replaced between the two makes no worker stay behind; whoever prepares it next refuses it."""
    worker = Worker(settings_of(home))
    wanted = wanted_of(home.commit("run-b"))
    prepare = Prepare(registry=wanted, run_ids=("run-b",))
    assert worker.prepare(prepare).failures == {}
    expected = home.expected("run-b", "u1")
    alter_a_byte(home.runs.folder("run-b") / "user_lists.npy")
    report = worker.switch(Switch(registry=wanted))
    assert (report.current, report.generation, report.degraded) == ("run-b", wanted.generation, None)
    current = worker.serving.current
    assert current is not None
    assert current.model.recommend("u1", 10) == expected
    assert "user_lists.npy" in worker.prepare(prepare).failures["run-b"].message
