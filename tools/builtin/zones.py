"""Find a time zone by the names that people and models use, and say what a local time means there."""

import difflib
import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ...errors import ToolError

MAX_NAME = 60
_OFFSET = re.compile(r"(?:(?:UTC|GMT) ?)?([+-])(\d{1,2})(?::?(\d{2}))?", re.ASCII | re.IGNORECASE)


def find_zone(name: str) -> tuple[str, tzinfo]:
    """Return the full name and the zone for `Europe/Berlin`, `berlin`, `New York`, `UTC` or `UTC+2`.

    Raises:
        ToolError: There is no such zone, or several; near names are listed.
    """
    text = name.strip()
    if not 0 < len(text) <= MAX_NAME:
        raise ToolError(f"a time zone is a name such as Europe/Berlin, of at most {MAX_NAME} characters")
    if text.upper() in ("UTC", "GMT", "Z", "ETC/UTC"):
        return "UTC", UTC
    if match := _OFFSET.fullmatch(text):
        return _fixed(match)
    keys = _keys_by_name().get(_fold(text), ())
    if len(keys) == 1:
        return keys[0], _load(keys[0])
    known = ", ".join(keys or _near(text)) or "Europe/Berlin, America/New_York, UTC+2"
    raise ToolError(f"unknown time zone {name!r}; IANA names are accepted, e.g. {known}")


def localize(time: datetime, zone: tzinfo, name: str) -> tuple[datetime, str]:
    """Return the moment of a local time, and a remark when the clocks show that time twice.

    Raises:
        ToolError: The clocks skip that time.
    """
    try:
        first, second = (time.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
        if first.utcoffset() == second.utcoffset():
            return first, ""
        # PEP 495: a skipped time comes back changed from UTC, a repeated one does not.
        back = first.astimezone(UTC).astimezone(zone)
    except OverflowError:
        raise ToolError(f"{time.isoformat()} is too close to the end of the calendar") from None
    if back.replace(tzinfo=None) != time:
        raise ToolError(f"{time.isoformat()} does not exist in {name}: the clocks jump over it to {back.isoformat()}")
    twice = f"{time.isoformat()} happens twice in {name}"
    return first, f"{twice}; the first is meant here, {offset_of(first)}, not {offset_of(second)}"


def offset_of(time: datetime) -> str:
    """Return the offset from UTC as `+05:30`."""
    text = time.strftime("%z")
    return f"{text[:3]}:{text[3:5]}"


def _fixed(match: re.Match[str]) -> tuple[str, tzinfo]:
    hours, minutes = int(match[2]), int(match[3] or 0)
    if hours > 14 or minutes > 59:
        raise ToolError("an offset from UTC lies between -14:00 and +14:00")
    distance = timedelta(hours=hours, minutes=minutes)
    return f"UTC{match[1]}{hours:02}:{minutes:02}", timezone(-distance if match[1] == "-" else distance)


def _near(text: str) -> list[str]:
    """Return similar names; none for abbreviations, where PST would be answered with MST."""
    if len(text) < 5:
        return []
    similar = difflib.get_close_matches(_fold(text), _keys_by_name(), n=3, cutoff=0.6)
    return list(dict.fromkeys(_keys_by_name()[each][0] for each in similar))


def _fold(name: str) -> str:
    return name.strip().casefold().replace(" ", "_")


@cache
def _load(key: str) -> ZoneInfo:
    try:
        return ZoneInfo(key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolError(f"the time zone {key} is not installed here") from None


@cache
def _keys_by_name() -> dict[str, tuple[str, ...]]:
    """Zones by full name and by city, in lower case; a city that two zones claim lists both."""
    names: dict[str, set[str]] = {}
    for key in available_timezones():
        if key.startswith(("posix", "right", "SystemV")) or key in ("localtime", "posixrules", "Factory"):
            continue
        names[_fold(key)] = {key}
    for key in sorted(key for keys in names.values() for key in keys):
        city = _fold(key.rpartition("/")[2])
        if "/" in key and not key.startswith("Etc/"):
            held = names.setdefault(city, set())
            if not any(_fold(other) == city for other in held):
                held.add(key)
    return {name: tuple(sorted(keys)) for name, keys in names.items()}
