"""All workers of this replica follow the registry together: each can serve a run before any of them does.

The registry is the only truth.  On any failure what was served before is served on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Literal

from model_release import reversal
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.file_registry import FileRegistry
from model_release.contract import WorkerReport, utc_now
from model_release.errors import GenerationConflictError, ModelReleaseError, StateBusyError, StateError
from model_release.registry import Registry
from recommendation_api.crew import Crew
from recommendation_api.orders import Member, Prepare, Prepared, Switch, Unusable, failure_of
from recommendation_api.problems import WorkerLostError
from recommendation_api.serving import Serving, wanted_of
from recommendation_api.settings import Settings
from recommendation_api.worker import Worker

_log = logging.getLogger("recommendation_api")
_FIRST_PAUSE_SECONDS = 1.0  # before a state that could not be served is tried again, unless it changes
_LONGEST_PAUSE_SECONDS = 30.0
_JOIN_PAUSE_SECONDS = 1.0


class Replica:
    """The workers of this replica, as seen from the one in this process.

    Attributes:
        registry: where the desired state is.
        ledger: the record of changes.
        crew: all workers.
        started: whether the desired state was loaded, or found unusable, once.
        registry_problem: why the registry could not be read the last time.
        closing: set when this process goes away.
    """

    def __init__(self, settings: Settings, worker: Worker, crew: Crew) -> None:
        self.registry = FileRegistry(settings.paths)
        self.ledger = FileLedger(settings.paths)
        self.crew = crew
        self.started = False
        self.registry_problem: str | None = None
        self.closing = threading.Event()
        self._settings = settings
        self._worker = worker
        self._retry = _Retry()

    @property
    def serving(self) -> Serving:
        """What this process serves."""
        return self._worker.serving

    def read(self) -> Registry:
        """Return the desired state.

        Raises:
            StateError, OSError: it can't be read; ``registry_problem`` says so until it can.
        """
        try:
            registry = self.registry.read()
        except (StateError, OSError) as error:
            self.registry_problem = str(error)
            raise
        self.registry_problem = None
        return registry

    def prepare(self, registry: Registry, run_id: str, *, source: Literal["models", "staging"]) -> list[Prepared]:
        """Let every worker load and check a run, and keep it.

        Raises:
            ArtifactError: at least one can't; which and why.
            WorkerLostError: one died meanwhile: retry.
        """
        answers = _prepare(self.crew, self.crew.members(), registry, (run_id,), source)
        error = failure_of(answers, run_id)
        if error is not None:
            raise error
        return answers

    def follow(self, registry: Registry, members: Sequence[Member] | None = None) -> list[WorkerReport]:
        """Let every worker serve ``registry``, if every one can; the caller holds ``crew.changing``.

        Args:
            registry: what is desired.
            members: only these workers.

        Raises:
            ArtifactError: a desired run can't be loaded by a worker.  All serve what they served, but a candidate holds no
                new current run back.
            GenerationConflictError: a later state is served.
            WorkerLostError: a worker does not answer: retry.
        """
        wanted, everybody = wanted_of(registry), self.crew.members() if members is None else members
        if wanted.generation < self.serving.generation:
            raise GenerationConflictError(expected=wanted.generation, actual=self.serving.generation)
        current = wanted.current.run_id if wanted.current else None
        trial = wanted.candidate
        candidate = trial.run_id if trial is not None and not trial.expired(utc_now()) else None
        runs = tuple(run_id for run_id in (current, candidate) if run_id is not None)
        answers = _prepare(self.crew, everybody, wanted, runs, "models")
        error = failure_of(answers, current) if current else None
        if error is not None:
            note = Unusable(registry=wanted, problem=str(error))
            self.crew.everywhere(lambda member: member.unusable(note), everybody, need_all=False)
            raise error
        error = failure_of(answers, candidate) if candidate else None
        if error is not None and self.serving.current is not None and self.serving.current.run_id == current:
            raise error
        order = Switch(
            registry=wanted,
            with_candidate=candidate is not None and error is None,
            problem=None if error is None else str(error),
        )
        reports = self.crew.everywhere(lambda member: member.switch(order), everybody, need_all=False)
        _check(reports, wanted.generation)
        if error is not None:
            raise error
        return reports

    def join(self) -> None:
        """Load what is desired into this process, before it gets requests; never raises.

        A process that can't waits as long as another worker has something to answer with.
        """
        while not self.closing.is_set():
            try:
                with self.crew.changing():
                    self.follow(self.read(), [self._worker])
                break
            except (ModelReleaseError, OSError) as error:
                _log.warning("can't serve what is desired yet: %s", error)
            except Exception:  # noqa: BLE001  (whatever is wrong with a run, this process lives on)
                _log.error("can't serve what is desired yet", exc_info=True)
            if not self.crew.serving_elsewhere():
                break
            self.closing.wait(_JOIN_PAUSE_SECONDS)
        self.started = True

    def watch(self) -> None:
        """Look at the registry once and follow it; end a trial whose lease has run out.  Never raises."""
        try:
            registry = self.read()
            if registry.candidate is not None and registry.candidate.expired(utc_now()):
                registry = self._end_expired() or registry
            if not self.closing.is_set() and self._behind(registry):
                with self.crew.changing(seconds=0):
                    self._retry.begin(wanted_of(registry))
                    self.follow(registry)
                    self._retry.forget()
        except StateBusyError:
            _log.debug("another worker follows the registry now")
        except (ModelReleaseError, OSError) as error:
            _log.warning("still serving generation %d: %s", self.serving.generation, error)
        except Exception:  # noqa: BLE001  (a watcher that ended would never heal this replica)
            _log.error("still serving generation %d", self.serving.generation, exc_info=True)
        finally:
            self.started = True

    def _behind(self, registry: Registry) -> bool:
        wanted, serving = wanted_of(registry), self.serving
        behind = wanted != serving.registry or serving.problem is not None or not self.started
        return behind and not self._retry.too_soon(wanted)

    def _end_expired(self) -> Registry | None:
        by = f"api:{self._settings.replica}"
        done = reversal.end_lapsed_trial(self.registry, self.ledger, by=by, at=utc_now())
        return done.registry if done else None


class _Retry:
    """When a state that could not be served is tried again: reading a broken run takes time from users' answers."""

    def __init__(self) -> None:
        self._wanted: Registry | None = None
        self._pause = _FIRST_PAUSE_SECONDS
        self._at = 0.0

    def begin(self, wanted: Registry) -> None:
        """Note that ``wanted`` is tried now."""
        same = wanted == self._wanted
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS) if same else _FIRST_PAUSE_SECONDS
        self._wanted, self._at = wanted, time.monotonic() + self._pause

    def forget(self) -> None:
        """Note that it went well."""
        self._wanted = None

    def too_soon(self, wanted: Registry) -> bool:
        """Whether ``wanted`` was tried in vain a moment ago."""
        return wanted == self._wanted and time.monotonic() < self._at


def _prepare(
    crew: Crew,
    members: Sequence[Member],
    registry: Registry,
    run_ids: tuple[str, ...],
    source: Literal["models", "staging"],
) -> list[Prepared]:
    order = Prepare(registry=wanted_of(registry, run_ids), run_ids=run_ids, source=source)
    return crew.everywhere(lambda member: member.prepare(order), members)


def _check(reports: Sequence[WorkerReport], generation: int) -> None:
    """Believe no worker that says it switched and serves something else."""
    wrong = [report for report in reports if report.generation != generation]
    if wrong:
        raise WorkerLostError(f"worker {wrong[0].pid} serves generation {wrong[0].generation}, not {generation}; retry")
