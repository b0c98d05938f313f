"""Show a run to a person, step by step, while it happens or afterwards: one line for each thing that matters.

Whatever a model, a tool, a server or a file wrote goes through `printable` (or `printable_json`) before it reaches a
terminal, and travels as text with a style, never as markup, so that nothing in it is obeyed.
"""

import json
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from .planner import events as ev

WIDE = 160
"""Characters of a value that are shown on one line."""

_MARKS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "expired": "red"}

_JOINERS = "\u200c\u200d"
"""Zero-width joiners: no glyph of their own, but Persian, Hindi and many emoji are misspelt without them."""

Piece = str | tuple[str, str]
"""Text, or text and its style."""


def printable(text: str) -> str:
    """Return a text that no terminal obeys: white space as blanks, other unprintable characters as �.

    Unprintable are control characters, bidirectional overrides, surrogates and unassigned code points; letters of
    every script stay.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in _JOINERS else " " if each.isspace() else "�" for each in text)


def printable_lines(text: str) -> str:
    """Return `printable` of every line, the lines behind the first one indented, so that none passes for another."""
    first, *others = [printable(line) for line in text.split("\n")]
    return "\n".join([first, *(f"    {line.strip()}" for line in others if line.strip())])


def printable_json(json_text: str) -> str:
    """Return JSON text of the same value, with every unprintable character as an escape."""
    if json_text.isprintable():
        return json_text
    return "".join(each if each.isprintable() else _escaped(each) for each in json_text)


def clip(text: str, width: int = WIDE) -> str:
    """Return a text on one line, cut to a width."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


class Screen(Console):
    """Standard output for people. A closed pipe raises BrokenPipeError here, where rich would end the process."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """Leave the decision to the caller."""
        raise


TO_MODEL = "your last reply was not a valid step: "
"""How the planner's words to the model begin; a person need not read it."""

HINTS = {
    "approval": "answer at a terminal: loopwright resume SOURCE RUN_ID",
    "in_doubt": "say what became of it with settle_call (docs/agents.md), then: loopwright resume SOURCE RUN_ID",
}
"""What a person can do about a run of this process that waits."""

SERVER_HINTS = {
    "approval": "decide about it: loopwright approve",
    "in_doubt": "say what became of it: loopwright approve",
}
"""What a person can do about a run of a server that waits."""


RELEASES = {
    "drain": "because its worker stops",
    "interrupted": "because its worker stops",
    "model_unavailable": "until the model server is back",
    "agent_missing": "to a worker that knows the agent",
    "suspect": "to a process of its own",
}
"""Why a worker gave a run back, in words."""

SILENT = frozenset({"answered", "child_ended", "stepped"})
"""Reasons to give a run back that nobody needs to hear of: it goes on at once."""


