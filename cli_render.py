"""Show a run to a person, step by step, while it happens or afterwards: one line for each thing that matters."""

import json
from collections.abc import Callable
from typing import Any

from .planner import events as ev

WIDE = 160
"""Characters of a value that are shown on one line."""

_MARKS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "expired": "red"}


def clip(text: str, width: int = WIDE) -> str:
    """Return a text on one line, cut to a width."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else f"{flat[: width - 1]}…"


class RunPrinter:
    """Turns events into lines of rich markup.

    Args:
        write: Receives each line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._calls: dict[str, ev.ToolCall] = {}
        self._steps = 0
        self._tokens = ev.Tokens()
        self._done_calls = 0
        self._table: dict[str, Callable[[Any], None]] = {
            "run.created": self._created,
            "step.decided": self._decided,
            "step.rejected": self._rejected,
            "turn.taken": self._turn,
            "call.finished": self._finished,
            "call.in_doubt": self._in_doubt,
            "run.noticed": lambda event: self._write(f"    [yellow]notice[/] {_safe(event.text)}"),
            "budget.reached": lambda event: self._write(f"    [yellow]budget[/] {_safe(event.text)}"),
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

    def _created(self, event: ev.RunCreated) -> None:
        task = event.task if isinstance(event.task, str) else json.dumps(event.task)
        self._write(f"[bold]run {event.run_id}[/]  agent [cyan]{event.agent}[/]")
        self._write(f"    [bold]task[/] {_safe(task)}")

    def _decided(self, event: ev.StepDecided) -> None:
        self._count(event.tokens)
        self._write(f"[dim]{event.step:3}[/] [italic]{_safe(thought_of(event.text)) or '…'}[/]")
        for call in event.calls:
            self._calls[call.id] = call
            self._write(f"    [cyan]{call.tool}[/] {_safe(call.arguments)}")

    def _rejected(self, event: ev.StepRejected) -> None:
        self._count(event.tokens)
        self._write(f"[dim]{event.step:3}[/] [red]invalid reply[/] {_safe(event.problem)}")

    def _turn(self, event: ev.TurnTaken) -> None:
        self._tokens = _sum(self._tokens, event.tokens)
        self._write(f"    [magenta]{event.kind}[/] {_safe(event.text)}")

    def _finished(self, event: ev.CallFinished) -> None:
        self._done_calls += 1
        name = self._calls[event.call_id].tool if event.call_id in self._calls else event.tool
        mark = f"[red]{event.error}[/] " if event.error else ""
        self._write(f"    [green]→[/] [dim]{name}[/] {mark}{_safe(event.text)} [dim]{event.latency_ms} ms[/]")

    def _in_doubt(self, event: ev.CallInDoubt) -> None:
        self._write(f"    [red]in doubt[/] {event.tool}: it is not known whether this call took effect ({event.key})")

    def _compacted(self, event: ev.PromptCompacted) -> None:
        self._write(f"    [yellow]compacted[/] {len(event.artifacts)} observations moved out of the prompt")

    def _waiting(self, event: ev.RunWaiting) -> None:
        self._write(f"[yellow]waiting[/] for {event.reason}: {', '.join(event.call_ids)}")

    def _end(self, status: str, reason: str, text: str) -> None:
        colour = _MARKS[status]
        tokens = self._tokens.prompt + self._tokens.completion
        cached = f", {self._tokens.cached} cached" if self._tokens.cached else ""
        self._write(f"[bold {colour}]{status}[/] {_safe(reason)}".rstrip())
        if text:
            self._write(f"    [bold]{_safe(text, 2000)}[/]")
        self._write(f"    [dim]{self._steps} steps, {self._done_calls} calls, {tokens} tokens{cached}[/]")

    def _count(self, tokens: ev.Tokens) -> None:
        self._steps += 1
        self._tokens = _sum(self._tokens, tokens)


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


def _safe(text: str, width: int = WIDE) -> str:
    """Clip a text and keep rich from reading markup in it, or a terminal from reading control codes."""
    from rich.markup import escape

    clean = "".join(character if character.isprintable() else " " for character in text)
    return escape(clip(clean, width))


def _sum(a: ev.Tokens, b: ev.Tokens) -> ev.Tokens:
    return ev.Tokens(a.prompt + b.prompt, a.cached + b.cached, a.completion + b.completion, a.cost + b.cost)
