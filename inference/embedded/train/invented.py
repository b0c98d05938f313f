"""Tools that nobody has seen: invented names, descriptions and parameters, and requests for them."""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from . import values
from .grammar import expand, mark
from .skills import Ask, Parameter, Tool, make_tool
from .slots import FALSE, FALSE_HELD, LABELLED, LABELLED_HELD, SLOTS, TRUE, TRUE_HELD, Slot, is_held

NOUNS = (
    "order invoice customer ticket parcel shipment booking reservation flight hotel room recipe song playlist photo album "
    "user account profile contact employee team project task issue bug report document file folder note reminder event "
    "meeting calendar appointment message mail letter newsletter post comment review rating product item stock price "
    "discount coupon payment refund transaction balance loan budget salary tax weather forecast temperature humidity traffic "
    "route train bus taxi bike car parking station ticket_price exchange_rate currency share company supplier contract lease "
    "device sensor light thermostat door alarm camera printer server database backup log job build deployment branch "
    "repository package license certificate domain website page link image video podcast book author library movie cinema "
    "actor concert match player score league patient doctor prescription vaccine lab_result course student grade exam lesson "
    "teacher classroom plant garden animal shelter vehicle engine warranty repair delivery courier warehouse shelf pallet "
    "survey vote poll petition law court claim policy insurance quote lead campaign banner keyword translation word "
    "definition synonym holiday timezone sunrise tide river trail campsite ferry border visa passport gate seat meal menu "
    "table kitchen wine beer coffee pizza basket wish_list gift voucher subscription channel stream badge locker key fleet"
).split()

GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # verbs in names; wordings; held wordings; descriptions
    "read": (
        ("get", "find", "lookup", "fetch", "show", "read", "check", "query", "describe", "load"),
        (
            "(get|get me|show|show me|find|look up|fetch|check|give me|tell me|I need|pull up|open|read|load|display|retrieve) (the|) {n}",
            "(what is|what's|what about|whats) the {n}",
            "(I want to see|I'd like to see|let me see|I am looking for|do we have) (the|a) {n}",
            "{n}",
            "(details|information|info|data) (on|about|for) (the|) {n}",
        ),
        ("bring up the {n}", "(enlighten me on|fill me in on) the {n}", "is there a {n}"),
        ("Return the {n}.", "Look up a {n}.", "Get details of a {n}.", "Find the {n} and return it.", "Show one {n}.", "{N} data."),
    ),
    "status": (
        ("status", "track", "locate", "progress"),
        (
            "(where is|where's|wheres) (my|the|) {n}",
            "(what is the status of|status of|what's up with|how is|what happened to|track|check on|locate|any news on|any update on) (my|the|) {n}",
            "(has|did) (my|the|) {n}",
            "(is) (my|the|) {n} (ready|done|there) :",
            "(the|) (status|state|progress) of (my|the|) {n}",
        ),
        ("how far along is (my|the) {n}", "what became of (my|the) {n}"),
        ("Return the status of a {n}.", "Track a {n}.", "Tell where a {n} is.", "Current state of a {n}."),
    ),
    "create": (
        ("create", "add", "make", "new", "register", "open", "book", "schedule", "insert", "submit"),
        ("(create|add|make|register|open|set up|book|schedule|file|enter|start|submit|I need|I want|new|record) (a|a new|an|the|) {n}", "(put in|write|log) a (new|) {n}", "there is a new {n}, (add|record) it"),
        ("bring a {n} into being", "have a {n} set up"),
        ("Create a new {n}.", "Add a {n}.", "Register a {n}.", "Make a {n} and return its id."),
    ),
    "delete": (
        ("delete", "remove", "cancel", "drop", "close", "archive"),
        ("(delete|remove|cancel|drop|get rid of|erase|close|throw away|discard|kill) (my|the|) {n}", "(I no longer need|we don't need) the {n}"),
        ("scrap the {n}", "do away with the {n}"),
        ("Delete a {n}.", "Remove a {n} for good.", "Cancel a {n}."),
    ),
    "update": (
        ("update", "set", "change", "edit", "modify", "adjust"),
        ("(update|change|set|edit|modify|adjust|alter|correct|fix) (my|the|) {n}", "(make a change to|put a change on) the {n}"),
        ("amend the {n}", "revise the {n}"),
        ("Update a {n}.", "Change a {n}.", "Set values of a {n}."),
    ),
    "list": (
        ("list", "search", "find_all", "browse", "count"),
        ("(list|show|show me|search|find|give me|get|browse|which|what) (all|the|all the|our|) {n}s", "(search|look) for {n}s", "(are there|do we have) (any|) {n}s", "{n}s"),
        ("enumerate the {n}s", "what {n}s exist"),
        ("List {n}s.", "Search {n}s.", "Find all matching {n}s.", "Return {n}s that match."),
    ),
    "send": (
        ("send", "post", "publish", "share", "forward"),
        ("(send|post|share|publish|forward|submit|deliver|pass on) (a|the|my|) {n}",),
        ("dispatch a {n}", "get a {n} out"),
        ("Send a {n}.", "Publish a {n}.", "Forward a {n} to someone."),
    ),
}
_STATES = ("shipped", "in transit", "delivered", "pending", "open", "closed", "on hold", "ready", "running", "cancelled", "approved", "lost", "at the depot", "paid")


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
        noun = self.noun.replace("_", " ")
        wordings = GROUPS[self.group][2 if held else 1]
        head = _head(rng.choice(wordings), rng, noun)
        if rng.random() < 0.15:
            head = f"{self.verb.replace('_', ' ')} {noun}"
        if len(fragments) > 1 and rng.random() < 0.5:
            tail = fragments[1:]
            rng.shuffle(tail)
            fragments = [fragments[0], *tail]
            if rng.random() < 0.25:
                rng.shuffle(fragments)
        if fragments and rng.random() < 0.08:
            return f"{fragments[0].lstrip(' ,:')}{rng.choice((': ', ', '))}{head} {' '.join(fragments[1:])}"
        text = head
        for index, fragment in enumerate(fragments):
            glue = "" if fragment[0] in ",:" else rng.choice((" ", " ", " ", " ", ", ", " and ")) if index else " "
            text += glue + fragment
        return text

    def result(self, rng: Random) -> str:
        """Return what the tool might answer."""
        if self.group in ("update", "delete", "send"):
            return rng.choice(("ok", "done", f"{self.noun} {rng.choice(('updated', 'removed', 'sent'))}", '{"ok":true}', f'{{"id":"{values.identifier(rng)}"}}'))
        if self.group == "create":
            return rng.choice((values.identifier(rng), f'{{"id":"{values.identifier(rng)}"}}', f"created {values.identifier(rng)}"))
        if self.group == "list":
            return rng.choice((json.dumps([values.words(rng, 1, 2) for _ in range(rng.randint(1, 3))], separators=(",", ":")), str(rng.randint(0, 400))))
        if self.group == "status":
            state = rng.choice(_STATES)
            return rng.choice((state, state, json.dumps({"status": state, rng.choice(("eta", "since", "updated")): values.date(rng)}, separators=(",", ":"))))
        return _reading(rng)


def _head(wording: str, rng: Random, noun: str) -> str:
    return expand(wording.replace("{n}", noun), rng, {})


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
    keys = rng.sample(("name", "price", "city", "id", "total", "date", "state", "owner", "title", "size"), rng.randint(1, 3))
    makers: dict[str, Any] = {"price": values.number, "total": values.number, "city": values.city, "id": values.identifier, "date": values.date, "owner": values.name, "name": values.name}
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
    description = rng.choice(GROUPS[group][3]).replace("{n}", noun.replace("_", " ")).replace("{N}", noun.replace("_", " ").capitalize())
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
    count = rng.choice((0, 1, 1, 1, 2, 2, 3, 4)) if group in ("read", "list") else rng.choice((1, 1, 1, 2, 2, 3, 4))
    mains = [s for s in SLOTS if s.main]
    picked = [SLOTS[0] if group in ("status", "delete") and rng.random() < 0.7 else rng.choice(mains)] if count else []
    picked += rng.sample([s for s in SLOTS if s not in picked], max(0, count - 1))
    chosen: list[Used] = []
    for index, slot in enumerate(picked):
        key = _key(rng, slot, noun, held)
        if any(u.parameter.key == key for u in chosen):
            continue
        required = index == 0 and rng.random() < 0.93 or rng.random() < 0.5
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
