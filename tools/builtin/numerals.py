"""Write numbers the way the built-in tools answer: plain digits, no trailing zeros, no false precision."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

EXACT_DIGITS = 50
"""Digits that the tools carry; a value that needs more is rounded."""

SHOWN_DIGITS = 10
"""Significant digits shown of a value that had to be rounded, as on a pocket calculator: models copy short numbers
more reliably. Digits before the point are always shown."""

MOST_DIGITS = 20
"""Digits up to which an exact quotient is shown in full."""

SMALLEST_PLAIN = -12
"""Values below 1e-12 or from 1e50 on are written with an exponent."""

WIDE = Context(prec=EXACT_DIGITS, rounding=ROUND_HALF_EVEN, Emin=-9_999, Emax=9_999)


def write_decimal(value: Decimal, *, exact: bool) -> str:
    """Return `391`, `0.1` or `1.5e+60`; an inexact value is cut to `SHOWN_DIGITS`."""
    if not value:
        return "0"
    plain = SMALLEST_PLAIN <= value.adjusted() < EXACT_DIGITS
    if not exact:
        digits = max(SHOWN_DIGITS, value.adjusted() + 1) if plain else SHOWN_DIGITS
        value = Context(prec=digits, rounding=ROUND_HALF_EVEN, Emin=WIDE.Emin, Emax=WIDE.Emax).plus(value)
    if plain:
        text = format(value, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return format(value.normalize(WIDE), "e")


def write_fraction(value: Fraction) -> str:
    """Return all digits of a value that needs at most `MOST_DIGITS`, else its first `SHOWN_DIGITS`."""
    context = WIDE.copy()
    context.clear_flags()
    decimal = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    short = len(decimal.normalize(WIDE).as_tuple().digits) <= MOST_DIGITS
    return write_decimal(decimal, exact=short and Fraction(decimal) == value)
