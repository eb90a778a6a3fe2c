"""Past releases, judged again by another policy."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from model_release.adapters.decisions import write_decision
from model_release.adapters.evidence import collect
from model_release.adapters.file_ledger import FileLedger
from model_release.adapters.kept_evidence import read_evidence, write_evidence
from model_release.adapters.past_releases import newest_comparison, newest_trial, past_decisions
from model_release.errors import InvalidInputError
from model_release.evidence import Missing, OnlineEvidence
from model_release.gate_words import decision_entry
from model_release.judge import judge
from model_release.ledger import Event, LedgerEntry
from model_release.paths import ReleasePaths
from model_release.policy import Policy
from model_release.simulation.peeking import evidence_of, judged
from model_release.simulation.replay import Past, became, changes, replay
from model_release.simulation.traffic import Worse
from model_release.verdict import Decision, Verdict
from tests.gate_evidence import CANDIDATE, CURRENT, NOW, check, evidence, policy
from tests.gate_evidence import write_evidence as write_files
from tests.release.test_simulation import ONLINE, drawn

LOOSE, STRICT = policy(check("absolute")), policy(check("absolute", at_least=0.99))


def past(**fields: Any) -> Past:
    usual = {
        "release_id": "release-1", "stage": "offline", "run_id": CANDIDATE, "verdict": Verdict.PASS,
        "decided_at": NOW, "evidence": evidence(),
    }  # fmt: skip
    return Past(**{**usual, **fields})


def entry(event: Event, release_id: str = "release-1", minutes: int = 0, **fields: Any) -> LedgerEntry:
    return LedgerEntry(at=NOW + dt.timedelta(minutes=minutes), event=event, release_id=release_id, by="test", **fields)


def decided(paths: ReleasePaths, release_id: str, with_policy: Policy = LOOSE, *, keep: bool = True) -> Decision:
    """Decide as the gate does, write it into the ledger, and keep decision and evidence."""
    found = collect(paths, with_policy, CANDIDATE, release_id)
    decision = judge(with_policy, found, NOW)
    FileLedger(paths).append(decision_entry(decision, release_id=release_id, by="test"))
    write_decision(paths, decision)
    if keep:
        write_evidence(paths, found, decision)
    return decision


def test_a_past_decision_is_made_again_as_of_its_own_time() -> None:
    """Data that was fresh then is fresh in the replay, however long ago it was."""
    fresh = policy(check("freshness"))
    (one,) = replay(fresh, [past()], [])
    assert one.now is Verdict.PASS
    (late,) = replay(fresh, [past(decided_at=NOW + dt.timedelta(days=30))], [])
    assert late.now is Verdict.ERROR


def test_then_and_now_are_told_beside_what_became_of_it() -> None:
    """And counted; what can't be judged again is listed with its reason, and never counted."""
    entries = [entry(Event.RELEASED), entry(Event.REJECTED, "release-2")]
    found = replay(STRICT, [past(), past(release_id="release-2", evidence="no evidence was kept")], entries)
    assert [(one.now, one.became) for one in found] == [(Verdict.FAIL, "released"), (None, "rejected")]
    assert found[1].because == "no evidence was kept"
    assert changes(found) == {("offline", Verdict.PASS, Verdict.FAIL, "released"): 1}
    assert found[0].document()["now"] == "fail"


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([], "nothing yet"),
        ([entry(Event.GATE_DECIDED)], "nothing yet"),
        ([entry(Event.RELEASED), entry(Event.VERIFIED)], "released"),
        ([entry(Event.RELEASED), entry(Event.PUT_BACK)], "rolled back"),
        ([entry(Event.TRIAL_STARTED), entry(Event.TRIAL_ENDED)], "trial ended"),
        ([entry(Event.TRIAL_STARTED), entry(Event.REJECTED), entry(Event.TRIAL_ENDED)], "rejected"),
        ([entry(Event.RELEASED, "release-2")], "nothing yet"),
        (
            [
                entry(Event.COMMITTED, mode="primary", run_id="a", generation=1),
                entry(Event.RELEASED, run_id="a"),
                entry(Event.ROLLED_BACK, "release-9", 60, run_id="b", previous_run_id="a"),
            ],
            "rolled back",
        ),
        (
            [
                entry(Event.ROLLED_BACK, "release-0", -60, run_id="b", previous_run_id="a"),
                entry(Event.COMMITTED, mode="primary", run_id="a", generation=1),
                entry(Event.RELEASED, run_id="a"),
            ],
            "released",
        ),
    ],
)
def test_what_became_of_a_release(entries: list[LedgerEntry], expected: str) -> None:
    """Its own last events; and a rollback from its run, whoever made it, unless it was earlier."""
    assert became(entries, "release-1") == expected


