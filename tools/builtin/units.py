"""Convert between units with exact factors; the table of units itself stands in `unit_table.py`."""

import math
from decimal import Decimal
from fractions import Fraction

from ...errors import ToolError
from ..decorator import tool
from .numerals import write_fraction
from .unit_names import find_unit, near_units
from .unit_table import Unit, units_of

MAX_NAME = 60
MAX_VALUE = 1e100


@tool(effect="read", timeout_s=5)
def convert_units(value: float, source: str, target: str) -> str:
    """Convert a value from one unit to another.

    Args:
        value: The number to convert.
        source: Unit of the value, e.g. miles, kg, °F, km/h or GiB.
        target: Unit wanted, e.g. km.
    """
    if not math.isfinite(value) or abs(value) > MAX_VALUE:
        raise ToolError(f"value must be a finite number of at most {MAX_VALUE:g}")
    given, wanted = _unit(source, "source"), _unit(target, "target")
    if given.dimension != wanted.dimension:
        raise ToolError(
            f"{given.symbol} is a unit of {given.dimension} and {wanted.symbol} of {wanted.dimension}; "
            f"possible targets for {given.symbol}: {', '.join(units_of(given.dimension))}"
        )
    return f"{write_fraction(_convert(value, given, wanted))} {wanted.symbol}"


def _convert(value: float, given: Unit, wanted: Unit) -> Fraction:
    # repr is the shortest text of a float, so 0.1 means one tenth and not its binary neighbour.
    base = Fraction(Decimal(repr(value))) * given.factor + given.offset
    if base < 0 and given.dimension == "temperature":
        raise ToolError(f"{value:g} {given.symbol} is below absolute zero")
    if given.inverse != wanted.inverse:
        if not base:
            raise ToolError(f"0 {given.symbol} has no counterpart in {wanted.symbol}")
        return 1 / (base * wanted.factor)
    return (base - wanted.offset) / wanted.factor


def _unit(name: str, parameter: str) -> Unit:
    if not 0 < len(name.strip()) <= MAX_NAME:
        raise ToolError(f"{parameter} must be the name of a unit, of at most {MAX_NAME} characters")
    found = find_unit(name)
    if found is None:
        near = " or ".join(near_units(name))
        raise ToolError(f"unknown {parameter} unit {name!r}" + (f"; did you mean {near}?" if near else ""))
    return found
