"""A problem of input is told as a sentence: key, value, and what would be accepted; never in the library's words."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

import pytest
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from model_release.explain import explain, unknown_key

LIBRARY = ("Input should", "Value error", "Extra inputs", "Field required", "valid ")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Square(Strict):
    kind: Literal["square"]
    side: float = 1.0


class Circle(Strict):
    kind: Literal["circle"]
    radius: float = 1.0


class Drawing(Strict):
    """One of everything that our models use."""

    name: str
    mode: Literal["ink", "pencil"] | Literal["auto"] = "ink"  # noqa: PYI030  (as pydantic gets it from two names)
    copies: Annotated[int, Field(ge=1, le=9)] = 1
    scale: Annotated[float, Field(gt=0.0, lt=2.5)] = 1.0
    grey: bool = False
    day: dt.date | None = None
    at: AwareDatetime | None = None
    caption: str | tuple[str, ...] | None = None
    sides: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    shapes: Annotated[tuple[Annotated[Square | Circle, Field(discriminator="kind")], ...], Field(min_length=1)] = (
        Square(kind="square"),
    )

    @model_validator(mode="after")
    def _possible(self) -> Drawing:
        if self.grey and self.mode == "ink":
            raise ValueError("grey and mode 'ink' contradict each other")
        return self


def said(**changes: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate({"name": "n", **changes})
    return explain(caught.value, Drawing)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mode": "chalk"}, "mode is 'chalk', expected 'ink' or 'pencil' or 'auto'"),
        ({"copies": 0}, "copies is 0, expected a number from 1 on"),
        ({"copies": 10}, "copies is 10, expected a number up to 9"),
        ({"copies": "many"}, "copies is 'many', expected a whole number"),
        ({"copies": 1.5}, "copies is 1.5, expected a whole number"),
        ({"scale": 0}, "scale is 0, expected a number above 0"),
        ({"scale": 2.5}, "scale is 2.5, expected a number below 2.5"),
        ({"scale": float("nan")}, "scale is nan, expected a finite number"),
        ({"grey": "perhaps"}, "grey is 'perhaps', expected true or false"),
        ({"day": "soon"}, "day is 'soon', expected a date such as 2026-01-31"),
        ({"at": "2026-01-31T12:00"}, "at is '2026-01-31T12:00', expected a time with an offset, such as 2026-01-31T17:05+08:00"),
        ({"name": 3}, "name is 3, expected text"),
        ({"caption": 3}, "caption is 3, expected text or a list"),
        ({"sides": {"left": -1}}, "sides.left is -1, expected a number from 0 on"),
        ({"sides": [1]}, "sides is [1], expected keys and values"),
        ({"shapes": []}, "shapes is [], expected at least 1 entries"),
        ({"shapes": [{"kind": "star"}]}, "shapes.0 is {'kind': 'star'}, expected 'kind' one of 'square', 'circle'"),
        ({"shapes": [{"kind": "circle", "radius": "r"}]}, "shapes.0.radius is 'r', expected a number"),
        ({"shapes": [{"kind": "circle", "radios": 1}]}, "shapes.0.radios: unknown key, did you mean 'radius'?"),
        ({"shapes": [{"kind": "circle", "side": 1}]}, "shapes.0.side: unknown key; there are kind, radius"),
        ({"nmae": "x"}, "nmae: unknown key, did you mean 'name'?"),
        ({"grey": True}, "grey and mode 'ink' contradict each other"),
    ],
)  # fmt: skip
def test_a_problem_is_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    """Nothing of it is the library's."""
    found = said(**changes)
    assert found == sentence
    assert not [word for word in LIBRARY if word in found]


def test_every_problem_is_told() -> None:
    """In the order of the document, and without what only follows from another."""
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate({"copies": 0, "shapes": [{"kind": "circle", "radius": "r"}], "colour": 1})
    *told, last = explain(caught.value, Drawing).split("; ", 3)
    assert told == [
        "name is missing",
        "copies is 0, expected a number from 1 on",
        "shapes.0.radius is 'r', expected a number",
    ]
    assert last.startswith("colour: unknown key; there are at, caption, copies")


def test_a_long_value_is_cut() -> None:
    assert len(said(copies="x" * 10_000)) < 200


def test_without_a_model_a_problem_is_still_told() -> None:
    """Only the keys that there are can't be named."""
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate({"name": "n", "nmae": 1})
    assert explain(caught.value) == "nmae: unknown key"


def test_what_is_no_json_is_told_as_such() -> None:
    with pytest.raises(ValidationError) as caught:
        Drawing.model_validate_json('{"name": ')
    assert explain(caught.value, Drawing).startswith("it is not valid JSON: ")


def test_a_key_that_resembles_none_gets_all_there_are() -> None:
    assert unknown_key("qqq", ["b", "a"]) == "unknown key; there are a, b"
