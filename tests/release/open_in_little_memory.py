"""Load every run of an installation in a process with little memory; print what each was refused with, as JSON.

``python -m tests.release.open_in_little_memory ROOT BYTES``: ``BYTES`` of address space beyond what Python and its
libraries have taken already.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.errors import ArtifactInvalidError
from model_release.golden import check
from model_release.paths import ReleasePaths
from tests.runs import publish_factors, publish_run


def load(store: RunStore, run_id: str) -> str:
    """Return with what a run was refused."""
    try:
        with store.opened(run_id) as run:
            return f"loaded: {check(open_model(run.files, run.manifest), run.golden())}"
    except ArtifactInvalidError as error:
        return str(error)


def main() -> None:
    """Load them all."""
    store = RunStore(ReleasePaths(Path(sys.argv[1])))
    warm = ReleasePaths(Path(sys.argv[1]) / "warm")  # what is imported on first use
    publish_run(warm, "run-a")
    publish_factors(warm, "run-b")
    for run_id in ("run-a", "run-b"):
        load(RunStore(warm), run_id)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    run_ids = [path.name for path in store.folder("run-0").parent.iterdir() if path.is_dir() and path.name != "staging"]
    json.dump({run_id: load(store, run_id) for run_id in run_ids}, sys.stdout)


if __name__ == "__main__":
    main()
