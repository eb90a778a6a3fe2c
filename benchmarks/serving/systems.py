"""How each system is started, asked, and moved to another run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.serving import environments, model
from scripts.services import PROJECT

_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
_HOSTS = Path(__file__).resolve().parent / "hosts"


@dataclass(frozen=True)
class System:
    """One way to serve the model.

    Attributes:
        name: as it stands in the tables.
        command: arguments of the program, for a port and a run.
        environment: added to the environment, for a run.
        ready: path that answers 200 when requests can be answered.
        path: what a request asks for; ``USER`` stands for the user's id.
        body: JSON of a POST; None: it is a GET.
        reloads: for the recommendation API: bodies for ``POST /models/reload`` after the start.  A system with
            reloads is moved by another one; without, it is started again.
        ours: whether it is the recommendation API.
    """

    name: str
    command: Callable[[int, str], Sequence[str]]
    environment: Callable[[str], Mapping[str, str]]
    ready: str
    path: str
    body: str | None = None
    reloads: Sequence[Mapping[str, object]] = field(default_factory=tuple)
    ours: bool = False

    def full_environment(self, run_id: str) -> dict[str, str]:
        """Return all variables of its processes."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RECOMMENDATION_API_")}
        return {**kept, **_ONE_THREAD, "PYTHONPATH": str(PROJECT), **self.environment(run_id)}


def read(body: bytes) -> tuple[str, list[str]]:
    """Return run and items of an answer of any of the systems."""
    document = json.loads(body)
    answer = document["predictions"][0] if "predictions" in document else document
    return answer["run_id"], answer["items"]


@cache
def offers_workers() -> bool:
    """Whether this version's API can have several worker processes."""
    shown = subprocess.run(
        [sys.executable, "-m", "recommendation_api", "--help"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    return "--workers" in shown.stdout


def ours(
    name: str, folder: Path, drawn: model.Model, serving: str, *, workers: int = 1, shadow: float | None = None
) -> System:
    """Return the recommendation API with both runs published below ``folder``."""
    for run_id in model.RUNS:
        model.publish(folder, drawn, run_id, serving)
    extra = ["--workers", str(workers)] if workers > 1 else []
    reloads: list[dict[str, object]] = [{"run_id": model.RUNS[0]}]
    if shadow:
        reloads.append({"run_id": model.RUNS[1], "mode": "shadow", "rollout": shadow})
    environment = {"MODEL_RELEASE_HOME": str(folder), "RECOMMENDATION_API_DEVELOPMENT": "true"}
    return System(
        name=name,
        command=lambda port, _: [sys.executable, "-m", "recommendation_api", "--port", str(port), *extra],
        environment=lambda _: environment,
        ready="/health/ready",
        path="/recommend/USER",
        reloads=reloads,
        ours=True,
    )


def peers(cache_folder: Path, folder: Path, drawn: model.Model, *, tuned_only: bool = False) -> list[System]:
    """Return the peers, installed, with the model saved for them below ``folder``."""
    factors = {run_id: model.save_for_peers(folder / run_id, drawn, run_id) for run_id in model.RUNS}
    found = []
    for tuned in (True,) if tuned_only else (False, True):
        found.append(_mlflow(environments.install("mlflow", cache_folder), folder, factors, tuned=tuned))
        found.append(_bentoml(environments.install("bentoml", cache_folder), folder, factors, tuned=tuned))
        found.append(_litserve(environments.install("litserve", cache_folder), factors, tuned=tuned))
    return found


def _named(peer: str, tuned: bool) -> str:
    return f"{peer} {'tuned' if tuned else 'plain'}"


def _mlflow(binaries: Path, folder: Path, factors: Mapping[str, Path], *, tuned: bool) -> System:
    # Plain: Uvicorn as `pip install mlflow` brings it.  Tuned: with the quicker loop and parser, without access log.
    settings = {"UVICORN_ACCESS_LOG": "false"} if tuned else {"UVICORN_LOOP": "asyncio", "UVICORN_HTTP": "h11"}
    settings |= {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings["PATH"] = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    targets = {run_id: _saved_for_mlflow(binaries, source, settings) for run_id, source in factors.items()}
    serve = [str(binaries / "mlflow"), "models", "serve", "--env-manager", "local", "--host", "127.0.0.1", "-w", "1"]
    return System(
        name=_named("MLflow", tuned),
        command=lambda port, run_id: [*serve, "--port", str(port), "--model-uri", str(targets[run_id])],
        environment=lambda _: settings,
        ready="/ping",
        path="/invocations",
        body='{"inputs": ["USER"]}',
    )


def _saved_for_mlflow(binaries: Path, factors: Path, settings: Mapping[str, str]) -> Path:
    """Return the folder of a model in MLflow's format, made once."""
    target = factors.with_name(f"mlflow-{factors.name}")
    if not target.exists():
        command = [str(binaries / "python"), "-m", "benchmarks.serving.hosts.mlflow_save"]
        done = subprocess.run(
            [*command, str(_HOSTS / "mlflow_model.py"), str(factors), str(target)],
            cwd=PROJECT,
            env={**os.environ, **settings},
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"the model could not be saved for MLflow:\n{done.stderr}")
    return target


def _bentoml(binaries: Path, folder: Path, factors: Mapping[str, Path], *, tuned: bool) -> System:
    service = f"benchmarks.serving.hosts.bento_service:{'Tuned' if tuned else 'Plain'}"
    serve = [str(binaries / "bentoml"), "serve", service, "--working-dir", str(PROJECT), "--host", "127.0.0.1"]
    return System(
        name=_named("BentoML", tuned),
        command=lambda port, _: [*serve, "--port", str(port)],
        environment=lambda run_id: {
            "BENCHMARK_FACTORS": str(factors[run_id]),
            "BENTOML_HOME": str(folder / "bentoml"),
            "BENTOML_DO_NOT_TRACK": "true",
        },
        ready="/readyz",
        path="/recommend",
        body='{"user_id": "USER"}',
    )


def _litserve(binaries: Path, factors: Mapping[str, Path], *, tuned: bool) -> System:
    serve = [str(binaries / "python"), "-m", "benchmarks.serving.hosts.litserve_server"]
    return System(
        name=_named("LitServe", tuned),
        command=lambda port, _: [*serve, str(port), *(["tuned"] if tuned else [])],
        environment=lambda run_id: {"BENCHMARK_FACTORS": str(factors[run_id])},
        ready="/health",
        path="/predict",
        body='{"user_id": "USER"}',
    )
