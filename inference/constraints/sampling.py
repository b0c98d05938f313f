"""Random values that obey a bounded schema, edge values favoured: the model that knows only the constraint.

`loopwright.testing` builds its random endpoint on this; every text produced here is one that the grammar and the
walk allow, and the reverse is tested too.
"""

import json
from collections.abc import Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from random import Random
from typing import Any

from .decision import DecisionConstraint
from .leaves import text_node
from .parts import decision_shapes
from .patterns import Branch, Chars, Node, Ranges, Repeat, Sequence, lengths
from .shapes import Either, Fixed, Integer, Items, Literals, Record, Shape, Table, Text, json_text, shape_of

_ALPHABET = "etaoinshrdlu ETAOIN 0123456789 .,:;-_/'\"\\\n\t{}[]<>é€日😀"
_TRIES = 20
_EXACT_DIGITS = 15


def random_value(schema: Mapping[str, Any], rng: Random) -> Any:
    """Return a random JSON value that a bounded schema (`bounds.bounded`) allows."""
    return json.loads(random_text(shape_of(schema), rng))


def random_decision(constraint: DecisionConstraint, rng: Random) -> str:
    """Return a random decision as compact JSON text."""
    tools, answer = decision_shapes(constraint)
    head = f'{{"thought":{random_text(Text(0, constraint.thought_chars), rng)}'
    if not tools or (answer is not None and rng.random() < 0.3):
        assert answer is not None
        return f'{head},"answer":{random_text(answer, rng)}}}'
    chosen = [rng.choice(tools) for _ in range(_count(1, constraint.max_calls, rng))]
    calls = (f'{{"tool":{json_text(name)},"arguments":{random_text(shape, rng)}}}' for name, shape in chosen)
    return f'{head},"calls":[{",".join(calls)}]}}'


def random_text(shape: Shape, rng: Random) -> str:
    """Return the JSON text of a random value of a shape."""
    match shape:
        case Literals(texts):
            return rng.choice(texts)
        case Integer(low, high, step):
            return str(_whole(-(-low // step), high // step, rng) * step)
        case Fixed():
            return _decimal(shape, rng)
        case Text():
            return json_text(_string(shape, rng))
        case Record(fields):
            kept = [field for field in fields if field.required or rng.random() < 0.5]
            return f"{{{','.join(field.key_text + random_text(field.shape, rng) for field in kept)}}}"
        case Table():
            return _table(shape, rng)
        case Items(_, _, least, most):
            count = _count(least, most, rng)
            return f"[{','.join(random_text(shape.at(index), rng) for index in range(count))}]"
        case Either(options):
            return random_text(rng.choice(options), rng)


def _whole(low: int, high: int, rng: Random) -> int:
    edges = [value for value in (low, high, 0, 1, -1, low + 1, high - 1) if low <= value <= high]
    if rng.random() < 0.3:
        return rng.choice(edges)
    near = rng.choice((100, 10_000, high - low + 1))
    start = max(low, min(0, high) - near)
    return rng.randint(start, min(high, start + 2 * near))


def _decimal(shape: Fixed, rng: Random) -> str:
    places = rng.choice((0, min(1, shape.places), min(2, shape.places), shape.places))
    unit = Decimal(1).scaleb(-places)
    low, high = _scaled(shape, unit)
    if low > high:
        unit = Decimal(1).scaleb(-shape.places)
        low, high = _scaled(shape, unit)
    value = _whole(low, high, rng) * unit
    if abs(value) >= 10 ** (_EXACT_DIGITS - shape.places):
        value = Decimal(int(value))
    return f"{value or Decimal(0):f}"


def _scaled(shape: Fixed, unit: Decimal) -> tuple[int, int]:
    """Return the bounds counted in units, rounded inwards."""
    low, high = (shape.low / unit).to_integral_value(ROUND_CEILING), (shape.high / unit).to_integral_value(ROUND_FLOOR)
    return int(low), int(high)


def _string(text: Text, rng: Random) -> str:
    node = text_node(text)
    if node is None:
        return "".join(rng.choice(_ALPHABET) for _ in range(_count(text.least, text.most, rng)))
    for _ in range(_TRIES):
        found = _matching(node, text.most, rng)
        if text.least <= len(found) <= text.most:
            return found
    possible = lengths(node, text.most)
    return _of_length(
        node, rng.choice([size for size in range(text.least, text.most + 1) if possible >> size & 1]), rng
    )


def _matching(node: Node, most: int, rng: Random) -> str:
    match node:
        case Chars(ranges):
            return _character(ranges, rng)
        case Sequence(parts):
            return "".join(_matching(part, most, rng) for part in parts)
        case Branch(options):
            return _matching(rng.choice(options), most, rng)
        case Repeat(part, least, greatest):
            count = _count(least, most if greatest is None else min(greatest, max(most, least)), rng)
            return "".join(_matching(part, most, rng) for _ in range(count))


def _of_length(node: Node, size: int, rng: Random) -> str:
    """Return a match of exactly this many characters, for patterns that chance alone rarely cuts right."""
    match node:
        case Chars(ranges):
            return _character(ranges, rng)
        case Branch(options):
            return _of_length(rng.choice([one for one in options if lengths(one, size) >> size & 1]), size, rng)
        case Sequence(parts):
            return _split(parts[0], Sequence(parts[1:]), size, rng) if parts else ""
        case Repeat(part, least, most):
            if size == 0 and least == 0:
                return ""
            rest = Repeat(part, max(0, least - 1), None if most is None else most - 1)
            return _split(part, rest, size, rng)


def _split(first: Node, rest: Node, size: int, rng: Random) -> str:
    """Return a match of one node and then another, together of exactly this many characters."""
    ours, theirs = lengths(first, size), lengths(rest, size)
    fitting = [part for part in range(size + 1) if ours >> part & 1 and theirs >> (size - part) & 1]
    chosen = rng.choice([part for part in fitting if part] or fitting)
    return _of_length(first, chosen, rng) + _of_length(rest, size - chosen, rng)


def _character(ranges: Ranges, rng: Random) -> str:
    plain = [span for span in ranges if span[0] < 0x7F] or list(ranges)
    low, high = rng.choice(plain if rng.random() < 0.9 else ranges)
    return chr(rng.randint(low, high))


def _table(shape: Table, rng: Random) -> str:
    keys = {_string(shape.key, rng) for _ in range(_count(shape.least, shape.most, rng))}
    return f"{{{','.join(f'{json_text(key)}:{random_text(shape.value, rng)}' for key in sorted(keys))}}}"


def _count(least: int, most: int, rng: Random) -> int:
    """Return a count, mostly small, sometimes one of the ends."""
    kind = rng.random()
    if kind < 0.15:
        return least
    if kind < 0.25:
        return most
    return rng.randint(least, min(most, least + 12))
