"""The command line. Each noun has a file `cli_<noun>.py`; this one puts them together.

Commands import what they need when they run, so that `--help` answers at once.
"""

import io
import os
import sys
from collections.abc import Callable

import typer

from . import cli_agents, cli_approve, cli_keys, cli_local, cli_runs, cli_serve
from .cli_shared import ExitCode, mute, note

app = typer.Typer(
    name="loopwright",
    help="Self-hosted tool-using agents as durable jobs.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or request, 3 a run waits for a person, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Serve": (cli_serve.serve, cli_serve.api, cli_serve.worker),
    "Ask a server": (cli_runs.submit, cli_approve.approve, cli_agents.agents),
    "Without a server": (cli_local.run, cli_local.resume, cli_local.show, cli_local.tail, cli_local.doctor),
}

for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)
app.add_typer(cli_runs.runs, rich_help_panel="Ask a server")
app.add_typer(cli_keys.keys, name="keys", rich_help_panel="Serve")


def main() -> None:
    """Entry point of the `loopwright` command."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115 - for as long as the process lives
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale without the character must not end a run
    try:
        app()
    except OSError as exc:  # click ends the process quietly when a pipe is closed; this is the rest
        mute()
        note(f"loopwright: {exc}")
        sys.exit(ExitCode.FAILED)


if __name__ == "__main__":
    main()
