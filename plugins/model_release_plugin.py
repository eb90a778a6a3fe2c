"""The one file that Airflow's plugin loader reads; see ``.airflowignore``."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from model_release_airflow.operators.links import ModelsLink
from model_release_airflow.page import mount


class ModelReleasePlugin(AirflowPlugin):
    """Makes the links of our operators, and the Releases page, known to the UI."""

    name = "model_release"
    operator_extra_links: list[Any] = [ModelsLink()]  # noqa: RUF012  (the base class declares it so)
    fastapi_apps: list[Any] = mount.fastapi_apps()
    external_views: list[Any] = mount.external_views()
