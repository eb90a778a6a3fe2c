"""Collecting evidence: what is not whole, fresh and about this run is missing, and says why."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model_release.adapters.evidence import collect, evaluated_runs
from model_release.adapters.file_registry import FileRegistry
from model_release.adapters.run_store import RunStore
from model_release.errors import InvalidInputError
from model_release.evidence import Evidence, Missing
from model_release.judge import judge
from model_release.paths import ReleasePaths
from model_release.policy import Slice
from model_release.registry import promote, register, set_latch
from model_release.verdict import Verdict
from tests.gate_evidence import (
    AS_OF,
    CANDIDATE,
    CURRENT,
    NOW,
    check,
    exposition,
    per_user,
    policy,
    values,
    write_evidence,
    write_per_user,
)
from tests.runs import publish_run

POLICY = policy(*(check(kind) for kind in ("data_quality", "freshness", "absolute", "non_inferiority")))


@pytest.fixture
def full(paths: ReleasePaths) -> ReleasePaths:
    """Give an installation with a current run, a better candidate and fresh reports."""
    write_evidence(paths, better_by=0.05)
    return paths


def collected(paths: ReleasePaths) -> Evidence:
    """Return the evidence on the candidate."""
    return collect(paths, POLICY, CANDIDATE, "release-1")


def test_whole_evidence_passes(full: ReleasePaths) -> None:
    """From the files to PASS, with the hash of every file that was read."""
    found = collected(full)
    decision = judge(POLICY, found, NOW)
    assert decision.verdict is Verdict.PASS, decision.summary
    assert decision.generation == 1
    prom = full.data_quality_metrics.read_bytes()
    assert decision.evidence["data_quality_metrics.prom"] == hashlib.sha256(prom).hexdigest()
    assert set(decision.evidence) == {"data_quality_metrics.prom", "run-new/summary.json", "run-new/per_user.parquet"}


def test_a_first_run_needs_no_comparison(paths: ReleasePaths) -> None:
    """Without a current run the per-user values of one are not asked for."""
    write_evidence(paths, baseline=False)
    found = collected(paths)
    assert found.no_baseline
    lenient = policy(*(check(kind) for kind in ("absolute", "non_inferiority")), on_no_baseline="pass")
    assert judge(lenient, found, NOW).verdict is Verdict.PASS


@pytest.mark.parametrize("run_id", ["../models", "", "a/b"])
def test_a_path_is_no_run(paths: ReleasePaths, run_id: str) -> None:
    """Refused before anything is read."""
    with pytest.raises(InvalidInputError):
        collect(paths, POLICY, run_id, None)
    with pytest.raises(InvalidInputError):
        collect(paths, POLICY, CANDIDATE, "a/b")


def test_an_empty_installation_is_no_evidence(paths: ReleasePaths) -> None:
    """Everything is missing with a reason; only the registry may honestly be new."""
    found = collected(paths)
    for part in (found.run, found.data_quality, found.evaluation, found.per_user):
        assert isinstance(part, Missing)
        assert part.reason
    assert judge(POLICY, found, NOW).verdict is Verdict.ERROR


def test_the_latch_and_the_registrations_are_seen(full: ReleasePaths) -> None:
    """Who set the latch and why gets into the decision."""
    FileRegistry(full).update(lambda state: set_latch(state, reason="alert", by="prometheus", at=NOW))
    decision = judge(POLICY, collected(full), NOW)
    assert decision.verdict is Verdict.FAIL
    assert "alert (set by prometheus" in decision.summary


def test_files_of_an_evaluation_are_found_by_run(full: ReleasePaths) -> None:
    """Only runs with a summary were evaluated."""
    full.evaluation_of("run-unfinished").mkdir()
    assert evaluated_runs(full) == [CANDIDATE]


def test_per_user_values_come_as_they_were_written(full: ReleasePaths) -> None:
    """Dictionary-encoded and large strings, as data-frame libraries write them, are strings; nulls are NaN."""
    path = full.evaluation_of(CANDIDATE) / "per_user.parquet"
    table = pq.read_table(path)
    column = table.column("user_slice").combine_chunks().dictionary_encode()
    table = table.set_column(1, "user_slice", column)
    table = table.set_column(0, "user_id", table.column("user_id").cast(pa.large_string()))
    pq.write_table(table, path)
    found = collected(full)
    assert not isinstance(found.per_user, Missing)
    pair = found.per_user.paired("ndcg_at_10", Slice(users="low"))
    assert pair is not None
    assert len(pair.users) == 200
    candidate, _ = values(better_by=0.05)
    assert np.array_equal(pair.candidate, candidate[0::3])


@dataclass(frozen=True)
class Poison:
    """One way to spoil evidence, and a word of the reason that must be given."""

    name: str
    spoil: Callable[[ReleasePaths], object]
    word: str
    verdict: Verdict = Verdict.ERROR


def summary_says(**changes: Any) -> Callable[[ReleasePaths], object]:
    """Change keys of the summary."""

    def spoil(paths: ReleasePaths) -> None:
        path = paths.evaluation_of(CANDIDATE) / "summary.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


def summary_text(change: Callable[[str], str]) -> Callable[[ReleasePaths], object]:
    """Change the text of the summary."""

    def spoil(paths: ReleasePaths) -> None:
        path = paths.evaluation_of(CANDIDATE) / "summary.json"
        path.write_text(change(path.read_text()))

    return spoil


def users_say(change: Callable[[pa.Table], pa.Table]) -> Callable[[ReleasePaths], object]:
    """Change the table of per-user values."""

    def spoil(paths: ReleasePaths) -> None:
        path = paths.evaluation_of(CANDIDATE) / "per_user.parquet"
        pq.write_table(change(pq.read_table(path)), path)

    return spoil


def quality_says(text: str) -> Callable[[ReleasePaths], object]:
    """Replace the data-quality file."""
    return lambda paths: paths.data_quality_metrics.write_text(text)


def column(name: str, convert: Callable[[Any], Any]) -> Callable[[pa.Table], pa.Table]:
    """Replace one column by what ``convert`` makes of its list."""

    def change(table: pa.Table) -> pa.Table:
        position = table.column_names.index(name)
        return table.set_column(position, name, pa.array(convert(table.column(name).to_pylist())))

    return change


def marked(marks: dict[str, str] | None) -> Callable[[pa.Table], pa.Table]:
    """Change what the table of per-user values says of itself; None: it says nothing."""

    def change(table: pa.Table) -> pa.Table:
        changed = {name.encode(): value for name, value in (marks or {}).items()}
        return table.replace_schema_metadata(None if marks is None else {**table.schema.metadata, **changed})

    return change


def a_folder(paths: ReleasePaths) -> None:
    """Put a folder where the data-quality file was."""
    paths.data_quality_metrics.unlink()
    paths.data_quality_metrics.mkdir()


def other_manifest(paths: ReleasePaths) -> None:
    """Touch the manifest of the candidate: the same run, other bytes."""
    path = RunStore(paths).folder(CANDIDATE) / "manifest.json"
    path.write_text(path.read_text() + "\n")


def seen_window(paths: ReleasePaths) -> None:
    """Say that the window began before the training cutoff."""
    summary_says(window_start="2026-01-01T00:00:00Z")(paths)


def new_current(paths: ReleasePaths) -> None:
    """Release another run after the evaluation."""
    publish_run(paths, "run-third", seed=9, as_of=AS_OF)
    digest = RunStore(paths).manifest_sha256("run-third")

    def transition(state: Any) -> Any:

        known = register(state, run_id="run-third", manifest_sha256=digest, release_id="r", at=NOW)
        return promote(known, run_id="run-third", release_id="r", at=NOW)

    FileRegistry(paths).update(transition)


def leftover_users(paths: ReleasePaths) -> None:
    """Leave the per-user values of another evaluation."""
    write_per_user(paths, per_user(*values(seed=99, better_by=0.5)))


POISONS = [
    Poison("no data-quality file", lambda paths: paths.data_quality_metrics.unlink(), "does not exist"),
    Poison("an empty data-quality file", quality_says(""), "newline"),
    Poison("a cut data-quality file", quality_says(exposition()[:-1]), "newline"),
    Poison("a data-quality file cut at a line", quality_says(exposition().rsplit("\n", 2)[0] + "\n"), "last line"),
    Poison(
        "a doubled series",
        quality_says(
            exposition().replace(
                "# TYPE data_quality_data", 'data_quality_score{table="items"} 99\n# TYPE data_quality_data'
            )
        ),
        "twice",
    ),
    Poison("no table at all", quality_says(exposition({})), "no table"),
    Poison("a missing table", quality_says(exposition({"items": 99.0})), "interactions"),
    Poison("a score of NaN", quality_says(exposition({"interactions": float("nan")})), "not between"),
    Poison("an infinite score", quality_says(exposition({"interactions": float("inf")})), "not between"),
    Poison("a negative score", quality_says(exposition({"interactions": -5.0})), "not between"),
    Poison("a huge score", quality_says(exposition({"interactions": 1e9})), "not between"),
    Poison("a low score", quality_says(exposition({"interactions": 20.0})), "score 20", Verdict.FAIL),
    Poison("old data", quality_says(exposition({"interactions": 99.0}, {"interactions": 1e6})), "old", Verdict.FAIL),
    Poison("data from the future", quality_says(exposition({"interactions": 99.0}, {"interactions": -9.0})), "future"),
    Poison("no age", quality_says(exposition({"interactions": 99.0}, {})), "no age"),
    Poison("an age of NaN", quality_says(exposition({"interactions": 99.0}, {"interactions": float("nan")})), "number"),
    Poison("a stale data-quality run", quality_says(exposition(at=AS_OF)), "old"),
    Poison("a data-quality run of tomorrow", quality_says(exposition(at=NOW.replace(day=14))), "future"),
    Poison(
        "a data-quality file in another encoding",
        lambda paths: paths.data_quality_metrics.write_bytes(b"\xff\xfe\n"),
        "decode",
    ),
    Poison(
        "a folder instead of a file",
        a_folder,
        "can't be read",
    ),
    Poison("no summary", lambda paths: (paths.evaluation_of(CANDIDATE) / "summary.json").unlink(), "does not exist"),
    Poison("an empty summary", summary_text(lambda _: ""), "summary.json"),
    Poison("half a summary", summary_text(lambda text: text[: len(text) // 2]), "summary.json"),
    Poison("a summary of another run", summary_says(run_id=CURRENT), "not 'run-new'"),
    Poison("a summary of other files", summary_says(candidate_manifest_sha256="c" * 64), "evaluate again"),
    Poison("a candidate that changed since", other_manifest, "was changed", Verdict.FAIL),
    Poison("a stale summary", summary_says(evaluated_at="2026-01-01T00:00:00Z"), "old"),
    Poison("a summary of tomorrow", summary_says(evaluated_at="2026-01-14T12:00:00Z"), "future"),
    Poison("a summary without a zone", summary_says(evaluated_at="2026-01-13T12:00:00"), "evaluated_at"),
    Poison("a summary of a later version", summary_says(schema_version=2), "schema_version"),
    Poison(
        "a metric of NaN",
        summary_text(lambda text: text.replace('"ndcg_at_10": 0.', '"ndcg_at_10": NaN, "x": 0.', 1)),
        "ndcg_at_10",
    ),
    Poison(
        "a metric as a word", summary_says(metrics={"candidate": {"ndcg_at_10": "good"}, "current": {}}), "ndcg_at_10"
    ),
    Poison("no metrics", summary_says(metrics={"candidate": {}, "current": {}}), "has no 'ndcg_at_10'"),
    Poison("comparable with nothing", summary_says(against=None), "comparable"),
    Poison("a window of no length", summary_says(window_end=AS_OF.isoformat()), "window_end"),
    Poison("a candidate that saw its window", seen_window, "seen the answers", Verdict.FAIL),
    Poison(
        "a current run that saw the window",
        summary_says(
            comparable=False, against=None, against_reason="current run trained on data inside the test window"
        ),
        "trained on data inside",
    ),
    Poison(
        "a comparison with nobody",
        summary_says(comparable=False, against=None, against_reason="no current run"),
        "no run was current",
    ),
    Poison("a current run of other files", summary_says(current_manifest_sha256="c" * 64), "registered"),
    Poison("a current run that came later", new_current, "evaluate again"),
    Poison("no users", lambda paths: (paths.evaluation_of(CANDIDATE) / "per_user.parquet").unlink(), "does not exist"),
    Poison(
        "half of the users' file",
        lambda paths: (paths.evaluation_of(CANDIDATE) / "per_user.parquet").write_bytes(b"PAR1 and so on"),
        "per_user.parquet",
    ),
    Poison("users of another evaluation", leftover_users, "different evaluations"),
    Poison("half of the users", users_say(lambda table: table.slice(0, 300)), "300 are missing"),
    Poison("users that the summary lacks", summary_says(users=590), "10 are too many"),
    Poison(
        "users missing in one slice only",
        users_say(lambda table: table.slice(0, 890)),
        "290 users (new items), the summary has 300: 10 are missing",
    ),
    Poison(
        "a user moved to another slice",
        users_say(column("user_slice", lambda found: ["high", *found[1:]])),
        "199 users (low users), the summary has 200: 1 are missing",
    ),
    Poison("values that say nothing of themselves", users_say(marked(None)), "no run_id in its metadata"),
    Poison("values of other days", users_say(marked({"window_end": "2026-01-11T00:00:00+00:00"})), "its window_end is"),
    Poison(
        "a window without a zone", users_say(marked({"window_start": "2026-01-05T00:00:00"})), "its window_start is"
    ),
    Poison("a window that is a word", users_say(marked({"window_start": "monday"})), "its window_start is monday"),
    Poison("values of another candidate", users_say(marked({"run_id": CURRENT})), "its run_id is run-old"),
    Poison("values against another run", users_say(marked({"against": "run-older"})), "its against is run-older"),
    Poison(
        "values of other files of the candidate",
        users_say(marked({"candidate_manifest_sha256": "c" * 64})),
        "its candidate_manifest_sha256 is",
    ),
    Poison(
        "values of other files of the current run",
        users_say(marked({"current_manifest_sha256": ""})),
        "its current_manifest_sha256 is none",
    ),
    Poison(
        "a user without a value",
        users_say(column("current_ndcg_at_10", lambda found: [None, *found[1:]])),
        "lack a finite value",
    ),
    Poison(
        "a value of NaN",
        users_say(column("candidate_ndcg_at_10", lambda found: [float("nan"), *found[1:]])),
        "lack a finite value",
    ),
    Poison(
        "values as words",
        users_say(column("candidate_ndcg_at_10", lambda found: [str(each) for each in found])),
        "expected floating",
    ),
    Poison(
        "no column of the current run",
        users_say(lambda table: table.drop_columns(["current_ndcg_at_10"])),
        "for both runs",
    ),
    Poison("no column of users", users_say(lambda table: table.drop_columns(["user_id"])), "user_id"),
    Poison("a user without a name", users_say(column("user_id", lambda found: [None, *found[1:]])), "nulls"),
    Poison("users as numbers", users_say(column("user_id", lambda found: list(range(len(found))))), "expected strings"),
    Poison("a damaged registry", lambda paths: paths.registry.write_text("{"), "not a valid registry"),
    Poison("an empty registry", lambda paths: paths.registry.write_text("{}"), "not a valid registry"),
    Poison(
        "no candidate",
        lambda paths: RunStore(paths).folder(CANDIDATE).rename(paths.models / "elsewhere"),
        "no run 'run-new'",
    ),
]


def test_a_window_is_the_same_in_any_zone(full: ReleasePaths) -> None:
    """The instant counts, not how it is written."""
    users_say(marked({"window_start": "2026-01-05T08:00:00+08:00"}))(full)
    assert not isinstance(collected(full).per_user, Missing)


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.name)
def test_poisoned_evidence_never_passes(full: ReleasePaths, poison: Poison) -> None:
    """Each way to spoil one thing: the verdict says whether it could be measured, the results say why."""
    poison.spoil(full)
    decision = judge(POLICY, collected(full), NOW)
    assert decision.verdict is poison.verdict, decision.summary
    reasons = " ".join(result.reason for result in decision.results if result.verdict is not Verdict.PASS)
    assert poison.word in reasons


def test_a_lost_registry_is_not_a_first_release(full: ReleasePaths) -> None:
    """With a ledger but without its registry nothing is known about the current run."""
    full.ledger.write_text("{}\n")
    full.registry.unlink()
    found = collected(full)
    assert isinstance(found.registry, Missing)
    assert not found.no_baseline
    assert judge(POLICY, found, NOW).verdict is Verdict.ERROR
