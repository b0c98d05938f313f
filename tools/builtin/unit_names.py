"""Find a unit by the names that people and models use; the units themselves stand in `unit_table.py`."""

import difflib
import re
from functools import cache

from .unit_table import Unit, names_of, rows

_PLURALS = {"inch": "inches", "foot": "feet", "horsepower": "horsepower", "hertz": "hertz"}
_PREFIXES = (("square ", 2), ("sq ", 2), ("cubic ", 3), ("cu ", 3))
_SUFFIXES = (("²", 2), ("^2", 2), ("**2", 2), ("2", 2), ("³", 3), ("^3", 3), ("**3", 3), ("3", 3))
_SOLID = {2: "area", 3: "volume"}
_RATES = {("length", "time"): "speed", ("data", "time"): "data rate", ("length", "volume"): "fuel economy"}


def find_unit(name: str) -> Unit | None:
    """Return the unit of that symbol, name, plural or alias, or None.

    Case counts only where it tells units apart (`MB` and `Mb`, `mW` and `MW`). Areas, volumes and rates of known
    units are built as needed: `square feet`, `cm3`, `miles per hour`.
    """
    text = re.sub(r"[\s_]+", " ", name.strip()).replace("μ", "µ").rstrip(".")
    text = re.sub(r"\s*(?:\bper\b|/)\s*", "/", text)
    return _lookup(text) or _solid(text) or _rate(text)


def near_units(name: str) -> list[str]:
    """Return up to three known names that look like `name`; those that differ only in case come first."""
    wanted = name.strip().casefold()
    same = [known for known in _exact() if known.casefold() == wanted]
    near = same or difflib.get_close_matches(wanted, _folded(), n=9, cutoff=0.6)
    names: dict[Unit, str] = {}
    for each in near:
        names.setdefault(_exact()[each] if same else _folded()[each], each)
    return list(names.values())[:3]


def _lookup(text: str) -> Unit | None:
    plain = text.replace("-", " ")
    return _exact().get(text) or _folded().get(plain.casefold()) or _folded().get(_without_degrees(plain.casefold()))


def _without_degrees(text: str) -> str:
    return re.sub(r"^(?:degrees?|deg\.?|°) ?(?=[cfk])", "", text)


def _solid(text: str) -> Unit | None:
    """Return `square NAME`, `NAME^2` and the like for a length."""
    for prefix, power in _PREFIXES:
        if text.lower().startswith(prefix):
            return _powered(_lookup(text[len(prefix) :]), power)
    for suffix, power in _SUFFIXES:
        if text.endswith(suffix):
            return _powered(_lookup(text[: -len(suffix)].rstrip()), power)
    return None


def _powered(unit: Unit | None, power: int) -> Unit | None:
    if unit is None or unit.dimension != "length":
        return None
    return Unit(unit.symbol + {2: "²", 3: "³"}[power], _SOLID[power], unit.factor**power)


def _rate(text: str) -> Unit | None:
    above, slash, below = text.partition("/")
    if not slash or "/" in below:
        return None
    upper, lower = _lookup(above), _lookup(below) or _solid(below)
    if upper is None or lower is None:
        return None
    dimension = _RATES.get((upper.dimension, lower.dimension))
    factor = upper.factor / lower.factor
    if dimension == "fuel economy":
        factor /= 1_000_000  # the base is km/L, not m/m³
    return Unit(f"{upper.symbol}/{lower.symbol}", dimension, factor) if dimension else None


@cache
def _exact() -> dict[str, Unit]:
    """Every symbol and alias as written; the first row that claims a name keeps it."""
    table: dict[str, Unit] = {}
    for names, unit in rows():
        for name in names:
            table.setdefault(name, unit)
    for name in list(table):
        if _case_counts(name, table[name]):
            table.setdefault(name[0] + name[1:].casefold(), table[name])
    return table


@cache
def _folded() -> dict[str, Unit]:
    """Every name in lower case with its plural; those that mean something else in another case stay out."""
    table: dict[str, Unit] = {}
    clashes: set[str] = set()
    for names, unit in rows():
        for name in names:
            if _case_counts(name, unit):
                clashes.add(name.casefold())
            for form in (name.casefold(), _plural(name.casefold())):
                if table.setdefault(form, unit) is not unit:
                    clashes.add(form)
    return {name: unit for name, unit in table.items() if name not in clashes}


def _case_counts(name: str, unit: Unit) -> bool:
    """Say whether a symbol begins with milli or mega: mJ is not MJ, also where the table has only one of them."""
    return name[0] in "mM" and name[1:] in names_of(unit.dimension)


def _plural(name: str) -> str:
    """Return `miles`, `square inches`, `pounds/square inch` or `minutes of arc`."""
    if match := re.match(r"(.+?)(/| of )(.+)", name):
        return _plural(match[1]) + match[2] + match[3]
    head, space, last = name.rpartition(" ")
    if len(last) < 2 or not last.isalpha():
        return name
    return head + space + _PLURALS.get(last, last if last.endswith("s") else last + "s")
