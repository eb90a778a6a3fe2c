"""What images install: the versions that the tests ran with, all of it by hash, and all that the code imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
IMAGES = ("airflow", "recommendation-api", "alert-bridge", "build")
LOCAL = ("model_release", "recommendation_api", "alert_bridge")
_PIN = re.compile(r"^([a-z0-9.-]+)==([^ ;]+)(.*)$", re.MULTILINE)


def pins(file: Path) -> dict[str, set[str]]:
    """Return the versions of each distribution; several where they depend on the Python version."""
    found: dict[str, set[str]] = {}
    for name, version, _ in _PIN.findall(file.read_text()):
        found.setdefault(name, set()).add(version)
    return found


def image_pins(image: str) -> dict[str, set[str]]:
    return pins(PROJECT / "docker" / f"requirements-{image}.txt")


def module_file(module: str) -> Path | None:
    path = PROJECT.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


def imported(file: Path) -> Iterator[str]:
    """Yield what a file imports anywhere in it, also within functions."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def third_party(package: str) -> set[str]:
    """Return the foreign top-level modules that a package needs, directly or by other packages of the project."""
    waiting = [f"{package}.{file.stem}" for file in (PROJECT / package).glob("*.py")]
    seen: set[str] = set()
    foreign: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        top = module.partition(".")[0]
        if top not in LOCAL:
            foreign |= {top} - sys.stdlib_module_names
        elif file := module_file(module):
            parents = module.split(".")[:-1]
            waiting += [".".join(parents[:end]) for end in range(1, len(parents) + 1)]
            waiting += imported(file)
    return foreign


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_has_the_versions_that_were_tested(image: str) -> None:
    tested = pins(PROJECT / "requirements.txt")
    for name, versions in pins(PROJECT / "requirements-dev.txt").items():
        tested.setdefault(name, set()).update(versions)
    installed = image_pins(image)
    assert installed
    other = {name: versions for name, versions in installed.items() if not versions <= tested.get(name, versions)}
    assert other == {}


def test_airflow_lacks_nothing_of_the_product() -> None:
    assert set(pins(PROJECT / "requirements.txt")) - set(image_pins("airflow")) == set()


@pytest.mark.parametrize("image", IMAGES)
def test_everything_has_hashes_and_no_address(image: str) -> None:
    text = (PROJECT / "docker" / f"requirements-{image}.txt").read_text()
    blocks = re.split(r"\n(?=\S)", text)
    assert [block.splitlines()[0] for block in blocks if _PIN.match(block) and "--hash=sha256:" not in block] == []
    assert "://" not in text


@pytest.mark.parametrize("image", ["recommendation-api", "alert-bridge"])
def test_what_the_code_imports_is_in_the_image(image: str) -> None:
    distributions = packages_distributions()
    needed = third_party(image.replace("-", "_"))
    assert "fastapi" in needed  # the walk arrived somewhere
    installed = set(image_pins(image))
    missing = {
        module: distributions[module]
        for module in needed
        if installed.isdisjoint(name.lower().replace("_", "-") for name in distributions[module])
    }
    assert missing == {}
