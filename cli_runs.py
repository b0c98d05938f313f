"""Commands about the runs of a server: `submit`, and `runs list|show|tail|cancel|fork|export`."""

import json
import sys
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .cli_remote import STEADY_S, Key, Url, age, ask, follow, report, show_events
from .cli_shared import AsJson, RunIdArgument, die, note, print_json, use_utf8

if TYPE_CHECKING:
    from .client import Client

runs = typer.Typer(name="runs", help="Look at the runs of a server, and change them.", no_args_is_help=True)

Wait = Annotated[bool, typer.Option("--wait", help="Wait until the run has ended, and print its answer.")]
Follow = Annotated[bool, typer.Option("--follow", help="Show the run step by step until it has ended.")]


def submit(
    agent: Annotated[str, typer.Argument(help="Name of an agent of the server.")],
    task: Annotated[str, typer.Argument(help="What it shall do; - reads standard input.")],
    wait: Wait = False,
    follow_it: Follow = False,
    as_value: Annotated[bool, typer.Option("--json-task", help="TASK is a JSON value, not text.")] = False,
    thread: Annotated[str | None, typer.Option("--thread", help="Conversation to go on with.")] = None,
    overlap: Annotated[
        Literal["reject", "enqueue", "interrupt"], typer.Option(help="When another run has the thread.")
    ] = "reject",
    priority: Annotated[Literal["high", "normal", "low"], typer.Option(help="Which queue wakes it.")] = "normal",
    model: Annotated[str | None, typer.Option(help="Model to ask instead of the agent's own.")] = None,
    after: Annotated[datetime | None, typer.Option(help="Moment before which it is not started, local time.")] = None,
    webhook: Annotated[str | None, typer.Option(help="URL that is told of the end.")] = None,
    metadata: Annotated[str | None, typer.Option(help="JSON object that is kept with the run.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Same key, same task: the same run, for 24 h.")] = None,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Submit a task to a server. Prints the run's id, or with --wait its answer, or with --follow its steps."""
    text = sys.stdin.read() if task == "-" else task
    wanted: Any = _json_of(text, "TASK") if as_value else text
    options: dict[str, Any] = {"overlap": overlap, "priority": priority, "thread_id": thread, "model": model}
    options |= {"webhook": webhook, "after": after and after.astimezone()}
    options |= {"metadata": _json_of(metadata, "--metadata") if metadata else None}
    given = {name: value for name, value in options.items() if value is not None}

    def work(client: "Client") -> None:
        if wait and not follow_it:
            report(client.run(agent, wanted, idempotency_key=idempotency_key, **given), as_json)
        run = client.submit(agent, wanted, idempotency_key=idempotency_key, **given)
        if follow_it:
            follow(client, run.id, as_json)
        elif as_json:
            print_json(run.model_dump_json())
        else:
            print(run.id)
            if sys.stdout.isatty():
                note(f"{run.status}, kept {run.durability}; watch it: loopwright runs tail {run.id}")

    ask(url, key, work, patience_s=STEADY_S if wait or follow_it else 10.0)


@runs.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="Only runs of this status.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only runs of this agent.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Most runs to print.")] = 20,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first: id, status, agent, steps, age, reason."""
    from .cli_render import printable

    def work(client: "Client") -> None:
        found: Any = client.list(status=status, agent=agent, page=min(limit, 100))  # type: ignore[arg-type]
        for each in islice(found, limit):
            if as_json:
                print_json(each.model_dump_json())
                continue
            steps = f"{each.step:>3} {'step ' if each.step == 1 else 'steps'}"
            line = f"{each.id}  {each.status:<9}  {each.agent:<16}  {steps}  {age(each.created_at):>7} ago"
            print(printable(f"{line}  {each.reason or ''}".rstrip()))

    use_utf8()
    ask(url, key, work)


@runs.command()
def show(run_id: RunIdArgument, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Print a run, step by step."""
    ask(url, key, lambda client: show_events(client.journal(run_id), as_json))


@runs.command()
def tail(run_id: RunIdArgument, url: Url = None, key: Key = None, as_json: AsJson = False) -> None:
    """Print a run and follow it until it ends, also across restarts of the server."""
    ask(url, key, lambda client: follow(client, run_id, as_json), patience_s=STEADY_S)


@runs.command()
def cancel(
    run_id: RunIdArgument,
    reason: Annotated[str, typer.Option(help="Kept as the run's reason.")] = "requested",
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Ask a run to stop."""

    def work(client: "Client") -> None:
        run = client.cancel(run_id, reason=reason)
        print_json(run.model_dump_json()) if as_json else print(f"{run.id}  {run.status}")

    ask(url, key, work)


@runs.command()
def fork(
    run_id: RunIdArgument,
    step: Annotated[int, typer.Option(min=0, help="How many steps are taken over; 0: none.")] = 0,
    task: Annotated[str | None, typer.Option(help="Another task; left out: the same.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask instead.")] = None,
    wait: Wait = False,
    follow_it: Follow = False,
    url: Url = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """Start a new run that takes over the first steps of another. Prints its id."""
    given: dict[str, Any] = {name: value for name, value in {"task": task, "model": model}.items() if value is not None}

    def work(client: "Client") -> None:
        run = client.fork(run_id, step=step, **given)
        if follow_it:
            follow(client, run.id, as_json)
        elif wait:
            report(client.wait(run.id), as_json)
        else:
            print_json(run.model_dump_json()) if as_json else print(run.id)

    ask(url, key, work, patience_s=STEADY_S if wait or follow_it else 10.0)


@runs.command()
def export(
    run_id: RunIdArgument,
    output: Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")] = "-",
    url: Url = None,
    key: Key = None,
) -> None:
    """Write everything about a run as one JSON file: definition, prompt, events, artifacts."""

    def work(client: "Client") -> None:
        text = client.export(run_id).model_dump_json(indent=2)
        if output == "-":
            for line in text.split("\n"):
                print_json(line)
            return
        try:
            with open(output, "x", encoding="utf-8") as file:
                file.write(text + "\n")
        except OSError as exc:
            die(f"{output} cannot be written: {exc.strerror}")
        note(f"run {run_id} is in {output}")

    ask(url, key, work)


def _json_of(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as exc:
        die(f"{where} is no JSON: {exc}")
