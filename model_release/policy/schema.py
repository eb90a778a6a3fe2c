"""JSON Schema of a policy file, for editors: ``python -m model_release.policy.schema > config/release_policy.schema.json``.

It knows all keys, and which go together; that numbers fit each other is for :func:`model_release.policy.load_policy`
to say.  A file with ``extends`` may leave out everything but its ``name``.
"""

from __future__ import annotations

import json
import sys
from typing import Any, get_args

from model_release.policy.document import OfflineCheck, Policy
from model_release.policy.extending import EXTENDS, WITHOUT
from model_release.policy.online import PLACEHOLDERS, OnlineCheck

Schema = dict[str, Any]

_ARM = {"contains": {"pattern": r"\$(\{(arm|run)\}|(arm|run)\b)"}}
_ONE = "|".join(PLACEHOLDERS)
_NAMES = rf"(\{{({_ONE})\}}|({_ONE})(?![A-Za-z0-9_]))"
_TEMPLATE = {"pattern": rf"^([^$]|\$\$|\${_NAMES})+$"}
_SELECTOR = {"pattern": r"""^[A-Za-z_:$][A-Za-z0-9_:${}]*?(\{([^{}"']|"[^"]*"|'[^']*')*\})?$"""}
_SELECTORS = {"count", "of", "users", "histogram", "replicas"}
_QUERIES = {"query", "samples"}
_ONCE = {"modes", "slices", "slower_than", "count", "of", "matchers", "tables"}


def policy_schema() -> Schema:
    """Return the schema (draft 7, which every editor reads) of a policy file."""
    whole = Policy.model_json_schema(ref_template="#/definitions/{model}")
    definitions: dict[str, Schema] = whole.pop("$defs")
    definitions["Policy"] = whole
    for definition in definitions.values():
        _tidy(definition)
    definitions |= _partial(definitions)
    for name, rules in _rules().items():
        definitions[name]["allOf"] = rules
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Release policy",
        "description": "What a run must satisfy to be released.",
        "if": {"required": [EXTENDS]},
        "then": {"$ref": "#/definitions/Extension"},
        "else": {"$ref": "#/definitions/Policy"},
        "definitions": dict(sorted(definitions.items())),
    }


def main() -> int:
    """Print the schema."""
    sys.stdout.write(json.dumps(policy_schema(), indent=2) + "\n")
    return 0


def _tidy(definition: Schema) -> None:
    """Say of single keys what validators check, and drop what only repeats the key."""
    definition.pop("title", None)
    for key, value in definition.get("properties", {}).items():
        value.pop("title", None)
        for one in (value, *value.get("anyOf", ())):
            if one.get("type") == "array" and key in _ONCE:
                one["uniqueItems"] = True
            text = one.get("items", {}) if one.get("type") == "array" else one
            if text.get("type") == "string" and key in _SELECTORS:
                text["allOf"] = [_TEMPLATE, _SELECTOR]
            if text.get("type") == "string" and key in _QUERIES:
                text |= _TEMPLATE


def _rules() -> dict[str, list[Schema]]:
    """Return what holds between the keys of one model."""
    compared = [_never({"method": {"const": "t"}, key: _SAID}) for key in ("resamples", "seed")]
    rules: dict[str, list[Schema]] = {
        "FreshnessPolicy": [
            {"anyOf": [_given(f"maximum_{what}_age_hours") for what in ("data", "check", "evaluation")]},
            _together("tables", "maximum_data_age_hours"),
        ],
        "AbsolutePolicy": [{"anyOf": [_given("at_least"), _given("at_most")]}],
        "NonInferiorityPolicy": [{"oneOf": [_given("margin"), _given("relative_margin")]}, *compared],
        "SuperiorityPolicy": [{"oneOf": [_given("gain"), _given("relative_gain")]}, *compared],
        "RatioPolicy": [
            {"oneOf": [_given("margin"), _given("at_most"), _given("at_least")]},
            _together("margin", "worse"),
            {"if": _given("margin"), "then": {"properties": {"count": _ARM}}},
        ],
        "LatencyPolicy": [{"properties": {"histogram": _ARM["contains"]}}],
        "SampleRatioPolicy": [{"properties": {"users": _ARM["contains"], "modes": {"items": {"const": "canary"}}}}],
        "QueryPolicy": [
            {"anyOf": [_given("at_least"), _given("at_most")]},
            _together("samples", "minimum_samples"),
            *({"not": {"required": [key], "properties": {key: _ARM["contains"]}}} for key in sorted(_QUERIES)),
        ],
    }
    silent = _never({"dry_run": {"const": True}, "severity": {"const": "warning"}})
    return {name: [*rules.get(name, []), silent] for name in _kinds()}


_SAID: Schema = {"not": {"type": "null"}}


def _given(key: str) -> Schema:
    return {"required": [key], "properties": {key: _SAID}}


def _never(properties: Schema) -> Schema:
    return {"not": {"required": list(properties), "properties": properties}}


def _together(first: str, second: str) -> Schema:
    return {"oneOf": [{"allOf": [_given(first), _given(second)]}, {"not": {"anyOf": [_given(first), _given(second)]}}]}


def _kinds() -> list[str]:
    """Return the names of the models of all kinds of check, each once."""
    models = (*get_args(get_args(OfflineCheck)[0]), *get_args(get_args(OnlineCheck)[0]))
    return list(dict.fromkeys(model.__name__ for model in models))


def _partial(definitions: dict[str, Schema]) -> dict[str, Schema]:
    """Return what a file with ``extends`` may say: everything, and of each thing a part."""
    found = {f"{name}Change": {**definitions[name], "required": ["name"]} for name in _kinds()}
    names = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}

    def section(name: str, union: Any, extra: Schema, required: list[str]) -> Schema:
        changes = [{"$ref": f"#/definitions/{kind.__name__}Change"} for kind in get_args(get_args(union)[0])]
        checks = {"type": "array", "items": {"anyOf": changes}}
        properties = {**definitions[name]["properties"], "checks": checks, **extra, WITHOUT: names}
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    online = {"anyOf": [{"$ref": "#/definitions/OnlineChange"}, {"type": "null"}]}
    path = {"type": "string", "minLength": 1, "description": "Path of the policy to change, relative to this file."}
    found["OnlineChange"] = section("OnlinePolicy", OnlineCheck, {}, [])
    found["Extension"] = section("Policy", OfflineCheck, {EXTENDS: path, "online": online}, [EXTENDS, "name"])
    return found


if __name__ == "__main__":
    sys.exit(main())
