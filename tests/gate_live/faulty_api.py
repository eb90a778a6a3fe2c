"""The recommendation API with models that fail or take long: ``python -m tests.gate_live.faulty_api``, also for its workers.

The variable ``TEST_MODEL_FAULTS`` holds JSON: for each run id the share of questions that raise, and the seconds that each
answer takes at least.  Where runs have no names yet, ``TEST_MODEL_FAULTS_FILE`` names a file with the same, read whenever a
run is loaded.  The product itself has no switch for faults.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_release.adapters import serving_formats
from model_release.adapters.run_files import RunFiles
from model_release.artifact import Manifest, ServedModel
from recommendation_api import __main__, model_store, process, supervisor

VARIABLE = "TEST_MODEL_FAULTS"
FILE_VARIABLE = "TEST_MODEL_FAULTS_FILE"
_WORKER = "recommendation_api.process"


@dataclass(frozen=True)
class Fault:
    """How a run behaves."""

    fail_share: float = 0.0
    seconds: float = 0.0


def as_variable(faults: dict[str, Fault]) -> str:
    """Return what the variable has to hold."""
    return json.dumps({run_id: asdict(fault) for run_id, fault in faults.items()})


class FaultyModel:
    """A real model that fails and takes long as it is told; not while the run is loaded and checked."""

    def __init__(self, model: ServedModel, fault: Fault) -> None:
        self._model = model
        self._fault = fault
        self._random = np.random.default_rng()

    @property
    def depth(self) -> int:
        return self._model.depth

    @property
    def blocking(self) -> bool:
        return self._model.blocking

    def prefault(self) -> None:
        self._model.prefault()

    def recommend(self, user_id: str, k: int) -> Sequence[str] | None:
        if user_id.startswith("visitor-"):  # golden requests have users of the run
            time.sleep(self._fault.seconds)
            if self._random.random() < self._fault.fail_share:
                raise RuntimeError("told to fail")
        return self._model.recommend(user_id, k)

    def similar(self, item_id: str, k: int) -> Sequence[str] | None:
        return self._model.similar(item_id, k)

    def popular(self, k: int) -> Sequence[str]:
        return self._model.popular(k)


def main() -> int:
    """Be a worker if the supervisor asks for one, else the whole replica."""
    if "--lifeline" not in sys.argv:
        namespace = types.SimpleNamespace(Popen=_start, TimeoutExpired=subprocess.TimeoutExpired)
        setattr(supervisor, "subprocess", namespace)  # noqa: B010  (types forbid it otherwise)
        return __main__.main()

    def open_model(run: RunFiles, manifest: Manifest) -> ServedModel:
        model = serving_formats.open_model(run, manifest)
        return FaultyModel(model, Fault(**_faults().get(manifest.run_id, {})))

    setattr(model_store, "open_model", open_model)  # noqa: B010
    return process.main()


def _faults() -> dict[str, dict[str, float]]:
    """Return the faults by run id; a file that is not there has none."""
    named = os.environ.get(FILE_VARIABLE)
    if named is None:
        found = json.loads(os.environ[VARIABLE])
    else:
        file = Path(named)
        found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    return dict(found)


def _start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start this module where the supervisor means to start a worker."""
    assert _WORKER in command
    return subprocess.Popen([__spec__.name if part == _WORKER else part for part in command], **options)


if __name__ == "__main__":
    sys.exit(main())
