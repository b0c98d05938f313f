"""A whole decision as one Lark grammar in the dialect of `llguidance`, for servers that take grammars.

JSON-schema modes of the engines let whitespace, digits and fractions run on; a grammar of our own says exactly
which compact JSON texts exist. Structure becomes rules, scalars become terminals made from the same regular
expressions as everywhere else; two things are delegated to the engine's own JSON compiler: patterns that must
be cut to a length, and odd multiples.
"""

import json
from functools import lru_cache

from .decision import DecisionConstraint
from .leaves import longest, text_node, value_regex
from .parts import decision_shapes
from .patterns import value_regex as pattern_text
from .shapes import Either, Field, Integer, Items, Literals, Record, Shape, Table, Text, json_text
from .walk import Free


@lru_cache(maxsize=256)
def decision_grammar(constraint: DecisionConstraint) -> str:
    """Return the grammar of all decisions that the constraint allows.

    Raises:
        SchemaRefused: A schema cannot be enforced.
    """
    tools, answer = decision_shapes(constraint)
    writer = _Writer()
    thought = writer.value(Text(0, constraint.thought_chars))
    options = []
    if tools:
        calls = [f"{quote(_call_head(name))} {writer.value(arguments)} {_CLOSE}" for name, arguments in tools]
        call = writer.rule("call", _either(calls))
        options.append(f"{quote(_CALLS)} {call} {_times(call, 0, constraint.max_calls - 1)} {_CLOSE_LIST}")
    if answer is not None:
        options.append(f"{quote(_ANSWER)} {writer.value(answer)}")
    action = writer.rule("action", _either(options))
    return writer.grammar(f"{quote(_THOUGHT)} {thought} {action} {_CLOSE}")


def segment_grammar(free: Free) -> str:
    """Return the grammar of one free segment of a walk, with the opening quote even where that is written already."""
    writer = _Writer()
    value = writer.value(free.shape)
    ends = f" {_either([quote(mark) for mark in free.follow])}" if free.follow else ""
    return writer.grammar(_either([value + ends, *map(quote, free.instead)]))


def value_grammar(shape: Shape) -> str:
    """Return the grammar of one value."""
    writer = _Writer()
    return writer.grammar(writer.value(shape))


@lru_cache(maxsize=256)
def max_chars(constraint: DecisionConstraint) -> int:
    """Return the most characters that a decision can have."""
    return _longest(constraint, 1)


@lru_cache(maxsize=256)
def max_bytes(constraint: DecisionConstraint) -> int:
    """Return the most bytes of UTF-8 that a decision can have: no tokenizer takes more tokens than this."""
    return _longest(constraint, 4)


def quote(text: str) -> str:
    """Return a text as a string of the grammar."""
    return json.dumps(text, ensure_ascii=False)


_THOUGHT, _CALLS, _ANSWER = '{"thought":', ',"calls":[', ',"answer":'
_COMMA, _CLOSE, _CLOSE_LIST = quote(","), quote("}"), quote("]")


def _longest(constraint: DecisionConstraint, wide: int) -> int:
    tools, answer = decision_shapes(constraint)
    calls = [len(_call_head(name).encode()) + longest(arguments, wide) + 2 for name, arguments in tools]
    head = len(_THOUGHT) + longest(Text(0, constraint.thought_chars), wide)
    called = len(_CALLS + "]}") + constraint.max_calls * max(calls, default=0)
    answered = len(_ANSWER + "}") + (0 if answer is None else longest(answer, wide))
    return head + max(called, answered)


def _call_head(name: str) -> str:
    return f'{{"tool":{json_text(name)},"arguments":'