def test_what_nobody_asked_then_is_no_answer() -> None:
    """A policy with alerts can't be tried on evidence without: that would count as an outage."""
    alerts = {"name": "alerts", "kind": "alerts", "matchers": [{"severity": "critical"}]}
    (one,) = replay(policy(check("absolute"), alerts), [past()], [])
    assert one.now is None
    assert "does not answer what this policy asks: alerts" in one.because
    (none,) = replay(LOOSE, [past(stage="online")], [])
    assert none.now is None
    assert "no online section" in none.because


def test_the_ledgers_releases_are_found_with_their_evidence(paths: ReleasePaths) -> None:
    """The last decision of each release, with what it stood on; one without evidence says so."""
    write_files(paths, better_by=0.01)
    decided(paths, "release-1")
    decided(paths, "release-2", STRICT)
    decided(paths, "release-3", keep=False)
    found = past_decisions(paths, FileLedger(paths).read(), LOOSE)
    assert [(one.release_id, one.verdict) for one in found] == [
        ("release-1", Verdict.PASS),
        ("release-2", Verdict.FAIL),
        ("release-3", Verdict.PASS),
    ]
    assert found[2].evidence == "no evidence was kept"
    again = replay(LOOSE, found, FileLedger(paths).read())
    assert [one.now for one in again] == [Verdict.PASS, Verdict.PASS, None]


def test_evidence_of_another_decision_is_not_taken_for_it(paths: ReleasePaths) -> None:
    """Judged again at another time since: the ledger's entry is not the one that the evidence belongs to."""
    write_files(paths, better_by=0.01)
    decision = decided(paths, "release-1")
    later = decision.model_copy(update={"decided_at": NOW + dt.timedelta(hours=1)})
    FileLedger(paths).append(decision_entry(later, release_id="release-1", by="test"))
    (one,) = past_decisions(paths, FileLedger(paths).read(), LOOSE)
    assert isinstance(one.evidence, str)
    assert "the kept evidence is of" in one.evidence


def test_another_policy_gets_the_metrics_that_it_compares(paths: ReleasePaths) -> None:
    """They are in the users' file, although the old policy did not look at them."""
    write_files(paths, better_by=0.01)
    decided(paths, "release-1")
    other = policy(check("non_inferiority", metric="recall_at_20"))
    (one,) = replay(other, past_decisions(paths, FileLedger(paths).read(), other), [])
    assert one.now is Verdict.PASS


def test_users_are_drawn_from_the_newest_comparison(paths: ReleasePaths) -> None:
    write_files(paths)
    assert newest_comparison(paths, policy(check("non_inferiority")), None).evaluation.against == CURRENT
    with pytest.raises(InvalidInputError, match="can't be read"):
        newest_comparison(paths, LOOSE, "run-unknown")


def test_the_newest_trial_that_can_be_read_is_measured(paths: ReleasePaths) -> None:
    """A damaged file is passed over; without any there is none."""
    assert newest_trial(paths, []) is None
    decision = judge(LOOSE, evidence(), NOW).model_copy(update={"stage": "online"})
    about = OnlineEvidence(trial=Missing("ended"))
    path = write_evidence(paths, evidence(online=about), decision)  # the users' values are gone, and not needed
    path.with_name("broken.online.evidence.json.gz").write_bytes(b"x")
    found = newest_trial(paths, [])
    assert found is not None
    assert found.trial == about.trial


def test_a_trial_is_judged_again_from_what_was_kept(paths: ReleasePaths) -> None:
    """Counters, users and scrapes come back exactly: the same decision, to the byte; a stricter policy says otherwise."""
    part, seen = drawn(Worse(shares=0.005), 3)
    block = len(seen.bounds) - 1
    whole = evidence_of(seen.until(block), seen.trial)
    decision = judged(part, seen, block)
    write_evidence(paths, whole, decision)
    again = read_evidence(paths, seen.trial.release_id, "online")
    assert again is not None
    assert judge(part, again, decision.decided_at, "online").model_dump_json() == decision.model_dump_json()
    kept = past(stage="online", evidence=again, decided_at=decision.decided_at)
    assert [one.now for one in replay(part, [kept], [])] == [decision.verdict]
    other = {**ONLINE, "checks": [{**ONLINE["checks"][0], "count": ['other{arm="$arm"}']}]}
    (one,) = replay(policy(check("absolute"), online=other), [kept], [])
    assert one.now is None
    assert 'other{arm="candidate"}' in one.because
