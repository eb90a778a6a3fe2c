"""The profile ``canary``: a run is tried in shadow and canary, and nobody but its container asks."""

from __future__ import annotations

from tests.containers.scene import PIPELINE, WEEKS, Scene
from tests.containers.stack import StackError, wait

TRAFFIC = "recommendation-traffic"
TRIALS = ("judge_shadow_50", "judge_canary_20")  # RECOMMENDATION_RELEASE_STEPS of scripts/compose_on_podman.sh
_ANSWERS = "sum(rate(recommendation_answers_total[1m]))"


class Canary(Scene):
    """The proof that trials have evidence where there are no users."""

    def run(self) -> None:
        """Carry it out.

        Raises:
            StackError: something did not happen as it should.
        """
        self.up()
        first = self.release("first", {"as_of": WEEKS[0]})
        wait("somebody asks", lambda: self._answers() > 1.0, 120)
        self.tell(f"{TRAFFIC} alone asks: {self._answers():.0f} answers a second")
        second = self.release("second", {"as_of": WEEKS[1]})
        if second == first:
            raise StackError("the second release trained nothing new")
        tasks = self.stack.tasks(PIPELINE, "second")
        for trial in TRIALS:
            self.tell(f"{trial}: {self._decided(trial)} after {float(tasks[trial]['duration']):.0f} s")
        (traffic,) = self.stack.containers(TRAFFIC)
        if traffic.restarts or traffic.health != "healthy":
            raise StackError(f"{TRAFFIC} did not ask all the time: {traffic}")

    def _answers(self) -> float:
        found = self.stack.query(_ANSWERS)
        return float(found[0]["value"][1]) if found else 0.0

    def _decided(self, task: str) -> str:
        """Return what the gate decided on evidence, and of how many checks.

        Raises:
            StackError: it did not pass, or a check that counts had nothing to go by.
        """
        path = f"/dags/{PIPELINE}/dagRuns/second/taskInstances/{task}/xcomEntries/return_value"
        decision = (self.stack.ask(path) or {}).get("value") or {}
        counted = [one for one in decision.get("results", []) if one["severity"] == "critical" and not one["dry_run"]]
        if not counted or {one["verdict"] for one in counted} != {"pass"}:
            raise StackError(f"{task} decided without evidence: {decision}")
        return f"{decision['verdict']} by {len(counted)} checks"
