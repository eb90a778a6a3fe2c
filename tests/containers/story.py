"""A release on the stack in containers, one that loses a replica, a worker and the scheduler, and the Releases page."""

from __future__ import annotations

import time

from tests.containers.dashboards import loaded
from tests.containers.releases_page import ReleasesPage, look
from tests.containers.scene import PIPELINE, REPLICAS, WEEKS, Scene
from tests.containers.stack import API, Container, StackError, wait
from tests.containers.visitors import Visitors

LATCH, WATCHDOG = "recommendation_latch", "Watchdog"


class Story(Scene):
    """The proof of docs/production.md."""

    def run(self) -> None:
        """Carry it out.

        Raises:
            StackError: something did not happen as it should.
        """
        self.up()
        first = self.release("first", {"as_of": WEEKS[0]})
        page, viewer = ReleasesPage(self.stack, "admin"), ReleasesPage(self.stack, "viewer")
        with Visitors() as visitors, page, viewer:
            self._watched()
            self._page_shows(page, viewer, first)
            second = self._release_with_losses(WEEKS[1], first)
            self._acted_from(page, first, second)
        self.nobody_lost(visitors)

    def _watched(self) -> None:
        query = self.stack.query
        wait("Prometheus sees every replica", lambda: len(query('up{job="recommendation-api"} == 1')) == REPLICAS, 60)
        wait("Prometheus sees Airflow", lambda: len(query('probe_success{job="airflow"} == 1')) == 4, 120)
        wait("the data's scores arrive", lambda: len(query("data_quality_score")) > 0, 60)
        wait("the bridge tells the current run", lambda: len(query("model_release_current_info")) == 1, 60)
        counted = 'collectd_statsd_derive_total{statsd=~"airflow.*heartbeat"}'
        wait("Airflow's own metrics arrive", lambda: len(query(counted)) > 0, 90)
        self.tell(
            "Prometheus sees every replica, Airflow's metrics, the parts of Airflow, the data's scores and the current run"
        )

    def _page_shows(self, page: ReleasesPage, viewer: ReleasesPage, run: str) -> None:
        boards, questions = loaded(self.stack)
        self.tell(
            f"Grafana's container has {boards} dashboards; Prometheus answers their {questions} questions from there"
        )
        look(page, viewer, run, REPLICAS)
        page.acknowledge(WATCHDOG, "the proof on containers")
        self.tell(
            "the Releases page has registry, replicas, Prometheus, Alertmanager and ledger; acknowledging an alert silences it"
        )

    def _release_with_losses(self, as_of: str, before: str) -> str:
        name = "second"
        self.stack.trigger(PIPELINE, name, {"as_of": as_of})
        self.tell(f"{PIPELINE} is triggered again, on data before {as_of}; now things die")
        worker = self.stack.container(self._hostname(name, "train"))
        self._kill(worker, "the Celery worker that trains")
        self._kill(self.stack.containers(API)[0], f"a replica, which serves {before}")
        self._hostname(name, "evaluate")
        self._kill(self.stack.containers("airflow-scheduler")[0], "the scheduler, while the new run is evaluated")
        released = self.released(name)
        if released == before:
            raise StackError("the second release trained nothing new")
        return released

    def _hostname(self, name: str, task: str) -> str:
        """Wait until a task runs; return the name of the container where it does."""

        def running() -> bool:
            return self.stack.tasks(PIPELINE, name).get(task, {}).get("state") == "running"

        wait(f"{task} runs", running, 300, pause=0.3)
        return str(self.stack.tasks(PIPELINE, name)[task]["hostname"])

    def _kill(self, container: Container, what: str) -> None:
        self.stack.kill(container)
        begun = time.monotonic()
        self.tell(f"kill -9: {what}")

        def is_back() -> bool:
            now = self.stack.container(container.id)
            return now.pid not in {0, container.pid} and now.health == "healthy"

        wait(f"{container.service} comes back", is_back, 180)
        self.tell(f"{container.service} is back and healthy after {time.monotonic() - begun:.1f} s")

    def _acted_from(self, page: ReleasesPage, first: str, second: str) -> None:
        """Go back, allow releases again and release a run that is there, as the page's buttons do."""
        dag, name = page.trigger("rollback", {"reason": "the proof on containers", "set_latch": True})
        self.tell(f"{dag} is triggered from the Releases page")
        self.done(dag, name)
        self.all_serve(first)
        if not page.part("desired")["data"].get("latch"):
            raise StackError("the Releases page does not show the latch that the rollback set")
        self.tell(f"rolled back: {first} is served by every process of every replica again; the latch is set")
        self.done(LATCH, page.start(LATCH, {"action": "clear", "reason": "the proof on containers"}))
        dag, name = page.trigger("release", {}, run_id=second)
        self.tell(f"releases are allowed again; {dag} is triggered from the Releases page, for a run that is there")
        self.released(name)
