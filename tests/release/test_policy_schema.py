"""The JSON Schema for editors: it is made from the code, takes what is right, and marks what is commonly wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from model_release.documents import read_yaml
from model_release.errors import ConfigurationError
from model_release.policy.schema import main, policy_schema
from tests.gate_evidence import check, policy
from tests.release.test_policy_online import ONLINE_KINDS, online_check

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted(CONFIG.glob("release_policy*.yaml"))
VALIDATOR = jsonschema.Draft7Validator(policy_schema())
OFFLINE_KINDS = ("data_quality", "freshness", "absolute", "non_inferiority")


def whole(*checks: dict[str, Any], online: Any = None, **changes: Any) -> dict[str, Any]:
    document = {"schema_version": 1, "name": "x", "checks": list(checks) or [check("absolute")], **changes}
    return document if online is None else {**document, "online": online}


def trial(*checks: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return whole(online={"replicas": 'up{job="a"}', "checks": [online_check("query", name="q"), *checks], **changes})


def test_the_file_is_what_the_code_makes(capsys: pytest.CaptureFixture[str]) -> None:
    """Make it again with: python -m model_release.policy.schema > config/release_policy.schema.json."""
    assert main() == 0
    assert capsys.readouterr().out == (CONFIG / "release_policy.schema.json").read_text(encoding="utf-8")
    jsonschema.Draft7Validator.check_schema(policy_schema())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_policies_that_ship_fit_it_and_name_it(path: Path) -> None:
    """An editor finds it by the first line."""
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=release_policy.schema.json"
    VALIDATOR.validate(read_yaml(text))


@pytest.mark.parametrize("kind", [*OFFLINE_KINDS, *ONLINE_KINDS])
def test_each_kind_fits_it_whole_and_in_part(kind: str) -> None:
    """Whole in a policy; with a name and any one key in one that extends another."""
    document = whole(check(kind)) if kind in OFFLINE_KINDS else trial(online_check(kind, name="z"))
    VALIDATOR.validate(document)
    entry = check(kind) if kind in OFFLINE_KINDS else online_check(kind)
    for key, value in entry.items():
        part = {"checks": [{"name": entry["name"], key: value}]}
        extension = part if kind in OFFLINE_KINDS else {"online": part}
        VALIDATOR.validate({"extends": "a.yaml", "name": "x", **extension})
        assert not VALIDATOR.is_valid({"schema_version": 1, "name": "x", **extension})


def without(entry: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in keys}


RATIO = online_check("ratio", name="z")
WRONG: dict[str, dict[str, Any]] = {
    "misspelt": whole(check("absolute", at_lest=0.1)),
    "misspelt at the top": whole(budgts={}),
    "no such kind": whole(check("absolute") | {"kind": "absolut"}),
    "online kind before a trial": whole(RATIO),
    "number in quotes": whole(check("absolute", at_least="0.1")),
    "no limit": whole(without(check("absolute"), "at_least")),
    "score in the wrong unit": whole(check("data_quality", minimum_score=0)),
    "confidence in percent": whole(check("non_inferiority", confidence=95)),
    "two margins": whole(check("non_inferiority", relative_margin=0.1)),
    "no margin": whole(without(check("non_inferiority"), "margin")),
    "resamples of a t interval": whole(check("non_inferiority", method="t", resamples=2000)),
    "seed of a t interval": whole(check("non_inferiority", method="t", seed=1)),
    "age without tables": whole(without(check("freshness"), "tables")),
    "no gain": whole({**without(check("non_inferiority"), "margin"), "kind": "superiority"}),
    "silent in two ways": whole(check("absolute", dry_run=True, severity="warning")),
    "no checks": whole() | {"checks": []},
    "without but no extends": whole(without=["a"]),
    "margin and limit": trial(RATIO | {"at_most": 0.1}),
    "margin without its side": trial(without(RATIO, "worse")),
    "one series for both arms": trial(RATIO | {"count": ["bad_total"]}),
    "unknown placeholder": trial(RATIO | {"count": ['bad_total{variant="$arn"}']}),
    "longer placeholder": trial(RATIO | {"count": ['bad_total{variant="$arms"}']}),
    "function instead of a selector": trial(RATIO | {"count": ['sum(bad_total{variant="$arm"})']}),
    "same mode twice": trial(RATIO | {"modes": ["canary", "canary"]}),
    "sample ratio of a shadow": trial(online_check("sample_ratio", modes=["shadow"])),
    "two runs in a query": trial(online_check("query", query='a{variant="$arm"}')),
    "samples without their number": trial(without(online_check("query"), "minimum_samples")),
    "one series for both latencies": trial(online_check("latency", histogram="seconds")),
    "same bound twice": trial(online_check("latency", slower_than=[0.1, 0.1])),
    "no matchers": trial(online_check("alerts", matchers=[])),
    "no replicas": whole(online={"checks": [online_check("query")]}),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_commonly_wrong_is_marked(name: str) -> None:
    """And the policy itself is refused as well: the schema is never stricter than the code."""
    document = WRONG[name]
    assert not VALIDATOR.is_valid(document)
    with pytest.raises(ConfigurationError):
        policy(*document["checks"], **without(document, "checks", "schema_version", "name"))


@pytest.mark.parametrize(
    "document",
    [
        {"extends": "a.yaml"},
        {"extends": 5, "name": "x"},
        {"extends": "a.yaml", "name": "x", "budgts": {}},
        {"extends": "a.yaml", "name": "x", "checks": [{"at_least": 1}]},
        {"extends": "a.yaml", "name": "x", "checks": [{"name": "y", "at_lest": 1}]},
        {"extends": "a.yaml", "name": "x", "checks": [{"name": "y", "kind": "absolute", "margin": 1}]},
        {"extends": "a.yaml", "name": "x", "without": "y"},
        {"extends": "a.yaml", "name": "x", "online": {"extends": "b.yaml"}},
    ],
    ids=json.dumps,
)
def test_what_is_commonly_wrong_in_an_extension_is_marked(document: dict[str, Any]) -> None:
    """It may leave out much, but not make up a key."""
    assert not VALIDATOR.is_valid(document)
