"""Requests for the product's built-in tools, with the wordings that people use for them."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from . import arithmetic, values
from .builtin_tools import SIGNATURES
from .grammar import expand
from .skills import Ask, Parameter, Skill, Tool, make_tool

_GIVE = "(what is|what's|tell me|show me|give me|find|get)"


@dataclass(frozen=True)
class BuiltIn:
    """A skill for one built-in tool; `kind` selects how its requests are made."""

    tool: Tool
    kind: str

    def ask(self, rng: Random, *, held: bool = False, given: str | None = None) -> Ask:
        """Return a request; see `Skill`."""
        return _MAKERS[self.kind](rng, held, given)


def _calculate(rng: Random, held: bool, given: str | None) -> Ask:
    template, slots, expression = arithmetic.draw(rng, held=held, given=given)
    return Ask(expand(template, rng, slots), {"expression": expression}, arithmetic.result(expression))


_CONVERT = (
    "(how many|how much) {t} (is|are|is that in|are there in|are in|do I get from|make|equal) {v} {s}",
    "(how many|how much) {t} (is|are) {v} {s}",
    "convert {v} {s} (to|into|in) {t}",
    "{v} {s} (in|to|into|as) {t}",
    "(what is|what's|what are|how much is|tell me) {v} {s} (in|expressed in|converted to|measured in) {t}",
    "(express|turn|change|translate|give me|put) {v} {s} (in|into|as) {t}",
    "{v} {s} (is|equals|are) how many {t}",
    "(I have|we have|there are|it is|I ran|I drove) {v} {s}, (how many|what is that in|how much is that in) {t}",
    "(to|in) {t}, (how much is|what is|convert|what are) {v} {s}",
    "(I need|I want) {v} {s} in {t}",
    "(use|do) a unit conversion: {v} {s} to {t}",
    "convert from {s} to {t}: {v}",
    "(how long|how far|how big|how much) is {v} {s} in {t}",
)
_CONVERT_HELD = (
    "{v} {s} would be what in {t}",
    "what do {v} {s} come to in {t}",
    "rewrite {v} {s} using {t}",
    "the label says {v} {s} but I think in {t}, so what is it",
)
_FACTORS = {
    "km": 1000.0,
    "miles": 1609.344,
    "m": 1.0,
    "feet": 0.3048,
    "ft": 0.3048,
    "inches": 0.0254,
    "cm": 0.01,
    "mi": 1609.344,
}


def _convert_units(rng: Random, held: bool, given: str | None) -> Ask:
    kind = rng.choice(("length", "length", "length", "mass", "mass", *values.UNITS))
    source, target = rng.sample(values.UNITS[kind], 2)
    value: Any = values.number(rng)
    if given is not None:
        value = json.loads(given)
    text = expand(rng.choice(_CONVERT_HELD if held else _CONVERT), rng, {"v": str(value), "s": source, "t": target})
    if source in _FACTORS and target in _FACTORS:
        result = float(f"{value * _FACTORS[source] / _FACTORS[target]:.8g}")
    else:
        result = float(f"{value * rng.uniform(0.01, 50):.{rng.randint(2, 8)}g}")
    shown = str(int(result)) if result == int(result) else str(result)
    return Ask(text, {"value": value, "source": source, "target": target}, f"{shown} {target}")


def _current_time(rng: Random, held: bool, given: str | None) -> Ask:
    del given
    if rng.random() < 0.35:
        template = (
            "(what time is it|what's the time|tell me the time|current time|give me the current time|"
            "what is the date today|"
            "what day is it|the time now|which date is today|what is today's date|time check)"
        )
        template = "(got the time|do you know how late it is)" if held else template
        return Ask(expand(template, rng, {}), {}, _clock(rng, "UTC"))
    zone = _zone_name(rng)
    train = (
        "(what time is it|what's the time|current time|tell me the time|show the time|time now) (in|for|at) {z}",
        "(the|give me the|I need the) (current|local|present) (time|date and time) (in|for) {z}",
        "(what is the date|which day is it) in {z} (now|right now|today)",
        "{z}: (what time is it there|current time|time now)",
    )
    unseen = ("how late is it in {z}", "is it already morning in {z}, what does the clock say")
    return Ask(expand(rng.choice(unseen if held else train), rng, {"z": zone}), {"time_zone": zone}, _clock(rng, zone))


def _moment(rng: Random) -> str:
    """Return a local time, mostly without an offset, as people give it."""
    return f"{values.date(rng)}T{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:00{rng.choice(('Z', '', '', ''))}"


def _zoned(moment: str) -> str:
    """Return a time as the constraint of `date-time` wants it, with an offset; the tool ignores a mere Z."""
    return moment if moment[-1] == "Z" or "+" in moment else f"{moment}Z"


def _clock(rng: Random, zone: str) -> str:
    """Return a time as the tools show it."""
    stamp = f"{values.date(rng)}T{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}"
    return (
        f"{stamp}{rng.choice(('+00:00', '+01:00', '+02:00', '-05:00', '+09:00'))} {zone}, {rng.choice(values.WEEKDAYS)}"
    )


def _zone_name(rng: Random) -> str:
    """Return a zone by its full name or by its city, which the tools accept as well."""
    zone = rng.choice(values.ZONES)
    return zone if rng.random() < 0.5 else zone.rpartition("/")[2].replace("_", " ")


_SHIFT = (
    "(what date is|which date is|what day is|what's the date) {n} {u} after {d}",
    "{n} {u} (after|from|past) {d}",
    "(add|plus) {n} {u} to {d}",
    "{d} plus {n} {u}",
    "(shift|move|push) {d} by {n} {u}",
    "(take|starting at|starting from|from) {d} (and|) (add|go) {n} {u} (forward|later|more)",
    "(when is|what is) the (day|date) {n} {u} after {d}",
    "if (I start|it starts|we begin) on {d}, what is the date {n} {u} later",
)
_SHIFT_BACK = (
    "(what date is|which date is|what date was|what day was) {n} {u} before {d}",
    "{n} {u} before {d}",
    "(subtract|take away) {n} {u} from {d}",
    "{d} minus {n} {u}",
    "(go|move) back {n} {u} from {d}",
)
_SHIFT_HELD = ("the deadline is {n} {u} past {d}, which day is that", "count {n} {u} on from {d}")
_SHIFT_BACK_HELD = ("{d} less {n} {u}", "{n} {u} ahead of {d}, which day was that")


def _shift_date(rng: Random, held: bool, given: str | None) -> Ask:
    start = given or values.date(rng)
    back = rng.random() < 0.35
    key, factor = rng.choice((("days", 1), ("days", 1), ("days", 7), ("months", 1), ("years", 1)))
    count = rng.randint(1, 8) if factor == 7 else rng.choice((rng.randint(1, 12), rng.randint(2, 120)))
    unit = "weeks" if factor == 7 else key
    unit = unit[:-1] if count == 1 else unit
    amount = count * factor * (-1 if back else 1)
    train, unseen = (_SHIFT_BACK, _SHIFT_BACK_HELD) if back else (_SHIFT, _SHIFT_HELD)
    text = expand(rng.choice(unseen if held else train), rng, {"n": str(count), "u": unit, "d": start})
    return Ask(text, {"date": start, key: amount}, f"{values.date(rng)} ({rng.choice(values.WEEKDAYS)})")


_BETWEEN = (
    "how many days (are there|are|lie|is it|) (between|from) {a} (and|to|until) {b}",
    "(how long is it|how much time is there|how far is it) (from|between) {a} (to|and|until|till) {b}",
    "days (between|from) {a} (and|to) {b}",
    "(what is|calculate|compute|tell me|find) the (difference|number of days|time|gap|distance) between {a} and {b}",
    "(from|between) {a} (to|and|until) {b}, how many days (is that|are there|pass)",
    "(count|give me) the days (from|between) {a} (to|and|until) {b}",
    "{a} (to|until|till) {b}: how many days",
    "the project ran from {a} to {b}, how long was that",
)
_BETWEEN_HELD = ("counting from {a}, when {b} comes how many days have gone by", "{a} and {b} are how far apart")


def _date_difference(rng: Random, held: bool, given: str | None) -> Ask:
    start, end = given or values.date(rng), values.date(rng)
    text = expand(rng.choice(_BETWEEN_HELD if held else _BETWEEN), rng, {"a": start, "b": end})
    days = rng.randint(1, 9000)
    result = f"{days} days = {days // 7} weeks {days % 7} days" if rng.random() < 0.7 else f"{days} days"
    return Ask(text, {"start": start, "end": end}, result)


_ZONE = (
    "(convert|change|translate|turn) {d} from {s} to {t}",
    "{d} in {s} (is what time|is when|what time is that) in {t}",
    "(what time is|what's|when is) {d} {s} in {t}",
    "if it is {d} in {s}, (what time is it|what is the time) in {t}",
    "a (call|meeting|flight) at {d} {s}: (what time is that|when is that) in {t}",
    "time zone conversion of {d}, {s} to {t}",
)
_ZONE_HELD = (
    "it says {d} for {s}, what does the clock in {t} say then",
    "{t} time for {d} ({s})".replace("(", "").replace(")", ""),
)


def _convert_zone(rng: Random, held: bool, given: str | None) -> Ask:
    source, target = _zone_name(rng), _zone_name(rng)
    moment = given or _moment(rng)
    text = expand(rng.choice(_ZONE_HELD if held else _ZONE), rng, {"d": moment, "s": source, "t": target})
    return Ask(text, {"time": _zoned(moment), "source": source, "target": target}, _clock(rng, target))


def _query_json(rng: Random, held: bool, given: str | None) -> Ask:
    keys = rng.sample([w for w in values.WORDS if len(w) < 8], 3)
    inner: dict[str, Any] = {keys[0]: rng.choice((values.integer(rng), values.words(rng, 1, 1)))}
    path = keys[0]
    document: Any = {**inner, keys[1]: values.integer(rng)}
    if rng.random() < 0.4:
        document, path = {keys[2]: document}, f"{keys[2]}.{path}"
    text = given or json.dumps(document, separators=(",", ":"))
    train = (
        "(get|extract|read|find|give me|what is|pick) {q} (from|in|out of) {d}",
        "(query|search) {d} (for|with) {q}",
        "(in|from) {d}, (what is|get|read|pick) {q}",
        "{q} in {d}",
    )
    unseen = ("apply {q} to {d}", "which value has {q} inside {d}")
    asked = expand(rng.choice(unseen if held else train), rng, {"q": path, "d": text})
    return Ask(asked, {"document": text, "query": path}, json.dumps(inner[keys[0]]))


def _text_statistics(rng: Random, held: bool, given: str | None) -> Ask:
    text = given or values.sentence(rng)
    quote = rng.choice(('"', '"', "'"))
    train = (
        (
            "(how many words are in|how many words has|count the words in|how long is|how many characters "
            "are in|word count of) {q}{t}{q}"
        ),
        "(text statistics|statistics|stats|numbers) (for|of|on|about) {q}{t}{q}",
        "(count|analyse|analyze|measure) (the words of|the text|this text:|the sentence|) {q}{t}{q}",
        "(count the words|how many words|how many letters|word count): {t}",
    )
    unseen = ("{q}{t}{q} has how many words", "the length of this phrase in words: {t}")
    template = rng.choice(unseen if held else train).replace("{q}", quote)
    count = len(text.split())
    facts = {"characters": len(text), "words": count, "lines": 1, "sentences": 1}
    result = json.dumps(facts if rng.random() < 0.6 else {"words": count}, separators=(",", ":"))
    return Ask(expand(template, rng, {"t": text}), {"text": text}, result)


def _read_artifact(rng: Random, held: bool, given: str | None) -> Ask:
    name = given or rng.choice(
        (values.identifier(rng), f"art_{values.syllables(rng, 2)}", f"{rng.randint(1, 9)}.{rng.randint(1, 3)}")
    )
    offset = rng.choice((None, None, rng.randint(1, 40) * 100, rng.randint(1, 9999)))
    train = (
        "(read|open|show|show me|get|load|print|fetch) (the|) artifact {a}{o}",
        "(what is in|what's in|what does) (the|) artifact {a}{o}",
        "(continue|go on) (reading|with) artifact {a}{o}",
        "artifact {a}{o}",
    )
    unseen = ("bring up the artifact called {a}{o}", "I want to see what artifact {a} holds{o}")
    tail = (
        ""
        if offset is None
        else rng.choice(
            (" from offset {f}", " at offset {f}", " starting at {f}", ", offset {f}", " from position {f}")
        )
    )
    text = rng.choice(unseen if held else train).replace("{o}", tail)
    arguments: dict[str, Any] = {"artifact_id": name}
    if offset is not None:
        arguments["offset"] = offset
    return Ask(expand(text, rng, {"a": name, "f": str(offset)}), arguments, values.sentence(rng))


def _fetch_url(rng: Random, held: bool, given: str | None) -> Ask:
    url = given or values.url(rng)
    train = (
        (
            "(fetch|open|get|download|load|read|visit|retrieve|grab) (the page|the url|the site|the website|"
            "the page at|) {u}"
        ),
        "(what does|what is on|what's on|what does it say on) {u}",
        "(show me|give me|get me) (the content of|the page|what is at|the text of) {u}",
        "(look at|check|go to|browse to) {u} (and tell me what it says|)",
    )
    unseen = ("pull {u} from the web", "summarise {u}", "have a peek at {u}")
    return Ask(expand(rng.choice(unseen if held else train), rng, {"u": url}), {"url": url}, values.sentence(rng))


_MAKERS = {
    "calculate": _calculate,
    "convert_units": _convert_units,
    "current_time": _current_time,
    "shift_date": _shift_date,
    "date_difference": _date_difference,
    "convert_time_zone": _convert_zone,
    "query_json": _query_json,
    "text_statistics": _text_statistics,
    "read_artifact": _read_artifact,
    "fetch_url": _fetch_url,
}


NAMES = tuple(SIGNATURES)


def make(name: str, rng: Random) -> Skill:
    """Return the skill of a built-in tool, its description varied, parameter descriptions shown or not."""
    descriptions, parameters = SIGNATURES[name]
    description = descriptions[0] if rng.random() < 0.5 else rng.choice(descriptions)
    if rng.random() < 0.25:
        parameters = tuple(Parameter(p.key, p.kind, p.required, p.default) for p in parameters)
    return BuiltIn(make_tool(name, description, parameters), name)
