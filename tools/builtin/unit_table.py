"""The units that `convert_units` knows: one row each, with its exact factor, its names and its aliases.

Factors are exact by definition (international yard and pound 1959, SI brochure 9th edition, IEC 80000-13);
a gallon, pint, cup or fluid ounce without a country is the one of the United States.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

_PI = Fraction("3.14159265358979323846264338327950288419716939937510")


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: `base = value * factor + offset`; for an inverse unit, base is `1 / (value * factor)`."""

    symbol: str
    dimension: str
    factor: Fraction
    offset: Fraction = Fraction(0)
    inverse: bool = False


# symbol | factor to the first unit of the dimension | singular names and further symbols
_ROWS = {
    "length": """
        m | 1 | meter, metre
        km | 1000 | kilometer, kilometre
        dm | 1/10 | decimeter, decimetre
        cm | 1/100 | centimeter, centimetre
        mm | 1/1000 | millimeter, millimetre
        µm | 1/1000000 | micrometer, micrometre, micron, um
        nm | 1/1000000000 | nanometer, nanometre
        in | 0.0254 | inch, "
        ft | 0.3048 | foot, '
        yd | 0.9144 | yard
        mi | 1609.344 | mile
        nmi | 1852 | nautical mile, sea mile
        fathom | 1.8288 | fathom
        au | 149597870700 | astronomical unit
        ly | 9460730472580800 | light year, lightyear""",
    "mass": """
        kg | 1 | kilogram, kilogramme, kilo
        g | 1/1000 | gram, gramme
        mg | 1/1000000 | milligram
        µg | 1/1000000000 | microgram, ug, mcg
        t | 1000 | tonne, metric ton
        lb | 0.45359237 | pound, lbs
        oz | 0.028349523125 | ounce
        st | 6.35029318 | stone
        gr | 0.00006479891 | grain
        ct | 0.0002 | carat
        short ton | 907.18474 | ton, us ton
        long ton | 1016.0469088 | imperial ton""",
    "volume": """
        m³ | 1 |
        L | 1/1000 | liter, litre
        hL | 1/10 | hectoliter, hectolitre
        dL | 1/10000 | deciliter, decilitre
        cL | 1/100000 | centiliter, centilitre
        mL | 1/1000000 | milliliter, millilitre, cc
        gal | 0.003785411784 | gallon, us gallon
        qt | 0.000946352946 | quart
        pt | 0.000473176473 | pint
        cup | 0.0002365882365 | cup
        fl oz | 0.0000295735295625 | fluid ounce
        tbsp | 0.00001478676478125 | tablespoon
        tsp | 0.00000492892159375 | teaspoon
        imp gal | 0.00454609 | imperial gallon, uk gallon
        imp pt | 0.00056826125 | imperial pint, uk pint
        imp fl oz | 0.0000284130625 | imperial fluid ounce
        bbl | 0.158987294928 | barrel, oil barrel""",
    "area": """
        m² | 1 |
        ha | 10000 | hectare
        a | 100 | are
        acre | 4046.8564224 | ac""",
    "speed": """
        m/s | 1 | mps
        km/h | 5/18 | kph, kmh, kmph
        mph | 0.44704 |
        ft/s | 0.3048 | fps
        kn | 463/900 | knot, kt""",
    "time": """
        s | 1 | second, sec
        ms | 1/1000 | millisecond, msec
        µs | 1/1000000 | microsecond, us
        ns | 1/1000000000 | nanosecond
        min | 60 | minute
        h | 3600 | hour, hr
        d | 86400 | day
        wk | 604800 | week
        fortnight | 1209600 |
        month | 2629746 | mo
        yr | 31556952 | year""",
    "temperature": """
        K | 1 | kelvin""",
    "pressure": """
        Pa | 1 | pascal
        hPa | 100 | hectopascal
        kPa | 1000 | kilopascal
        MPa | 1000000 | megapascal
        bar | 100000 |
        mbar | 100 | millibar
        atm | 101325 | atmosphere
        psi | 4.4482216152605/0.00064516 | pound/square inch
        mmHg | 133.322387415 | millimeter of mercury
        Torr | 101325/760 |
        inHg | 3386.388640341 | inch of mercury""",
    "energy": """
        J | 1 | joule
        kJ | 1000 | kilojoule
        MJ | 1000000 | megajoule
        GJ | 1000000000 | gigajoule
        Wh | 3600 | watt hour
        kWh | 3600000 | kilowatt hour
        MWh | 3600000000 | megawatt hour
        cal | 4.184 | calorie
        kcal | 4184 | kilocalorie, food calorie, Cal
        BTU | 1055.05585262 | british thermal unit
        eV | 1.602176634e-19 | electronvolt
        ft lbf | 1.3558179483314004 | foot pound""",
    "power": """
        W | 1 | watt
        mW | 1/1000 | milliwatt
        kW | 1000 | kilowatt
        MW | 1000000 | megawatt
        GW | 1000000000 | gigawatt
        hp | 745.69987158227022 | horsepower
        PS | 735.49875 | metric horsepower""",
    "data": """
        B | 1 | byte
        bit | 1/8 | b
        kbit | 125 | kilobit, kb
        Mbit | 125000 | megabit, Mb
        Gbit | 125000000 | gigabit, Gb
        Tbit | 125000000000 | terabit, Tb
        Pbit | 125000000000000 | petabit, Pb
        kB | 1000 | kilobyte, KB
        MB | 1000000 | megabyte
        GB | 1000000000 | gigabyte
        TB | 1000000000000 | terabyte
        PB | 1000000000000000 | petabyte
        KiB | 1024 | kibibyte
        MiB | 1048576 | mebibyte
        GiB | 1073741824 | gibibyte
        TiB | 1099511627776 | tebibyte
        PiB | 1125899906842624 | pebibyte""",
    "data rate": """
        B/s | 1 | Bps
        bit/s | 1/8 | bps
        kbit/s | 125 | kbps, kb/s
        Mbit/s | 125000 | Mbps, mbps, Mb/s
        Gbit/s | 125000000 | Gbps, gbps, Gb/s
        kB/s | 1000 | kBps
        MB/s | 1000000 | MBps
        GB/s | 1000000000 | GBps""",
    "frequency": """
        Hz | 1 | hertz
        kHz | 1000 | kilohertz
        MHz | 1000000 | megahertz
        GHz | 1000000000 | gigahertz
        rpm | 1/60 | revolution/minute""",
    "force": """
        N | 1 | newton
        kN | 1000 | kilonewton
        lbf | 4.4482216152605 | pound force
        kgf | 9.80665 | kilogram force""",
    "fuel economy": """
        km/L | 1 | kilometer/liter, kilometre/litre, kmpl
        mpg | 1.609344/3.785411784 | mile/gallon
        imp mpg | 1.609344/4.54609 | uk mpg""",
}

