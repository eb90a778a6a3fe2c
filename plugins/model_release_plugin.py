"""The one file that Airflow's plugin loader reads; see ``.airflowignore``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from model_release_airflow.operators.links import ModelsLink


class ModelReleasePlugin(AirflowPlugin):
    """Makes the links of our operators known to the UI."""

    name = "model_release"
    operator_extra_links: list[Any] = [ModelsLink()]  # noqa: RUF012  (the base class declares it so)
