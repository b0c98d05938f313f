"""Regular expressions for numbers between two bounds, written as JSON writes them.

Both kinds share one recursion over digits: with lower and upper bound side by side, the first digit decides
whether the rest is still bound below, above, on both sides or not at all.
"""

from decimal import Decimal

MAX_INTEGER_DIGITS = 15
"""Digits of an integer when nothing else bounds it: every such value is exact as a double."""

_SIGNIFICANT = 15
"""Decimal digits that survive a round trip through a double (IEEE 754)."""


def integer_regex(low: int, high: int) -> str:
    """Return a regular expression for the integers from `low` to `high`."""
    options = []
    if low < 0:
        options.append(f"-{_integers(max(1, -high), -low)}")
    if high >= 0:
        options.append(_integers(max(0, low), high))
    return _either(options)


def decimal_regex(low: Decimal, high: Decimal, places: int) -> str:
    """Return a regular expression for decimals from `low` to `high` with at most `places` digits after the point.

    Integer parts that leave fewer than `places` of the 15 digits a double can hold carry no fraction.
    """
    if low == -high and high > 0:
        return f"-?{_decimals(Decimal(0), high, places)}"
    options = []
    if low < 0:
        options.append(f"-{_decimals(max(Decimal(0), -high), -low, places)}")
    if high >= 0:
        options.append(_decimals(max(Decimal(0), low), high, places))
    return _either(options)


def _integers(low: int, high: int) -> str:
    """Cover 0 <= low..high by one expression per number of digits; neighbouring full widths become one."""
    options: list[str] = []
    full: list[int] = []
    while low <= high:
        digits = len(str(low))
        end = min(high, 10**digits - 1)
        if low == 10 ** (digits - 1) and end == 10**digits - 1:
            full.append(digits)
        else:
            options.append(_fixed_width(str(low).rjust(digits, "0"), str(end)))
        low = end + 1
    if full:
        options.append("[1-9]" + _digits(full[0] - 1, full[-1] - 1))
    return _either(options)


def _fixed_width(low: str, high: str) -> str:
    """Digits of one width from `low` to `high`."""
    if not low:
        return ""
    if set(low) == {"0"} and set(high) == {"9"}:
        return _digits(len(low), len(low))
    first, last = int(low[0]), int(high[0])
    rest = len(low) - 1
    if first == last:
        return low[0] + _fixed_width(low[1:], high[1:])
    options = []
    if low[1:].strip("0"):
        options.append(low[0] + _fixed_width(low[1:], "9" * rest))
        first += 1
    upper = ""
    if high[1:].strip("9"):
        upper = high[0] + _fixed_width("0" * rest, high[1:])
        last -= 1
    if first <= last:
        options.append(_digit(first, last) + _digits(rest, rest))
    return _either(options + [upper] * bool(upper))


def _decimals(low: Decimal, high: Decimal, places: int) -> str:
    """Cover 0 <= low..high: the integer parts of the bounds with bound fractions, those between with free ones."""
    below, above = _fraction_digits(low, places), _fraction_digits(high, places)
    first, last = int(low), int(high)
    precise = 10 ** max(0, _SIGNIFICANT - places) - 1
    if first == last <= precise:
        return f"{first}{_fraction(below, above)}"
    options = []
    if below.strip("0"):
        if first <= precise:
            options.append(f"{first}{_fraction(below, '9' * places)}")
        first += 1
    stop = last
    if last <= precise and above.strip("9"):
        options.append(f"{last}{_fraction('0' * places, above)}")
        stop = last - 1
    if first <= min(stop, precise):
        free = _fraction("0" * places, "9" * places)
        options.append(f"{_integers(first, min(stop, precise))}{free}")
    if max(first, precise + 1) <= stop:
        options.append(_integers(max(first, precise + 1), stop))
    return _either(options)


def _fraction_digits(value: Decimal, places: int) -> str:
    """Return the fraction as `places` digits."""
    scaled = int((value - int(value)).scaleb(places))
    return str(scaled).rjust(places, "0") if places else ""


def _fraction(low: str, high: str) -> str:
    """Return the point and digits of fractions from `low` to `high`; left-out digits count as zeros."""
    if not low:
        return ""
    digits = _fraction_tail(low, high, first=True)
    if not digits:
        return ""
    return f"(?:\\.{digits})?" if not low.strip("0") else f"\\.{digits}"


def _fraction_tail(low: str, high: str, *, first: bool = False) -> str:
    """Digits between the bounds; may stop early where the lower bound has only zeros left."""
    if not low:
        return ""
    free = not low.strip("0")
    if free and not high.strip("9"):
        return _digits(int(first), len(low))
    start, stop = int(low[0]), int(high[0])
    options = []
    if start == stop:
        options.append(low[0] + _fraction_tail(low[1:], high[1:]))
    else:
        nines, zeros = "9" * (len(low) - 1), "0" * (len(low) - 1)
        options.append(low[0] + _fraction_tail(low[1:], nines))
        if start + 1 <= stop - 1:
            options.append(_digit(start + 1, stop - 1) + _fraction_tail(zeros, nines))
        options.append(high[0] + _fraction_tail(zeros, high[1:]))
    inner = _either(options)
    return f"(?:{inner})?" if free and not first else inner


def _digit(low: int, high: int) -> str:
    return str(low) if low == high else f"[{low}-{high}]"


def _digits(least: int, most: int) -> str:
    if least == most:
        return {0: "", 1: "[0-9]"}.get(most, f"[0-9]{{{most}}}")
    return f"[0-9]{{{least},{most}}}"


def _either(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"(?:{'|'.join(options)})"