class RunPrinter:
    """Turns events into styled lines.

    Args:
        write: Receives each line.
        hints: What a person can do about a run that waits, by reason.
    """

    def __init__(self, write: Callable[[Text], None], hints: dict[str, str] | None = None) -> None:
        self._send = write
        self._hints = HINTS if hints is None else hints
        self._is_held = False
        self._calls: dict[str, ev.ToolCall] = {}
        self._steps = 0
        self._tokens = ev.Tokens()
        self._done_calls = 0
        self._table: dict[str, Callable[[Any], None]] = {
            "run.created": self._created,
            "run.claimed": self._claimed,
            "run.released": self._released,
            "call.reviewed": self._reviewed,
            "step.decided": self._decided,
            "step.rejected": self._rejected,
            "turn.taken": self._turn,
            "call.finished": self._finished,
            "call.in_doubt": self._in_doubt,
            "run.noticed": lambda event: self._write("    ", ("notice", "yellow"), f" {clip(event.text)}"),
            "budget.reached": lambda event: self._write("    ", ("budget", "yellow"), f" {clip(event.text)}"),
            "prompt.compacted": self._compacted,
            "run.waiting": self._waiting,
            "run.succeeded": lambda event: self._end("succeeded", "", answer_text(event.output)),
            "run.failed": lambda event: self._end("failed", event.reason, event.detail),
            "run.cancelled": lambda event: self._end("cancelled", event.reason, ""),
            "run.expired": lambda event: self._end("expired", "deadline", event.detail),
        }

    def show(self, event: ev.Event) -> None:
        """Print one event; kinds that only matter to machines print nothing."""
        if shown := self._table.get(event.type):
            shown(event)

    def _write(self, *pieces: Piece) -> None:
        parts = [(each, "") if isinstance(each, str) else each for each in pieces]
        self._send(Text.assemble(*((printable(text), style) for text, style in parts)))

    def _created(self, event: ev.RunCreated) -> None:
        task = event.task if isinstance(event.task, str) else json.dumps(event.task, ensure_ascii=False)
        self._write((f"run {event.run_id}", "bold"), "  agent ", (event.agent, "cyan"))
        self._write("    ", ("task", "bold"), f" {clip(task)}")

    def _claimed(self, event: ev.RunClaimed) -> None:
        """Say that another worker goes on where one was lost; claims in the ordinary course say nothing."""
        if self._is_held:
            self._write("    ", ("worker lost", "yellow"), f" {event.worker} carries on, attempt {event.epoch}")
        self._is_held = True

    def _released(self, event: ev.RunReleased) -> None:
        self._is_held = False
        if event.reason in SILENT:
            return
        told = RELEASES.get(event.reason, event.reason)
        self._write("    ", ("handed over", "yellow"), f" {told}", f": {clip(event.detail)}" if event.detail else "")

    def _reviewed(self, event: ev.CallReviewed) -> None:
        name = self._calls[event.call_id].tool if event.call_id in self._calls else event.call_id
        mark = ("approved", "green") if event.approved else ("refused", "red")
        said = f" by {event.by}" if event.by else ""
        edited = f" with {clip(event.arguments)}" if event.arguments is not None else ""
        self._write("    ", mark, " ", (name, "cyan"), said, edited, f": {clip(event.note)}" if event.note else "")

    def _decided(self, event: ev.StepDecided) -> None:
        self._count(event.tokens)
        self._write((f"{event.step:3}", "dim"), " ", (clip(thought_of(event.text)) or "…", "italic"))
        for call in event.calls:
            self._calls[call.id] = call
            self._write("    ", (call.tool, "cyan"), f" {clip(call.arguments)}")

    def _rejected(self, event: ev.StepRejected) -> None:
        self._count(event.tokens)
        self._write(
            (f"{event.step:3}", "dim"), " ", ("invalid reply", "red"), f" {clip(event.problem.removeprefix(TO_MODEL))}"
        )

    def _turn(self, event: ev.TurnTaken) -> None:
        self._tokens = self._tokens + event.tokens
        self._write("    ", (event.kind, "magenta"), f" {clip(event.text)}")

    def _finished(self, event: ev.CallFinished) -> None:
        self._done_calls += 1
        name = self._calls[event.call_id].tool if event.call_id in self._calls else event.tool
        mark = (f"{event.error} ", "red") if event.error else ""
        time = (f" {event.latency_ms} ms", "dim")
        self._write("    ", ("→", "green"), " ", (name, "dim"), " ", mark, clip(event.text), time)

    def _in_doubt(self, event: ev.CallInDoubt) -> None:
        doubt = f" {event.tool} ({event.key}): it is not known whether this call took effect. {event.problem}"
        self._write("    ", ("in doubt", "red"), doubt)

    def _compacted(self, event: ev.PromptCompacted) -> None:
        moved = f" {len(event.artifacts)} observations moved out of the prompt"
        self._write("    ", ("compacted", "yellow"), moved)

    def _waiting(self, event: ev.RunWaiting) -> None:
        self._is_held = False
        self._write(("waiting", "yellow"), f" for {event.reason}: {', '.join(event.call_ids)}")
        if hint := self._hints.get(event.reason):
            self._write("    ", hint)

    def _end(self, status: str, reason: str, text: str) -> None:
        tokens = self._tokens.prompt + self._tokens.completion
        cached = f", {self._tokens.cached} cached" if self._tokens.cached else ""
        self._write((status, f"bold {_MARKS[status]}"), f" {clip(reason)}" if reason else "")
        if text:
            self._write("    ", (clip(text, 2000), "bold"))
        self._write(
            "    ",
            (f"{_count(self._steps, 'step')}, {_count(self._done_calls, 'call')}, {tokens} tokens{cached}", "dim"),
        )

    def _count(self, tokens: ev.Tokens) -> None:
        self._steps += 1
        self._tokens = self._tokens + tokens


def thought_of(text: str) -> str:
    """Return the thought in a decision's text, empty when there is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    return str(value.get("thought", "")) if isinstance(value, dict) else ""


def answer_text(output: str) -> str:
    """Return an answer as people read it: a string without its quotes, anything else as JSON."""
    value = json.loads(output)
    return value if isinstance(value, str) else output


def _escaped(character: str) -> str:
    """Return one character as JSON writes it in ASCII: one escape, or a pair of them beyond U+FFFF."""
    code = ord(character)
    if code < 0x10000:
        return f"\\u{code:04x}"
    high, low = divmod(code - 0x10000, 0x400)
    return f"\\u{0xD800 + high:04x}\\u{0xDC00 + low:04x}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
