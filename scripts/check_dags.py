"""Do all DAG files parse?  ``python -m scripts.check_dags``: no database, no running Airflow.

Exit status: 0 all parse, 1 one does not, or there is none, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from model_release.command import parser_of
from scripts.services import PROJECT

if TYPE_CHECKING:
    from airflow.dag_processing.dagbag import DagBag


def read_dags() -> DagBag:
    """Read every DAG file, with the Airflow settings of this process."""
    from airflow.dag_processing.dagbag import DagBag

    folder = str(PROJECT / "dags")
    bag = DagBag(dag_folder=folder, collect_dags=False)
    bag.collect_dags(dag_folder=folder, only_if_updated=False)
    return bag


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse ``dags/`` in a throw-away Airflow home; return the exit status."""
    parser_of("scripts.check_dags", __doc__).parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="airflow-") as home:
        os.environ |= {
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        }
        bag = read_dags()
    for file, error in bag.import_errors.items():
        print(f"FAILED  {file}: {error.strip().splitlines()[-1]}")
    for dag_id, dag in sorted(bag.dags.items()):
        tasks = dag.topological_sort()  # type: ignore[no-untyped-call]  # Airflow has no type for it
        print(f"ok      {dag_id:<24} {' >> '.join(task.task_id for task in tasks)}")
    if not bag.dags and not bag.import_errors:
        print(f"FAILED  no DAG in {PROJECT / 'dags'}")
    return 1 if bag.import_errors or not bag.dags else 0


if __name__ == "__main__":
    sys.exit(main())
