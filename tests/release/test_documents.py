"""Configuration as YAML: nothing is silently overruled, nothing is executed."""

from __future__ import annotations

import pytest
import yaml

from model_release.documents import read_yaml


def test_keys_and_values_come_as_they_are() -> None:
    assert read_yaml("a: 1\nb: {c: [x, y]}") == {"a": 1, "b": {"c": ["x", "y"]}}


@pytest.mark.parametrize("text", ["a: 1\na: 2", "a: {b: 1, c: 2, b: 3}"])
def test_a_key_given_twice_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match=r"key '[ab]' is given twice"):
        read_yaml(text)


def test_a_document_makes_no_objects() -> None:
    with pytest.raises(yaml.YAMLError):
        read_yaml("!!python/object/apply:os.getcwd []")
