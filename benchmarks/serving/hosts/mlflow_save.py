"""Save a model for ``mlflow models serve``: ``python -m benchmarks.serving.hosts.mlflow_save CODE FACTORS TARGET``."""

from __future__ import annotations

import sys

import mlflow

if __name__ == "__main__":
    code, factors, target = sys.argv[1:]
    mlflow.pyfunc.save_model(target, python_model=code, artifacts={"factors": factors}, pip_requirements=["numpy"])
