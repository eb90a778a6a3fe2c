"""What Airflow's provider manager reads about this package: connection types, notifier, links."""

from __future__ import annotations

from typing import Any

CONNECTION_FORM: dict[str, Any] = {
    "hidden-fields": ["login"],
    "relabeling": {"password": "Reload token", "schema": "http or https", "host": "Host (of all replicas)"},
    "placeholders": {
        "host": "127.0.0.1",
        "port": "8000",
        "schema": "http",
        "password": "what MODEL_RELOAD_TOKEN is for the API",
    },
}
_HOOK = "model_release_airflow.hooks.recommendation_api.RecommendationApiHook"


def get_provider_info() -> dict[str, Any]:
    """Return the provider description; found by the entry point in pyproject.toml."""
    return {
        "package-name": "model-release-airflow",
        "name": "Model Release",
        "description": "Releases recommendation models, verified: gate, reload of every replica, proof, way back.",
        "hooks": [
            {
                "integration-name": "Recommendation API",
                "python-modules": ["model_release_airflow.hooks.recommendation_api"],
            }
        ],
        "connection-types": [
            {
                "hook-class-name": _HOOK,
                "hook-name": "Recommendation API",
                "connection-type": "recommendation_api",
                "ui-field-behaviour": CONNECTION_FORM,
                "conn-fields": {
                    "replicas": {
                        "label": "Replicas",
                        "description": "Base addresses of all replicas, separated by commas; instead of host and port.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "every_address": {
                        "label": "Every address of the host",
                        "description": "Each address that the host's name resolves to is a replica.",
                        "schema": {"type": ["boolean", "null"]},
                    },
                },
            }
        ],
        "notifications": [
            "model_release_airflow.notifications.wecom.WeComRobotNotifier",
            "model_release_airflow.notifications.state.WeComStateNotifier",
            "model_release_airflow.notifications.state.WeComAlertsNotifier",
            "model_release_airflow.notifications.reconciliation.WeComReconciliationNotifier",
        ],
        "extra-links": ["model_release_airflow.operators.links.ModelsLink"],
    }
