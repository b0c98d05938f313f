"""Requests written by hand, in the words people use, with tools that the generator does not know."""

from dataclasses import dataclass
from typing import Any

from .episodes import Call
from .skills import Parameter, Tool, make_tool

CALCULATE = make_tool("calculate", "Work out an arithmetic expression exactly.", (
    Parameter("expression", "string", description="For example `17 * 23`, `(2 + 3) / 4`, `15% of 80` or `sqrt(2)`."),
))  # fmt: skip
CONVERT = make_tool("convert_units", "Convert a value from one unit to another.", (
    Parameter("value", "number", description="The number to convert."),
    Parameter("source", "string", description="Unit of the value, e.g. miles, kg, °F, km/h or GiB."),
    Parameter("target", "string", description="Unit wanted, e.g. km."),
))  # fmt: skip
SHIFT = make_tool("shift_date", "Add days, months and years to a date; negative numbers go back.", (
    Parameter("date", "date", description="ISO date, e.g. 2026-02-28."),
    Parameter("days", "integer", False, 0),
    Parameter("months", "integer", False, 0),
    Parameter("years", "integer", False, 0),
))  # fmt: skip
BETWEEN = make_tool("date_difference", "Count the days from one date to another, also in weeks and in months.", (
    Parameter("start", "date", description="ISO date, e.g. 2026-01-31."),
    Parameter("end", "date", description="ISO date; before start, the count is negative."),
))  # fmt: skip
ORDER = make_tool("order_status", "Tell where an order is.", (Parameter("order_id", "string"),))
WEATHER = make_tool("get_weather", "Return the weather forecast for a city.", (
    Parameter("city", "string"), Parameter("days", "integer", False, 1),
))  # fmt: skip
STOCK = make_tool("stock_level", "Return how many pieces of a product are in stock.", (
    Parameter("sku", "string", description="Article number."),
))  # fmt: skip
EMAIL = make_tool("send_email", "Send an e-mail.", (
    Parameter("to", "string"), Parameter("subject", "string"), Parameter("body", "string"),
))  # fmt: skip
BOOK = make_tool("book_table", "Reserve a table at a restaurant.", (
    Parameter("restaurant", "string"), Parameter("date", "date"), Parameter("people", "integer"),
))  # fmt: skip
RATE = make_tool("exchange_rate", "Return how many units of `quote` one unit of `base` buys.", (
    Parameter("base", "string", description="ISO 4217 code, e.g. EUR."),
    Parameter("quote", "string", description="ISO 4217 code, e.g. USD."),
))  # fmt: skip
LIGHT = make_tool("set_light", "Switch a lamp.", (Parameter("room", "string"), Parameter("on", "boolean")))

_OFFICE = (CALCULATE, CONVERT, SHIFT, BETWEEN)
_SHOP = (ORDER, STOCK, CALCULATE)
_HOME = (WEATHER, LIGHT, BOOK, EMAIL)


@dataclass(frozen=True)
class Request:
    """A task, the tools on offer and the right calls of each step; no step means that no tool fits."""

    task: str
    tools: tuple[Tool, ...]
    steps: tuple[tuple[Call, ...], ...]
    kind: str = "one"


def _call(tool: Tool, result: str, **arguments: Any) -> Call:
    return Call(tool.name, arguments, result)


def _one(task: str, tools: tuple[Tool, ...], tool: Tool, result: str, **arguments: Any) -> Request:
    kind = tool.name if tool in (CALCULATE, CONVERT) else "one"
    return Request(task, tools, ((_call(tool, result, **arguments),),), kind)


