"""Requests for the calculator: numbers in words and signs, turned into one expression."""

import re
from random import Random

from . import values

_HEADS = "(what is|what's|whats|calculate|compute|work out|how much is|tell me|evaluate|give me|solve|find|what does|)"
_HELD_HEADS = "(figure out|what do you get for|I need the value of|determine)"

Pair = tuple[str, str]

BINARY: tuple[Pair, ...] = (
    ("{a} (times|x|multiplied by) {b}", "{a} * {b}"),
    ("{a} (plus|and|added to) {b}", "{a} + {b}"),
    ("{a} (minus|less|take away) {b}", "{a} - {b}"),
    ("{a} (divided by|over) {b}", "{a} / {b}"),
    ("(the product of|product of) {a} and {b}", "{a} * {b}"),
    ("(the sum of|sum of|the total of) {a} and {b}", "{a} + {b}"),
    ("(the difference of|the difference between) {a} and {b}", "{a} - {b}"),
    ("{p}( percent| %|%| per cent) of {b}", "{p}% of {b}"),
    ("the square root of {a}", "sqrt({a})"),
    ("{a} to the power of {e}", "{a} ** {e}"),
    ("{a} (squared|to the square)", "{a} ** 2"),
    ("{a} cubed", "{a} ** 3"),
    ("half of {a}", "{a} / 2"),
    ("a (third) of {a}", "{a} / 3"),
    ("(a quarter of|one quarter of) {a}", "{a} / 4"),
    ("(twice|two times|double) {a}", "{a} * 2"),
)
LONGER: tuple[Pair, ...] = (
    ("{a} plus {b} plus {c}", "{a} + {b} + {c}"),
    ("the sum of {a}, {b} and {c}", "{a} + {b} + {c}"),
    ("{a} times {b} (plus|and then plus) {c}", "{a} * {b} + {c}"),
    ("{a} times {b} minus {c}", "{a} * {b} - {c}"),
    ("{a} plus {b} times {c}", "{a} + {b} * {c}"),
    ("{a} minus {b} minus {c}", "{a} - {b} - {c}"),
    ("{a} times {b} divided by {c}", "{a} * {b} / {c}"),
    ("the (average|mean) of {a} and {b}", "({a} + {b}) / 2"),
    ("the (average|mean) of {a}, {b} and {c}", "({a} + {b} + {c}) / 3"),
)
IMPERATIVE: tuple[Pair, ...] = (
    ("multiply {a} (by|with) {b}", "{a} * {b}"),
    ("add {a} (to|and) {b}", "{a} + {b}"),
    ("add up {a}, {b} and {c}", "{a} + {b} + {c}"),
    ("subtract {a} from {b}", "{b} - {a}"),
    ("take {a} (away from|off) {b}", "{b} - {a}"),
    ("divide {a} by {b}", "{a} / {b}"),
    ("(split|share|divide) {a} (euros|dollars|apples|coins|) (among|between) {b} (people|friends|of us)", "{a} / {b}"),
    ("(double) {a}", "{a} * 2"),
    ("(triple) {a}", "{a} * 3"),
    ("(halve) {a}", "{a} / 2"),
    ("square {a}", "{a} ** 2"),
)
STORIES: tuple[Pair, ...] = (
    (
        "(I have|we have|there are) {a} boxes with {b} (apples|pens|books|eggs) each, how many (in total|is that)",
        "{a} * {b}",
    ),
    ("(one|a|each) ticket costs {a} (euros|dollars|), (what do|how much are) {b} (cost|tickets)", "{a} * {b}"),
    ("I had {a} (euros|dollars|coins) and spent {b}, (what is left|how much is left|how much remains)", "{a} - {b}"),
    ("we drove {a} km yesterday and {b} km today, how far in total", "{a} + {b}"),
    ("{b} people share {a} (euros|dollars), what does each (get|pay)", "{a} / {b}"),
    ("there are {a} rows of {b} (seats|chairs|trees), how many altogether", "{a} * {b}"),
)
HELD: tuple[Pair, ...] = (
    ("{a} lots of {b}", "{a} * {b}"),
    ("what do {a} and {b} (make|come to)", "{a} + {b}"),
    ("{a} reduced by {b}", "{a} - {b}"),
    ("how often does {b} go into {a}", "{a} / {b}"),
    ("increase {a} by {b}", "{a} + {b}"),
    ("I bought {a} (bags|packs) of {b} (nuts|screws), what is the total number", "{a} * {b}"),
    ("{a} (kids|guests) at {b} euros a head, what is the bill", "{a} * {b}"),
)


def draw(rng: Random, *, held: bool, given: str | None) -> tuple[str, dict[str, str], str]:
    """Return a template, its slots and the expression that it means."""
    if rng.random() < 0.22 and given is None:
        return _symbolic(rng, held)
    pairs = HELD if held else rng.choice((BINARY, BINARY, BINARY, LONGER, IMPERATIVE, IMPERATIVE, STORIES))
    template, expression = rng.choice(pairs)
    small = rng.random() < 0.6
    slots = {key: _operand(rng, small) for key in "abc"}
    slots |= {
        "p": str(rng.choice((5, 10, 12, 15, 19, 20, 25, 30, 40, 50, 75, rng.randint(1, 99)))),
        "e": str(rng.randint(2, 9)),
    }
    if given is not None:
        slots["a"] = given
    if pairs in (BINARY, LONGER) or (held and template.startswith("{a} (lots|red)")):
        template = f"{_HEADS} {template}"
    return template, slots, expression.format(**slots)


def _symbolic(rng: Random, held: bool) -> tuple[str, dict[str, str], str]:
    """Return an expression already written in signs; it is copied as it stands."""
    gap = rng.choice((" ", ""))
    count = rng.choice((2, 2, 2, 3, 3, 4))
    parts = [_operand(rng, rng.random() < 0.6) for _ in range(count)]
    text = parts[0]
    for part in parts[1:]:
        text += f"{gap}{rng.choice('++-**/')}{gap}{part}"
    if count >= 3 and rng.random() < 0.5:
        sign = rng.choice("*/")
        text = f"({parts[0]}{gap}{rng.choice('+-')}{gap}{parts[1]}){gap}{sign}{gap}{parts[2]}"
    return f"{_HELD_HEADS if held else _HEADS} {{x}}", {"x": text}, text


def _operand(rng: Random, small: bool) -> str:
    if small:
        return str(rng.choice((rng.randint(2, 12), rng.randint(2, 99), rng.randint(2, 99))))
    return str(abs(values.number(rng)) or 1)


def result(expression: str) -> str:
    """Return the value of a generated expression as the calculator would show it."""
    source = re.sub(r"sqrt(\(.*?\))", r"\1 ** 0.5", re.sub(r"([\d.]+)% of", r"0.01 * \1 *", expression))
    try:
        value = float(eval(source, {"__builtins__": {}}))  # noqa: S307 - the generator wrote the expression itself
    except (ArithmeticError, TypeError):
        return "0"
    if abs(value) > 1e15:
        return f"{value:.6g}"
    rounded = round(value, 6)
    return str(int(rounded)) if rounded == int(rounded) else str(rounded)