_SPECIAL = (
    (
        ("°C", "c", "celsius", "degree celsius", "centigrade"),
        Unit("°C", "temperature", Fraction(1), Fraction("273.15")),
    ),
    (
        ("°F", "f", "fahrenheit", "degree fahrenheit"),
        Unit("°F", "temperature", Fraction(5, 9), Fraction("273.15") - 32 * Fraction(5, 9)),
    ),
    (("°", "deg", "degree", "degree of arc"), Unit("°", "angle", Fraction(1))),
    (("rad", "radian"), Unit("rad", "angle", 180 / _PI)),
    (("gon", "gradian", "grad"), Unit("gon", "angle", Fraction(9, 10))),
    (("arcmin", "arc minute", "minute of arc"), Unit("arcmin", "angle", Fraction(1, 60))),
    (("arcsec", "arc second", "second of arc"), Unit("arcsec", "angle", Fraction(1, 3600))),
    (("turn", "revolution"), Unit("turn", "angle", Fraction(360))),
    (
        ("L/100km", "l/100 km", "liter/100 km", "litre/100 km", "liter/100 kilometer", "litre/100 kilometer"),
        Unit("L/100km", "fuel economy", Fraction(1, 100), inverse=True),
    ),
)


def rows() -> Iterator[tuple[tuple[str, ...], Unit]]:
    """Yield every unit with its symbol, names and aliases, in the order of the table."""
    for dimension, rows in _ROWS.items():
        for row in rows.strip().splitlines():
            symbol, factor, names = (part.strip() for part in row.split("|"))
            top, _, bottom = factor.partition("/")
            unit = Unit(symbol, dimension, Fraction(top) / Fraction(bottom or 1))
            yield (symbol, *(name.strip() for name in names.split(",") if name.strip())), unit
    yield from _SPECIAL


def every_unit() -> Iterator[Unit]:
    """Yield the units in the order of the table."""
    return (unit for _, unit in rows())


def units_of(dimension: str) -> list[str]:
    """Return the symbols of a dimension in the order of the table."""
    return list(dict.fromkeys(unit.symbol for unit in every_unit() if unit.dimension == dimension))


@cache
def names_of(dimension: str) -> frozenset[str]:
    """Return every symbol, name and alias of a dimension as written in the table."""
    return frozenset(name for names, unit in rows() if unit.dimension == dimension for name in names)
