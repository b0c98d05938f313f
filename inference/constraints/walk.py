"""A decision as a walk over segments, so that a model is asked only where it has a choice.

The skeleton of a decision is fixed. `Walk` hands out one segment after the other: `Forced` text to append as it
is, a `Choice` among a few texts (calls or answer, the tool, the next key, another item or the end), and `Free`
text, for which `compiler.matcher` gives token masks. Segments are encoded one by one: no token crosses a border.

    walk = Walk(constraint)
    while (segment := walk.segment) is not None:
        match segment:
            case Forced(text): walk.take(text)
            case Choice() | Free(): walk.take(decode(compiler.matcher(segment, vocabulary)))
    walk.text                                    # the decision

A number has no end of its own, so the free text of one ends with the character behind it (`,`, `}` or `]`);
the walk knows that and does not ask for it again.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from .decision import DecisionConstraint
from .parts import decision_shapes
from .shapes import Either, Field, Fixed, Integer, Items, Literals, Record, Shape, Table, Text, json_text

_EMPTY = Text(0, 0)
_PUNCTUATION = '{}[],:"'


@dataclass(frozen=True, slots=True)
class Forced:
    """Text that must come next."""

    text: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several texts comes next; none is the beginning of another.

    Attributes:
        options: The texts, in the order of the definition.
        place: What is chosen: `action`, `tool`, `calls` (another one or the end), or a path such as `arguments.days`.
    """

    options: tuple[str, ...]
    place: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Free:
    """Text of the model's own. Equal segments share one compiled index.

    Attributes:
        shape: The JSON value to write.
        opened: The value's opening quote is already written; the text starts behind it.
        follow: When not empty, the text ends with one of these characters behind the value.
        instead: Texts that may come in place of the value, such as `]` where an array may end.
        place: `thought`, `arguments.city`, `answer.items[0].name`, ...
    """

    shape: Shape
    opened: bool = False
    follow: tuple[str, ...] = ()
    instead: tuple[str, ...] = ()
    place: str = field(default="", compare=False)

    def end(self, text: str, start: int) -> int:
        """Return where this segment ends in a decision's text that has it at `start`.

        Raises:
            ValueError: No such value stands there.
        """
        for other in self.instead:
            if text.startswith(other, start):
                return start + len(other)
        _, stop = _DECODER.raw_decode(text, start - self.opened)
        if self.follow and text[stop : stop + 1] not in self.follow:
            raise ValueError(f"expected one of {self.follow} at {stop}")
        return stop + bool(self.follow)


Segment = Forced | Choice | Free
_Walking = Generator[Segment, str, None]
_DECODER = json.JSONDecoder()


class Walk:
    """The way through one decision.

    Attributes:
        segment: What comes next; `None` when the decision is complete.
        text: All text taken so far.
    """

    __slots__ = ("_steps", "segment", "text")

    def __init__(self, constraint: DecisionConstraint) -> None:
        self.text = ""
        self._steps = _Walker().decision(constraint)
        self.segment: Segment | None = next(self._steps)

    def take(self, text: str) -> None:
        """Append the text of the current segment and move on.

        Args:
            text: A forced text itself, one of the options of a choice, or the whole text of a free segment,
                which is not checked here: whoever decodes it uses a matcher.

        Raises:
            ValueError: The walk has ended, or the text is not what the segment allows.
        """
        match self.segment:
            case None:
                raise ValueError("the decision is complete")
            case Forced(expected) if text != expected:
                raise ValueError(f"expected {expected!r}, got {text!r}")
            case Choice(options) if text not in options:
                raise ValueError(f"expected one of {options}, got {text!r}")
        self.text += text
        try:
            self.segment = self._steps.send(text)
        except StopIteration:
            self.segment = None


def replay(constraint: DecisionConstraint, text: str) -> list[tuple[Segment, str]]:
    """Cut a decision's text into the segments in which it would have been decoded.

    Training data is encoded segment by segment with this function.

    Raises:
        ValueError: The text leaves the skeleton of the decision.
    """
    walk = Walk(constraint)
    pieces: list[tuple[Segment, str]] = []
    while (segment := walk.segment) is not None:
        start = len(walk.text)
        piece = text[start : _stop(segment, text, start)]
        pieces.append((segment, piece))
        walk.take(piece)
    if walk.text != text:
        raise ValueError(f"text goes on at {len(walk.text)}")
    return pieces


