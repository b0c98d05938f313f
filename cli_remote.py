"""What commands that ask a server share: its address, and how its runs are shown."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_shared import ExitCode, guarded, print_json, use_utf8

if TYPE_CHECKING:
    from .api.models import Run, RunEvent
    from .cli_live import LiveView
    from .client import Client, Live

Url = Annotated[str | None, typer.Option("--url", help="The server; else LOOPWRIGHT_URL, else http://127.0.0.1:8300.")]
Key = Annotated[
    str | None, typer.Option("--key", help="API key; else LOOPWRIGHT_KEY, which other users of this host cannot see.")
]

QUICK_S = 5.0
"""For how long a command that answers at once goes on trying when the server is away."""

STEADY_S = 120.0
"""For how long a command that follows a run goes on trying; a server may be restarted meanwhile."""

EXIT_CODES = {"succeeded": 0, "waiting": ExitCode.WAITS}
"""How a command ends that saw a run settle; all other statuses are failures."""


def ask(url: str | None, key: str | None, work: "Callable[[Client], Any]", *, patience_s: float = QUICK_S) -> Any:
    """Do a command's work with a client; errors become one line and an exit code."""

    def asking() -> Any:
        from .client import Client

        with Client(url, key, patience_s=patience_s) as client:
            return work(client)

    return guarded(asking)


def follow(client: "Client", run_id: str, as_json: bool, after: str = "") -> None:
    """Show a run until it has ended or waits for a person, and end the command as the run stands."""
    items: Iterator[Any] = client.events(run_id, after=after) if as_json else client.stream(run_id, after=after)
    view = _view(as_json)
    show = _shower(view)
    status = ""
    with view or nullcontext():
        for item in items:
            show(item)
            kind = getattr(item, "type", "")
            status = kind.removeprefix("run.") or status
            if kind == "run.waiting" and _asks(client, run_id, item.id):
                break
    raise typer.Exit(EXIT_CODES.get(status, ExitCode.FAILED))


def _asks(client: "Client", run_id: str, event_id: str) -> bool:
    """Return whether a run still waits for a person as it began to in an event, and not by now for something else."""
    from .client.runs import is_settled

    run = client.get(run_id)
    if run.status != "waiting" or not is_settled(run):
        return False
    return all(each.type != "run.waiting" for each in client.journal(run_id, after=event_id))


def show_events(events: "Iterator[RunEvent]", as_json: bool) -> None:
    """Print events that happened."""
    show = _shower(_view(as_json))
    for event in events:
        show(event)


def report(run: "Run", as_json: bool) -> None:
    """Print how a run stands, and end the command accordingly."""
    if as_json:
        print_json(run.model_dump_json())
    else:
        from .cli_render import SERVER_HINTS, clip, printable_lines

        use_utf8()
        if run.status == "succeeded":
            print(printable_lines(run.output if isinstance(run.output, str) else as_text(run.output)))
        else:
            told = f" ({run.reason})" if run.reason else ""
            hint = SERVER_HINTS.get(run.reason or "", "") if run.status == "waiting" else clip(run.detail, 500)
            print(printable_lines(f"{run.status}{told}{': ' if hint else ''}{hint}"))
    raise typer.Exit(EXIT_CODES.get(run.status, ExitCode.FAILED))


def as_text(value: Any) -> str:
    """Return a JSON value on one line."""
    import json

    return json.dumps(value, ensure_ascii=False)


def age(moment: Any) -> str:
    """Return how long ago a moment was."""
    from .cli_live import clock

    return clock(max(0.0, time.time() - moment.timestamp()))


def _view(as_json: bool) -> "LiveView | None":
    if as_json:
        return None
    from .cli_live import LiveView
    from .cli_render import SERVER_HINTS

    return LiveView(hints=SERVER_HINTS)


def _shower(view: "LiveView | None") -> "Callable[[RunEvent | Live], None]":
    """Return what shows one item of a stream."""
    if view is None:
        return lambda item: print_json(as_text(item.data))
    from .cli_live import event_of
    from .client import Live

    def show(item: "RunEvent | Live") -> None:
        if isinstance(item, Live):
            view.write(item.text)
        elif (event := event_of(dict(item.data))) is not None:
            view.show(event)

    return show
