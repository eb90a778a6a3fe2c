"""The recommendation API in another time: ``python -m tests.reconcile_live.clocked_api``, also for its workers.

The variable ``TEST_CLOCK_FILE`` names a file that holds the seconds by which the clock is ahead, read at every look at it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from recommendation_api import __main__, process, supervisor

VARIABLE = "TEST_CLOCK_FILE"
_WORKER = "recommendation_api.process"


def shifted(real: Callable[[], float]) -> Callable[[], float]:
    """Return a clock that is as far ahead as the file says."""
    file = Path(os.environ[VARIABLE])
    return lambda: real() + float(file.read_text(encoding="ascii"))


def main() -> int:
    """Be a worker if the supervisor asks for one, else the whole replica."""
    setattr(time, "time", shifted(time.time))  # noqa: B010  (types forbid it otherwise)
    if "--lifeline" in sys.argv:
        return process.main()
    namespace = types.SimpleNamespace(Popen=_start, TimeoutExpired=subprocess.TimeoutExpired)
    setattr(supervisor, "subprocess", namespace)  # noqa: B010
    return __main__.main()


def _start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start this module where the supervisor means to start a worker."""
    return subprocess.Popen([__spec__.name if part == _WORKER else part for part in command], **options)


if __name__ == "__main__":
    sys.exit(main())
