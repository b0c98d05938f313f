"""Unit conversion: exact factors, many spellings, no silent guess between units that only case tells apart."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import ToolError
from loopwright.tools.builtin import convert_units
from loopwright.tools.builtin.numerals import write_fraction
from loopwright.tools.builtin.unit_names import find_unit, near_units
from loopwright.tools.builtin.unit_table import every_unit, names_of, units_of

RESULTS = [
    (12, "miles", "km", "19.312128 km"),
    (12, "mi", "kilometers", "19.312128 km"),
    (1, "km", "mile", "0.6213711922 mi"),
    (0.1, "m", "cm", "10 cm"),
    (1, "KM", "M", "1000 m"),
    (5, "'", "in", "60 in"),
    (100, "°F", "celsius", "37.77777778 °C"),
    (98.6, "degF", "degC", "37 °C"),
    (0, "degrees Celsius", "F", "32 °F"),
    (-40, "C", "F", "-40 °F"),
    (0, "kelvin", "°C", "-273.15 °C"),
    (2, "tonnes", "pounds", "4409.245244 lb"),
    (3, "cups", "ml", "709.7647095 mL"),
    (1, "fluid-ounce", "mL", "29.5735295625 mL"),
    (1, "us gallon", "imp gal", "0.8326741846 imp gal"),
    (1, "cubic foot", "liters", "28.316846592 L"),
    (1, "m³", "ft3", "35.31466672 ft³"),
    (1, "m2", "cm^2", "10000 cm²"),
    (1, "acre", "square feet", "43560 ft²"),
    (1, "square inches", "sq cm", "6.4516 cm²"),
    (60, "miles per hour", "km/h", "96.56064 km/h"),
    (1, "m per s", "km per hour", "3.6 km/h"),
    (10, "feet per second", "mph", "6.818181818 mph"),
    (30, "mpg", "L/100km", "7.840486111 L/100km"),
    (5, "liters per 100 km", "mpg", "47.04291667 mpg"),
    (20, "km/L", "l/100 km", "5 L/100km"),
    (90, "degrees", "radians", "1.570796327 rad"),
    (1, "hp", "kW", "0.74569987158227022 kW"),
    (1, "kWh", "MJ", "3.6 MJ"),
    (1, "pound per square inch", "psi", "1 psi"),
    (1, "psi", "bar", "0.06894757293 bar"),
    (2, "inches of mercury", "Pa", "6772.777280682 Pa"),
    (1, "GB", "MiB", "953.67431640625 MiB"),
    (1, "MB", "Mb", "8 Mbit"),
    (100, "Mbps", "MB/s", "12.5 MB/s"),
    (1, "GB per hour", "Mbit/s", "2.222222222 Mbit/s"),
    (1, "month", "days", "30.436875 d"),
    (90, "mins", "hrs", "1.5 h"),
    (3000, "rpm", "Hz", "50 Hz"),
    (1, "light year", "m", "9460730472580800 m"),
    (0, "kg", "g", "0 g"),
]

REFUSALS = [
    (5, "kg", "m", "possible targets for kg: kg, g, mg"),
    (5, "klometers", "m", "did you mean kilometers"),
    (1, "gb", "MB", "did you mean Gb or GB"),
    (1, "mJ", "J", "did you mean MJ"),
    (1, "Mm", "m", "did you mean mm"),
    (1, "parsnip", "m", "unknown source unit 'parsnip'"),
    (1, "m", "", "target must be the name of a unit"),
    (1, "m/s/s", "m", "unknown source unit"),
    (1, "/", "m", "unknown source unit"),
    (float("nan"), "m", "km", "finite"),
    (float("inf"), "m", "km", "finite"),
    (1e101, "m", "km", "at most 1e+100"),
    (-300, "C", "K", "below absolute zero"),
    (0, "mpg", "L/100km", "no counterpart"),
]

DIMENSIONS = sorted({unit.dimension for unit in every_unit()})


@pytest.mark.parametrize(("value", "source", "target", "result"), RESULTS)
def test_a_value_is_converted_exactly(value: float, source: str, target: str, result: str) -> None:
    assert convert_units(value, source, target) == result


@pytest.mark.parametrize(("value", "source", "target", "message"), REFUSALS)
def test_what_cannot_be_converted_is_named(value: float, source: str, target: str, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        convert_units(value, source, target)
    assert message in str(caught.value)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_every_symbol_of_a_dimension_is_found_again(dimension: str) -> None:
    assert len(units_of(dimension)) >= 3
    for symbol in units_of(dimension):
        found = find_unit(symbol)
        assert found is not None
        assert (found.symbol, found.dimension) == (symbol, dimension)


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_no_alias_means_two_units(dimension: str) -> None:
    for name in names_of(dimension):
        found = find_unit(name)
        assert found is not None, name
        assert found.dimension == dimension


def test_the_model_sees_three_plain_parameters() -> None:
    properties = convert_units.parameters["properties"]
    assert {name: schema["type"] for name, schema in properties.items()} == {
        "value": "number",
        "source": "string",
        "target": "string",
    }


@pytest.mark.parametrize("name", ["x" * 1_000_000, "/" * 60, "square " * 8, "2" * 60, "per " * 15, "\N{DIGIT TWO}²"])
def test_a_hostile_unit_is_refused_at_once(name: str) -> None:
    start = time.process_time()
    with pytest.raises(ToolError) as caught:
        convert_units(1, name, "m")
    assert time.process_time() - start < 0.25
    assert len(str(caught.value)) < 300


def test_suggestions_name_each_unit_once() -> None:
    assert near_units("ML") == ["mL"]


symbols = st.sampled_from(DIMENSIONS).flatmap(lambda dimension: st.tuples(*[st.sampled_from(units_of(dimension))] * 2))


@given(st.floats(1e-6, 1e9), symbols)
def test_there_and_back_gives_the_value_again(value: float, pair: tuple[str, str]) -> None:
    there = convert_units(value, *pair).split(" ")[0]
    back = float(convert_units(float(there), pair[1], pair[0]).split(" ")[0])
    # Offsets make small temperatures differences of large ones.
    assert back == pytest.approx(value, rel=1e-8, abs=1e-6)


@given(st.floats(allow_nan=True, allow_infinity=True), st.text(max_size=20), st.text(max_size=20))
def test_any_input_is_converted_or_refused(value: float, source: str, target: str) -> None:
    try:
        assert convert_units(value, source, target)
    except ToolError as refusal:
        assert str(refusal)


@given(st.fractions())
def test_a_written_fraction_is_right_to_nine_digits(value: Fraction) -> None:
    assert abs(Fraction(write_fraction(value)) - value) <= abs(value) * Fraction(1, 10**9)
