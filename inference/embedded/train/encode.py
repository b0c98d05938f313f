"""Conversations as tokens, with marks on the tokens that the model is free to choose.

Under the constraint most of a decision is forced: keys, punctuation, the rest of a tool's name once it is decided.
Only what is free carries loss, and success is judged on it alone. Pieces are encoded one by one so that no token
crosses the border between forced and free text, just as decoding does it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizers import Tokenizer

from .generator import Conversation, Turn
from .skills import Tool
from .tokenizer import token_id

Ids = tuple[int, ...]

MISSES = 4
"""Episodes found too long before a row counts as full."""


@dataclass
class Encoded:
    """Tokens and, for each, whether the model has to choose it; `spans` are (start, stop, kind) of whole episodes."""

    ids: list[int] = field(default_factory=list)
    free: list[bool] = field(default_factory=list)
    spans: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, ids: Sequence[int], free: bool | Sequence[bool] = False) -> None:
        """Append tokens."""
        self.ids.extend(ids)
        self.free.extend([free] * len(ids) if isinstance(free, bool) else free)


class Encoder:
    """Encodes prompts and decisions with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._cache: dict[str, Ids] = {}
        self.roles = {role: token_id(tokenizer, role) for role in ("system", "user", "assistant")}
        self.end = token_id(tokenizer, "end")
        self.pad = token_id(tokenizer, "pad")

    def text(self, text: str) -> Ids:
        """Return the tokens of a piece of text; short pieces are remembered."""
        found = self._cache.get(text)
        if found is None:
            found = tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)
            if len(text) < 40 and len(self._cache) < 50_000:
                self._cache[text] = found
        return found

    def message(self, role: str, content: str) -> Ids:
        """Return a whole message of the prompt."""
        return (self.roles[role], *self.text(content), self.end)

    def decision(self, decision: Mapping[str, Any], tools: Sequence[Tool]) -> Encoded:
        """Return a decision's tokens, without role and end, and which of them are free."""
        out = Encoded()
        out.add(self.text('{"thought":"'))
        self._string(out, decision["thought"])
        out.add(self.text(',"'))
        if "answer" in decision:
            self._choice(out, "answer", ["answer", "calls"])
            out.add(self.text('":"'))
            self._string(out, decision["answer"])
            out.add(self.text("}"))
            return out
        self._choice(out, "calls", ["answer", "calls"])
        by_name = {tool.name: tool for tool in tools}
        for index, call in enumerate(decision["calls"]):
            out.add(self.text('":[{"tool":"' if index == 0 else ',{"tool":"'), index > 0)
            self._name(out, call["tool"], list(by_name))
            self._arguments(out, call["arguments"], by_name[call["tool"]].parameters)
            out.add(self.text("}"))
        out.add(self.text("]}"), True)
        return out

    def _name(self, out: Encoded, name: str, names: Sequence[str]) -> None:
        tail = self.text('","arguments":{')
        options = [self.text(option) + tail for option in names]
        chosen = self.text(name) + tail
        out.add(chosen, free_marks(chosen, options))

    def _choice(self, out: Encoded, text: str, options: Sequence[str]) -> None:
        chosen = self.text(text)
        out.add(chosen, free_marks(chosen, [self.text(option) for option in options]))

    def _string(self, out: Encoded, value: str) -> None:
        """Add a free string's content and its closing quote, all free."""
        out.add(self.text(json.dumps(value, ensure_ascii=False)[1:-1]), True)
        out.add(self.text('"'), True)

    def _arguments(self, out: Encoded, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> None:
        """Add the members of an arguments object and its closing brace.

        The character after a number ends the number and is free; after any other value the next member opens at once.
        """
        left = list(schema["properties"].items())
        required = set(schema["required"])
        opened, first = False, True
        for position, (key, value) in enumerate(arguments.items()):
            kind = schema["properties"][key]
            options = self._openings(left, required, first or opened, may_close=not opened)
            chosen = self._opening(key, kind, first or opened)
            out.add(chosen, free_marks(chosen, options))
            left = left[[k for k, _ in left].index(key) + 1 :]
            last, first = position == len(arguments) - 1, False
            opened = self._value(out, value, kind)
            if opened:
                out.add(self.text("}" if last else ","), True)
                if last:
                    return
        chosen = self.text("}")
        out.add(chosen, free_marks(chosen, self._openings(left, required, first, may_close=True)))

    def _openings(
        self, left: Sequence[tuple[str, Any]], required: set[str], first: bool, *, may_close: bool
    ) -> list[Ids]:
        options = [self._opening(key, kind, first) for key, kind in _reachable(left, required)]
        if may_close and not any(key in required for key, _ in left):
            options.append(self.text("}"))
        return options

    def _opening(self, key: str, kind: Mapping[str, Any], first: bool) -> Ids:
        head = self.text('"' if first else ',"') + self.text(key)
        return head + self.text('":"' if kind.get("type") == "string" else '":')

    def _value(self, out: Encoded, value: Any, kind: Mapping[str, Any]) -> bool:
        """Add a value; tell whether it is a number, whose end is the next character."""
        if "enum" in kind:
            options = [self.text(option) + self.text('"') for option in kind["enum"]]
            chosen = self.text(value) + self.text('"')
            out.add(chosen, free_marks(chosen, options))
        elif isinstance(value, bool):
            self._choice(out, "true" if value else "false", ["true", "false"])
        elif isinstance(value, str):
            self._string(out, value)
        else:
            out.add(self.text(json.dumps(value)), True)
            return True
        return False


def _reachable(left: Sequence[tuple[str, Any]], required: set[str]) -> list[tuple[str, Any]]:
    """Return the members that may come next: optional ones up to and including the first required one."""
    found = []
    for key, kind in left:
        found.append((key, kind))
        if key in required:
            break
    return found


def free_marks(chosen: Ids, options: Sequence[Ids]) -> list[bool]:
    """Mark the tokens of a choice at which another option would have gone on differently."""
    marks = []
    for index in range(len(chosen)):
        nexts = {option[index] for option in options if option[:index] == chosen[:index] and len(option) > index}
        marks.append(len(nexts) > 1)
    return marks


def encode_conversation(encoder: Encoder, conversation: Conversation, limit: int) -> Encoded:
    """Return the head and as many whole episodes as fit into `limit` tokens; `spans` is empty if none fits."""
    out = Encoded()
    out.add(encoder.message("system", conversation.turns[0].content))
    misses = 0
    for kind, turns in zip(conversation.kinds, conversation.episodes(), strict=True):
        part = _episode(encoder, turns, conversation.tools)
        if len(out.ids) + len(part.ids) > limit:
            misses += 1
            if misses == MISSES:
                break
            continue
        out.spans.append((len(out.ids), len(out.ids) + len(part.ids), kind))
        out.add(part.ids, part.free)
    return out


def _episode(encoder: Encoder, turns: Sequence[Turn], tools: Sequence[Tool]) -> Encoded:
    out = Encoded()
    for turn in turns:
        if turn.decision is None:
            out.add(encoder.message(turn.role, turn.content))
            continue
        decision = encoder.decision(turn.decision, tools)
        out.add((encoder.roles["assistant"],))
        out.add(decision.ids, decision.free)
        out.add((encoder.end,))
    return out