def _stop(segment: Segment, text: str, start: int) -> int:
    match segment:
        case Forced(expected):
            return start + len(expected)
        case Choice(options):
            taken = (option for option in options if text.startswith(option, start))
            return start + len(next(taken, ""))
        case Free():
            return segment.end(text, start)


class _Walker:
    """Generators that walk shapes; forced text gathers in a buffer until the model is asked something."""

    def __init__(self) -> None:
        self._forced = ""
        self._pending = ""
        """Text that the last segment wrote ahead: it begins the next structural text."""

    def decision(self, constraint: DecisionConstraint) -> _Walking:
        tools, answer = decision_shapes(constraint)
        self._forced = '{"thought":"'
        yield from self._ask(Free(Text(0, constraint.thought_chars), opened=True, place="thought"))
        actions = (',"calls":[{"tool":"',) * bool(tools) + (',"answer":',) * (answer is not None)
        if (yield from self._choose(actions, "action")) == ',"answer":':
            assert answer is not None
            yield from self._value(answer, ("}",), (), "answer")
            yield from self._choose(("}",), "answer")
        else:
            yield from self._calls(dict(tools), constraint.max_calls)
        yield from self._flush()

    def _calls(self, tools: dict[str, Shape], most: int) -> _Walking:
        by_text = {json_text(name)[1:]: name for name in tools}
        for left in range(most - 1, -1, -1):
            name = by_text[(yield from self._choose(tuple(by_text), "tool"))]
            self._forced += ',"arguments":'
            yield from self._value(tools[name], ("}",), (), "arguments")
            more = ('},{"tool":"',) * bool(left)
            if (yield from self._choose((*more, "}]}"), "calls")) == "}]}":
                return

    def _value(
        self, shape: Shape, follow: tuple[str, ...], instead: tuple[str, ...], place: str
    ) -> Generator[Segment, str, bool]:
        """Walk one value; False when one of `instead` was written in its place."""
        match shape:
            case Literals(texts):
                return (yield from self._literal(texts, follow, instead, place))
            case Text():
                if (yield from self._choose(('"', *instead), place)) != '"':
                    return False
                yield from self._ask(Free(shape, opened=True, place=place))
                return True
            case Record(fields):
                return (yield from self._record(fields, instead, place))
            case Table():
                return (yield from self._table(shape, instead, place))
            case Items():
                return (yield from self._items(shape, instead, place))
            case Either(options) if (openers := _openers(options)) is not None:
                return (yield from self._either(openers, follow, instead, place))
            case _:
                free = Free(shape, follow=follow, instead=instead, place=place)
                return (yield from self._ask(free)) not in instead

    def _literal(
        self, texts: tuple[str, ...], follow: tuple[str, ...], instead: tuple[str, ...], place: str
    ) -> Generator[Segment, str, bool]:
        ended = any(a != b and b.startswith(a) for a in texts for b in texts)
        options = tuple(text + mark for text in texts for mark in follow) if ended else texts
        chosen = yield from self._choose((*options, *instead), place)
        if ended and chosen not in instead:
            self._pending = chosen[-1]
        return chosen not in instead

    def _record(self, fields: tuple[Field, ...], instead: tuple[str, ...], place: str) -> Generator[Segment, str, bool]:
        lead, index = "{", 0
        while True:
            options = {lead + fields[at].key_text: at for at in _reachable(fields, index)}
            closing = ("{}" if lead == "{" else "}",) * _may_end(fields, index)
            chosen = yield from self._choose((*options, *closing, *instead), place)
            if chosen not in options:
                return chosen in closing
            entry, index = fields[options[chosen]], options[chosen] + 1
            follow = (",",) * (index < len(fields)) + ("}",) * _may_end(fields, index)
            yield from self._value(entry.shape, follow, (), f"{place}.{entry.key}")
            lead, instead = ",", ()

    def _table(self, shape: Table, instead: tuple[str, ...], place: str) -> Generator[Segment, str, bool]:
        for count in range(shape.most + 1):
            closing = ("}" if count else "{}",) * (count >= shape.least)
            opening = (',"' if count else '{"',) * (count < shape.most)
            chosen = yield from self._choose((*opening, *closing, *instead), place)
            if chosen not in opening:
                return chosen in closing
            yield from self._ask(Free(shape.key, opened=True, place=place))
            self._forced += ":"
            follow = (",",) * (count + 1 < shape.most) + ("}",) * (count + 1 >= shape.least)
            yield from self._value(shape.value, follow, (), f"{place}.*")
            instead = ()
        return True

    def _items(self, shape: Items, instead: tuple[str, ...], place: str) -> Generator[Segment, str, bool]:
        if (yield from self._choose(("[", *instead), place)) != "[":
            return False
        for count in range(shape.most):
            follow = (",",) * (count + 1 < shape.most) + ("]",) * (count + 1 >= shape.least)
            ending = ("]",) * (count == 0 and shape.least == 0)
            if not (yield from self._value(shape.at(count), follow, ending, f"{place}[{count}]")):
                return True
            if (yield from self._choose(follow, place)) == "]":
                return True
        self._forced += "]"
        return True

    def _either(
        self, openers: dict[str, Shape], follow: tuple[str, ...], instead: tuple[str, ...], place: str
    ) -> Generator[Segment, str, bool]:
        chosen = yield from self._choose((*openers, *instead), place)
        if chosen in instead:
            return False
        self._pending = chosen
        return (yield from self._value(openers[chosen], follow, (), place))

    def _choose(self, options: Sequence[str], place: str) -> Generator[Segment, str, str]:
        """Write one of the structural texts; what is already pending narrows them down."""
        pending, self._pending = self._pending, ""
        live = [option for option in options if option.startswith(pending)]
        rests = [option[len(pending) :] for option in live]
        if len(live) == 1:
            self._forced += rests[0]
            return live[0]
        lead = _leading_punctuation(rests)
        self._forced += lead
        tails = tuple(rest[len(lead) :] for rest in rests)
        yield from self._flush()
        chosen = yield Choice(tails, place)
        return live[tails.index(chosen)]

    def _ask(self, free: Free) -> Generator[Segment, str, str]:
        if free.shape == _EMPTY:
            self._forced += '"'
            return '"'
        yield from self._flush()
        text = yield free
        if free.follow and text not in free.instead:
            self._pending = text[-1]
        return text

    def _flush(self) -> _Walking:
        if self._forced:
            forced, self._forced = self._forced, ""
            yield Forced(forced)


