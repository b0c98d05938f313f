"""Dates and time zones: calendar rules, repeated and skipped local times, and a clock that tests can set."""

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import ToolError
from loopwright.tools.builtin import convert_time_zone, current_time, date_difference, dates, shift_date

DATE, TIME = dt.date.fromisoformat, dt.datetime.fromisoformat


@pytest.fixture(autouse=True)
def fixed_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dates, "clock", lambda: TIME("2026-11-22T13:05:09.5+00:00"))


@pytest.mark.parametrize(
    ("zone", "result"),
    [
        ("UTC", "2026-11-22T13:05:09+00:00 UTC, Sunday"),
        ("gmt", "2026-11-22T13:05:09+00:00 UTC, Sunday"),
        ("Europe/Berlin", "2026-11-22T14:05:09+01:00 Europe/Berlin, Sunday"),
        ("berlin", "2026-11-22T14:05:09+01:00 Europe/Berlin, Sunday"),
        ("New York", "2026-11-22T08:05:09-05:00 America/New_York, Sunday"),
        ("Pacific/Auckland", "2026-11-23T02:05:09+13:00 Pacific/Auckland, Monday"),
        ("UTC+5:30", "2026-11-22T18:35:09+05:30 UTC+05:30, Sunday"),
        ("-03", "2026-11-22T10:05:09-03:00 UTC-03:00, Sunday"),
    ],
)
def test_the_current_time_is_told_in_any_zone(zone: str, result: str) -> None:
    assert current_time(zone) == result


def test_the_current_time_is_in_utc_when_no_zone_is_given() -> None:
    assert current_time().endswith("UTC, Sunday")


@pytest.mark.parametrize(
    ("zone", "message"),
    [
        ("Londn", "Europe/London"),
        ("PST", "America/New_York"),
        ("../../etc/passwd", "unknown time zone"),
        ("Europe/Berlin\x00", "unknown time zone"),
        ("UTC+25", "between -14:00 and +14:00"),
        ("", "a time zone is a name"),
        ("x" * 1_000_000, "at most 60 characters"),
    ],
)
def test_an_unknown_zone_is_refused_with_names_that_exist(zone: str, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        current_time(zone)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("date", "shift", "result"),
    [
        ("2026-11-22", {"days": 1}, "2026-11-23 (Monday)"),
        ("2026-11-22", {"days": -22}, "2026-10-31 (Saturday)"),
        ("2028-01-31", {"months": 1}, "2028-02-29 (Tuesday)"),
        ("2026-01-31", {"months": -2}, "2025-11-30 (Sunday)"),
        ("2028-02-29", {"years": 1}, "2029-02-28 (Wednesday)"),
        ("2026-01-31", {"months": 1, "days": 1}, "2026-03-01 (Sunday)"),
        ("2026-12-31", {"years": 1, "months": -12}, "2026-12-31 (Thursday)"),
        ("2026-11-22", {}, "2026-11-22 (Sunday)"),
    ],
)
def test_a_date_is_shifted_by_the_calendar(date: str, shift: dict[str, int], result: str) -> None:
    assert shift_date(DATE(date), **shift) == result


