"""The command line: `loopwright run`, `agents`, `show`, `tail`, `doctor`.

Commands import what they need when they run, so that `--help` answers at once.
"""

import asyncio
import json
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from .errors import ForCaller, LoopwrightError

if TYPE_CHECKING:
    from .agents import Agent
    from .memory.journal.contract import Journal
    from .planner import events as ev
    from .planner.run import RunResult
    from .settings import Settings

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
    result = _wait_for(_run(agent, task, settings, as_json, in_memory))
    if result.status != "succeeded":
        raise typer.Exit(3 if result.status == "waiting" else 1)


@app.command()
def agents(
    sources: Annotated[list[str], typer.Argument(help="Files, folders or modules.")], as_json: AsJson = False
) -> None:
    """List the agents in files, folders or modules, with their tools."""
    for source in sources:
        for agent in _load(source):
            tools = {tool.name: tool.effect for tool in agent.tools}
            if as_json:
                print(json.dumps({"name": agent.name, "hash": agent.hash, "tools": tools}))
            else:
                listed = ", ".join(f"{name} ({effect})" for name, effect in tools.items()) or "no tools"
                print(f"{agent.name}  {agent.hash[:12]}  {listed}")


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
    from .doctor import examine

    settings = _settings(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model)
    findings = _wait_for(examine(settings, sources or []))
    for finding in findings:
        print(finding)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


async def _run(
    agent: "Agent[Any]", task: str, settings: "Settings", as_json: bool, in_memory: bool
) -> "RunResult[Any]":
    from .inference.connect import connect, describe
    from .memory.connect import open_journal
    from .planner.loop import Prices
    from .planner.run import run_agent

    show_event = _printer(as_json)
    async with open_journal(settings, in_memory=in_memory) as (journal, where):
        if not as_json:
            print(f"{describe(settings)}; {where}", file=sys.stderr)
        name = agent.model if isinstance(agent.model, str) else None
        async with connect(name, settings) as endpoint:
            own = agent.model if agent.model is not None and not isinstance(agent.model, str) else endpoint
            prices = Prices(settings.price_prompt, settings.price_cached, settings.price_completion)
            result = await run_agent(
                agent, task, endpoint=own, journal=journal, tenant=settings.tenant, prices=prices,
                on_event=show_event, review=_ask_person if sys.stdin.isatty() else None,
            )  # fmt: skip
        return result


async def _replay(run_id: str, settings: "Settings", as_json: bool, *, follow: bool) -> None:
    from .memory.connect import open_journal

    show_event = _printer(as_json)
    async with open_journal(settings) as (journal, _where):
        await _check_tenant(journal, run_id, settings.tenant)
        if follow:
            async for stored in journal.follow(run_id):
                show_event(stored.event)
        else:
            for stored in await journal.read(run_id):
                show_event(stored.event)


async def _check_tenant(journal: "Journal", run_id: str, tenant: str) -> None:
    from .errors import RunNotFound

    record = await journal.record(run_id)
    if record.tenant != tenant:
        raise RunNotFound(run_id)


async def _ask_person(call: "ev.ToolCall") -> "ev.CallReviewed | None":
    """Ask at the terminal whether a call may be made."""
    from .planner.events import CallReviewed

    question = f"allow {call.tool} {call.arguments}?"
    allowed = await asyncio.to_thread(typer.confirm, question)
    return CallReviewed(call.id, allowed, by="terminal")


def _printer(as_json: bool) -> Any:
    """Return what shows one event: JSON lines, or steps for people."""
    if as_json:
        from .planner.events import encode

        return lambda event: print(encode(event).decode(), flush=True)
    from rich.console import Console

    from .cli_render import RunPrinter

    console = Console(highlight=False, soft_wrap=True)
    return RunPrinter(console.print).show


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


def _die(message: str, code: int = 2) -> NoReturn:
    print(f"loopwright: {message}", file=sys.stderr)
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the `loopwright` command."""
    app()


if __name__ == "__main__":
    main()
