"""Live progress on a terminal: lines that stay, and below them one that says what is happening right now.

Where standard output is no terminal the lines alone are printed, so that logs and pipes stay plain.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from .cli_render import RunPrinter, Screen, printable
from .planner import events as ev

TAIL_CHARS = 400
"""How much of what the model writes is kept for the last line."""


class LiveView:
    """Shows a run while it happens. Use it as a context manager.

    Args:
        hints: What a person can do about a run that waits, by reason.
        screen: Where to print; standard output when left out.
    """

    def __init__(self, hints: dict[str, str] | None = None, screen: Console | None = None) -> None:
        self._screen = screen or Screen()
        self._printer = RunPrinter(self._print, hints=hints)
        self._now = Now()
        self._live: Live | None = None
        self._asides = 0

    def show(self, event: ev.Event) -> None:
        """Print one event, and change the last line with it."""
        self._now.take(event)
        self._printer.show(event)

    def write(self, text: str) -> None:
        """Show what the model is writing."""
        self._now.write(text)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the last line away for the length of the block, in which somebody else uses the terminal."""
        self._asides += 1
        self._end()
        try:
            yield
        finally:
            self._asides -= 1
            if not self._asides:
                self._begin()

    def __enter__(self) -> Self:
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _begin(self) -> None:
        if self._screen.is_terminal and not self._screen.is_dumb_terminal:
            self._live = Live(
                self._now, console=self._screen, refresh_per_second=8, transient=True, redirect_stderr=False
            )
            self._live.start()

    def _end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, line: Text) -> None:
        self._screen.print(line)


class Now:
    """The last line: step, calls under way, tokens, elapsed time, and the end of what the model writes."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._spinner = Spinner("dots")
        self._status = "queued"
        self._step = 0
        self._tokens = 0
        self._calls: dict[str, str] = {}
        self._text = ""

    def take(self, event: ev.Event) -> None:
        """Learn from an event."""
        kind: Any = event
        match event.type:
            case "run.created":
                self._began = time.monotonic() - max(0.0, time.time() - event.created_ms / 1000)
            case "step.decided" | "step.rejected" | "turn.taken":
                self._step = getattr(kind, "step", self._step)
                self._tokens += kind.tokens.prompt + kind.tokens.completion
                self._calls = {call.id: call.tool for call in getattr(kind, "calls", ())}
                self._text = ""
            case "call.finished":
                self._calls.pop(event.call_id, None)
                usage = event.usage
                self._tokens += usage.prompt + usage.completion if usage else 0
            case "run.claimed" | "run.resumed":
                self._status = "running"
            case "run.waiting":
                self._status = f"waiting for {event.reason}"
            case "run.released":
                self._status = "queued"

    def write(self, text: str) -> None:
        """Add to what the model is writing."""
        self._text = (self._text + text)[-TAIL_CHARS:]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        elapsed = time.monotonic() - self._began
        calls = f"  {', '.join(self._calls.values())} …" if self._calls else ""
        head = f" {self._status}  step {self._step}{calls}  {self._tokens:,} tokens  {clock(elapsed)}"
        line = Text.assemble(self._spinner.render(console.get_time()), (printable(head), "dim"))  # type: ignore[arg-type]
        room = max(0, options.max_width - line.cell_len - 3)
        if self._text and room > 8:
            line.append(f"  {tail_of(self._text, room)}", "italic dim")
        line.truncate(options.max_width)
        line.no_wrap = True
        yield line


def clock(seconds: float) -> str:
    """Return a duration as people read it."""
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tail_of(text: str, width: int) -> str:
    """Return the end of a text on one line that no terminal obeys."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= width else f"…{flat[1 - width :]}"


def event_of(data: dict[str, Any]) -> ev.Event | None:
    """Return a stored event that came over the API; `None` for a kind that this version does not know."""
    from .errors import JournalCorrupt

    try:
        return ev.decode(json.dumps({"v": ev.SCHEMA_VERSION, **data}))
    except JournalCorrupt:
        return None
