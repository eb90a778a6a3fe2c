"""Links on a task's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

from model_release.contract import MODELS_PATH
from model_release.errors import ModelReleaseError
from model_release_airflow.hooks.recommendation_api import RecommendationApiHook

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey


class ModelsLink(BaseOperatorLink):
    """What one replica serves now, worker by worker.

    Airflow knows the names of a task's links when it reads the DAG, before it knows how many replicas there are.  So
    there is one for each position; those without a replica are empty, and the UI leaves them out.

    :param position: Which replica of the connection, from 1 on.
    """

    def __init__(self, position: int = 1) -> None:
        self.position = position

    @property
    def name(self) -> str:
        """Its text on the page."""
        return "Models served now" + (f", replica {self.position}" if self.position > 1 else "")

    @property
    def xcom_key(self) -> str:
        """Where Airflow keeps the address."""
        return super().xcom_key + (f"_{self.position}" if self.position > 1 else "")

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:  # noqa: ARG002
        """Return the address of the replica's ``GET /models``; nothing if there is none at this position."""
        conn_id = getattr(operator, "conn_id", RecommendationApiHook.default_conn_name)
        hook = RecommendationApiHook(conn_id)
        try:
            known = hook.addresses(hook.get_connection(conn_id))
        except ModelReleaseError:  # a name that does not resolve: the task says so itself
            return ""
        return known[self.position - 1] + MODELS_PATH if self.position <= len(known) else ""


MODELS_LINKS = tuple(ModelsLink(position) for position in range(1, 5))