@pytest.mark.parametrize(
    ("shift", "message"),
    [
        ({"years": 9_999}, "outside the years"),
        ({"years": -3_000}, "outside the years"),
        ({"days": 3_000_000}, "outside the years"),
        ({"days": 10**30}, "days must lie between"),
        ({"months": -(10**30)}, "months must lie between"),
    ],
)
def test_a_shift_out_of_the_calendar_is_refused(shift: dict[str, int], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        shift_date(DATE("2026-11-22"), **shift)


@pytest.mark.parametrize(
    ("start", "end", "result"),
    [
        ("2026-01-01", "2026-01-01", "0 days"),
        ("2026-01-01", "2026-01-02", "1 day"),
        ("2026-01-01", "2026-01-08", "7 days = 1 week"),
        ("2026-01-31", "2026-03-01", "29 days = 4 weeks 1 day = 1 month 1 day"),
        ("2026-03-01", "2026-01-31", "-29 days = 4 weeks 1 day = 1 month 1 day (end is before start)"),
        ("2024-02-29", "2025-02-28", "365 days = 52 weeks 1 day = 1 year"),
        ("0001-01-01", "9999-12-31", "3652058 days = 521722 weeks 4 days = 9998 years 11 months 30 days"),
    ],
)
def test_a_difference_is_counted_in_days_weeks_and_months(start: str, end: str, result: str) -> None:
    assert date_difference(DATE(start), DATE(end)) == result


@pytest.mark.parametrize(
    ("moment", "source", "target", "result"),
    [
        ("2026-03-01T09:30:00", "America/New_York", "Asia/Tokyo", "2026-03-01T23:30:00+09:00 Asia/Tokyo, Sunday"),
        ("2026-10-25T00:30:00", "UTC", "Berlin", "2026-10-25T02:30:00+02:00 Europe/Berlin, Sunday"),
        ("2026-03-01T09:30:00Z", "New York", "UTC", "2026-03-01T14:30:00+00:00 UTC, Sunday"),
        ("2026-03-01T09:30:00-05:00", "New York", "UTC", "2026-03-01T14:30:00+00:00 UTC, Sunday"),
    ],
)
def test_a_local_time_is_told_in_another_zone(moment: str, source: str, target: str, result: str) -> None:
    assert convert_time_zone(TIME(moment), source, target) == result


def test_a_time_that_happens_twice_is_named_and_read_as_the_first() -> None:
    result = convert_time_zone(TIME("2026-10-25T02:30:00"), "Europe/Berlin", "UTC")
    assert result.startswith("2026-10-25T00:30:00+00:00 UTC, Sunday")
    assert "happens twice in Europe/Berlin; the first is meant here, +02:00, not +01:00" in result


def test_a_time_that_the_clocks_skip_is_refused() -> None:
    with pytest.raises(ToolError, match="does not exist in Europe/Berlin: the clocks jump over it"):
        convert_time_zone(TIME("2026-03-29T02:30:00"), "Europe/Berlin", "UTC")


def test_an_offset_that_contradicts_the_source_is_refused() -> None:
    with pytest.raises(ToolError, match="leave the offset out"):
        convert_time_zone(TIME("2026-03-01T09:00:00+02:00"), "New York", "Tokyo")


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00", "9999-12-31T23:59:59"])
@pytest.mark.parametrize(("source", "target"), [("Asia/Tokyo", "America/New_York"), ("America/New_York", "Asia/Tokyo")])
def test_the_ends_of_the_calendar_are_refused_or_converted(moment: str, source: str, target: str) -> None:
    try:
        assert convert_time_zone(TIME(moment), source, target)
    except ToolError as refusal:
        assert "end of the calendar" in str(refusal)


@given(st.dates(), st.dates())
def test_a_difference_in_days_shifts_start_to_end(start: dt.date, end: dt.date) -> None:
    days = int(date_difference(start, end).split(" ")[0])
    assert shift_date(start, days=days).startswith(end.isoformat())


@given(
    st.datetimes(dt.datetime(1971, 1, 1), dt.datetime(2037, 12, 31)).map(lambda moment: moment.replace(microsecond=0))
)
def test_utc_there_and_back_gives_the_time_again(moment: dt.datetime) -> None:
    there = convert_time_zone(moment, "UTC", "Australia/Lord_Howe").split(" ")[0]
    assert TIME(there) == moment.replace(tzinfo=dt.UTC)


@given(st.text(max_size=80))
def test_any_zone_name_is_found_or_refused(name: str) -> None:
    try:
        assert current_time(name)
    except ToolError as refusal:
        assert str(refusal)


def test_the_zone_index_is_built_once() -> None:
    current_time("berlin")
    start = time.process_time()
    for _ in range(100):
        current_time("berlin")
    assert time.process_time() - start < 0.25
