"""Who may be missing: only who can't be reached, and only as many as the quorum leaves out."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_release.adapters.file_registry import FileRegistry
from model_release.attendance import attend, without
from model_release.contract import ReloadRequest
from model_release.errors import InvalidInputError, QuorumError, ReplicaRefusedError, ReplicaUnreachableError
from model_release.fleet import tell_all
from model_release.paths import ReleasePaths
from model_release.policy.quorum import QUORUM, needed
from model_release.registry import Registry
from tests.fake_replicas import FakeReplica

DESIRED = Registry()
REQUEST = ReloadRequest(run_id="run-a", prepare=True)


@pytest.fixture
def replicas(tmp_path: Path) -> list[FakeReplica]:
    store = FileRegistry(ReleasePaths(tmp_path))
    return [FakeReplica(store, url=f"http://replica-{number}", workers=2) for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("quorum", "replicas", "expected"),
    [
        ("all", 1, 1),
        ("all", 7, 7),
        ("80%", 5, 4),
        ("80%", 6, 5),
        ("1%", 1, 1),
        ("1%", 100, 1),
        ("1%", 101, 2),
        ("50%", 3, 2),
        ("7%", 100, 7),
        ("14%", 50, 7),
        ("29%", 100, 29),
        ("100%", 3, 3),
        (1, 3, 1),
        (3, 3, 3),
    ],
)
def test_a_share_is_rounded_up(quorum: int | str, replicas: int, expected: int) -> None:
    """In whole numbers: 0.07 * 100 is above 7."""
    assert needed(quorum, replicas) == expected


@given(st.integers(1, 100), st.integers(1, 10_000))
def test_a_share_is_the_smallest_number_that_reaches_it(percent: int, replicas: int) -> None:
    """Never none, never more than there are, and as exact fractions say."""
    found = needed(QUORUM.validate_python(f"{percent}%"), replicas)
    assert found == ceil(Fraction(percent, 100) * replicas)
    assert 1 <= found <= replicas


@pytest.mark.parametrize("quorum", ["all", "1%", 1])
def test_nobody_is_no_quorum(quorum: int | str) -> None:
    """Without replicas nothing ever agrees, whatever is asked."""
    with pytest.raises(InvalidInputError, match="there are no replicas"):
        needed(quorum, 0)
    with pytest.raises(InvalidInputError, match="no replica to talk to"):
        attend([], DESIRED, needed=1)


def test_a_count_above_the_number_of_replicas_says_so() -> None:
    """It is an outage: a name may resolve to fewer addresses for a moment."""
    with pytest.raises(QuorumError, match=r"quorum is 4 replicas, and there are 3: it can't be reached") as caught:
        needed(4, 3)
    assert isinstance(caught.value, ReplicaUnreachableError)
    assert (caught.value.count, caught.value.replicas) == (4, 3)


def test_one_that_can_not_be_reached_may_be_missing(replicas: list[FakeReplica]) -> None:
    """With a quorum of two of three; with all it stands in the way."""
    replicas[1].down = True
    found = attend(replicas, DESIRED, needed=2)
    assert (found.blocking, found.missing, found.workers) == ((), ("http://replica-2",), 4)
    assert [one.replica for one in found.deviations] == ["http://replica-2"]
    found = attend(replicas, DESIRED, needed=3)
    assert (found.blocking, found.missing) == (("http://replica-2: connection refused",), ())


def test_nobody_there_never_agrees(replicas: list[FakeReplica]) -> None:
    """Not even if nobody were needed."""
    for replica in replicas:
        replica.down = True
    found = attend(replicas, DESIRED, needed=0)
    assert len(found.blocking) == 3
    assert found.missing == ()


def test_one_that_differs_stands_in_the_way_whatever_the_quorum(replicas: list[FakeReplica]) -> None:
    """A replica that is reached and lags is no missing one, also while another one is missing."""
    replicas[0].served = Registry(generation=7)
    replicas[1].down = True
    found = attend(replicas, DESIRED, needed=1)
    assert found.missing == ("http://replica-2",)
    assert [text.partition(" is")[0] for text in found.blocking] == [
        "http://replica-1: worker 1",
        "http://replica-1: worker 2",
    ]


def test_prepare_passes_over_as_many_as_the_quorum_leaves_out(replicas: list[FakeReplica]) -> None:
    """One of three, not two; and who was passed over is returned."""
    replicas[1].down = True
    assert [error.replica for error in tell_all(replicas, REQUEST, needed=2)] == ["http://replica-2"]
    assert replicas[0].prepared == replicas[2].prepared == ["run-a"]
    replicas[2].down = True
    with pytest.raises(ReplicaUnreachableError):
        tell_all(replicas, REQUEST, needed=2)


def test_a_refusal_stops_it_whatever_the_quorum(replicas: list[FakeReplica]) -> None:
    """A replica that is there and can't load the run says no for all."""
    replicas[0].refuses.add("run-a")
    with pytest.raises(ReplicaRefusedError):
        tell_all(replicas, REQUEST, needed=1)


def test_the_ledger_says_nothing_of_nobody() -> None:
    """Only who was missing stands in the details."""
    assert without(()) == {}
    assert without(["http://replica-2"]) == {"missing": ["http://replica-2"]}
