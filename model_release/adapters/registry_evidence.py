"""What the registry and the run's own folder say: who is current, who is on trial, which files were registered."""

from __future__ import annotations

from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.errors import ArtifactError, StateError
from model_release.evidence import Missing, RegistryFacts, RunFacts, TrialFacts
from model_release.paths import ReleasePaths
from model_release.registry import Registry


def read_registry(paths: ReleasePaths) -> Registry | Missing:
    """Return the registry as it is now."""
    try:
        return FileRegistry(paths).read()
    except (StateError, OSError) as error:
        return Missing(str(error))


def registry_facts(registry: Registry | Missing, run_id: str) -> RegistryFacts | Missing:
    """Return what a gate on ``run_id`` needs of it."""
    if isinstance(registry, Missing):
        return registry
    current = registry.current.run_id if registry.current else None
    registrations = {run.run_id: run.manifest_sha256 for run in registry.runs}
    latch = registry.latch
    return RegistryFacts(
        generation=registry.generation,
        current_run_id=current,
        current_manifest_sha256=None if current is None else registrations.get(current),
        candidate_manifest_sha256=registrations.get(run_id),
        latch=None if latch is None else f"{latch.reason} (set by {latch.by} at {latch.since:%Y-%m-%d %H:%M %Z})",
    )


def trial_facts(registry: Registry | Missing, run_id: str) -> TrialFacts | Missing:
    """Return the trial of ``run_id``; no waiting brings one that is over, or that never was."""
    if isinstance(registry, Missing):
        return registry
    candidate, current = registry.candidate, registry.current
    if candidate is None:
        return Missing("no run is on trial: it was never started, or is over", settled=True)
    if candidate.run_id != run_id:
        return Missing(f"on trial is run {candidate.run_id!r}, not {run_id!r}", settled=True)
    if current is None:
        return Missing(f"run {run_id!r} is on trial against nothing: no run is current", settled=True)
    return TrialFacts(
        run_id=candidate.run_id,
        current_run_id=current.run_id,
        mode=candidate.mode,
        rollout=candidate.rollout,
        release_id=candidate.release_id,
        started_at=candidate.since,
        lease_until=candidate.lease_until,
    )


def run_facts(paths: ReleasePaths, run_id: str) -> RunFacts | Missing:
    """Return what the run's own folder says."""
    store = RunStore(paths)
    try:
        return RunFacts(manifest_sha256=store.manifest_sha256(run_id), as_of=store.manifest(run_id).as_of)
    except (ArtifactError, OSError) as error:
        return Missing(str(error))
