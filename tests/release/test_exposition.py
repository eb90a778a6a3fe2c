"""The data-quality file, read strictly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_release.adapters.exposition import parse_data_quality
from model_release.errors import InvalidInputError
from tests.gate_evidence import NOW, exposition

WHOLE = exposition()


def test_a_whole_file_is_read() -> None:
    """Scores, ages and the time of the run, per table."""
    found = parse_data_quality(WHOLE)
    assert found.scores == {"interactions": 99.0, "items": 95.0}
    assert found.data_age_seconds == {"interactions": 3600.0, "items": 3600.0}
    assert found.measured_at == NOW.timestamp()


def test_other_series_are_let_be() -> None:
    """The pipeline may report more than the gate needs."""
    lines = WHOLE.splitlines()
    lines.insert(2, 'data_quality_anomalies_total{table="items",kind="nulls"} 0')
    assert parse_data_quality("\n".join(lines) + "\n") == parse_data_quality(WHOLE)


def test_the_check_with_the_lowest_score_is_known() -> None:
    """Per table; a stage that reports no checks is read all the same."""
    lines = WHOLE.splitlines()
    for check, score in (("nulls: user_id", "99.5"), ("ranges: price", "80.0"), ("volume", "NaN")):
        lines.insert(2, f'data_quality_check_score{{table="interactions",check="{check}"}} {score}')
    assert parse_data_quality("\n".join(lines) + "\n").worst_checks == {"interactions": "ranges: price"}
    assert parse_data_quality(WHOLE).worst_checks == {}


@given(st.integers(0, len(WHOLE) - 1))
@settings(max_examples=300)
def test_a_file_cut_anywhere_is_noticed(cut: int) -> None:
    """Whatever byte it ends at, half a file is never taken for a whole one."""
    with pytest.raises(InvalidInputError):
        parse_data_quality(WHOLE[:cut])


SERIES = [line for line in WHOLE.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("line", SERIES)
def test_no_series_can_stand_there_twice(line: str) -> None:
    """Which of the two is right?"""
    with pytest.raises(InvalidInputError):
        parse_data_quality(WHOLE.replace(line + "\n", f"{line}\n{line}\n"))


@pytest.mark.parametrize("line", [line for line in SERIES if "age" not in line])
def test_no_score_and_no_time_can_be_lost(line: str) -> None:
    """The number of tables in the last line is that of the scores; an age that is lost is for the check to miss."""
    with pytest.raises(InvalidInputError):
        parse_data_quality(WHOLE.replace(line + "\n", ""))


def test_a_table_without_times_has_no_age() -> None:
    """A catalogue has a score only; an age without a score is nobody's."""
    found = parse_data_quality(exposition(ages={"interactions": 1.0}))
    assert set(found.scores) == {"interactions", "items"}
    assert found.data_age_seconds == {"interactions": 1.0}
    with pytest.raises(InvalidInputError, match="stores"):
        parse_data_quality(exposition(ages={"stores": 1.0}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('score{table="items"} 95.0', 'score{table="items"} good'),
        ('score{table="items"} 95.0', 'score{table="items"}'),
        ('score{table="items"} 95.0', 'score{table="items} 95.0'),
        ('score{table="items"} 95.0', 'score{table=""} 95.0'),
        ('score{table="items"} 95.0', 'score{table="items",shop="1"} 95.0'),
        ('score{table="items"} 95.0', "score 95.0"),
        ('score{table="items"} 95.0', 'score{table="items"} 95.0 1767600000000'),
        ('score{table="items"} 95.0', 'score{table="stores"} 95.0'),
        ("data_quality_tables 2", "data_quality_tables 3"),
        ("data_quality_tables 2", "data_quality_tables 0"),
        ("data_quality_tables 2", "data_quality_tables NaN"),
        ("data_quality_tables 2", "data_quality_tables -2"),
        (f"seconds {NOW.timestamp()}", "seconds NaN"),
        (f"seconds {NOW.timestamp()}", "seconds +Inf"),
        (f"seconds {NOW.timestamp()}", "seconds 0"),
        (f"seconds {NOW.timestamp()}", "seconds -1"),
        ("last_run_timestamp_seconds ", 'last_run_timestamp_seconds{table="items"} '),
    ],
)
def test_a_poisoned_file_is_refused(old: str, new: str) -> None:
    """Values that are no numbers, broken or surprising labels, own timestamps, wrong counts, impossible times."""
    assert old in WHOLE
    with pytest.raises(InvalidInputError):
        parse_data_quality(WHOLE.replace(old, new))


@pytest.mark.parametrize("number", ["NaN", "+Inf", "-Inf"])
def test_a_score_that_is_no_number_is_left_to_the_check(number: str) -> None:
    """The other tables can still be judged."""
    found = parse_data_quality(WHOLE.replace(" 95.0", f" {number}"))
    assert not math.isfinite(found.scores["items"])
    assert found.scores["interactions"] == 99.0


@given(st.text(max_size=200))
def test_any_text_is_a_measurement_or_an_error_of_input(text: str) -> None:
    """Nothing else is ever raised."""
    for candidate in (text, text + "\ndata_quality_tables 1\n", f'data_quality_score{{table="{text}"}} 1\n'):
        with pytest.raises(InvalidInputError):
            parse_data_quality(candidate)


def test_names_of_tables_may_be_anything() -> None:
    """Escaped quotes, backslashes and other scripts come through."""
    text = exposition({'a\\"b': 90.0, "交易": 95.0})
    assert set(parse_data_quality(text).scores) == {'a"b', "交易"}
