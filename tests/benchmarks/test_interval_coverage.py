"""The intervals of the gate on metrics of the demo's data: the quick version of ``benchmarks.interval_coverage``."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.interval_coverage import CONFIDENCE, WEEKS, of_equals, of_population, real, wrong
from model_release.statistics import Floats

USERS = 1000


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> Floats:
    """Train and judge two kinds of model on the demo's data: their difference in nDCG for every user of the week."""
    home: Path = tmp_path_factory.mktemp("demo")
    candidate, current = real(home, ("popular", WEEKS[1]), ("personal_frequency", WEEKS[1]))["ndcg_at_10"]
    return candidate - current


def test_the_population_is_real(differences: Floats) -> None:
    """Over a thousand users, some better and some worse, and many as before."""
    assert len(differences) > USERS
    assert all((np.sign(differences) == sign).mean() > 0.05 for sign in (-1, 0, 1))


@pytest.mark.parametrize(("method", "trials"), [("t", 3000), ("studentized", 800)])
@pytest.mark.parametrize("equal", [False, True], ids=["at the margin", "two equal runs"])
@pytest.mark.timeout(180)
def test_a_run_exactly_at_the_margin_passes_as_rarely_as_promised(
    differences: Floats, method: str, trials: int, equal: bool
) -> None:
    """And one exactly there fails as rarely: both within the error of the simulation."""
    draw = of_equals(differences) if equal else of_population(differences)
    error = 4 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / trials)
    for share in wrong(method, draw, USERS, trials):
        assert share == pytest.approx(1 - CONFIDENCE, abs=error)


SPARSE = np.repeat([-1.0, 0.0, 1.0], [4, 93, 3])  # as a hit rate: few users change, but each by all there is


def test_where_the_bootstrap_alone_is_too_narrow_the_gate_is_not() -> None:
    """Among a hundred users of whom seven changed: the gate's interval keeps its level, the bootstrap alone does not."""
    trials = 1500
    error = 4 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / trials)
    alone, _ = wrong("studentized", of_population(SPARSE), 100, trials)
    passed, _ = wrong("bootstrap", of_population(SPARSE), 100, trials)
    assert alone > 1 - CONFIDENCE + error
    assert passed <= 1 - CONFIDENCE + error
