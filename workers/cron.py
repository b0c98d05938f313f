"""When a cron expression fires next, in a time zone whose clocks may jump.

A time of day that the clocks skip fires right after the gap; one that they show twice fires the first time only.
Expressions with `*` for minute or hour go by time that really passes, so an hour that comes twice fires twice
(as Debian's cron has it, and `cronsim`).
"""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from ..errors import ScheduleInvalid

_FIELDS = 5
_TRIES = 10
"""Moments that are looked at for one that is later; only within an hour that comes twice is the first not."""

_OF_THIS_MACHINE = ("localtime", "posixrules")


def next_moment_ms(cron: str, zone: str, after_ms: int) -> int:
    """Return the first moment after `after_ms` at which a schedule fires, both in milliseconds since 1970.

    Args:
        cron: Minute, hour, day of month, month, day of week.
        zone: IANA name of the time zone in which they are read.
        after_ms: The moment is later than this one.

    Raises:
        ScheduleInvalid: The expression or the zone cannot be read, or nothing ever matches.
    """
    after = datetime.fromtimestamp(after_ms / 1000, _zone(zone))
    for moment in islice(_moments(cron, after), _TRIES):
        found_ms = int(moment.timestamp()) * 1000
        if found_ms > after_ms:
            return found_ms
    raise ScheduleInvalid("cron", f"{cron!r} matches no moment of the next fifty years")


def _moments(cron: str, after: datetime) -> Iterator[datetime]:
    fields = cron.split()
    if len(fields) != _FIELDS:
        raise ScheduleInvalid(
            "cron", f"has {len(fields)} fields; five are needed: minute hour day-of-month month day-of-week"
        )
    try:
        yield from CronSim(" ".join(fields), after)
    except CronSimError as exc:
        name = str(exc).removeprefix("Bad ")
        raise ScheduleInvalid("cron", f"the field {name} is not valid in {cron!r}") from None
    except (OverflowError, ValueError):
        raise ScheduleInvalid("cron", f"{cron!r} matches no moment that a calendar has") from None


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        if name in _OF_THIS_MACHINE:
            raise ValueError("differs between machines")
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleInvalid(
            "timezone", f"{name[:64]!r} is no time zone; IANA names are accepted, such as Europe/Berlin or UTC"
        ) from None
