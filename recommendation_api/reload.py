"""What may be asked of this replica: follow, prepare, change by hand, renew a lease, report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from model_release.adapters.run_store import RunStore
from model_release.contract import LeaseReceipt, LeaseRequest, ModelsReport, ReloadReceipt, ReloadRequest, utc_now
from model_release.errors import GenerationConflictError, IllegalMoveError, InvalidInputError, ModelReleaseError
from model_release.leases import lease_receipt, renewed
from model_release.registry import Registry
from recommendation_api.by_hand import ByHand
from recommendation_api.metrics import Metrics
from recommendation_api.problems import RegistryBehindError, ShuttingDownError, status_of
from recommendation_api.replica import Replica
from recommendation_api.reports import models_report, receipt
from recommendation_api.serving import Serving
from recommendation_api.settings import Settings


class ModelServer:
    """The replica as its callers see it; whichever worker gets a call answers for all of them."""

    def __init__(self, settings: Settings, metrics: Metrics, replica: Replica) -> None:
        self._settings = settings
        self._metrics = metrics
        self._replica = replica

    @property
    def serving(self) -> Serving:
        """What this process serves."""
        return self._replica.serving

    def close(self) -> None:
        """Refuse changes from now on."""
        self._replica.closing.set()

    def reload(self, request: ReloadRequest, by: str) -> ReloadReceipt:
        """Do what ``POST /models/reload`` asks, or leave everything as it is.

        Raises:
            ModelReleaseError: see ``problems.STATUSES`` for what becomes of it.
        """
        with self._measured():
            self._check_open()
            with self._replica.crew.changing():
                self._check_open()
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
        with self._replica.crew.changing():
            registry = self._replica.registry.update(lambda state: renewed(state, request, now=utc_now()))
            self._replica.follow(registry)
        return lease_receipt(registry, request)

    def report(self) -> ModelsReport:
        """Return desired and observed state, of every worker that answers."""
        crew = self._replica.crew
        return models_report(
            self._replica.read,
            crew.reports(),
            replica=self._settings.replica,
            expected=crew.expected,
            generation=self.serving.generation,
        )

    def not_ready(self) -> str | None:
        """Return why this process should get no requests; None: it is ready."""
        if self._replica.closing.is_set():
            return "shutting down"
        if not self._replica.started:
            return "loading what is desired"
        serving = self.serving
        if serving.current is None:
            return serving.problem or self._replica.registry_problem or "no run is current yet"
        return None

    def _check_open(self) -> None:
        if self._replica.closing.is_set():
            raise ShuttingDownError("this replica is shutting down: ask another one")

    def _prepare(self, request: ReloadRequest) -> ReloadReceipt:
        registry = self._replica.read()
        if request.generation is not None and request.generation < self.serving.generation:
            raise GenerationConflictError(expected=request.generation, actual=self.serving.generation)
        answers = self._replica.prepare(registry, _named(request), source=request.source)
        changed = any(answer.fresh for answer in answers)
        message = "loaded and checked; serving is unchanged"
        return receipt("prepared", request, self.serving, workers=len(answers), changed=changed, message=message)

    def _follow(self, request: ReloadRequest) -> ReloadReceipt:
        registry = self._replica.read()
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
        workers = len(self._replica.follow(registry))
        changed = self.serving.generation != before.generation
        message = f"serves generation {registry.generation}" if changed else "served that already"
        return receipt("serving", request, self.serving, workers=workers, changed=changed, message=message)

    def _by_hand(self, request: ReloadRequest, by: str) -> ReloadReceipt:
        replica, run_id = self._replica, _named(request)
        registry = replica.read()
        if registry.generation < self.serving.generation:  # committing to it would move the replicas that restart
            raise GenerationConflictError(expected=self.serving.generation, actual=registry.generation)
        call = ByHand(RunStore(self._settings.paths), replica.registry, replica.ledger, by)
        move = call.move(request, run_id)
        if request.source == "staging":
            replica.prepare(registry, run_id, source="staging")
            call.publish(move)
        replica.prepare(registry, run_id, source="models")
        done = call.commit(move)
        before = self.serving
        workers = len(replica.follow(done.registry))
        call.conclude(move, done)
        changed = done.changed or self.serving.generation != before.generation
        message = f"committed generation {done.registry.generation}" if done.changed else "was desired already"
        return receipt("serving", request, self.serving, workers=workers, changed=changed, message=message)

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