class _Writer:
    """Collects rules; the same shape is written once."""

    def __init__(self) -> None:
        self._rules: list[str] = []
        self._known: dict[object, str] = {}
        self._names: dict[str, int] = {}

    def grammar(self, start: str) -> str:
        """Return the whole grammar, the start rule first."""
        return "\n".join((f"start: {start}", *self._rules)) + "\n"

    def rule(self, name: str, body: str) -> str:
        """Add a rule, or a terminal when the name is in capitals, and return its name."""
        number = self._names[name] = self._names.get(name, 0) + 1
        fresh = f"{name}_{number}"
        self._rules.append(f"{fresh}: {body}")
        return fresh

    def value(self, shape: Shape) -> str:
        """Return the name of the rule of a shape."""
        if shape not in self._known:
            self._known[shape] = self._write(shape)
        return self._known[shape]

    def _write(self, shape: Shape) -> str:
        match shape:
            case Literals(texts):
                return self.rule("literal", _either([quote(text) for text in texts]))
            case Record(fields):
                return self.rule("record", self._record(fields))
            case Table(key, value, least, most):
                pair = self.rule("pair", f"{self.value(key)} {quote(':')} {self.value(value)}")
                return self.rule("table", _list("{}", [], pair, least, most))
            case Items(head, rest, least, most):
                first = [self.value(item) for item in head]
                later = None if rest is None or most <= len(head) else self.value(rest)
                return self.rule("items", _list("[]", first, later, least, most))
            case Either(options):
                return self.rule("either", _either([self.value(option) for option in options]))
            case Integer(low, high, step) if value_regex(shape) is None:
                return self._multiples(low, high, step)
            case Text() if value_regex(shape) is None:
                return self.rule("text", self._patterned(shape))
        regex = value_regex(shape)
        assert regex is not None
        return self.rule(type(shape).__name__.upper(), "/" + regex.replace("/", r"\/") + "/")

    def _record(self, fields: tuple[Field, ...]) -> str:
        """Write the fields in order: `later` is what follows when one is written already, `first` when none is."""
        later, first = "", ""
        for field in reversed(fields):
            value = self.value(field.shape)
            pair, with_comma = f"{quote(field.key_text)} {value}", f"{quote(',' + field.key_text)} {value}"
            if field.required:
                first, later = f"{pair} {later}", f"{with_comma} {later}"
            else:
                rest = self.rule("first", first) if first else quote("")
                first, later = f"({pair} {later} | {rest})", self.rule("later", f"({with_comma})? {later}")
        return f"{quote('{')} {first} {quote('}')}" if fields else quote("{}")

    def _multiples(self, low: int, high: int, step: int) -> str:
        """Delegate multiples; the engine refuses negative ones, so those are a minus sign before positive ones."""
        options = []
        if high >= 0:
            options.append(_json({"type": "integer", "minimum": max(low, 0), "maximum": high, "multipleOf": step}))
        if low < 0:
            least = max(step, -high)
            positive = {"type": "integer", "minimum": least, "maximum": -low, "multipleOf": step}
            options.append(f"{quote('-')} {_json(positive)}")
        return self.rule("multiple", _either(options))

    def _patterned(self, text: Text) -> str:
        node = text_node(text)
        assert node is not None
        bounds = {"minLength": text.least, "maxLength": text.most}
        return _json({"type": "string", "pattern": f"^{pattern_text(node)}$", **bounds})


def _json(schema: object) -> str:
    return f"%json {json.dumps(schema, ensure_ascii=False)}"


def _either(options: list[str]) -> str:
    return options[0] if len(options) == 1 else f"({' | '.join(options)})"


def _times(item: str, least: int, most: int) -> str:
    """Write further items of a list; the engine knows no repetition that ends at 0."""
    return f"({_COMMA} {item}){{{least},{most}}}" if most else ""


def _list(brackets: str, head: list[str], item: str | None, least: int, most: int) -> str:
    """Write a list: the first places one by one, the others by a counted repetition."""
    inner = ""
    spare, wanted = most - len(head), max(0, least - len(head))
    if item is not None and spare > 0:
        first = not head
        repeat = _times(item, max(0, wanted - first), spare - first)
        inner = f"{item} {repeat}" if first else repeat
        inner = f"({inner})?" if first and not wanted else inner
    for at in range(min(len(head), most) - 1, -1, -1):
        inner = f"{_COMMA if at else ''} {head[at]} {inner}"
        inner = f"({inner})?" if at >= least else inner
    return f"{quote(brackets[0])} {inner} {quote(brackets[1])}"
