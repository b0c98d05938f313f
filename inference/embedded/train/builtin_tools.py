"""Signatures of the built-in tools: the product's own descriptions and variations of them."""

from typing import Any

from .skills import Parameter


def _p(key: str, kind: str = "string", description: str = "", default: Any = None) -> Parameter:
    return Parameter(key, kind, default is None, default, description)


SIGNATURES: dict[str, tuple[tuple[str, ...], tuple[Parameter, ...]]] = {
    "calculate": (
        (
            "Work out an arithmetic expression exactly.",
            "Work out an arithmetic expression exactly.",
            "Evaluate an arithmetic expression.",
            "Work out a calculation exactly.",
            "Compute the value of an expression.",
            "Return the result of an arithmetic expression.",
        ),
        (_p("expression", "string", "For example `17 * 23`, `(2 + 3) / 4`, `15% of 80` or `sqrt(2)`."),),
    ),
    "convert_units": (
        (
            "Convert a value from one unit to another.",
            "Convert a quantity between units of measurement.",
            "Return a value in another unit.",
        ),
        (
            _p("value", "number", "The number to convert."),
            _p("source", "string", "Unit of the value, e.g. miles, kg, °F, km/h or GiB."),
            _p("target", "string", "Unit wanted, e.g. km."),
        ),
    ),
    "current_time": (
        (
            "Return the current date and time.",
            "Return the current date and time.",
            "Tell the time in a time zone.",
            "Return the time now.",
        ),
        (_p("time_zone", "string", "IANA name, e.g. Europe/Berlin.", "UTC"),),
    ),
    "shift_date": (
        (
            "Add days, months and years to a date; negative numbers go back.",
            "Return a date some days, months or years later or earlier.",
            "Move a date by days, months and years.",
            "Add time to a date.",
        ),
        (
            _p("date", "date", "ISO date, e.g. 2026-02-28."),
            _p("days", "integer", "", 0),
            _p("months", "integer", "", 0),
            _p("years", "integer", "", 0),
        ),
    ),
    "date_difference": (
        (
            "Count the days from one date to another, also in weeks and in months.",
            "Return the days between two dates.",
            "Count the time from one date to another.",
            "Return how far two dates are apart.",
        ),
        (
            _p("start", "date", "ISO date, e.g. 2026-01-31."),
            _p("end", "date", "ISO date; before start, the count is negative."),
        ),
    ),
    "convert_time_zone": (
        (
            "Convert a local time from one time zone to another.",
            "Convert a time from one time zone to another.",
            "Return a moment in another time zone.",
        ),
        (
            _p("time", "date-time", "Local time in the source zone, without offset, e.g. 2026-03-01T09:30:00."),
            _p("source", "string", "IANA name, e.g. America/New_York."),
            _p("target", "string", "IANA name, e.g. Asia/Tokyo."),
        ),
    ),
    "query_json": (
        (
            "Pick values out of a JSON document.",
            "Read a value from a JSON document.",
            "Run a query on a JSON document and return what it finds.",
        ),
        (
            _p("document", "string", "The JSON text."),
            _p(
                "query",
                "string",
                "For example `store.books[0].title`, `books[*].price | sum` or `books[?price>10].title`.",
            ),
        ),
    ),
    "text_statistics": (
        (
            "Count the characters, words, lines and sentences of a text.",
            "Count the words, characters and sentences of a text.",
            "Return statistics of a text.",
        ),
        (_p("text", "string", "The text."),),
    ),
    "read_artifact": (
        (
            "Read one page of a long result that was cut short.",
            "Read the full text of a stored result.",
            "Return a part of an artifact, such as a long tool result.",
            "Page through a stored artifact.",
        ),
        (
            _p("artifact_id", "string", "The id given where the result was cut."),
            _p("offset", "integer", "Character to begin at; each page says where the next begins.", 0),
        ),
    ),
    "fetch_url": (
        ("Fetch a web page and return its text.", "Return the text at a URL.", "Download a page."),
        (_p("url", "string", "Address of the page."),),
    ),
}
