"""docs/how-to/publish-your-own-model.md: its program runs as it stands, and what it publishes is served."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from model_release import golden
from model_release.adapters.factors import Factors
from model_release.adapters.run_store import RunStore
from model_release.adapters.serving_formats import open_model
from model_release.paths import HOME_VARIABLE, ReleasePaths
from tests.docs_pages import DOCS, PROJECT


def test_the_program_of_the_page_publishes_a_run(tmp_path: Path) -> None:
    """Verified, answering as recorded, and without what users have had."""
    page = (DOCS / "how-to" / "publish-your-own-model.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    environment = {**os.environ, HOME_VARIABLE: str(tmp_path), "PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, env=environment, cwd=tmp_path)
    store = RunStore(ReleasePaths(tmp_path))
    (run_id,) = store.run_ids()
    assert f"python -m pipeline.evaluate --run {run_id}" in page
    with store.opened(run_id) as run:
        model = open_model(run.files, run.manifest)
        assert golden.check(model, run.golden()) == 12
    assert isinstance(model, Factors)
    for number in range(0, 1_000, 50):
        items = model.recommend(f"user-{number}", 100)
        assert items is not None
        assert len(items) == 100
        assert f"item-{number}" not in items
