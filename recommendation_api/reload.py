"""Bring this replica to a state of the registry: prepare, switch one pointer, and say truthfully what is served.

The registry is the only truth: a call that says otherwise is refused.  On any failure the old run keeps serving.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_release import reversal
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.contract import (
    LeaseReceipt,
    LeaseRequest,
    ModelsReport,
    ReloadReceipt,
    ReloadRequest,
    utc_now,
)
from model_release.errors import (
    ArtifactError,
    GenerationConflictError,
    IllegalMoveError,
    InvalidInputError,
    ModelReleaseError,
    StateError,
)
from model_release.registry import Registry, expect, renew_lease
from recommendation_api.by_hand import ByHand
from recommendation_api.metrics import Metrics
from recommendation_api.model_store import LoadedRun, ModelStore
from recommendation_api.problems import RegistryBehindError, ShuttingDownError, status_of
from recommendation_api.reports import models_report, receipt
from recommendation_api.serving import Serving, lease_end
from recommendation_api.settings import Settings

_log = logging.getLogger("recommendation_api")
_SPARE_RUNS = 1  # resident beside current and candidate: the way back takes milliseconds


class ModelServer:
    """The one that changes what this process serves; requests read :attr:`serving` once and keep what they read."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.serving = Serving()
        self.started = False  # whether the desired state was loaded, or found unusable, once
        self._settings = settings
        self._metrics = metrics
        self._store = ModelStore(settings.paths)
        self._registry = FileRegistry(settings.paths)
        self._ledger = FileLedger(settings.paths)
        self._lock = threading.RLock()  # one change at a time
        self._closing = False
        self._registry_problem: str | None = None
        self._show()

    def close(self) -> None:
        """Refuse changes from now on."""
        self._closing = True

    def reload(self, request: ReloadRequest, by: str) -> ReloadReceipt:
        """Do what ``POST /models/reload`` asks, or leave everything as it is.

        Raises:
            ModelReleaseError: see ``problems.STATUSES`` for what becomes of it.
        """
        with self._measured(), self._lock:
            if self._closing:
                raise ShuttingDownError("this replica is shutting down: ask another one")
            if request.prepare:
                return self._prepare(request)
            if request.generation is None and request.run_id is not None:
                return self._by_hand(request, by)
            return self._follow(request)

    def lease(self, request: LeaseRequest) -> LeaseReceipt:
        """Let the trial of ``release_id`` go on for ``lease_seconds`` from now.

        Raises:
            GenerationConflictError: the registry is at another generation.
            InvalidInputError: this release has no candidate on trial, or its lease has run out.
        """
        until = utc_now() + dt.timedelta(seconds=request.lease_seconds)

        def transition(registry: Registry) -> Registry:
            expect(registry, request.generation)
            candidate = registry.candidate
            if candidate is not None and candidate.expired(utc_now()):
                raise InvalidInputError(
                    f"the lease of release {candidate.release_id!r} ran out at {candidate.lease_until:%H:%M:%SZ}: "
                    "its trial has ended"
                )
            return renew_lease(registry, release_id=request.release_id, lease_until=until)

        with self._lock:
            registry = self._registry.update(transition)
            self._switch(registry)
        candidate = registry.candidate
        if candidate is None or candidate.lease_until is None:
            raise InvalidInputError(f"release {request.release_id!r} has no candidate with a lease")
        return LeaseReceipt(
            release_id=candidate.release_id,
            run_id=candidate.run_id,
            generation=registry.generation,
            lease_until=candidate.lease_until,
        )

    def watch(self) -> None:
        """Look at the registry once and follow it; end a trial whose lease has run out.  Never raises."""
        try:
            registry = self._read()
            if registry.candidate is not None and registry.candidate.expired(utc_now()):
                registry = self._end_expired() or registry
            with self._lock:
                behind = registry != self.serving.registry or self.serving.problem is not None
                if not self._closing and (behind or not self.started):
                    self._switch(registry)
        except (ModelReleaseError, OSError) as error:
            _log.warning("still serving generation %d: %s", self.serving.generation, error)
        except Exception:  # noqa: BLE001  (a watcher that ended would never heal this replica)
            _log.error("still serving generation %d", self.serving.generation, exc_info=True)
        finally:
            self.started = True

    def report(self) -> ModelsReport:
        """Return desired and observed state."""
        return models_report(self._read, self.serving, replica=self._settings.replica, resident=self._store.resident)

    def not_ready(self) -> str | None:
        """Return why this replica should get no requests yet; None: it is ready."""
        if self._closing:
            return "shutting down"
        if not self.started:
            return "loading what is desired"
        serving = self.serving
        if serving.current is None:
            return serving.problem or self._registry_problem or "no run is current yet"
        return None

    def _prepare(self, request: ReloadRequest) -> ReloadReceipt:
        registry = self._read()
        if request.generation is not None and request.generation < self.serving.generation:
            raise GenerationConflictError(expected=request.generation, actual=self.serving.generation)
        run_id = _named(request)
        before = self._store.resident
        self._store.load(run_id, registry, source=request.source)
        self._trim(self.serving, preparing=run_id)
        changed = run_id not in before
        return self._receipt("prepared", request, changed=changed, message="loaded and checked; serving is unchanged")

    def _follow(self, request: ReloadRequest) -> ReloadReceipt:
        registry = self._read()
        asked = request.generation
        if asked is not None:
            newest = max(registry.generation, self.serving.generation)
            if asked < newest:
                raise GenerationConflictError(expected=asked, actual=newest)
            if registry.generation < asked:
                raise RegistryBehindError(
                    f"the registry is at generation {registry.generation} as seen from here, {asked} was named: retry"
                )
        if request.run_id is not None and not _desires(registry, request):
            raise IllegalMoveError(
                f"the registry does not desire run {request.run_id!r} as {request.mode} at generation "
                f"{registry.generation}; leave out generation to change that by hand"
            )
        before = self.serving
        self._switch(registry)
        changed = self.serving.generation != before.generation
        message = f"serves generation {registry.generation}" if changed else "served that already"
        return self._receipt("serving", request, changed=changed, message=message)

    def _by_hand(self, request: ReloadRequest, by: str) -> ReloadReceipt:
        registry = self._read()
        if registry.generation < self.serving.generation:  # committing to it would move the replicas that restart
            raise GenerationConflictError(expected=self.serving.generation, actual=registry.generation)
        call = ByHand(self._store, self._registry, self._ledger, by)
        move = call.move(request, _named(request))
        done = call.commit(move, source=request.source)
        before = self.serving
        self._switch(done.registry)
        call.conclude(move, done)
        changed = done.changed or self.serving.generation != before.generation
        message = f"committed generation {done.registry.generation}" if done.changed else "was desired already"
        return self._receipt("serving", request, changed=changed, message=message)

    def _switch(self, registry: Registry) -> None:
        """Load what ``registry`` desires, then replace the pointer.

        Raises:
            ArtifactError: a desired run can't be loaded.  What was served before is served on, but a candidate holds no new
                current run back; if there was nothing, popular items of an older run are.
        """
        old = self.serving
        if registry.generation < old.generation:
            raise GenerationConflictError(expected=registry.generation, actual=old.generation)
        current = registry.current
        try:
            loaded = self._store.load(current.run_id, registry) if current else None
        except ArtifactError as error:
            if old.current is None:
                fallback = old.fallback or self._older_popular(registry)
                self.serving = Serving(registry=old.registry, fallback=fallback, problem=str(error))
            raise
        fallback = loaded.fallback if loaded else ()
        try:
            trial = self._candidate(registry)
        except ArtifactError as error:
            if loaded is not None and (old.current is None or old.current.run_id != loaded.run_id):
                self._serve(Serving(registry, loaded, None, fallback, str(error)))
            raise
        self._serve(Serving(registry, loaded, trial, fallback, None, lease_end(registry)))

    def _candidate(self, registry: Registry) -> LoadedRun | None:
        candidate = registry.candidate
        if candidate is None or candidate.expired(utc_now()):
            return None
        return self._store.load(candidate.run_id, registry)

    def _serve(self, serving: Serving) -> None:
        self.serving = serving
        self._trim(serving)
        self._show()

    def _older_popular(self, registry: Registry) -> tuple[str, ...]:
        for past in registry.history:
            try:
                return self._store.load(past.run_id, registry).fallback
            except ArtifactError:
                continue
        return ()

    def _trim(self, serving: Serving, *, preparing: str | None = None) -> None:
        used = {run.run_id for run in (serving.current, serving.candidate) if run is not None}
        self._store.keep(used | ({preparing} if preparing else set()), spare=_SPARE_RUNS)

    def _end_expired(self) -> Registry | None:
        by = f"api:{self._settings.replica}"
        done = reversal.end_lapsed_trial(self._registry, self._ledger, by=by, at=utc_now())
        return done.registry if done else None

    def _read(self) -> Registry:
        try:
            registry = self._registry.read()
        except (StateError, OSError) as error:
            self._registry_problem = str(error)
            self._metrics.registry_readable.set(0)
            raise
        self._registry_problem = None
        self._metrics.registry_readable.set(1)
        return registry

    def _receipt(self, status: str, request: ReloadRequest, *, changed: bool, message: str) -> ReloadReceipt:
        return receipt(status, request, self.serving, changed=changed, message=message)

    def _show(self) -> None:
        serving, metrics = self.serving, self._metrics
        metrics.generation.set(serving.generation)
        metrics.model_info.clear()
        for slot, run in (("current", serving.current), ("candidate", serving.candidate)):
            if run is not None:
                metrics.model_info.labels(run.run_id, slot).set(1)

    @contextmanager
    def _measured(self) -> Iterator[None]:
        started = time.perf_counter()
        outcome = "failed"
        try:
            yield
            outcome = "ok"
        except ModelReleaseError as error:
            outcome = status_of(error)[1].replace(" ", "_")
            raise
        finally:
            self._metrics.reloads.labels(outcome).inc()
            self._metrics.reload_seconds.labels(outcome).observe(time.perf_counter() - started)


def _named(request: ReloadRequest) -> str:
    if request.run_id is None:
        raise InvalidInputError("name a run_id")
    return request.run_id


def _desires(registry: Registry, request: ReloadRequest) -> bool:
    if request.mode == "primary":
        return registry.current is not None and registry.current.run_id == request.run_id
    trial = registry.candidate
    return trial is not None and (trial.run_id, trial.mode, trial.rollout) == (
        request.run_id,
        request.mode,
        request.rollout,
    )
