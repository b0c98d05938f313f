"""One task and its right decisions: a call, parallel calls, a chain, an error, or no tool that fits."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from . import builtin_skills, invented, joins, values
from .builtin_skills import BuiltIn
from .grammar import dress, expand, mark
from .invented import Invented
from .skills import Ask, Skill


@dataclass(frozen=True)
class Call:
    """One tool call and what came back."""

    tool: str
    arguments: dict[str, Any]
    result: str
    error: str | None = None


@dataclass(frozen=True)
class Step:
    """One decision to call."""

    thought: str
    calls: tuple[Call, ...]


@dataclass(frozen=True)
class Episode:
    """One task from its text to its answer."""

    kind: str
    task: str
    steps: tuple[Step, ...]
    last_thought: str
    answer: str


NO_TOOL = Episode("no_tool", "", (), "No tool fits.", "I have no tool for that.")


def draw_episode(rng: Random, offered: Sequence[Skill], *, held: bool, unseen: bool) -> Episode:
    """Return an episode for the offered skills.

    Args:
        rng: Source of every choice.
        offered: Skills whose tools stand in the head.
        held: Use wordings that training never sees.
        unseen: Ask for absent tools that training never sees, too.
    """
    kinds: tuple[tuple[str, float], ...] = (
        ("one", 0.67),
        ("parallel", 0.08),
        ("chain", 0.07),
        ("error", 0.06),
        ("no_tool", 0.12),
    )
    kind = rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
    for _ in range(8):
        episode = _MAKERS[kind](rng, offered, held, unseen)
        if episode is not None:
            return episode
    return _one(rng, offered, held, unseen)


def answer_for(results: Sequence[str]) -> str:
    """Return the answer that quotes the results."""
    shown = [_shown(result) for result in results]
    if len(shown) == 1:
        return f"The result is {shown[0]}."
    return f"The results are {', '.join(shown[:-1])} and {shown[-1]}."


def _shown(result: str) -> str:
    try:
        value = json.loads(result)
    except ValueError:
        return result
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_scalar(v)}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(_scalar, value)) or "nothing"
    return result


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _episode(kind: str, task: str, steps: tuple[Step, ...], rng: Random, held: bool) -> Episode:
    return Episode(kind, dress(task, rng, held=held), steps, "Done.", answer_for([c.result for c in steps[-1].calls]))


def _call(skill: Skill, ask: Ask) -> Call:
    return Call(skill.tool.name, ask.arguments, ask.result)


def _one(rng: Random, offered: Sequence[Skill], held: bool, unseen: bool) -> Episode:
    del unseen
    plain = [s for s in offered if s.tool.name in ("calculate", "convert_units")]
    skill = rng.choice(plain) if plain and rng.random() < 0.4 else rng.choice(offered)
    ask = skill.ask(rng, held=held)
    kind = (
        skill.tool.name if skill.tool.name in ("calculate", "convert_units") and isinstance(skill, BuiltIn) else "one"
    )
    return _episode(kind, ask.text, (Step(f"Use {skill.tool.name}.", (_call(skill, ask),)),), rng, held)


def _parallel(rng: Random, offered: Sequence[Skill], held: bool, unseen: bool) -> Episode | None:
    del unseen
    first = rng.choice(offered)
    if isinstance(first, Invented) and first.main and rng.random() < 0.45:
        return _pair(rng, first, held)
    second = rng.choice(offered)
    one, two = first.ask(rng, held=held), second.ask(rng, held=held)
    join = rng.choice(joins.JOINS_HELD if held else joins.JOINS)
    text = join.replace("{a}", one.text).replace("{b}", two.text)
    step = Step(f"Use {first.tool.name} and {second.tool.name}.", (_call(first, one), _call(second, two)))
    return _episode("parallel", text, (step,), rng, held)


def _pair(rng: Random, skill: Invented, held: bool) -> Episode | None:
    """One tool for two things named together: "where are orders A-1 and B-2"."""
    used = next(u for u in skill.used if u.parameter.key == skill.main)
    one, two = str(used.slot.make(rng)), str(used.slot.make(rng))
    ask = skill.ask(rng, held=held, given=one)
    if one == two or mark(one) not in ask.text:
        return None
    link = rng.choice((" and ", " and ", ", ", " & ", " and also "))
    text = ask.text.replace(mark(one), mark(one) + link + mark(two))
    other = Call(skill.tool.name, {**ask.arguments, skill.main or "": two}, skill.result(rng))
    step = Step(f"Use {skill.tool.name} and {skill.tool.name}.", (_call(skill, ask), other))
    return _episode("parallel", text, (step,), rng, held)


def _chain(rng: Random, offered: Sequence[Skill], held: bool, unseen: bool) -> Episode | None:
    del unseen
    first, second = rng.choice(offered), rng.choice(offered)
    value, result = _handed_over(rng, first, second)
    if value is None:
        return None
    one = first.ask(rng, held=held)
    if isinstance(first, BuiltIn):
        result = one.result
        value = result.split(" ")[0]
    two = second.ask(rng, held=held, given=value)
    if mark(value) not in two.text:
        return None
    main = getattr(second, "main", None)
    names = (
        (*joins.THAT, f"the {str(main).replace('_', ' ')}", f"that {str(main).replace('_', ' ')}")
        if main
        else joins.THAT
    )
    follow = two.text.replace(mark(value), rng.choice(names))
    text = rng.choice(joins.CHAINS_HELD if held else joins.CHAINS).replace("{a}", one.text).replace("{b}", follow)
    steps = (
        Step(f"Use {first.tool.name}, then {second.tool.name}.", (Call(first.tool.name, one.arguments, result),)),
        Step(f"Now use {second.tool.name}.", (_call(second, two),)),
    )
    return _episode("chain", text, steps, rng, held)


def _handed_over(rng: Random, first: Skill, second: Skill) -> tuple[str | None, str]:
    """Return the value that the first tool hands to the second, and the result that it stands in."""
    if isinstance(first, BuiltIn):
        numbers, dates = ("calculate", "convert_units"), ("shift_date", "date_difference")
        fits = (first.kind in numbers and isinstance(second, BuiltIn) and second.kind in numbers) or (
            first.kind == "shift_date" and isinstance(second, BuiltIn) and second.kind in dates
        )
        return ("", "") if fits else (None, "")
    if isinstance(second, BuiltIn):
        makers: dict[str, Callable[[Random], Any]] = {
            "calculate": lambda r: abs(values.number(r)),
            "convert_units": lambda r: abs(values.number(r)),
            "fetch_url": values.url,
            "read_artifact": values.identifier,
            "shift_date": values.date,
            "date_difference": values.date,
        }
        maker, key = makers.get(second.kind), rng.choice(("value", "price", "id", "date", "url", "total"))
        if maker is None:
            return None, ""
        made = maker(rng)
        value = str(made)
    elif isinstance(second, Invented) and second.main:
        used = next(u for u in second.used if u.parameter.key == second.main)
        made, key = used.slot.make(rng), second.main
        value = str(made)
    else:
        return None, ""
    if rng.random() < 0.5:
        return value, value
    fields = {
        key: made,
        rng.choice(("name", "city", "state", "note")): rng.choice((values.name, values.city, values.words))(rng),
    }
    if rng.random() < 0.3:
        fields = dict(reversed(fields.items()))
    return value, json.dumps(fields, separators=(",", ":"))


def _error(rng: Random, offered: Sequence[Skill], held: bool, unseen: bool) -> Episode | None:
    del unseen
    skill = rng.choice(offered)
    ask = skill.ask(rng, held=held)
    name = skill.tool.name
    draw = rng.random()
    if draw < 0.5:
        reason, text = _failure(rng, ask, name)
        failed = Call(name, ask.arguments, text, reason)
        episode = _episode("error", ask.text, (Step(f"Use {name}.", (failed,)),), rng, held)
        return replace(episode, last_thought=f"{name} failed.", answer=f"{name} failed: {text}")
    if draw < 0.75:
        reason, text = rng.choice(_transient(name))
        steps = (
            Step(f"Use {name}.", (Call(name, ask.arguments, text, reason),)),
            Step(f"Retry {name}.", (_call(skill, ask),)),
        )
        return _episode("error", ask.text, steps, rng, held)
    return _corrected(rng, skill, ask, held)


def _failure(rng: Random, ask: Ask, name: str) -> tuple[str, str]:
    value = str(next(iter(ask.arguments.values()), "it"))
    return rng.choice(
        (
            ("tool_error", f"not found: {value}"),
            ("tool_error", f"{value} does not exist"),
            ("tool_error", f"there is no {value}"),
            ("tool_error", "nothing found"),
            ("permission_denied", "access denied"),
            ("tool_error", "not allowed"),
            ("tool_error", "internal error"),
            ("tool_error", f"{rng.choice(values.WORDS)} is broken"),
            ("tool_error", f"cannot read {value}"),
            ("tool_withdrawn", "this tool is switched off"),
            (
                "tool_crashed",
                f"tool {name!r} failed ({rng.choice(('ValueError', 'KeyError', 'RuntimeError', 'OSError'))})",
            ),
        )
    )


def _transient(name: str) -> tuple[tuple[str, str], ...]:
    return (
        ("tool_timed_out", f"tool {name!r} did not finish within 5 s"),
        ("tool_timed_out", "no answer in time, try again"),
        ("tool_error", "busy, please retry"),
        ("tool_error", "too many requests, retry"),
        ("timeout", "timed out; a retry may help"),
    )


def _corrected(rng: Random, skill: Skill, ask: Ask, held: bool) -> Episode | None:
    """The task has a slip that the tool points out together with the right value."""
    strings = [
        k
        for k, v in ask.arguments.items()
        if isinstance(v, str) and 2 <= len(v) <= 24 and '"' not in v and not _is_fixed(skill, k)
    ]
    if not strings:
        return None
    key = rng.choice(strings)
    wrong = ask.arguments[key]
    right = _slip(wrong, rng)
    if mark(wrong) not in ask.text or right == wrong:
        return None
    text = rng.choice(
        (
            f'unknown {key} "{wrong}"; did you mean "{right}"?',
            f"{key}: no {wrong}, use {right}",
            f"{key} must be {right}",
            f"invalid {key} {wrong}. try {right}",
            f"{wrong} is not known, but {right} is",
        )
    )
    reason = rng.choice(("arguments_invalid", "tool_error", "tool_error"))
    fixed = Call(skill.tool.name, {**ask.arguments, key: right}, ask.result)
    name = skill.tool.name
    steps = (Step(f"Use {name}.", (Call(name, ask.arguments, text, reason),)), Step(f"Correct {name}.", (fixed,)))
    return _episode("error", ask.text, steps, rng, held)


def _is_fixed(skill: Skill, key: str) -> bool:
    """Tell whether the schema allows only some strings, so that a slip could not be written."""
    return not {"enum", "format"}.isdisjoint(skill.tool.parameters["properties"][key])


def _slip(text: str, rng: Random) -> str:
    """Return a value close to a given one."""
    at = rng.randrange(len(text))
    letter = text[at]
    if letter.isdigit():
        return text[:at] + str((int(letter) + rng.randint(1, 8)) % 10) + text[at + 1 :]
    if letter.isalpha() and letter.islower():
        return text[:at] + rng.choice("aeiourstlnm") + text[at + rng.randint(0, 1) :]
    return text + rng.choice("aeiors")


def _no_tool(rng: Random, offered: Sequence[Skill], held: bool, unseen: bool) -> Episode | None:
    draw = rng.random()
    names = {skill.tool.name for skill in offered}
    nouns = {skill.noun for skill in offered if isinstance(skill, Invented)}
    if draw < 0.2:
        text = _chat(rng)
    elif draw < 0.5:
        absent = [name for name in builtin_skills.NAMES if name not in names]
        if not absent:
            return None
        text = builtin_skills.make(rng.choice(absent), rng).ask(rng, held=held).text
    else:
        other = invented.make(rng, held=unseen)
        if other.noun in nouns or other.tool.name in names:
            return None
        text = other.ask(rng, held=held).text
    return replace(NO_TOOL, task=dress(text, rng, held=held))


def _chat(rng: Random) -> str:
    return expand(f"({joins.CHAT})", rng, {})


_MAKERS: dict[str, Callable[[Random, Sequence[Skill], bool, bool], Episode | None]] = {
    "one": _one,
    "parallel": _parallel,
    "chain": _chain,
    "error": _error,
    "no_tool": _no_tool,
}
