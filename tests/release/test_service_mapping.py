"""The mapping of a plain service: what is refused, and by which key; placeholders and pointers."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from model_release.adapters.service_mapping import Values, at, filled, filled_path, read_mapping
from model_release.errors import ConfigurationError

GOOD: dict[str, Any] = {
    "reload": {"path": "/switch", "bodies": {"primary": {"v": "$run_id"}}},
    "status": {"path": "/status", "run_id": "/v"},
}


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("reload.path", "switch", "reload.path: a path begins with one /"),
        ("reload.path", "//elsewhere/x", "reload.path: a path begins with one /"),
        ("reload.path", "/x/$rum_id", r"unknown placeholder \$rum_id"),
        ("reload.bodies", {"primary": ["$generatoin"]}, r"unknown placeholder \$generatoin"),
        ("reload.bodies", {"primary": "5 $ more"}, "stands alone"),
        ("reload.bodies", {"canary": 1}, "reload.bodies needs a body for mode 'primary'"),
        ("reload.bodies", {"primary": 1, "canary": 1}, "status.candidate is missing"),
        ("reload.bodies", {"primary": 1, "blue": 1}, "reload.bodies"),
        ("reload.method", "GET", "reload.method"),
        ("reload.headers", {"Authorization": "x"}, "reload.headers: header 'Authorization' is not for here"),
        ("reload.headers", {"X": "a\nb"}, "character that no header may hold"),
        ("status.run_id", "v", "status.run_id: a JSON pointer"),
        ("status.run_id", "/a~2", "~0"),
        ("status.path", "/$run_id", "unknown placeholder"),
        ("status.runid", "/v", "status.runid: unknown key, did you mean 'run_id'"),
        ("auth_header", "X Y", "auth_header"),
        ("probe", {"path": "/r", "items": "/i"}, "probe.run_id is missing"),
    ],
)
def test_a_wrong_mapping_is_refused_by_its_key(where: str, value: object, said: str) -> None:
    mapping = copy.deepcopy(GOOD)
    *folders, name = where.split(".")
    place = mapping
    for folder in folders:
        place = place[folder]
    place[name] = value
    with pytest.raises(ConfigurationError, match=said) as caught:
        read_mapping(mapping, connection="ours")
    assert "connection 'ours'" in str(caught.value)


def test_placeholders_keep_their_type_where_they_stand_alone() -> None:
    values: Values = {"run_id": "a/b", "rollout": 0.1, "lease_seconds": None}
    body = {"v": "$run_id", "share": "${rollout}", "text": "run $run_id $$", "none": ["$lease_seconds", 1, True]}
    assert filled(body, values) == {"v": "a/b", "share": 0.1, "text": "run a/b $", "none": [None, 1, True]}
    assert filled_path("/m/$run_id/$lease_seconds", values) == "/m/a%2Fb/"


def test_pointers_are_those_of_rfc_6901() -> None:
    document = {"a/b": 1, "m~n": 2, "": 0, "list": ["x", {"y": None}]}
    pointers = {"/a~1b": 1, "/m~0n": 2, "/": 0, "/list/0": "x", "/list/1/y": None, "": document}
    assert {pointer: at(document, pointer) for pointer in pointers} == pointers
    for pointer in ("/c", "/list/2", "/list/00", "/list/-", "/list/0/z"):
        with pytest.raises(LookupError):
            at(document, pointer)
