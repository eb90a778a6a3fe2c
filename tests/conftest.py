"""What all tests share: small, deterministic processes, and an environment that is nobody's own."""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[_name] = "1"  # the machine's cores are shared; implicit warns otherwise
for _name in ("MODEL_RELEASE_HOME", "PIPELINE_CONFIG", "MODEL_RELOAD_TOKEN"):
    os.environ.pop(_name, None)  # a test that needs one sets it
