"""What all commands share: options, settings, and how errors become one line and an exit code.

Exit codes: 0 done · 1 failed · 2 wrong usage or request · 3 a run waits for a person · 130 interrupted.
"""

import asyncio
import io
import os
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .errors import ForCaller, LoopwrightError

if TYPE_CHECKING:
    from .agents import Agent
    from .planner import events as ev
    from .settings import Settings

    ShowEvent = Callable[[ev.Event], None]

Redis = Annotated[str | None, typer.Option("--redis", help="Redis URL; without it an embedded Redis in --data-dir.")]
DataDir = Annotated[str | None, typer.Option("--data-dir", help="Folder of the embedded Redis.")]
ModelUrl = Annotated[str | None, typer.Option("--model-url", help="Base URL of an OpenAI-compatible server.")]
Model = Annotated[str | None, typer.Option("--model", help="Name of the model at that server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Source = Annotated[str, typer.Argument(help="File, folder, module, or SOURCE:AGENT.")]
Sources = Annotated[list[str] | None, typer.Argument(help="Files, folders or modules with agents.")]
RunIdArgument = Annotated[str, typer.Argument(help="Id of the run.")]


class ExitCode:
    """How a command ended."""

    FAILED = 1
    WRONG = 2
    WAITS = 3
    INTERRUPTED = 130


def settings_of(**given: Any) -> "Settings":
    """Return the settings of this command: its options, then the environment; a wrong one ends the command."""
    from .settings import load_settings

    try:
        return load_settings(**given)
    except LoopwrightError as exc:
        fail(exc)


def load_agents(source: str) -> "list[Agent[Any]]":
    """Return the agents of a source; one that cannot be loaded ends the command."""
    from .agents import load

    try:
        return load(source)
    except LoopwrightError as exc:
        fail(exc)


def wait_for(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a command's coroutine; our errors become one line and an exit code."""
    return guarded(lambda: asyncio.run(work))


def guarded(work: Callable[[], Any]) -> Any:
    """Do a command's work; our errors become one line and an exit code."""
    from .telemetry import configure_logging

    configure_logging()
    try:
        return work()
    except LoopwrightError as exc:
        fail(exc)
    except KeyboardInterrupt:
        die("interrupted", ExitCode.INTERRUPTED)


def fail(error: LoopwrightError) -> NoReturn:
    """End the command with an error and what to do about it."""
    remedy = "; ".join(getattr(error, "__notes__", ()))
    text = f"{error} ({remedy.rstrip('.')})" if remedy else str(error)
    die(text, ExitCode.WRONG if isinstance(error, ForCaller) else ExitCode.FAILED)


def die(message: str, code: int = ExitCode.WRONG) -> NoReturn:
    """End the command with one line on standard error."""
    note(f"loopwright: {message}")
    raise typer.Exit(code)


def note(text: str) -> None:
    """Say something to a person, on standard error."""
    from .cli_render import printable_lines

    print(printable_lines(text), file=sys.stderr, flush=True)


def print_json(text: str) -> None:
    """Print one line of JSON, readable by machines and harmless to terminals."""
    from .cli_render import printable_json

    use_utf8()
    print(printable_json(text), flush=True)


def use_utf8() -> None:
    """Print in UTF-8 whatever the locale says, as RFC 8259 asks of JSON."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.encoding != "utf-8":
        sys.stdout.reconfigure(encoding="utf-8")


def while_read(show_event: "Callable[[Any], None]") -> "Callable[[Any], None]":
    """Show things for as long as somebody reads them: a run goes on when `| head` has seen enough."""

    def show(event: Any) -> None:
        try:
            show_event(event)
        except OSError as exc:
            mute()
            if not isinstance(exc, BrokenPipeError):
                note(f"loopwright: standard output cannot be written ({exc.strerror}); the run goes on")

    return show


def mute() -> None:
    """Send what is still printed to nowhere, also what Python writes when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_terminal() -> bool:
    """Return whether a person can read a question here and answer it."""
    return bool(sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty())
