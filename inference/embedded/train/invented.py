"""Tools that nobody has seen: invented names, descriptions and parameters, and requests for them."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from . import values
from .grammar import expand, mark
from .groups import GROUPS, NOUNS, STATES
from .skills import Ask, Parameter, Tool, make_tool
from .slots import FALSE, FALSE_HELD, LABELLED, LABELLED_HELD, SLOTS, TRUE, TRUE_HELD, Slot, is_held

_HOLE = "\x03"
"""Where a wording takes in the first fragment while its brackets are expanded."""


@dataclass(frozen=True)
class Used:
    """A parameter of a tool with the slot that it was drawn from."""

    slot: Slot
    parameter: Parameter


@dataclass(frozen=True)
class Invented:
    """A skill for an invented tool."""

    tool: Tool
    group: str
    noun: str
    verb: str
    used: tuple[Used, ...]

    @property
    def main(self) -> str | None:
        """Key of the required parameter that the tool is about, or `None`."""
        first = next((u for u in self.used if u.slot.main and u.parameter.required), None)
        return first.parameter.key if first else None

    def ask(self, rng: Random, *, held: bool = False, given: str | None = None) -> Ask:
        """Return a request; see `Skill`."""
        arguments: dict[str, Any] = {}
        fragments = []
        for used in self.used:
            key = used.parameter.key
            if not used.parameter.required and rng.random() < 0.5:
                continue
            value = given if given is not None and key == self.main else _value(used, rng)
            arguments[key] = value
            fragments.append(_fragment(used, value, rng, held))
        return Ask(self._sentence(fragments, rng, held), arguments, self.result(rng))

    def _sentence(self, fragments: list[str], rng: Random, held: bool) -> str:
        if len(fragments) > 1 and rng.random() < 0.5:
            fragments = _reordered(fragments, rng)
        head, rest = self._head(fragments, rng, held)
        if rest and rest is fragments and rng.random() < 0.08:
            return f"{rest[0].lstrip(' ,:')}{rng.choice((': ', ', '))}{head} {' '.join(rest[1:])}"
        text = head
        for index, fragment in enumerate(rest):
            glue = "" if fragment[0] in ",:" else rng.choice((" ", " ", " ", " ", ", ", " and ")) if index else " "
            text += glue + fragment
        return text

    def _head(self, fragments: list[str], rng: Random, held: bool) -> tuple[str, list[str]]:
        """Return the verb and noun, and the fragments that they have not taken in."""
        noun = self.noun.replace("_", " ")
        if rng.random() < 0.12:
            return f"{self.verb.replace('_', ' ')} {noun}", fragments
        wording = rng.choice(GROUPS[self.group][2 if held else 1]).replace("{n}", noun)
        if "{f}" not in wording:
            return expand(wording, rng, {}), fragments
        head = expand(wording.replace("{f}", _HOLE), rng, {})
        if fragments and fragments[0][0] not in ",:(":
            return head.replace(_HOLE, fragments[0]), fragments[1:]
        return head.replace(f" {_HOLE}", ""), fragments

    def result(self, rng: Random) -> str:
        """Return what the tool might answer."""
        if self.group in ("update", "delete", "send"):
            return rng.choice(
                (
                    "ok",
                    "done",
                    f"{self.noun} {rng.choice(('updated', 'removed', 'sent'))}",
                    '{"ok":true}',
                    f'{{"id":"{values.identifier(rng)}"}}',
                )
            )
        if self.group == "create":
            return rng.choice(
                (values.identifier(rng), f'{{"id":"{values.identifier(rng)}"}}', f"created {values.identifier(rng)}")
            )
        if self.group == "list":
            return rng.choice(
                (
                    json.dumps([values.words(rng, 1, 2) for _ in range(rng.randint(1, 3))], separators=(",", ":")),
                    str(rng.randint(0, 400)),
                )
            )
        if self.group == "status":
            state = rng.choice(STATES)
            return rng.choice(
                (
                    state,
                    state,
                    json.dumps(
                        {"status": state, rng.choice(("eta", "since", "updated")): values.date(rng)},
                        separators=(",", ":"),
                    ),
                )
            )
        return _reading(rng)


def _reordered(fragments: list[str], rng: Random) -> list[str]:
    """Return the fragments in another order, mostly with the first one in its place."""
    kept = 0 if rng.random() < 0.25 else 1
    return [*fragments[:kept], *rng.sample(fragments[kept:], len(fragments) - kept)]


def _reading(rng: Random) -> str:
    kind = rng.randrange(5)
    if kind == 0:
        return str(values.number(rng))
    if kind == 1:
        return values.words(rng, 1, 3)
    if kind == 2:
        return f"{values.number(rng)} {rng.choice(('EUR', 'USD', 'km', 'kg', 'degrees', 'percent'))}"
    if kind == 3:
        return values.sentence(rng)
    keys = rng.sample(
        ("name", "price", "city", "id", "total", "date", "state", "owner", "title", "size"), rng.randint(1, 3)
    )
    makers: dict[str, Any] = {
        "price": values.number,
        "total": values.number,
        "city": values.city,
        "id": values.identifier,
        "date": values.date,
        "owner": values.name,
        "name": values.name,
    }
    return json.dumps({k: makers.get(k, lambda r: values.words(r, 1, 2))(rng) for k in keys}, separators=(",", ":"))


def _value(used: Used, rng: Random) -> Any:
    if used.parameter.options:
        return rng.choice(used.parameter.options)
    return used.slot.make(rng)


def _fragment(used: Used, value: Any, rng: Random, held: bool) -> str:
    words = used.parameter.key.replace("_", " ")
    if isinstance(value, bool):
        choices = (TRUE_HELD if value else FALSE_HELD) if held else (TRUE if value else FALSE)
        return rng.choice(choices).replace("{k}", words)
    own = used.slot.held if held else used.slot.fragments
    labelled = LABELLED_HELD if held else LABELLED
    template = rng.choice(own if own and rng.random() < (0.75 if used.parameter.required else 0.55) else labelled)
    return template.replace("{k}", words).replace("{v}", mark(str(value)))


def make(rng: Random, *, held: bool = False) -> Invented:
    """Return a new tool.

    Args:
        rng: Source of every choice.
        held: Use the nouns and keys that training never sees.
    """
    group = rng.choice(("read", "read", "read", "status", "status", "create", "delete", "update", "list", "send"))
    noun = _noun(rng, held)
    verb = rng.choice(GROUPS[group][0])
    used = _parameters(rng, group, noun, held)
    description = (
        rng.choice(GROUPS[group][3])
        .replace("{n}", noun.replace("_", " "))
        .replace("{N}", noun.replace("_", " ").capitalize())
    )
    tool = make_tool(_name(rng, verb, noun, group), description, tuple(u.parameter for u in used))
    return Invented(tool, group, noun, verb, used)


def _noun(rng: Random, held: bool) -> str:
    if rng.random() < 0.25:
        return values.syllables(rng, 2)
    noun = rng.choice(NOUNS)
    while is_held(noun) != held:
        noun = rng.choice(NOUNS)
    return noun


def _name(rng: Random, verb: str, noun: str, group: str) -> str:
    plural = f"{noun}s" if group == "list" else noun
    style = rng.randrange(10)
    if style == 0:
        return verb + "".join(part.capitalize() for part in plural.split("_"))
    if style == 1 or verb in ("status", "progress"):
        return f"{plural}_{verb}"
    if style == 2 and group == "read":
        return noun
    return f"{verb}_{plural}"


def _parameters(rng: Random, group: str, noun: str, held: bool) -> tuple[Used, ...]:
    count = (
        rng.choice((0, 1, 1, 1, 1, 1, 2, 2, 3, 4))
        if group in ("read", "list")
        else rng.choice((1, 1, 1, 1, 1, 2, 2, 2, 3, 4))
    )
    mains = [s for s in SLOTS if s.main]
    picked = [SLOTS[0] if group in ("status", "delete") and rng.random() < 0.7 else rng.choice(mains)] if count else []
    picked += rng.sample([s for s in SLOTS if s not in picked], max(0, count - 1))
    chosen: list[Used] = []
    for index, slot in enumerate(picked):
        key = _key(rng, slot, noun, held)
        if any(u.parameter.key == key for u in chosen):
            continue
        required = (index == 0 and rng.random() < 0.93) or rng.random() < 0.5
        chosen.append(Used(slot, _parameter(rng, slot, key, required)))
    described = rng.random() < 0.4
    plain = [Used(u.slot, _bare(u.parameter)) for u in chosen]
    ordered = chosen if described else plain
    return tuple(sorted(ordered, key=lambda u: not u.parameter.required) if rng.random() < 0.7 else ordered)


def _key(rng: Random, slot: Slot, noun: str, held: bool) -> str:
    if slot is SLOTS[0] and rng.random() < 0.4:
        return f"{noun}_{rng.choice(('id', 'number', 'code', 'id'))}"
    if rng.random() < 0.06:
        return values.syllables(rng, 2)
    usable = [k for k in slot.keys if is_held(k) == held] or list(slot.keys)
    return rng.choice(usable)


def _parameter(rng: Random, slot: Slot, key: str, required: bool) -> Parameter:
    options = rng.choice(slot.options) if slot.options else ()
    default: Any = None
    if not required and rng.random() < 0.35:
        default = options[0] if options else {"integer": rng.randint(1, 20), "boolean": False}.get(slot.kind)
    kind = "string" if options else slot.kind
    return Parameter(key, kind, required, default, rng.choice(slot.notes) if slot.notes else "", options)


def _bare(parameter: Parameter) -> Parameter:
    return Parameter(parameter.key, parameter.kind, parameter.required, parameter.default, "", parameter.options)
