"""A policy that extends another: what is merged, and that every problem is told of the file that made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_release.errors import ConfigurationError
from model_release.policy import (
    AbsolutePolicy,
    DataQualityPolicy,
    NonInferiorityPolicy,
    Policy,
    RatioPolicy,
    load_policy,
    parse_policy,
)
from model_release.policy.loading import LONGEST_CHAIN
from tests.gate_evidence import check

DEGRADED = {
    "name": "degraded",
    "kind": "ratio",
    "count": ['bad_total{variant="$arm"}'],
    "of": ['all_total{variant="$arm"}'],
    "margin": 0.02,
    "worse": "higher",
    "minimum_requests": 1000,
}
LISTS = {"name": "lists", "kind": "query", "query": "up", "at_least": 1}
BASE: dict[str, Any] = {
    "schema_version": 1,
    "name": "base",
    "budgets": {"error_minutes": 7, "inconclusive_minutes": 40},
    "checks": [check("absolute", name="floor"), check("non_inferiority", name="worse"), check("data_quality")],
    "online": {"replicas": "up", "minimum_minutes": 5, "checks": [DEGRADED, LISTS]},
}


def write(folder: Path, name: str, document: Mapping[str, Any]) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(document), sort_keys=False), encoding="utf-8")
    return path


def extended(folder: Path, base: Mapping[str, Any] = BASE, **extension: Any) -> Policy:
    """Return ``extension`` on top of ``base``, both as files."""
    write(folder, "base.yaml", base)
    document = {"extends": "base.yaml", "name": "own", **extension}
    return load_policy(write(folder, "own.yaml", {key: value for key, value in document.items() if value != "absent"}))


def refused(folder: Path, base: Mapping[str, Any] = BASE, **extension: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        extended(folder, base, **extension)
    return str(caught.value)


def found(policy: Policy, name: str) -> Any:
    online = policy.online.checks if policy.online else ()
    return next(one for one in (*policy.checks, *online) if one.name == name)


def test_what_is_not_named_stays(tmp_path: Path) -> None:
    """With a name alone it demands the same; another name is another policy for a decision."""
    base = parse_policy(yaml.safe_dump(BASE), source="x")
    own = extended(tmp_path)
    assert own.name == "own"
    assert own.model_dump(exclude={"name"}) == base.model_dump(exclude={"name"})
    assert own.sha256 != base.sha256


def test_the_hash_is_that_of_the_result(tmp_path: Path) -> None:
    """Written in two files or in one, the same policy has the same hash."""
    own = extended(tmp_path, budgets={"error_minutes": 9}, online={"without": ["lists"]})
    flat = {**BASE, "name": "own", "budgets": {"error_minutes": 9, "inconclusive_minutes": 40}}
    flat["online"] = {**BASE["online"], "checks": [DEGRADED]}
    assert own.sha256 == parse_policy(yaml.safe_dump(flat), source="x").sha256


def test_mappings_are_merged_key_by_key(tmp_path: Path) -> None:
    """Also inside ``online``; what is not named stays."""
    own = extended(tmp_path, budgets={"error_minutes": 9}, online={"budgets": {"error_minutes": 3}, "replicas": "ok"})
    assert own.online is not None
    assert (own.budgets.error_minutes, own.budgets.inconclusive_minutes) == (9, 40)
    assert (own.online.budgets.error_minutes, own.online.minimum_minutes) == (3, 5)
    assert own.online.replicas == "ok"
    assert [one.name for one in own.online.checks] == ["degraded", "lists"]


def test_a_check_of_the_same_name_changes_single_keys(tmp_path: Path) -> None:
    """In place; a list inside a check is replaced, not added to; null takes a key away."""
    own = extended(
        tmp_path,
        checks=[
            {"name": "worse", "margin": None, "relative_margin": 0.05},
            {"name": "data-quality", "tables": ["items"]},
        ],
        online={"checks": [{"name": "degraded", "minimum_requests": 50}]},
    )
    assert [one.name for one in own.checks] == ["floor", "worse", "data-quality"]
    worse, quality, degraded = (found(own, name) for name in ("worse", "data-quality", "degraded"))
    assert isinstance(worse, NonInferiorityPolicy)
    assert (worse.margin, worse.relative_margin, worse.minimum_users) == (None, 0.05, 100)
    assert isinstance(quality, DataQualityPolicy)
    assert (quality.tables, quality.minimum_score) == (("items",), 90)
    assert isinstance(degraded, RatioPolicy)
    assert (degraded.minimum_requests, degraded.margin) == (50, 0.02)


def test_a_new_name_is_a_new_check_and_without_drops_one(tmp_path: Path) -> None:
    """New ones come last."""
    own = extended(
        tmp_path,
        without=["floor"],
        checks=[check("absolute", name="new")],
        online={"without": ["lists"], "checks": [{**DEGRADED, "name": "empty"}]},
    )
    assert own.online is not None
    assert [one.name for one in own.checks] == ["worse", "data-quality", "new"]
    assert [one.name for one in own.online.checks] == ["degraded", "empty"]


def test_another_kind_leaves_nothing_of_the_old_check(tmp_path: Path) -> None:
    """All keys must be given; none is taken over, not even one that both kinds have."""
    own = extended(tmp_path, checks=[check("absolute", name="worse")])
    assert isinstance(found(own, "worse"), AbsolutePolicy)
    said = refused(tmp_path, checks=[{"name": "worse", "kind": "absolute", "at_least": 0.1}])
    assert "own.yaml: check 'worse' metric is missing; check 'worse' minimum_users is missing" in said


def test_online_may_be_added_and_taken_away(tmp_path: Path) -> None:
    """A base without it gets it whole; null takes it away."""
    bare = {key: value for key, value in BASE.items() if key != "online"}
    assert extended(tmp_path, bare, online=BASE["online"]).online is not None
    assert extended(tmp_path, online=None).online is None


def test_chains_are_read_from_the_bottom_up_and_paths_from_each_file(tmp_path: Path) -> None:
    """A path is relative to the file that says it, wherever the program runs."""
    write(tmp_path, "base.yaml", BASE)
    write(tmp_path, "a/middle.yaml", {"extends": "../base.yaml", "name": "middle", "budgets": {"error_minutes": 1}})
    top = {"extends": "../a/middle.yaml", "name": "top", "budgets": {"inconclusive_minutes": 2}}
    own = load_policy(write(tmp_path, "b/top.yaml", top))
    assert (own.name, own.budgets.error_minutes, own.budgets.inconclusive_minutes) == ("top", 1, 2)
    absolute = {"extends": str(tmp_path / "base.yaml"), "name": "absolute"}
    assert load_policy(write(tmp_path, "c/own.yaml", absolute)).budgets.error_minutes == 7


def chain(folder: Path, files: int) -> Path:
    write(folder, "0.yaml", BASE)
    for number in range(1, files):
        write(folder, f"{number}.yaml", {"extends": f"{number - 1}.yaml", "name": f"number-{number}"})
    return folder / f"{files - 1}.yaml"


def test_a_chain_has_an_end(tmp_path: Path) -> None:
    """Up to eight files, and no circle."""
    assert load_policy(chain(tmp_path / "long", LONGEST_CHAIN)).name == "number-7"
    with pytest.raises(ConfigurationError, match=r"0\.yaml: extends: more than 8 policies"):
        load_policy(chain(tmp_path / "longer", LONGEST_CHAIN + 1))
    write(tmp_path, "x.yaml", {"extends": "y.yaml", "name": "x"})
    write(tmp_path, "y.yaml", {"extends": "x.yaml", "name": "y"})
    with pytest.raises(ConfigurationError, match=r"circle: \S+x\.yaml -> \S+y\.yaml -> \S+x\.yaml"):
        load_policy(tmp_path / "x.yaml")
    with pytest.raises(ConfigurationError, match="circle"):
        load_policy(write(tmp_path, "self.yaml", {"extends": "self.yaml", "name": "x"}))


@pytest.mark.parametrize(
    ("extension", "named"),
    [
        ({"name": "absent"}, ["own.yaml: name is missing"]),
        ({"name": "base"}, ["own.yaml: name 'base'", "tell them apart"]),
        ({"without": ["flor"]}, ["own.yaml: without: 'flor'", "did you mean 'floor'?"]),
        ({"without": ["lists"]}, ["own.yaml: without: 'lists'", "it has floor, worse, data-quality"]),
        ({"without": "floor"}, ["own.yaml: without is 'floor'", "list"]),
        ({"without": ["floor", "floor"]}, ["own.yaml: without names 'floor' twice"]),
        ({"online": {"without": ["floor"]}}, ["own.yaml: online.without: 'floor'", "it has degraded, lists"]),
        (
            {"without": ["floor"], "checks": [{"name": "floor", "at_least": 0.1}]},
            ["own.yaml: without drops 'floor'", "checks changes it"],
        ),
        ({"checks": [{"name": "flor", "at_least": 1}]}, ["own.yaml: checks: 'flor'", "'floor'?", "needs its kind"]),
        ({"online": {"checks": [{"name": "x"}]}}, ["own.yaml: online.checks: 'x'", "degraded, lists"]),
        ({"checks": [{"name": "floor"}, {"name": "floor"}]}, ["own.yaml: checks: two checks", "'floor'"]),
        ({"checks": [{"at_least": 1}]}, ["own.yaml: checks.0 has no name"]),
        ({"checks": ["floor"]}, ["own.yaml: checks.0 has no name"]),
        ({"checks": None}, ["own.yaml: checks is None", "a list"]),
        ({"checks": "floor"}, ["own.yaml: checks is 'floor'", "a list"]),
        ({"checks": [{"name": "floor", "at_lest": 1}]}, ["own.yaml: check 'floor' at_lest: unknown key", "at_least"]),
        (
            {"checks": [{"name": "worse", "relative_margin": 0.1}]},
            ["own.yaml: check 'worse'", "margin 0.02", "relative_margin 0.1"],
        ),
        (
            {"online": {"checks": [{"name": "degraded", "margin": 2.0}]}},
            ["own.yaml: online check 'degraded' margin is 2.0"],
        ),
        ({"online": {"extends": "base.yaml"}}, ["own.yaml: online.extends: unknown key"]),
        ({"online": 5}, ["own.yaml: online is 5"]),
        ({"budgets": 5}, ["own.yaml: budgets is 5"]),
        ({"budgts": {}}, ["own.yaml: budgts: unknown key, did you mean 'budgets'?"]),
        ({"without": ["floor", "worse", "data-quality"]}, ["own.yaml: checks"]),
        ({"schema_version": 2}, ["own.yaml: schema_version is 2"]),
        ({"extends": "nowhere.yaml"}, ["nowhere.yaml, which ", "own.yaml extends, can't be read"]),
        ({"extends": "."}, ["own.yaml extends, can't be read"]),
        ({"extends": ["base.yaml"]}, ["own.yaml: extends is ['base.yaml']", "path of one policy file"]),
        *(
            ({"extends": path}, ["own.yaml: extends is", "plain path"])
            for path in (
                "",
                "https://x.org/a.yaml",
                "file:///a.yaml",
                "~/a.yaml",
                "$HOME/a.yaml",
                "*.yaml",
                "a\nb",
                "\0",
            )
        ),
    ],
)
def test_a_wrong_extension_is_told_of_its_own_file(tmp_path: Path, extension: dict[str, Any], named: list[str]) -> None:
    """The file and the key."""
    said = refused(tmp_path, **extension)
    for part in named:
        assert part in said
    assert not said.startswith(str(tmp_path / "base.yaml"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"checks": [check("absolute", at_lest=1)]}, "check 'absolute' at_lest: unknown key"),
        ({"online": {"replicas": "up", "checks": []}}, "online.checks is []"),
        ({"name": 5}, "name is 5"),
        ({"without": ["floor"]}, "without needs extends"),
    ],
)
def test_a_wrong_base_is_told_of_the_base(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    """Even where the extension would mend it: each file is right by itself."""
    said = refused(tmp_path, {**BASE, **change}, checks=[{"name": "absolute", "at_lest": None}])
    assert said.startswith(f"{tmp_path / 'base.yaml'}: {named}")


@pytest.mark.parametrize("text", ["{", "a: 1\na: 2", "[1]", "", "5"])
def test_a_base_that_is_no_policy_is_told_of_the_base(tmp_path: Path, text: str) -> None:
    """Whatever stands in it."""
    (tmp_path / "base.yaml").write_text(text)
    own = write(tmp_path, "own.yaml", {"extends": "base.yaml", "name": "own"})
    with pytest.raises(ConfigurationError) as caught:
        load_policy(own)
    assert str(caught.value).startswith(str(tmp_path / "base.yaml"))


def test_text_that_lies_in_no_file_extends_none() -> None:
    """There is nothing that its path could be relative to."""
    with pytest.raises(ConfigurationError, match="x: extends: only a policy that lies in a file"):
        parse_policy("extends: a.yaml\nname: b", source="x")
