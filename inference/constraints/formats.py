"""String formats that can be decoded, each as a regular expression.

Every text that an expression admits is valid under the format's specification (RFC 3339 for dates and times,
RFC 4122 for UUIDs, ...) and under pydantic's stricter reading of it; the reverse is not tried, a host name of a
thousand labels is of no use to an agent.
"""

from functools import lru_cache

from .patterns import Node, lengths, parse_pattern

_LEAP = "(?:[12][0-9](?:0[48]|[2468][048]|[13579][26])|(?:12|16|20|24|28)00)"
_DATE = (
    "(?:[12][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP}-02-29)"
)
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9])"
_LABEL = "[A-Za-z0-9]{1,20}(?:-[A-Za-z0-9]{1,20}){0,2}"
_TOP = "(?:[a-z]{2,3}|info|name|tech|shop|cloud|online|email|museum|travel)"
_HOST = rf"(?:{_LABEL}\.){{1,3}}{_TOP}"
_OCTET = "(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_GROUP = "[0-9a-f]{1,4}"
_SECONDS = "[0-9]{1,2}S"
_MINUTES = f"[0-9]{{1,2}}M(?:{_SECONDS})?"
_CLOCK = f"T(?:[0-9]{{1,2}}H(?:{_MINUTES})?|{_MINUTES}|{_SECONDS})"
_LINK_PART = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-F]{2})"

FORMATS: dict[str, str] = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": f"P(?:[0-9]{{1,4}}D(?:{_CLOCK})?|[0-9]{{1,3}}W|{_CLOCK})",
    "uuid": "[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    **{
        f"uuid{version}": f"[0-9a-f]{{8}}-[0-9a-f]{{4}}-{version}[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}"
        for version in range(1, 9)
    },
    "email": rf"[A-Za-z0-9]{{1,20}}(?:[._+-][A-Za-z0-9]{{1,20}}){{0,2}}@{_HOST}",
    "hostname": _HOST,
    "ipv4": rf"(?:{_OCTET}\.){{3}}{_OCTET}",
    "ipv6": f"(?:(?:{_GROUP}:){{7}}{_GROUP}|(?:{_GROUP}:){{1,6}}:{_GROUP}|::{_GROUP})",
    "ipvanyaddress": rf"(?:{_OCTET}\.){{3}}{_OCTET}",
    "uri": rf"https?://{_HOST}(?::[1-9][0-9]{{1,3}})?(?:/{_LINK_PART}{{0,20}}){{0,4}}(?:\?{_LINK_PART}{{1,40}})?",
    "base64": "(?:[A-Za-z0-9+/]{4}){0,50}",
    "base64url": "(?:[A-Za-z0-9_-]{4}){0,50}",
}

FREE_FORMATS = frozenset({"binary", "password", "path"})
"""Formats that any text satisfies."""

MOST_CHARS = 600
"""No text of a known format is longer."""


@lru_cache(maxsize=64)
def format_node(name: str) -> Node:
    """Return the parsed expression of a known format."""
    return parse_pattern(f"^(?:{FORMATS[name]})$")


@lru_cache(maxsize=64)
def format_lengths(name: str) -> int:
    """Return the lengths that texts of a known format can have, as a bit set."""
    return lengths(format_node(name), MOST_CHARS)
