"""Links on a task's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from model_release.contract import MODELS_PATH
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ModelsLink(BaseOperatorLink):
    """What the first replica serves now, worker by worker."""

    name = "Models served now"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address of the first replica's ``GET /models``."""
        conn_id = getattr(operator, "conn_id", RecommendationApiHook.default_conn_name)
        hook = RecommendationApiHook(conn_id)
        return hook.addresses(hook.get_connection(conn_id))[0] + MODELS_PATH
