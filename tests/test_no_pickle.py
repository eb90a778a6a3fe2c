"""Nothing in this project reads or writes files that run code when they are read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs_pages import PROJECT

PACKAGES = (
    "config",
    "model_release",
    "pipeline",
    "recommendation_api",
    "alert_bridge",
    "monitoring",
    "plugins",
    "dags",
    "docker",
    "scripts",
    "benchmarks",
    "examples",
)
MODULES = frozenset(
    {
        "pickle",
        "_pickle",
        "cPickle",
        "dill",
        "joblib",
        "cloudpickle",
        "shelve",
        "marshal",
        "torch",
        "jsonpickle",
        "skops",
    }
)
ARRAYS = frozenset({"load", "save", "savez", "savez_compressed", "open_memmap", "read_array", "write_array"})
CALLS = frozenset({"read_pickle", "to_pickle", "loads_pickle", "eval", "exec"})


def problems(source: str) -> Iterator[str]:
    """Return what in a module reads or writes such files, or might."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name.partition(".")[0] in MODULES)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in MODULES:
                yield module
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="__import__")):
                yield from (
                    value.value for value in node.args if isinstance(value, ast.Constant) and value.value in MODULES
                )
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in CALLS:
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id="np" | "numpy"), attr=name)) if name in ARRAYS:
                if not any(word.arg == "allow_pickle" and is_false(word.value) for word in node.keywords):
                    yield f"np.{name} without allow_pickle=False"
            case ast.keyword(arg="allow_pickle", value=value) if not is_false(value):
                yield "allow_pickle"


def is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def test_no_module_uses_them() -> None:
    """In any package, script or DAG."""
    files = [path for package in PACKAGES for path in sorted((PROJECT / package).rglob("*.py"))]
    assert len(files) > 100
    found = [
        f"{path.relative_to(PROJECT)}: {problem}" for path in files for problem in problems(path.read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, pickle as p",
        "from cloudpickle import loads",
        "def f():\n    import joblib",
        "from torch.serialization import load",
        "importlib.import_module('dill')",
        "__import__('marshal')",
        "np.load('x')",
        "numpy.load('x', mmap_mode='r')",
        "np.load('x', allow_pickle=True)",
        "np.load('x', allow_pickle=flag)",
        "np.save('x', y)",
        "anything(allow_pickle=1)",
        "pd.read_pickle('x')",
        "frame.to_pickle('x')",
        "eval('1')",
    ],
)
def test_each_way_is_noticed(source: str) -> None:
    """The test above would fail on any of these."""
    assert list(problems(source))


@pytest.mark.parametrize(
    "source", ["import json", "np.load('x', allow_pickle=False)", "store.load('x')", "model.eval_on(3)"]
)
def test_other_code_is_not(source: str) -> None:
    """Names that only look alike."""
    assert not list(problems(source))


def test_the_project_is_what_is_looked_at() -> None:
    """Every top-level folder with Python in it is listed, but the tests."""
    folders = {path.relative_to(PROJECT).parts[0] for path in PROJECT.glob("*/**/*.py")}
    assert {name for name in folders if not name.startswith(".") and Path(PROJECT / name).is_dir()} - {"tests"} == set(
        PACKAGES
    )
