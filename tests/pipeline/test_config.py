"""The configuration: read once, frozen, and strict about what it does not understand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from model_release.errors import ConfigurationError
from pipeline.config import CONFIG_VARIABLE, default_config_path, load_config
from tests.pipeline.logs import GROCERY, Source, changed

MINIMAL: dict[str, Any] = {
    "source": {"name": "mine", "interactions": {"path": "log.csv"}},
    "repeat_purchases": True,
}


def written(folder: Path, document: object) -> Path:
    """Write a configuration; return its path."""
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    return path


def test_the_file_that_comes_with_the_project_is_valid() -> None:
    """Without a name and without a variable it is the one that is read."""
    config = load_config()
    assert default_config_path().name == "pipeline.yaml"
    assert config.source.name == "completejourney"
    assert config.folder == default_config_path().parent


def test_a_log_with_usual_names_needs_three_lines(tmp_path: Path) -> None:
    """Columns, zone, clock and training have defaults; amounts and items are optional."""
    config = load_config(written(tmp_path, MINIMAL))
    assert config.source.interactions.columns.used == ("user_id", "item_id", "timestamp")
    assert (config.source.items, config.source.timezone, config.clock) == (None, "UTC", "wall_time")
    assert (config.horizon_days, config.training.algorithm) == (7, "auto")
    assert config.folder == tmp_path


def test_the_variable_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path that is given comes before the variable."""
    monkeypatch.setenv(CONFIG_VARIABLE, str(written(tmp_path, MINIMAL)))
    assert load_config().source.name == "mine"
    other = tmp_path / "other"
    other.mkdir()
    assert load_config(written(other, changed(MINIMAL, source__name="else"))).source.name == "else"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"horizon": 7}, ["horizon: unknown key", "'horizon_days'"]),
        ({"source__interactions__columns": {"user": "who"}}, ["source.interactions.columns.user"]),
        ({"repeat_purchases": None}, ["repeat_purchases", "is missing"]),
        ({"schema_version": 2}, ["schema_version", "2"]),
        ({"horizon_days": 0}, ["horizon_days", "0"]),
        ({"horizon_days": 366}, ["horizon_days", "366"]),
        ({"source__timezone": "Asia/Beijing"}, ["timezone", "Asia/Beijing", "Asia/Shanghai"]),
        ({"source__timezone": "/etc/passwd"}, ["timezone"]),
        ({"source__name": ""}, ["source.name"]),
        ({"source__interactions__path": ""}, ["source.interactions.path"]),
        ({"clock": "now"}, ["clock", "now"]),
        ({"training__algorithm": "magic"}, ["training.algorithm", "magic"]),
        ({"training__auto": []}, ["training.auto"]),
        ({"training__auto": ["auto"]}, ["training.auto", "auto"]),
        ({"training__metric": "accuracy"}, ["training.metric", "accuracy"]),
        ({"training__user_list_length": 10}, ["user_list_length", "10"]),
        ({"training__validation_windows": 0}, ["validation_windows"]),
        ({"training__seed": -1}, ["seed"]),
        ({"training__algorithms": {"magic": {}}}, ["training.algorithms", "magic"]),
        ({"training__serving": "pickle"}, ["training.serving", "pickle"]),
        ({"training__serving": "factors"}, ["training", "'popular'", "als", "ranked_lists"]),
        ({"training__serving": "factors", "training__algorithm": "ease"}, ["training", "'ease'", "als"]),
        ({"data_quality__history_weeks": 3}, ["history_weeks", "3"]),
        ({"data_quality__volume_factor": 0.5}, ["volume_factor"]),
        ({"data_quality__price": {"at_least": 5, "at_most": 1}}, ["price", "5", "1", "no number"]),
        ({"data_quality__price": {"at_least": float("nan")}}, ["price.at_least"]),
        ({"source__interactions__columns": {"user_id": "a", "item_id": "a"}}, ["'a' twice"]),
        ({"source__interactions__columns": {"quantity": "timestamp"}}, ["'timestamp' twice"]),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], words: list[str]) -> None:
    """The message names the file, the key and the value."""
    path = written(tmp_path, changed(MINIMAL, **changes))
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    """Who repairs a file does not want to run it once per mistake."""
    path = written(tmp_path, changed(MINIMAL, clock="now", horizon_days=0, speling=1))
    with pytest.raises(ConfigurationError) as caught:
        load_config(path)
    for word in ("clock", "horizon_days", "speling"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"", "NoneType"), (b"- a\n- b\n", "list"), (b"a: [1\n", "can't be read"), (b"\xff\xfe\x00", "can't be read")],
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, content: bytes, word: str) -> None:
    """Empty, a list, broken YAML, another encoding."""
    path = tmp_path / "pipeline.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=word):
        load_config(path)


def test_a_file_that_is_not_there_is_named_with_the_way_out(tmp_path: Path) -> None:
    """The message names the variable that would point to another."""
    with pytest.raises(ConfigurationError, match=CONFIG_VARIABLE) as caught:
        load_config(tmp_path / "none.yaml")
    assert "none.yaml" in str(caught.value)


def test_a_configuration_is_frozen(grocery: Source) -> None:
    """What a stage was started with stays."""
    config = grocery.config()
    with pytest.raises(ValidationError, match="frozen"):
        config.horizon_days = 8  # type: ignore[misc]


def test_a_name_may_be_one_column_or_several(tmp_path: Path) -> None:
    """Every configured column of the items is listed."""
    items = {"path": "items.csv", "columns": {"name": "title", "category": "kind"}}
    one = load_config(written(tmp_path, changed(MINIMAL, source__items=items))).source.items
    assert one is not None
    assert one.columns.used == ("item_id", "title", "kind")
    several = load_config(written(tmp_path, GROCERY)).source.items
    assert several is not None
    assert several.columns.name_columns == ("kind", "brand")


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    """Plain YAML would silently keep the last."""
    path = tmp_path / "pipeline.yaml"
    path.write_text("schema_version: 1\nhorizon_days: 7\nhorizon_days: 14\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="'horizon_days' is given twice"):
        load_config(path)
