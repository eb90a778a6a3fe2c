"""What the DAG of the how-to guide calls "yours": put beside it into the DAG folder of the test stack.

The DAG run is triggered with ``as_of`` (a day) and ``fail_share``: how much of what the run is asked raises once it is served.
"""

from __future__ import annotations

import datetime as dt
import json

from airflow.sdk import get_current_context

from model_release_airflow.context import decisions_fail


def publish_a_run() -> str:
    """Measure the data, train, evaluate, and make the run as bad as it is asked to be."""
    from model_release.paths import ReleasePaths
    from pipeline.config import load_config
    from pipeline.data_quality_v2 import check_data
    from pipeline.evaluate import evaluate
    from pipeline.train_models import train as train_run

    asked = get_current_context()["dag_run"].conf or {}
    as_of = dt.datetime.fromisoformat(asked["as_of"]).replace(tzinfo=dt.UTC)
    with decisions_fail():
        config, paths = load_config(), ReleasePaths.from_environment()
        check_data(config, paths, as_of)
        run = train_run(config, paths, as_of)
        evaluate(config, paths, run.run_id)
    faults = {run.run_id: {"fail_share": asked["fail_share"]}}
    (paths.root / "model_faults.json").write_text(json.dumps(faults), encoding="utf-8")
    return run.run_id
