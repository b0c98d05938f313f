"""Bounds for integers and decimals: every number gets an end on both sides and a last digit."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from typing import Any

from .merging import Raw
from .ranges import MAX_INTEGER_DIGITS
from .refusal import Unenforceable, child

DEFAULT_PLACES = 6
"""Digits after the point of a number that does not say otherwise."""

MAX_PLACES = 15
MAX_LISTED = 500
"""A range of so few multiples is written out as an enum."""

_CAP = 10**MAX_INTEGER_DIGITS - 1
_HUGE = 10**30
_COARSE = 10 ** (15 - DEFAULT_PLACES)
"""From here on doubles do not hold six digits after the point."""


def bounded_integer(flat: Raw, path: str) -> dict[str, Any]:
    """Return an integer between two bounds, at most 15 digits long unless the schema asks for longer ones."""
    low, high = _interval(flat, path, Decimal(1))
    first, last = int(low), int(high)
    step = _step(flat, path)
    if step != step.to_integral_value():
        step = Decimal(step.as_integer_ratio()[0])
    return _multiples(first, last, int(step), path)


def bounded_number(flat: Raw, path: str) -> dict[str, Any]:
    """Return a decimal between two bounds with a fixed number of digits after the point."""
    if "multipleOf" not in flat:
        return _decimal(flat, path)
    step = _step(flat, path)
    if step.normalize().as_tuple().digits == (1,) and -MAX_PLACES <= step.adjusted() <= 0:
        return _decimal(flat, path, -step.adjusted())
    low, high = _interval(flat, path, step)
    count = int((high - low) / step) + 1
    if count <= MAX_LISTED:
        values = [_json_number(low + step * at) for at in range(count)]
        return {"enum": values} if count > 1 else {"const": values[0]}
    whole = step.as_integer_ratio()[0]
    return _multiples(int(low.to_integral_value(ROUND_CEILING)), int(high.to_integral_value(ROUND_FLOOR)), whole, path)


def _decimal(flat: Raw, path: str, places: int | None = None) -> dict[str, Any]:
    last = MAX_PLACES if places is None else places
    for digits in range(DEFAULT_PLACES if places is None else places, last + 1):
        try:
            low, high = _interval(flat, path, Decimal(1).scaleb(-digits))
        except _Empty:
            continue
        if low > _COARSE or high < -_COARSE:
            low, high, digits = low.to_integral_value(ROUND_CEILING), high.to_integral_value(ROUND_FLOOR), 0
        if low <= high:
            bounds = {"minimum": _json_number(low), "maximum": _json_number(high)}
            return {"type": "number", **bounds, "multipleOf": float(f"1e-{digits}") if digits else 1}
    raise Unenforceable(path, f"no decimal of {last} digits after the point lies between the bounds; use another unit")


def _multiples(first: int, last: int, step: int, path: str) -> dict[str, Any]:
    low, high = -(-first // step) * step, last // step * step
    if low > high:
        raise Unenforceable(path, f"no multiple of {step} lies between {first} and {last}")
    shape = {"type": "integer", "minimum": low, "maximum": high}
    if step == 1:
        return shape
    if (high - low) // step < MAX_LISTED:
        values = list(range(low, high + 1, step))
        return {"enum": values} if len(values) > 1 else {"const": low}
    return {**shape, "multipleOf": step}


class _Empty(Unenforceable):
    """The bounds leave no value on this grid."""


def _interval(flat: Raw, path: str, grid: Decimal) -> tuple[Decimal, Decimal]:
    """Return the first and last multiple of `grid` that the schema and the digit limit allow."""
    with localcontext() as context:
        context.prec = 80
        low = _round(_bound(flat, path, "minimum"), grid, ROUND_CEILING)
        high = _round(_bound(flat, path, "maximum"), grid, ROUND_FLOOR)
        above = _round(_bound(flat, path, "exclusiveMinimum"), grid, ROUND_FLOOR)
        below = _round(_bound(flat, path, "exclusiveMaximum"), grid, ROUND_CEILING)
        if above is not None:
            low = above + grid if low is None else max(low, above + grid)
        if below is not None:
            high = below - grid if high is None else min(high, below - grid)
        low, high = _capped(low, high, grid)
        if low > high:
            raise _Empty(path, f"no value lies between the bounds ({low} and {high})")
        return low, high


def _capped(low: Decimal | None, high: Decimal | None, grid: Decimal) -> tuple[Decimal, Decimal]:
    """Keep the interval within 15 digits where the schema allows that, else within 15 digits of its near bound."""
    cap = Decimal(_CAP) // grid * grid
    if low is not None and low > cap:
        return low, low + cap if high is None else min(high, low + cap)
    if high is not None and high < -cap:
        return high - cap if low is None else max(low, high - cap), high
    return -cap if low is None else max(low, -cap), cap if high is None else min(high, cap)


def _bound(flat: Raw, path: str, keyword: str) -> Decimal | None:
    if keyword not in flat:
        return None
    value = flat[keyword]
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise Unenforceable(child(path, keyword), f"{keyword} is a number, not {value!r}")
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    if isinstance(value, int) and abs(value) > _HUGE:
        value = _HUGE if value > 0 else -_HUGE
    return max(min(Decimal(repr(value)), Decimal(_HUGE)), Decimal(-_HUGE))


def _round(value: Decimal | None, grid: Decimal, rounding: str) -> Decimal | None:
    return None if value is None else (value / grid).to_integral_value(rounding) * grid


def _step(flat: Raw, path: str) -> Decimal:
    value = flat.get("multipleOf", 1)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _CAP:
        raise Unenforceable(child(path, "multipleOf"), f"multipleOf is a positive number, not {value!r}")
    return Decimal(repr(value))


def _json_number(value: Decimal) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)
