"""Policies: what they say, and what they refuse to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from model_release.errors import ConfigurationError
from model_release.policy import (
    AbsolutePolicy,
    AlertsPolicy,
    Budgets,
    DataQualityPolicy,
    FreshnessPolicy,
    LatencyPolicy,
    NonInferiorityPolicy,
    OnlinePolicy,
    Policy,
    QueryPolicy,
    RatioPolicy,
    ReconciliationPolicy,
    SampleRatioPolicy,
    Slice,
    SuperiorityPolicy,
    default_policy_path,
    load_policy,
    parse_policy,
)
from model_release.policy.base import RESERVED
from model_release.policy.online import PLACEHOLDERS
from tests.docs_pages import agree, codes, section, table
from tests.gate_evidence import check, policy

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "config" / "release_policy.yaml"


def test_the_default_policy_is_valid_and_demands_what_a_release_needs() -> None:
    """The policy that ships judges data, freshness, the run itself and the comparison, and all of them can block."""
    found = load_policy(DEFAULT)
    blocking = {check.kind for check in found.checks if not check.dry_run}
    assert blocking == {"data_quality", "freshness", "absolute", "non_inferiority"}
    strictest = found.strictest_data_quality
    assert strictest is not None
    assert strictest.minimum_score == 90
    assert "ndcg_at_10" in found.metrics()


def test_the_hash_is_of_what_the_policy_says() -> None:
    """Comments, order of keys and defaults written out do not change it; every number does."""
    text = DEFAULT.read_text(encoding="utf-8")
    found = parse_policy(text, source="a")
    bare = parse_policy(yaml.safe_dump(yaml.safe_load(text), sort_keys=True), source="b")
    full = parse_policy(yaml.safe_dump(found.model_dump(mode="json", exclude_none=True)), source="c")
    assert found.sha256 == bare.sha256 == full.sha256
    assert found.sha256 != parse_policy(text.replace("minimum_score: 90", "minimum_score: 91"), source="d").sha256


@pytest.mark.parametrize(
    ("kind", "change", "named"),
    [
        ("non_inferiority", {"margn": 0.1}, ["margn", "unknown key"]),
        ("non_inferiority", {"relative_margin": 0.03}, ["margin 0.02", "relative_margin 0.03"]),
        ("non_inferiority", {"margin": None}, ["margin", "relative_margin"]),
        ("non_inferiority", {"margin": 0}, ["margin", "above 0"]),
        ("non_inferiority", {"margin": -0.1}, ["margin", "above 0"]),
        ("non_inferiority", {"margin": None, "relative_margin": 1.0}, ["relative_margin", "below 1"]),
        ("non_inferiority", {"confidence": 0.5}, ["confidence"]),
        ("non_inferiority", {"confidence": 1}, ["confidence"]),
        ("non_inferiority", {"confidence": 95}, ["confidence"]),
        ("non_inferiority", {"method": "t", "resamples": 2000}, ["resamples 2000", "method t"]),
        ("non_inferiority", {"method": "t", "seed": 1}, ["seed 1", "method t"]),
        ("non_inferiority", {"method": "bootstrap", "resamples": 150}, ["resamples 150", "confidence 0.95"]),
        ("non_inferiority", {"method": "wilcoxon"}, ["method"]),
        ("non_inferiority", {"minimum_users": 1}, ["minimum_users"]),
        ("non_inferiority", {"slices": []}, ["slices"]),
        ("non_inferiority", {"slices": [{"users": "low"}, {"users": "low", "items": "all"}]}, ["slices", "twice"]),
        ("non_inferiority", {"slices": [{"user": "low"}]}, ["slices", "unknown key"]),
        ("absolute", {"at_least": None}, ["at_least", "at_most"]),
        ("absolute", {"at_least": 0.5, "at_most": 0.4}, ["at_least 0.5", "at_most 0.4"]),
        ("absolute", {"at_least": "0.5"}, ["at_least", "expected a number"]),
        ("absolute", {"minimum_users": True}, ["minimum_users"]),
        ("absolute", {"dry_run": "no"}, ["dry_run"]),
        ("data_quality", {"minimum_score": 101}, ["minimum_score"]),
        ("data_quality", {"minimum_score": 0}, ["minimum_score"]),
        ("data_quality", {"tables": []}, ["tables"]),
        ("freshness", {"maximum_data_age_hours": -1}, ["maximum_data_age_hours"]),
        ("freshness", {"tables": None}, ["tables", "maximum_data_age_hours"]),
        ("freshness", {"maximum_data_age_hours": None}, ["tables", "maximum_data_age_hours"]),
        (
            "freshness",
            dict.fromkeys(
                ("tables", "maximum_data_age_hours", "maximum_check_age_hours", "maximum_evaluation_age_hours")
            ),
            ["maximum_data_age_hours", "maximum_check_age_hours", "maximum_evaluation_age_hours"],
        ),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(kind: str, change: dict[str, Any], named: list[str]) -> None:
    """Unknown keys, contradictory pairs and impossible values fail; the message names the check and all keys."""
    wanted = {key: value for key, value in check(kind, **change).items() if value is not None}
    with pytest.raises(ConfigurationError) as caught:
        policy(wanted)
    for part in (wanted["name"], *named):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "policy"),
        ("[]", "policy"),
        ("just words", "policy"),
        ("schema_version: 1\nname: a\nchecks: []", "checks"),
        ("schema_version: 1\nname: a", "checks"),
        ("schema_version: 2\nname: a\nchecks: [{kind: x}]", "schema_version"),
        ("schema_version: 1\nschema_version: 1\nname: a", "schema_version"),
        ("a: 1\na: 2", "'a' is given twice"),
        ("name: 2026-01-05", "not a valid policy"),
        ("{", "not a valid policy"),
        ("!!python/object/apply:os.system ['true']", "not a valid policy"),
        ("? [1, 2]\n: 3", "not a valid policy"),
        ("a: &x [*x]", "not a valid policy"),
    ],
)
def test_a_file_that_is_no_policy_is_refused(text: str, named: str) -> None:
    """Whatever stands in the file: an error of the configuration that names it, never something else."""
    with pytest.raises(ConfigurationError, match=named) as caught:
        parse_policy(text, source="release_policy.yaml")
    assert str(caught.value).startswith("release_policy.yaml")


@given(st.text())
def test_any_text_is_a_policy_or_an_error_of_configuration(text: str) -> None:
    """Nothing else is ever raised."""
    with pytest.raises(ConfigurationError):
        parse_policy(text, source="x")


@pytest.mark.parametrize("kind", ["missing", "folder", "binary"])
def test_a_file_that_can_not_be_read_is_an_error_of_configuration(tmp_path: Path, kind: str) -> None:
    """Missing, a folder, not UTF-8: the message names the file."""
    path = tmp_path / "policy.yaml"
    if kind == "folder":
        path.mkdir()
    elif kind == "binary":
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=r"policy\.yaml"):
        load_policy(path)


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf"])
def test_a_limit_is_a_number(number: str) -> None:
    """A limit of NaN would hold for nobody or, written the wrong way round, for everybody."""
    text = DEFAULT.read_text(encoding="utf-8").replace("minimum_score: 90", f"minimum_score: {number}")
    with pytest.raises(ConfigurationError, match=r"'data-quality' minimum_score is .*finite"):
        parse_policy(text, source="x")


def test_two_checks_have_two_names() -> None:
    """A decision could not say which of them failed."""
    with pytest.raises(ConfigurationError, match="'absolute'"):
        policy(check("absolute"), check("absolute", metric="map_at_10"))


def test_a_gate_that_could_not_reject_anything_is_refused() -> None:
    """One check at least is no dry run."""
    with pytest.raises(ConfigurationError, match="dry_run"):
        policy(check("absolute", dry_run=True))


def test_without_a_word_on_it_a_first_release_is_refused() -> None:
    """The default fails closed: who wants a first release to pass uncompared says so."""
    assert policy(check("absolute")).on_no_baseline == "fail"


def test_a_policy_can_not_be_changed() -> None:
    """What was hashed is what is judged by."""
    with pytest.raises(ValueError, match="frozen"):
        policy(check("absolute")).name = "other"  # type: ignore[misc]


def test_the_number_of_resamples_fits_the_confidence() -> None:
    """Unless it is set, enough resamples lie beyond the bound."""
    for confidence, resamples in ((0.95, 2000), (0.999, 20_000)):
        found = policy(check("non_inferiority", method="bootstrap", confidence=confidence)).checks[0]
        assert isinstance(found, NonInferiorityPolicy)
        assert found.bootstrap_resamples == pytest.approx(resamples, abs=1)


def test_where_the_policy_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names it, else it lies in ``config/`` here, else beside the package."""
    assert default_policy_path({"RELEASE_POLICY": "/a/b.yaml"}) == Path("/a/b.yaml")
    monkeypatch.chdir(tmp_path)
    assert default_policy_path({}) == DEFAULT
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "release_policy.yaml").touch()
    assert default_policy_path({}).resolve() == tmp_path / "config" / "release_policy.yaml"


