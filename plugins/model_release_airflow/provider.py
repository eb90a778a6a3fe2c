"""What Airflow's provider manager reads about this package."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider description; found by the entry point in pyproject.toml."""
    return {
        "package-name": "model-release-airflow",
        "name": "Model Release",
        "description": "Releases recommendation models, verified.",
    }
