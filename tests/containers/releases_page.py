"""The Releases page as a browser gets it from the stack: with Airflow's login, each of its parts, and what it acts by."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Self

import httpx

from tests.containers.stack import AIRFLOW, Stack, StackError, wait

PAGE = f"{AIRFLOW}/model-release/"
PARTS = {
    "desired": "registry",
    "fleet": "replicas",
    "traffic": "Prometheus",
    "alerts": "Alertmanager",
    "timeline": "ledger",
}
_LOOK_SECONDS = 60.0  # Prometheus has to have seen traffic


class ReleasesPage:
    """The page, looked at by one user with the cookie that Airflow's own login sets.

    Attributes:
        user: ``admin`` or ``viewer``.
    """

    def __init__(self, stack: Stack, user: str) -> None:
        self.user = user
        self._http = httpx.Client(base_url=PAGE, timeout=30, cookies={"_token": stack.token(user)})

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """End its connections."""
        self._http.close()

    def part(self, name: str, **asked: str) -> dict[str, Any]:
        """Return what a route of the page answers.

        Raises:
            StackError: it does not answer with 200.
        """
        answer = self._http.get(f"api/{name}", params=asked)
        if answer.status_code != HTTPStatus.OK:
            raise StackError(f"the Releases page, {name} for {self.user}: {answer.status_code} {answer.text}")
        return dict(answer.json())

    def lacking(self) -> dict[str, str]:
        """Return each part that is not shown, and why."""
        found = {name: self.part(name) for name in PARTS}
        return {
            PARTS[name]: f"{part['state']}: {part.get('why')}" for name, part in found.items() if part["state"] != "ok"
        }

    def acknowledge(self, alert: str, reason: str) -> None:
        """Silence an alert that fires for a minute, as its button does, and see it silent.

        Raises:
            StackError: it does not fire, or is not silent afterwards.
        """
        found = self._alert(alert)
        if found is None:
            raise StackError(f"the Releases page does not show that {alert} fires")
        path = f"api/alerts/{found['fingerprint']}/acknowledge"
        self._http.post(path, json={"reason": reason, "minutes": 1}).raise_for_status()
        wait(f"{alert} is silent", lambda: (self._alert(alert) or {}).get("state") == "silenced", 30)

    def trigger(self, action: str, conf: dict[str, Any], **asked: str) -> tuple[str, str]:
        """Act as the page's button does: ask what would happen, then ask Airflow for just that.

        Returns:
            The DAG, and its DAG run.

        Raises:
            StackError: the page offers it not, or Airflow refuses it.
        """
        planned = self.part("plan", action=action, **asked)
        if not planned.get("dag_id"):
            raise StackError(f"the Releases page offers {self.user} no {action}: {planned}")
        return planned["dag_id"], self.start(planned["dag_id"], {**planned["conf"], **conf})

    def start(self, dag: str, conf: dict[str, Any]) -> str:
        """Ask Airflow's REST API for a DAG run with nothing but the cookie; return its name.

        Raises:
            StackError: Airflow refuses it.
        """
        body = {"logical_date": None, "conf": conf}
        answer = self._http.post(f"{AIRFLOW}/api/v2/dags/{dag}/dagRuns", json=body)
        if not answer.is_success:
            raise StackError(f"Airflow refuses {self.user} {dag}: {answer.status_code} {answer.text}")
        return str(answer.json()["dag_run_id"])

    def _alert(self, name: str) -> dict[str, Any] | None:
        shown = self.part("alerts")["data"]["alerts"]
        return next((dict(alert) for alert in shown if alert["name"] == name), None)


def look(page: ReleasesPage, viewer: ReleasesPage, run: str, replicas: int) -> None:
    """Look at every part while ``run`` is served, as somebody who may act, as one who may not, and as nobody.

    Raises:
        StackError: something is not as it should be.
    """
    frame = httpx.get(PAGE, timeout=30)
    if frame.status_code != HTTPStatus.OK or "<html" not in frame.text:
        raise StackError(f"the frame of the Releases page: {frame.status_code}")
    if (nobody := httpx.get(f"{PAGE}api/desired", timeout=30)).status_code != HTTPStatus.UNAUTHORIZED:
        raise StackError(f"the Releases page shows the registry without a login: {nobody.status_code}")
    wait(f"every part is shown; {page.lacking()}", lambda: not page.lacking(), _LOOK_SECONDS)
    fleet = page.part("fleet")["data"]
    shown = [one.get("current") for replica in fleet["replicas"] for one in replica["workers"]]
    if len(fleet["replicas"]) != replicas or set(shown) != {run}:
        raise StackError(f"the Releases page does not show {run} on {replicas} replicas: {fleet}")
    rights = {name: one.part("me") for name, one in (("admin", page), ("viewer", viewer))}
    if not rights["admin"]["may_roll_back"] or rights["viewer"]["may_roll_back"] or viewer.lacking():
        raise StackError(f"rights on the Releases page: {rights}; the viewer lacks {viewer.lacking()}")