EVERY = [("release-policy.md", "Every check")]
ONLINE = [*EVERY, ("release-policy-online.md", "Every online check")]
SEQUENTIAL = [*ONLINE, ("release-policy-online.md", "Always-valid tests")]


@pytest.mark.parametrize(
    ("model", "tables", "merging"),
    [
        (Policy, [("release-policy.md", "The policy")], {"extends", "without"}),
        (Budgets, [("release-policy.md", "`budgets`")], set()),
        (DataQualityPolicy, [*EVERY, ("release-policy.md", "`kind: data_quality`")], set()),
        (FreshnessPolicy, [*EVERY, ("release-policy.md", "`kind: freshness`")], set()),
        (AbsolutePolicy, [*EVERY, ("release-policy.md", "`kind: absolute`")], set()),
        (NonInferiorityPolicy, [*EVERY, ("release-policy.md", "`kind: non_inferiority`")], set()),
        (OnlinePolicy, [("release-policy-online.md", "Release policy: trials")], {"without"}),
        (RatioPolicy, [*SEQUENTIAL, ("release-policy-online.md", "`kind: ratio`")], set()),
        (LatencyPolicy, [*SEQUENTIAL, ("release-policy-online.md", "`kind: latency`")], set()),
        (SampleRatioPolicy, [*ONLINE, ("release-policy-online.md", "`kind: sample_ratio`")], set()),
        (QueryPolicy, [*ONLINE, ("release-policy-online.md", "`kind: query`")], set()),
        (AlertsPolicy, [*EVERY, ("release-policy-online.md", "`kind: alerts`")], set()),
        (ReconciliationPolicy, [*EVERY, ("release-policy-online.md", "`kind: reconciliation`")], set()),
    ],
)
def test_every_key_stands_in_the_reference(
    model: type[BaseModel], tables: list[tuple[str, str]], merging: set[str]
) -> None:
    """A key that is not documented does not exist for a reader; one that is made up is worse."""
    documented = set[str]().union(*(first_column(page, heading) for page, heading in tables))
    agree(documented, set(model.model_fields) | merging, model.__name__)