def _leading_punctuation(texts: Sequence[str]) -> str:
    """Return the punctuation that all texts begin with: names and values are never cut in two."""
    lead = ""
    for characters in zip(*texts, strict=False):
        if len(set(characters)) > 1 or characters[0] not in _PUNCTUATION:
            break
        lead += characters[0]
    return lead


def _reachable(fields: tuple[Field, ...], index: int) -> Iterator[int]:
    """Return the fields that may come next: the optional ones up to the first required one."""
    for at in range(index, len(fields)):
        yield at
        if fields[at].required:
            return


def _may_end(fields: tuple[Field, ...], index: int) -> bool:
    return not any(entry.required for entry in fields[index:])


def _openers(options: tuple[Shape, ...]) -> dict[str, Shape] | None:
    """Return the first characters by which the options can be told apart, or `None`."""
    openers: dict[str, Shape] = {}
    for option in options:
        for character in _first_characters(option):
            if openers.setdefault(character, option) is not option:
                return None
    return openers if "" not in openers else None


def _first_characters(shape: Shape) -> set[str]:
    match shape:
        case Literals(texts):
            return {text[0] for text in texts}
        case Text():
            return {'"'}
        case Record() | Table():
            return {"{"}
        case Items():
            return {"["}
        case Either() | Integer() | Fixed():
            return {""}
