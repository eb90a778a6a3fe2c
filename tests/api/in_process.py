"""The API inside the test's own process, for what a process can't be made to do: models that fail or hang."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn

from model_release.adapters import serving_formats
from model_release.adapters.run_files import RunFiles
from model_release.artifact import Manifest, ServedModel
from recommendation_api.app import create_app
from recommendation_api.settings import Settings
from tests.api.home import Home
from tests.api.replica import wait_until


@dataclass
class Faults:
    """How loaded models behave, by run."""

    fail: set[str] = field(default_factory=set)  # every question raises
    fail_to_load: set[str] = field(default_factory=set)  # with an error that nobody planned for
    hang: set[str] = field(default_factory=set)  # every question waits for ``release``
    slow: set[str] = field(default_factory=set)  # says that it takes long, so that it is asked in a thread
    burn_seconds: float = 0.0  # every question keeps its thread, and Python, busy for so long
    asked: threading.Event = field(default_factory=threading.Event)  # somebody waits
    release: threading.Event = field(default_factory=threading.Event)


class FaultyModel:
    """A real model that obeys :class:`Faults`."""

    def __init__(self, run_id: str, model: ServedModel, faults: Faults) -> None:
        self._run_id = run_id
        self._model = model
        self._faults = faults

    @property
    def depth(self) -> int:
        """Longest list."""
        return self._model.depth

    @property
    def blocking(self) -> bool:
        """As the real one, unless it is told to be slow."""
        return self._model.blocking or self._run_id in self._faults.slow

    def prefault(self) -> None:
        """As the real one."""
        self._model.prefault()

    def recommend(self, user_id: str, k: int) -> Sequence[str] | None:
        """Answer, fail or hang."""
        self._obey()
        return self._model.recommend(user_id, k)

    def similar(self, item_id: str, k: int) -> Sequence[str] | None:
        """Answer, fail or hang."""
        self._obey()
        return self._model.similar(item_id, k)

    def popular(self, k: int) -> Sequence[str]:
        """Answer, fail or hang."""
        self._obey()
        return self._model.popular(k)

    def _obey(self) -> None:
        if self._run_id in self._faults.fail:
            raise RuntimeError("told to fail")
        if self._run_id in self._faults.hang:
            self._faults.asked.set()
            self._faults.release.wait(30)
        until = time.perf_counter() + self._faults.burn_seconds
        while time.perf_counter() < until:
            pass


def settings_of(home: Home, **changed: object) -> Settings:
    """Return the settings of a replica that watches often."""
    return Settings.model_validate(
        {
            "paths": home.paths,
            "reload_token": "in-process",
            "replica": "in-process",
            "watch_seconds": 0.02,
            **changed,
        }
    )


@contextmanager
def serve(
    home: Home, monkeypatch: pytest.MonkeyPatch, faults: Faults, *, ready: bool = True, **changed: object
) -> Iterator[httpx.Client]:
    """Run the app with models that obey ``faults``, and with some settings ``changed``."""

    def open_model(run: RunFiles, manifest: Manifest) -> ServedModel:
        if manifest.run_id in faults.fail_to_load:
            raise RuntimeError("told to fail to load")
        return FaultyModel(manifest.run_id, serving_formats.open_model(run, manifest), faults)

    monkeypatch.setattr("recommendation_api.model_store.open_model", open_model)
    for limit in (
        "_LATE_SECONDS",
        "_BUSY_SHARE",
        "_WAITING_SHARE",
    ):  # a busy machine would shed what these tests look at
        monkeypatch.setattr(f"recommendation_api.pressure.{limit}", math.inf)
    app = create_app(settings_of(home, **changed))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            with client_of(listener.getsockname()[1]) as client:
                wait_until("the app has started", lambda: server.started or not thread.is_alive())
                if ready:
                    wait_until("the app is ready", lambda: client.get("/health/ready").status_code == 200)
                yield client
        finally:
            faults.release.set()
            server.should_exit = True
            thread.join()


def client_of(port: int) -> httpx.Client:
    """Return a client that may change what is served."""
    return httpx.Client(
        base_url=f"http://127.0.0.1:{port}",
        headers={"Authorization": "Bearer in-process"},
        trust_env=False,
        timeout=20.0,
    )
