"""Periods in text: the same in Python and in SQL, for every form and every mistake."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rasteret_sql.errors import InvalidArgumentError
from rasteret_sql.plan.period import FIRST_US, LAST_US, parse_period
from rasteret_sql.sql.connection import make_planner

YEARS = st.integers(1, 9998).map("{:04}".format)
MONTHS = st.integers(0, 13).map("{:02}".format)
DAYS = st.integers(0, 32).map("{:02}".format)
TIMES = st.sampled_from(
    ["10:30", "10:30:59", "23:59:59.25", "00:00:00.123456", "24:30:00", "10:60:00", "10:30:61", "", "noon"]
)
ZONES = st.sampled_from(["", "Z", "z", "+05:30", "-08", "+0100"])
DATES = st.builds("{}-{}-{}".format, YEARS, MONTHS, DAYS)
ENDS = st.one_of(
    YEARS,
    st.builds("{}-{}".format, YEARS, MONTHS),
    DATES,
    st.builds("{}{}{}{}".format, DATES, st.sampled_from("Tt "), TIMES, ZONES),
    st.sampled_from(["", "..", " .. ", "soon", "20240101", "2024-1-1"]),
)
TEXTS = st.one_of(ENDS, st.builds("{}/{}".format, ENDS, ENDS), st.builds("{}/{}/{}".format, ENDS, ENDS, ENDS))


@pytest.fixture(scope="module")
def planner() -> duckdb.DuckDBPyConnection:
    return make_planner(duckdb.connect())


@example("2024-02")
@example("2024-02-29/2024-03-01T12:00:00Z")
@example("2024-01-01T10:30:00.25+05:30/..")
@example("../2024")
@example("2024/2023")
@example("2023-02-29")
@given(TEXTS)
def test_python_reads_a_period_as_sql_does(planner: duckdb.DuckDBPyConnection, text: str) -> None:
    expected, refused = None, ""
    try:
        ((expected,),) = planner.execute("SELECT rasteret_sql.main._rst_datetime_range($1::VARCHAR)", [text]).fetchall()
    except duckdb.Error as error:
        refused = str(error)
    if refused:
        with pytest.raises(InvalidArgumentError) as ours:
            parse_period(text)
        assert str(ours.value) in refused
    else:
        assert parse_period(text)._asdict() == expected


def test_open_ends_hold_all_times() -> None:
    assert parse_period("2024/..").end_us == LAST_US
    assert parse_period("/2024").start_us == FIRST_US
