"""Read a decision while it is still being written: each tool call as its closing brace arrives, and the answer's text.

The decision is `{"thought": ..., "calls": [...]}` or `{"thought": ..., "answer": ...}`. Only brackets, strings and the
keys of the outermost object are followed, by jumping from one structural character to the next; what lies between is
left to `json.loads` and validation, which see every finished piece. Text before the first brace is skipped.
"""

import json
import re

_ROOT = re.compile(r"\{")
_OUTER = re.compile(r'["{}\[\]:,]')
_INNER = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_ESCAPES = re.compile(r"[^\\]*(?:\\(?:[^u]|u[0-9a-fA-F]{4})[^\\]*)*")
_PARTNER = {"}": "{", "]": "["}


class DecisionReader:
    """Follows one decision. It never raises: text that is no decision yields nothing.

    A call that was yielded has balanced brackets and closed strings; whether it is valid is for its reader to check.
    """

    __slots__ = (
        "_answer", "_answer_open", "_calls", "_capture", "_done", "_escaped", "_expects_key", "_in_string", "_key",
        "_mark", "_parts", "_stack",
    )  # fmt: skip

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._in_string = False
        self._escaped = False
        self._expects_key = False
        self._key = ""
        self._done = False
        self._calls = 0
        self._capture = ""
        self._parts: list[str] = []
        self._mark = 0
        self._answer: list[str] = []
        self._answer_open = False

    @property
    def is_done(self) -> bool:
        """Whether the outermost object has closed, or the brackets do not match; later text changes nothing."""
        return self._done

    def feed(self, text: str) -> list[tuple[int, str]]:
        """Take the next piece of the stream, cut anywhere.

        Returns:
            `(index, json text)` for each object of `"calls"` that this piece closed; indices count from 0.
        """
        closed: list[tuple[int, str]] = []
        at = self._mark = 0
        while at < len(text) and not self._done:
            at = self._through_string(text, at) if self._in_string else self._to_structure(text, at, closed)
        if self._capture:
            self._keep(text[self._mark :])
        return closed

    def take_answer(self) -> str:
        """Return the characters of a text answer that arrived since the last time, decoded; empty for other answers."""
        if not self._answer:
            return ""
        raw = arrived = "".join(self._answer)
        if self._answer_open and (whole := _ESCAPES.match(raw)):
            raw = whole.group()
        text = _decode(raw)
        if self._answer_open and text and "\ud800" <= text[-1] <= "\udbff" and raw[-1] != text[-1]:
            raw, text = raw[:-6], text[:-1]  # the other half of this surrogate pair is still to come
        self._answer = [arrived[len(raw) :]] if len(raw) < len(arrived) else []
        return text

    def _through_string(self, text: str, at: int) -> int:
        """Go to the end of the string that is open, or of the piece."""
        if self._escaped:
            self._escaped = False
            at += 1
        body = _STRING.match(text, at)
        end = body.end() if body else at
        if end >= len(text):
            return len(text)
        if text[end] == "\\":
            self._escaped = True
            return len(text)
        self._in_string = False
        if self._capture == "key":
            self._key = _decode(self._captured(text, end))
        elif self._capture == "answer":
            self._keep(text[self._mark : end])
            self._capture = ""
            self._answer_open = False
        return end + 1

    def _to_structure(self, text: str, at: int, closed: list[tuple[int, str]]) -> int:
        """Go behind the next structural character and act on it."""
        depth = len(self._stack)
        found = (_INNER if depth > 1 else _OUTER if depth else _ROOT).search(text, at)
        if found is None:
            return len(text)
        match found.group():
            case '"':
                self._open_string(found.end())
            case "{" | "[" as bracket:
                self._open(bracket, found.start())
            case "}" | "]" as bracket:
                self._close(bracket, text, found.end(), closed)
            case mark:
                self._expects_key = mark == ","
        return found.end()

    def _open_string(self, at: int) -> None:
        self._in_string = True
        if len(self._stack) != 1:
            return
        if self._expects_key:
            self._start("key", at)
        elif self._key == "answer":
            self._answer_open = True
            self._start("answer", at)

    def _open(self, bracket: str, at: int) -> None:
        if bracket == "{" and self._key == "calls" and self._stack == ["{", "["]:
            self._start("call", at)
        self._stack.append(bracket)
        self._expects_key = len(self._stack) == 1

    def _close(self, bracket: str, text: str, end: int, closed: list[tuple[int, str]]) -> None:
        if self._stack.pop() != _PARTNER[bracket]:
            self._done = True
            self._capture = ""
        elif self._capture == "call" and len(self._stack) == 2:
            closed.append((self._calls, self._captured(text, end)))
            self._calls += 1
        self._done = self._done or not self._stack

    def _start(self, what: str, at: int) -> None:
        self._capture = what
        self._mark = at

    def _keep(self, text: str) -> None:
        (self._answer if self._capture == "answer" else self._parts).append(text)

    def _captured(self, text: str, end: int) -> str:
        self._parts.append(text[self._mark : end])
        whole = "".join(self._parts)
        self._parts.clear()
        self._capture = ""
        return whole


def _decode(raw: str) -> str:
    """Return the characters of a JSON string's inside; the text itself where it is no valid string."""
    if "\\" not in raw:
        return raw
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return raw