REQUESTS: tuple[Request, ...] = (
    _one("what is 17 times 23", _OFFICE, CALCULATE, "391", expression="17 * 23"),
    _one("What's 128 divided by 4?", _OFFICE, CALCULATE, "32", expression="128 / 4"),
    _one("19% of 250 please", _OFFICE, CALCULATE, "47.5", expression="19% of 250"),
    _one("add 14, 30 and 6", _OFFICE, CALCULATE, "50", expression="14 + 30 + 6"),
    _one("(3+4)*12?", _OFFICE, CALCULATE, "84", expression="(3+4)*12"),
    _one("how many km are 12 miles", _OFFICE, CONVERT, "19.312128 km", value=12, source="miles", target="km"),
    _one("convert 70 kg to pounds", _OFFICE, CONVERT, "154.324 lb", value=70, source="kg", target="pounds"),
    _one("I'm 180 cm tall, what is that in feet?", _OFFICE, CONVERT, "5.9 ft", value=180, source="cm", target="feet"),
    _one("How hot is 100 F in C?", _OFFICE, CONVERT, "37.8 C", value=100, source="F", target="C"),
    _one("what date is 30 days after 2026-03-01?", _OFFICE, SHIFT, "2026-03-31", date="2026-03-01", days=30),
    _one("Which day was 2 months before 2025-12-24", _OFFICE, SHIFT, "2025-10-24", date="2025-12-24", months=-2),
    _one("How many days until 2026-12-24 if today is 2026-11-22?", _OFFICE, BETWEEN, "32 days",
         start="2026-11-22", end="2026-12-24"),
    _one("where is order A-1042?", _SHOP, ORDER, "in transit", order_id="A-1042"),
    _one("Has my order B-77 been shipped yet?", _SHOP, ORDER, "shipped", order_id="B-77"),
    _one("A customer is asking about order 55810, where is it?", _SHOP, ORDER, "at the depot", order_id="55810"),
    _one("how many pieces of XK-200 do we have left", _SHOP, STOCK, "14", sku="XK-200"),
    _one("Is article 4711 in stock?", _SHOP, STOCK, "3", sku="4711"),
    _one("weather in Lisbon", _HOME, WEATHER, "sunny, 21 degrees", city="Lisbon"),
    _one("What will the weather be like in Oslo over the next 3 days?", _HOME, WEATHER, "snow", city="Oslo", days=3),
    _one("Turn on the light in the kitchen", _HOME, LIGHT, "ok", room="kitchen", on=True),
    _one("lights off in the office please", _HOME, LIGHT, "ok", room="office", on=False),
    _one("Book a table at Luigi for 4 people on 2026-12-01", _HOME, BOOK, "confirmed",
         restaurant="Luigi", date="2026-12-01", people=4),
    _one('Send an email to ann@example.org with subject "lunch" saying "see you at noon"', _HOME, EMAIL, "sent",
         to="ann@example.org", subject="lunch", body="see you at noon"),
    _one("How many USD do I get for one EUR?", (RATE, CALCULATE), RATE, "1.08", base="EUR", quote="USD"),
    Request("where are orders A-1 and C-9", _SHOP, (
        (_call(ORDER, "lost", order_id="A-1"), _call(ORDER, "paid", order_id="C-9")),
    ), "parallel"),
    Request("what is 6 times 7, and how many m are 3 km", _OFFICE, (
        (_call(CALCULATE, "42", expression="6 * 7"), _call(CONVERT, "3000 m", value=3, source="km", target="m")),
    ), "parallel"),
    Request("how many km are 26.2 miles, then divide that by 4", _OFFICE, (
        (_call(CONVERT, "42.16 km", value=26.2, source="miles", target="km"),),
        (_call(CALCULATE, "10.54", expression="42.16 / 4"),),
    ), "chain"),
    Request("get the exchange rate from GBP to EUR and multiply it by 50", (RATE, CALCULATE), (
        (_call(RATE, "1.15", base="GBP", quote="EUR"),),
        (_call(CALCULATE, "57.5", expression="1.15 * 50"),),
    ), "chain"),
    Request("who painted the Mona Lisa?", _OFFICE, (), "no_tool"),
    Request("what's the weather in Rome", _OFFICE, (), "no_tool"),
    Request("turn up the heating", _SHOP, (), "no_tool"),
    Request("tell me a story about a dragon", _HOME, (), "no_tool"),
)  # fmt: skip
