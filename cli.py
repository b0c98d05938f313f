"""The command line: `loopwright run`, `resume`, `agents`, `show`, `tail`, `doctor`.

Commands import what they need when they run, so that `--help` answers at once.
"""

import asyncio
import io
import json
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .errors import ForCaller, LoopwrightError

if TYPE_CHECKING:
    from .agents import Agent
    from .inference.endpoint import Endpoint
    from .memory.journal.contract import Journal
    from .planner import events as ev
    from .planner.loop import Review
    from .planner.run import RunResult
    from .settings import Settings

    ShowEvent = Callable[[ev.Event], None]

app = typer.Typer(
    name="loopwright",
    help="Self-hosted tool-using agents as durable jobs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Redis = Annotated[str | None, typer.Option("--redis", help="Redis URL; without it an embedded Redis in --data-dir.")]
DataDir = Annotated[str | None, typer.Option("--data-dir", help="Folder of the embedded Redis.")]
ModelUrl = Annotated[str | None, typer.Option("--model-url", help="Base URL of an OpenAI-compatible server.")]
Model = Annotated[str | None, typer.Option("--model", help="Name of the model at that server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]
Source = Annotated[str, typer.Argument(help="File, folder, module, or SOURCE:AGENT.")]
RunIdArgument = Annotated[str, typer.Argument(help="Id of the run.")]


@app.command()
def run(
    source: Source,
    task: Annotated[str, typer.Argument(help="What the agent shall do.")],
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
    as_json: AsJson = False,
    in_memory: Annotated[bool, typer.Option("--in-memory", help="Keep no record of the run.")] = False,
) -> None:
    """Run an agent on a task, showing every step. Exit code 0: succeeded, 1: not, 3: it waits."""
    settings = _settings(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model)
    agent = _one_agent(source)
    _report(_wait_for(_run(agent, settings, as_json, in_memory=in_memory, task=task)))


@app.command()
def resume(
    source: Source,
    run_id: RunIdArgument,
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Carry on a run that waits or was cut off, asking about calls that need approval. Exit codes as for `run`."""
    settings = _settings(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model)
    _report(_wait_for(_run(_one_agent(source), settings, as_json, run_id=run_id)))


@app.command()
def agents(
    sources: Annotated[list[str], typer.Argument(help="Files, folders or modules.")], as_json: AsJson = False
) -> None:
    """List the agents in files, folders or modules, with their tools."""
    from .cli_render import printable

    for source in sources:
        for agent in _load(source):
            tools = {tool.name: tool.effect for tool in agent.tools}
            if as_json:
                print(json.dumps({"name": agent.name, "hash": agent.hash, "tools": tools}))
            else:
                listed = ", ".join(f"{name} ({effect})" for name, effect in tools.items()) or "no tools"
                print(printable(f"{agent.name}  {agent.hash[:12]}  {listed}"))


@app.command()
def show(run_id: RunIdArgument, redis: Redis = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print a run, step by step, from its journal."""
    settings = _settings(redis_url=redis, data_dir=data_dir)
    _wait_for(_replay(run_id, settings, as_json, follow=False))


@app.command()
def tail(run_id: RunIdArgument, redis: Redis = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print a run and follow it until it ends."""
    settings = _settings(redis_url=redis, data_dir=data_dir)
    _wait_for(_replay(run_id, settings, as_json, follow=True))


@app.command()
def doctor(
    sources: Annotated[list[str] | None, typer.Argument(help="Agent files to check as well.")] = None,
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
) -> None:
    """Check Python, Redis, the model server and agent definitions; exit code 1 when something is wrong."""
    from .cli_render import printable_lines
    from .doctor import examine

    settings = _settings(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model)
    findings = _wait_for(examine(settings, sources or []))
    for finding in findings:
        print(printable_lines(str(finding)))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


async def _run(
    agent: "Agent[Any]",
    settings: "Settings",
    as_json: bool,
    *,
    task: str | None = None,
    run_id: str = "",
    in_memory: bool = False,
) -> "RunResult[Any]":
    """Run a task, or carry on the run of that id when there is no task."""
    from .memory.connect import open_journal
    from .planner.loop import Prices
    from .planner.run import resume_run, run_agent

    async with open_journal(settings, in_memory=in_memory) as (journal, where), _model_of(agent, settings) as endpoint:
        if not as_json:
            _note(f"{_described(agent, settings)}; {where}")
        hooks: dict[str, Any] = {
            "on_event": _while_read(_printer(as_json)),
            "review": _reviewer(agent),
            "prices": Prices(settings.price_prompt, settings.price_cached, settings.price_completion),
            "lease_s": settings.lease_s,
            "follows_endpoint": False,
        }
        if task is not None:
            return await run_agent(agent, task, endpoint=endpoint, journal=journal, tenant=settings.tenant, **hooks)
        await _check_tenant(journal, run_id, settings.tenant)
        for stored in await journal.read(run_id):
            hooks["on_event"](stored.event)
        return await resume_run(agent, run_id, endpoint=endpoint, journal=journal, **hooks)


def _report(result: "RunResult[Any]") -> None:
    """End with the exit code that says how the run stands."""
    if result.status != "succeeded":
        raise typer.Exit(3 if result.status == "waiting" else 1)


def _model_of(agent: "Agent[Any]", settings: "Settings") -> "AbstractAsyncContextManager[Endpoint]":
    """Return the agent's own endpoint, else the one that the settings name; either is closed with the command."""
    from .inference.connect import connect

    if agent.model is None or isinstance(agent.model, str):
        return connect(agent.model, settings)
    return aclosing(agent.model)


def _described(agent: "Agent[Any]", settings: "Settings") -> str:
    from .inference.connect import describe

    if agent.model is None or isinstance(agent.model, str):
        return describe(settings, agent.model)
    return f"model {agent.model.name}, the agent's own"


def _reviewer(agent: "Agent[Any]") -> "Review | None":
    """Return what asks the person at the terminal; `None` where nobody could read the question or answer it."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr and sys.stderr.isatty()):
        return None
    from .cli_prompt import TerminalReview

    return TerminalReview(agent)


async def _replay(run_id: str, settings: "Settings", as_json: bool, *, follow: bool) -> None:
    from .errors import RunNotFound
    from .memory.connect import open_journal

    show_event = _printer(as_json)
    async with open_journal(settings) as (journal, where):
        try:
            await _check_tenant(journal, run_id, settings.tenant)
        except RunNotFound as exc:
            _die(f"{exc} here ({where}; tenant {settings.tenant}): --redis or --data-dir names another journal")
        if follow:
            async for stored in journal.follow(run_id):
                show_event(stored.event)
                if stored.event.type == "run.waiting" and (await journal.record(run_id)).status == "waiting":
                    raise typer.Exit(3)
        else:
            for stored in await journal.read(run_id):
                show_event(stored.event)


async def _check_tenant(journal: "Journal", run_id: str, tenant: str) -> None:
    from .errors import RunNotFound

    record = await journal.record(run_id)
    if record.tenant != tenant:
        raise RunNotFound(run_id)


def _printer(as_json: bool) -> "ShowEvent":
    """Return what shows one event: JSON lines, or steps for people."""
    if as_json:
        from .cli_render import printable_json
        from .planner.events import encode

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")  # RFC 8259, whatever the locale
        return lambda event: print(printable_json(encode(event).decode()), flush=True)
    from .cli_render import RunPrinter, Screen

    return RunPrinter(Screen().print).show


def _while_read(show_event: "ShowEvent") -> "ShowEvent":
    """Show events for as long as somebody reads them: a run goes on when `| head` has seen enough."""

    def show(event: "ev.Event") -> None:
        try:
            show_event(event)
        except OSError as exc:
            _mute()
            if not isinstance(exc, BrokenPipeError):
                _note(f"loopwright: standard output cannot be written ({exc.strerror}); the run goes on")

    return show


def _mute() -> None:
    """Send what is still printed to nowhere, also what Python writes when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_agent(source: str) -> "Agent[Any]":
    found = _load(source)
    if len(found) != 1:
        names = ", ".join(agent.name for agent in found)
        _die(f"{source} has {len(found)} agents ({names}): say which, as {source}:NAME")
    return found[0]


def _load(source: str) -> "list[Agent[Any]]":
    from .agents import load

    try:
        return load(source)
    except LoopwrightError as exc:
        _die(str(exc))


def _settings(**given: Any) -> "Settings":
    from .settings import load_settings

    try:
        return load_settings(**given)
    except LoopwrightError as exc:
        _die(str(exc))


def _wait_for(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a command's coroutine; our errors become one line and an exit code."""
    from .telemetry import configure_logging

    configure_logging()
    try:
        return asyncio.run(work)
    except LoopwrightError as exc:
        _die(str(exc), code=2 if isinstance(exc, ForCaller) else 1)
    except KeyboardInterrupt:
        _die("interrupted", code=130)


def _note(text: str) -> None:
    from .cli_render import printable_lines

    print(printable_lines(text), file=sys.stderr)


def _die(message: str, code: int = 2) -> NoReturn:
    _note(f"loopwright: {message}")
    raise typer.Exit(code)


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
        _mute()
        _note(f"loopwright: {exc}")
        sys.exit(1)


if __name__ == "__main__":
    main()
