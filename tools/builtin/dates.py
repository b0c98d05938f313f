"""The current time, and arithmetic on dates and time zones; a local time that is ambiguous or skipped is named so."""

import calendar
import datetime as dt
from collections.abc import Callable

from ...errors import ToolError
from ..decorator import tool
from .zones import find_zone, localize

MAX_DAYS = 4_000_000
MAX_MONTHS = 120_000
MAX_YEARS = 10_000


def system_clock() -> dt.datetime:
    """Return the present moment."""
    return dt.datetime.now(dt.UTC)


clock: Callable[[], dt.datetime] = system_clock
"""Where `current_time` looks; tests put a fixed moment here."""


@tool(effect="read", timeout_s=5)
def current_time(time_zone: str = "UTC") -> str:
    """Return the current date and time.

    Args:
        time_zone: IANA name, e.g. Europe/Berlin.
    """
    name, zone = find_zone(time_zone)
    return _write(clock().astimezone(zone), name)


@tool(effect="read", timeout_s=5)
def shift_date(date: dt.date, days: int = 0, months: int = 0, years: int = 0) -> str:
    """Add days, months and years to a date; negative numbers go back.

    Args:
        date: ISO date, e.g. 2026-02-28.
    """
    for name, value, most in (("days", days, MAX_DAYS), ("months", months, MAX_MONTHS), ("years", years, MAX_YEARS)):
        if abs(value) > most:
            raise ToolError(f"{name} must lie between {-most:,} and {most:,}")
    try:
        shifted = _add_months(date, 12 * years + months) + dt.timedelta(days=days)
    except (OverflowError, ValueError):
        raise ToolError(f"the result lies outside the years {dt.MINYEAR} to {dt.MAXYEAR}") from None
    return f"{shifted.isoformat()} ({shifted:%A})"


@tool(effect="read", timeout_s=5)
def date_difference(start: dt.date, end: dt.date) -> str:
    """Count the days from one date to another, also in weeks and in months.

    Args:
        start: ISO date, e.g. 2026-01-31.
        end: ISO date; before start, the count is negative.
    """
    days = (end - start).days
    first, last = min(start, end), max(start, end)
    parts = [_count(days, "day")]
    if abs(days) >= 7:
        parts.append(_spell((abs(days) // 7, "week"), (abs(days) % 7, "day")))
    if months := _months_between(first, last):
        rest = (last - _add_months(first, months)).days
        parts.append(_spell((months // 12, "year"), (months % 12, "month"), (rest, "day")))
    return " = ".join(parts) if days >= 0 else f"{' = '.join(parts)} (end is before start)"


@tool(effect="read", timeout_s=5)
def convert_time_zone(time: dt.datetime, source: str, target: str) -> str:
    """Convert a local time from one time zone to another.

    Args:
        time: Local time in the source zone, without offset, e.g. 2026-03-01T09:30:00.
        source: IANA name, e.g. America/New_York.
        target: IANA name, e.g. Asia/Tokyo.
    """
    (source_name, source_zone), (target_name, target_zone) = find_zone(source), find_zone(target)
    moment, remark = localize(time.replace(tzinfo=None), source_zone, source_name)
    # A constrained decoder may force a trailing Z, so that one means nothing; any other offset must be right.
    if time.utcoffset() and time.utcoffset() != moment.utcoffset():
        raise ToolError(f"the offset of {time.isoformat()} is not that of {source_name}; leave the offset out")
    try:
        answer = _write(moment.astimezone(target_zone), target_name)
    except OverflowError:
        raise ToolError(f"{time.isoformat()} is too close to the end of the calendar") from None
    return f"{answer} ({remark})" if remark else answer


def _write(time: dt.datetime, name: str) -> str:
    return f"{time.isoformat(timespec='seconds')} {name}, {time:%A}"


def _add_months(date: dt.date, months: int) -> dt.date:
    """Add months; a day that the month lacks becomes its last (January 31 plus one month is February 28)."""
    year, month = divmod(date.year * 12 + date.month - 1 + months, 12)
    if not dt.MINYEAR <= year <= dt.MAXYEAR:
        raise OverflowError
    return date.replace(year=year, month=month + 1, day=min(date.day, calendar.monthrange(year, month + 1)[1]))


def _months_between(first: dt.date, last: dt.date) -> int:
    months = (last.year - first.year) * 12 + last.month - first.month
    return months - 1 if _add_months(first, months) > last else months


def _spell(*counts: tuple[int, str]) -> str:
    return " ".join(_count(number, unit) for number, unit in counts if number)


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" if abs(number) == 1 else f"{number} {unit}s"
