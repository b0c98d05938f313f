"""When schedules fire: field by field, zone by zone, and through the nights when clocks jump."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.errors import ScheduleInvalid
from loopwright.workers.cron import next_moment_ms


def moments(cron: str, zone: str, after: str, count: int) -> list[str]:
    """Return moments in UTC as `DD HH:MM`, each found from the one before."""
    at_ms = int(datetime.fromisoformat(after).replace(tzinfo=UTC).timestamp() * 1000)
    found = []
    for _ in range(count):
        at_ms = next_moment_ms(cron, zone, at_ms)
        found.append(datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%d %H:%M"))
    return found


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("*/15 * * * *", "UTC", "2026-05-01T00:00", ["01 00:15", "01 00:30", "01 00:45"]),
        ("0 9 * * mon-fri", "UTC", "2026-05-01T10:00", ["04 09:00", "05 09:00"]),
        ("0 9 * * *", "America/New_York", "2026-05-01T10:00", ["01 13:00", "02 13:00"]),
        ("30 5 * * *", "Asia/Kolkata", "2026-05-01T10:00", ["02 00:00"]),
        ("0 0 L * *", "UTC", "2026-05-01T10:00", ["31 00:00", "30 00:00"]),
        ("0 0 29 2 *", "UTC", "2026-05-01T10:00", ["29 00:00"]),
        # Berlin, 29 March 2026: 2:00 becomes 3:00. The time that is skipped fires once, right behind the gap.
        ("30 2 * * *", "Europe/Berlin", "2026-03-27T12:00", ["28 01:30", "29 01:00", "30 00:30"]),
        ("15,45 2 * * *", "Europe/Berlin", "2026-03-28T12:00", ["29 01:00", "30 00:15", "30 00:45"]),
        # Berlin, 25 October 2026: 3:00 becomes 2:00. The time that comes twice fires the first time.
        ("30 2 * * *", "Europe/Berlin", "2026-10-23T12:00", ["24 00:30", "25 00:30", "26 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T00:40", ["26 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10", ["26 01:30"]),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T01:30", ["26 01:30"]),
        # Every hour means every hour that passes.
        ("0 * * * *", "Europe/Berlin", "2026-10-24T23:30", ["25 00:00", "25 01:00", "25 02:00", "25 03:00"]),
        ("0 * * * *", "Europe/Berlin", "2026-03-29T00:10", ["29 01:00", "29 02:00"]),
        # Half an hour, on an island.
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T20:00", ["04 14:45", "05 15:15"]),
    ],
)
def test_a_schedule_fires_at(cron: str, zone: str, after: str, expected: list[str]) -> None:
    assert moments(cron, zone, after, len(expected)) == expected


def test_a_daily_schedule_fires_once_on_each_day_of_a_year_in_zones_with_odd_clocks() -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago"):
        for cron in ("30 2 * * *", "0 0 * * *", "30 1 * * *", "59 23 * * *"):
            at_ms = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp() * 1000)
            end_ms = at_ms + 365 * 86_400_000
            found = []
            while (at_ms := next_moment_ms(cron, zone, at_ms)) < end_ms:
                found.append(at_ms)
            assert len(found) == 365, (zone, cron)


@settings(max_examples=300, deadline=None)
@given(
    minute=st.sampled_from(["*", "*/7", "0", "15,45", "30-40"]),
    hour=st.sampled_from(["*", "*/5", "2", "0-4", "1,2,3"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"]),
    offset_s=st.integers(0, 366 * 86_400),
)
def test_the_next_moment_is_always_later(minute: str, hour: str, zone: str, offset_s: int) -> None:
    after_ms = int((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=offset_s)).timestamp() * 1000)
    found = next_moment_ms(f"{minute} {hour} * * *", zone, after_ms)
    assert after_ms < found <= after_ms + 2 * 86_400_000
    assert found % 60_000 == 0


@pytest.mark.parametrize(
    ("cron", "problem"),
    [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("0 * * * * *", "has 6 fields"),
        ("60 * * * *", "field minute"),
        ("* 24 * * *", "field hour"),
        ("* * 0 * *", "field day-of-month"),
        ("* * * 13 *", "field month"),
        ("* * * * 8", "field day-of-week"),
        ("*/0 * * * *", "field minute"),
        ("5-1 * * * *", "field minute"),
        ("x * * * *", "field minute"),
        ("0 0 30 2 *", "field day-of-month"),
        ("@daily", "has 1 fields"),
    ],
)
def test_an_expression_that_cannot_be_read_is_refused_by_field(cron: str, problem: str) -> None:
    with pytest.raises(ScheduleInvalid, match=problem) as caught:
        next_moment_ms(cron, "UTC", 0)
    assert caught.value.where == "cron"


@pytest.mark.parametrize(
    "zone", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "localtime", "Europe", "europe/berlin", "a\0b"]
)
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(ScheduleInvalid, match="no time zone") as caught:
        next_moment_ms("* * * * *", zone, 0)
    assert caught.value.where == "timezone"
