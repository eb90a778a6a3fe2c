"""What the plugin names to Airflow: the app, made when it is first asked, and the views that show it.

Workers, triggerer and DAG processor load the plugin too, and never ask for the page.
"""

from __future__ import annotations

from typing import Any

PREFIX = "/model-release"
# Relative to Airflow's own address, so that it works below a base path.
_HREF, _ROUTE = f".{PREFIX}/", "releases"


class LazyPage:
    """The page's app as Airflow mounts it."""

    def __init__(self) -> None:
        self._app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Make the app, unless it is there, and pass on."""
        if self._app is None:
            from model_release_airflow.page.app import create_page

            self._app = create_page()
        await self._app(scope, receive, send)


def fastapi_apps() -> list[dict[str, Any]]:
    """Return the app for ``AirflowPlugin.fastapi_apps``."""
    return [{"app": LazyPage(), "url_prefix": PREFIX, "name": "Releases"}]


def external_views() -> list[dict[str, Any]]:
    """Return the views: in the navigation, on a DAG, and on a DAG run."""
    icons = {"icon": f".{PREFIX}/static/icon.svg", "icon_dark_mode": f".{PREFIX}/static/icon-dark.svg"}
    return [
        {"name": "Releases", "href": _HREF, "destination": "nav", "url_route": _ROUTE, "nav_top_level": True, **icons},
        {
            "name": "Releases", "href": f"{_HREF}?dag_id={{DAG_ID}}", "destination": "dag",
            "url_route": f"{_ROUTE}-dag", **icons,
        },
        {
            "name": "Release", "href": f"{_HREF}?dag_id={{DAG_ID}}&dag_run_id={{RUN_ID}}", "destination": "dag_run",
            "url_route": f"{_ROUTE}-run", **icons,
        },
    ]  # fmt: skip
