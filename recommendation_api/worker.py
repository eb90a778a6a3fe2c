"""What one process serves, and how that changes: it does what the one that coordinates the replica orders."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from model_release.contract import WorkerReport
from model_release.errors import ArtifactError, GenerationConflictError
from model_release.registry import Candidate, Current, Registry
from recommendation_api.model_store import LoadedRun, ModelStore
from recommendation_api.orders import Beat, Failure, Prepare, Prepared, Switch, TrialStates, Unusable
from recommendation_api.serving import Serving, lease_end
from recommendation_api.settings import Settings

_SPARE_RUNS = 1  # resident beside current and candidate: the way back takes milliseconds


class Worker:
    """A ``Member`` in its own process; requests read :attr:`serving` once and keep what they read.

    Args:
        settings: of the replica.
        slot: its place among the workers.
        trials: says what this process knows of trials.
        silent_seconds: says how long ago the event loop last had its turn.

    Attributes:
        serving: what is served; replaced as a whole.
    """

    def __init__(
        self,
        settings: Settings,
        slot: int = 0,
        *,
        trials: Callable[[], TrialStates] = TrialStates,
        silent_seconds: Callable[[], float] = float,
    ) -> None:
        self.serving = Serving()
        self._slot = slot
        self._trials = trials
        self._silent_seconds = silent_seconds
        self._store = ModelStore(settings.paths)
        self._lock = threading.Lock()  # pointer and check of its generation go together

    @property
    def slot(self) -> int:
        """Its place in the replica."""
        return self._slot

    def prepare(self, order: Prepare) -> Prepared:
        """Load and check runs; one that can't be loaded is reported, not raised."""
        before = set(self._store.resident)
        failures = {}
        for run_id in order.run_ids:
            try:
                self._store.load(run_id, order.registry, source=order.source)
            except ArtifactError as error:
                failures[run_id] = Failure.of(error)
        self._trim(set(order.run_ids))
        fresh = tuple(run_id for run_id in order.run_ids if run_id not in before and run_id not in failures)
        return Prepared(pid=os.getpid(), failures=failures, fresh=fresh)

    def switch(self, order: Switch) -> WorkerReport:
        """Replace the pointer; what was prepared is resident, so this takes no time.

        Raises:
            GenerationConflictError: a later state is served.
            ArtifactError: a run was not prepared and can't be loaded.
        """
        registry = order.registry
        current = self._prepared(registry.current, registry)
        candidate = self._prepared(registry.candidate, registry) if order.with_candidate else None
        fallback = current.fallback if current else ()
        self._serve(Serving(registry, current, candidate, fallback, order.problem, lease_end(registry)))
        return self.report()

    def unusable(self, order: Unusable) -> WorkerReport:
        """Serve on what is served; if that is nothing, popular items of the newest earlier run that can be loaded."""
        with self._lock:
            old = self.serving
            if old.current is None:
                fallback = old.fallback or self._older_popular(order.registry)
                self.serving = Serving(registry=old.registry, fallback=fallback, problem=order.problem)
        return self.report()

    def report(self) -> WorkerReport:
        """Return what this process serves."""
        serving = self.serving
        return WorkerReport(
            pid=os.getpid(),
            generation=serving.generation,
            current=serving.current.run_id if serving.current else None,
            candidate=serving.trial(time.time()),
            resident=self._store.resident,
            loaded_at=serving.current.loaded_at if serving.current else None,
            degraded=serving.problem,
        )

    def pulse(self) -> Beat:
        """Return a sign of life."""
        return Beat(silent_seconds=self._silent_seconds())

    def trials(self) -> TrialStates:
        """Return what this process knows of trials."""
        return self._trials()

    def _prepared(self, desired: Current | Candidate | None, registry: Registry) -> LoadedRun | None:
        """Return the run of a slot: what was checked a moment ago is not read again."""
        if desired is None:
            return None
        return self._store.held(desired.run_id) or self._store.load(desired.run_id, registry)

    def _serve(self, serving: Serving) -> None:
        with self._lock:
            if serving.generation < self.serving.generation:
                raise GenerationConflictError(expected=serving.generation, actual=self.serving.generation)
            self.serving = serving
        self._trim(set())

    def _older_popular(self, registry: Registry) -> tuple[str, ...]:
        for past in registry.history:
            try:
                return self._store.load(past.run_id, registry).fallback
            except ArtifactError:
                continue
        return ()

    def _trim(self, preparing: set[str]) -> None:
        serving = self.serving
        used = {run.run_id for run in (serving.current, serving.candidate) if run is not None}
        self._store.keep(used | preparing, spare=_SPARE_RUNS)
