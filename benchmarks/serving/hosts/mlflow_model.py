"""A pyfunc model as MLflow's guide to models from code writes it; loaded by path, by ``mlflow models serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow

from benchmarks.serving.hosts.scoring import Scorer, TopItems


class Recommender(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # MLflow is not installed where types are checked
    """Answers ``{"inputs": [user_id, ...]}``."""

    def load_context(self, context: Any) -> None:
        """Load the factors that were saved with the model."""
        self._scorer = Scorer(Path(context.artifacts["factors"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[TopItems]:  # noqa: ARG002  (its signature)
        """Return one answer per user."""
        return [self._scorer.top(str(user_id)) for user_id in model_input]


mlflow.models.set_model(Recommender())
