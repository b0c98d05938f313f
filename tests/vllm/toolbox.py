"""Twenty typed tools with every kind of argument, short enough that a thousand decisions take minutes on one core."""

from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from loopwright import tool

Short = Annotated[str, Field(max_length=12)]
Name = Annotated[str, Field(min_length=1, max_length=16)]
Celsius = Annotated[float, Field(ge=-90, le=60)]
Money = Annotated[Decimal, Field(ge=-5000, le=5000, decimal_places=2)]
Percent = Annotated[float, Field(gt=-1, lt=1)]
Count = Annotated[int, Field(ge=-3, le=250)]


class Unit(Enum):
    """Units of length."""

    METRE = "m"
    MILE = "mi"
    ODD = 'a "quoted" ünit'


class Strict(BaseModel):
    """No unknown keys."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Point(Strict):
    """A place on earth."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


class Line(Strict):
    """One line of an order."""

    article: Short
    pieces: Annotated[int, Field(ge=1, le=99)]
    discount: Percent | None = None


class Address(Strict):
    """Where a parcel goes."""

    street: Name
    at: Point
    floor: Annotated[int, Field(ge=-5, le=120)] | None = None


@tool(effect="read")
def weather(city: Name, days: Annotated[int, Field(ge=1, le=14)] = 3, unit: Literal["C", "F"] = "C") -> str:
    """Forecast."""
    return city


@tool
def thermostat(room: Short, target: Celsius, until: time | None = None) -> str:
    """Set a temperature."""
    return room


@tool
def transfer(amount: Money, iban: Annotated[str, Field(pattern=r"^[A-Z]{2}[0-9]{6}$")], day: date | None = None) -> str:
    """Move money."""
    return iban


@tool
def order(lines: Annotated[list[Line], Field(min_length=1, max_length=3)], express: bool = False) -> str:
    """Order articles."""
    return "ok"


@tool
def ship(to: Address, weight_kg: Annotated[float, Field(gt=0, le=40)]) -> str:
    """Send a parcel."""
    return "ok"


@tool(effect="read")
def distance(start: Point, end: Point, unit: Unit = Unit.METRE) -> float:
    """Measure."""
    return 0.0


@tool(effect="read")
def average(values: Annotated[list[Annotated[float, Field(ge=-1000, le=1000)]], Field(max_length=5)]) -> float:
    """Mean of numbers."""
    return 0.0


@tool
def book(when: datetime, seats: Annotated[int, Field(ge=1, le=8)], note: Short | None = None) -> str:
    """Book a table."""
    return "ok"


@tool
def cancel(booking: UUID, reason: Literal["ill", "late", 'no "time"'] | None = None) -> str:
    """Cancel a booking."""
    return "ok"


@tool(effect="read")
def search(
    query: Name,
    limit: Annotated[int, Field(ge=1, le=50)] = 10,
    tags: Annotated[list[Short], Field(max_length=3)] | None = None,
) -> str:
    """Search."""
    return query


@tool
def label(marks: Annotated[dict[Annotated[str, Field(max_length=6)], Count], Field(max_length=3)]) -> str:
    """Attach marks."""
    return "ok"


@tool
def vote(choice: Literal[-2, -1, 0, 1, 2], sure: bool) -> str:
    """Vote."""
    return "ok"


@tool
def schedule(days: Annotated[list[Literal["mon", "wed", "fri"]], Field(min_length=1, max_length=3)], at: time) -> str:
    """Repeat."""
    return "ok"


@tool
def adjust(delta: Annotated[int, Field(ge=-1_000_000, le=-1)], factor: Percent | None = None) -> str:
    """Correct a stock."""
    return "ok"


@tool
def remind(text: Name, day: date, lead_hours: Annotated[float, Field(ge=0, le=72, multiple_of=0.5)] = 1.0) -> str:
    """Remind."""
    return text


@tool(effect="read")
def convert(value: Annotated[Decimal, Field(ge=-99, le=99, decimal_places=3)], source: Unit, target: Unit) -> str:
    """Convert."""
    return "ok"


@tool
def either(value: bool | Annotated[int, Field(ge=-9, le=9)] | Short | None) -> str:
    """Take what comes."""
    return "ok"


@tool
def matrix(rows: Annotated[list[Annotated[list[Count], Field(max_length=3)]], Field(max_length=2)]) -> str:
    """Take rows."""
    return "ok"


@tool
def configure(key: Annotated[str, Field(pattern=r"^[a-z_]{2,10}$")], value: Short | Count | None = None) -> str:
    """Set a value."""
    return key


@tool(effect="read")
def clock() -> str:
    """Tell the time."""
    return "now"


TOOLS = (
    thermostat, order, search, distance, transfer, ship, weather, average, book, label,
    cancel, vote, schedule, adjust, remind, convert, either, matrix, configure, clock,
)  # fmt: skip
"""The first 3, 10 or all 20 make a union."""
