"""Templates with choices: how one request comes to have thousands of wordings.

A template such as `(what is|what's) {a} (times|x) {b}` is expanded by drawing one alternative of each bracket,
innermost first; `{a}` are slots, filled with values afterwards. Values are marked while noise (typos, case,
missing punctuation) is applied, so that noise never touches what has to be copied.
"""

import re
from random import Random

_BRACKET = re.compile(r"\(([^()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")
_OPEN, _CLOSE = "\x01", "\x02"
_MARKED = re.compile(f"({_OPEN}[^{_CLOSE}]*{_CLOSE})")

_BEFORE = (
    "please ",
    "pls ",
    "can you ",
    "could you ",
    "could you please ",
    "hey, ",
    "hi, ",
    "hi there. ",
    "hello, ",
    "ok, ",
    "now ",
    "next, ",
    "I need you to ",
    "I want you to ",
    "I'd like you to ",
    "would you ",
    "quickly ",
    "so ",
    "go ahead and ",
    "let's ",
    "help me: ",
    "task: ",
    "just ",
)
_AFTER = (
    " please",
    " pls",
    " thanks",
    ", thanks",
    ", please",
    " for me",
    " right now",
    ", thank you",
    " if you can",
    " now",
    ". Thanks!",
    ", would you",
)
HELD_BEFORE = ("kindly ", "good morning, ", "be so kind and ", "I was wondering, ", "a favour: ")
HELD_AFTER = (", cheers", " when you have a moment", ", much obliged", " asap")


def expand(template: str, rng: Random, slots: dict[str, str]) -> str:
    """Return one wording of a template, with the slots' values marked."""
    while match := _BRACKET.search(template):
        choice = rng.choice(match.group(1).split("|"))
        template = template[: match.start()] + choice + template[match.end() :]
    return _SLOT.sub(lambda m: mark(slots[m.group(1)]), template)


def mark(value: str) -> str:
    """Mark a value so that noise leaves it alone."""
    return f"{_OPEN}{value}{_CLOSE}"


def plain(text: str) -> str:
    """Return a text without marks, runs of spaces closed up outside of values."""
    parts = _MARKED.split(text)
    return "".join(p[1:-1] if p.startswith(_OPEN) else re.sub(r" {2,}", " ", p) for p in parts).strip()


def dress(text: str, rng: Random, *, held: bool = False) -> str:
    """Return a request with politeness, case, punctuation and typos varied; values stay as they are."""
    before, after = (HELD_BEFORE, HELD_AFTER) if held else (_BEFORE, _AFTER)
    if rng.random() < 0.3:
        text = rng.choice(before) + text
    if rng.random() < 0.2:
        text = text.rstrip(".?!") + rng.choice(after)
    draw = rng.random()
    if draw < 0.25:
        text = text.rstrip(".?!")
    elif draw < 0.5 and text[-1] not in ".?!":
        text += rng.choice(".?!.?")
    draw = rng.random()
    if draw < 0.4:
        text = text[0].upper() + text[1:]
    elif draw < 0.5:
        text = _outside(text, str.lower)
    if rng.random() < 0.12:
        text = _outside(text, lambda part: _typo(part, rng))
    return plain(text)


def _outside(text: str, change: "type[str] | object") -> str:
    parts = _MARKED.split(text)
    return "".join(p if p.startswith(_OPEN) else change(p) for p in parts)  # type: ignore[operator]


def _typo(text: str, rng: Random) -> str:
    """Swap, drop or double one letter of one longer word."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if len(word) > 3 and word.isalpha()]
    if not long:
        return text
    index = rng.choice(long)
    word = words[index]
    at = rng.randrange(1, len(word) - 1)
    words[index] = rng.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )
    return " ".join(words)