def first_column(page: str, heading: str) -> set[str]:
    """Return the keys of the table of ``key`` or, of ages, ``too old``."""
    return {code for row in table(page, heading, "key") for code in codes(row[0])}


def test_every_key_of_superiority_stands_in_the_reference() -> None:
    """Its own, and those of the other comparison."""
    own = first_column("release-policy.md", "`kind: superiority`")
    shared = first_column("release-policy.md", "`kind: non_inferiority`") - {"margin", "relative_margin"}
    agree(own | shared | first_column(*EVERY[0]), set(SuperiorityPolicy.model_fields), "superiority")
    slices = set(codes(section("release-policy.md", "`kind: non_inferiority`")))
    assert set(Slice.model_fields) <= slices


def test_placeholders_and_always_made_checks_stand_in_the_reference() -> None:
    """And none is made up."""
    found = {code for row in table("release-policy-online.md", "Placeholders", "placeholder") for code in codes(row[0])}
    agree(found, {f"${name}" for name in PLACEHOLDERS}, "placeholders")
    made = [("release-policy.md", "Always checked"), ("release-policy-online.md", "Always checked during a trial")]
    agree({code for where in made for row in table(*where, "check") for code in codes(row[0])}, set(RESERVED), "names")


@pytest.mark.parametrize("quorum", ["all", "1%", "80%", "100%", 1, 3])
def test_a_quorum_is_all_a_share_or_a_count(quorum: int | str) -> None:
    """Each is read as it is written; without one everybody is needed."""
    assert policy(check("absolute"), quorum=quorum).quorum == quorum
    assert policy(check("absolute")).quorum == "all"


@pytest.mark.parametrize("quorum", [0, -1, True, 2.0, "0%", "101%", "80", "80 %", "08%", "most", "", None, [3]])
def test_what_is_no_quorum_is_refused_in_one_sentence(quorum: object) -> None:
    """The key and the value are named, and what would be accepted."""
    with pytest.raises(ConfigurationError) as caught:
        policy(check("absolute"), quorum=quorum)
    assert str(caught.value).count("quorum") == 2
    assert f"quorum: {quorum!r} is no quorum: all, a share from 1% to 100% such as 80%, or a count" in str(caught.value)
