"""Commands that need no server: `run`, `resume`, `show`, `tail`, `doctor` work on a journal themselves."""

import json
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_shared import (
    AsJson,
    DataDir,
    ExitCode,
    Model,
    ModelUrl,
    Redis,
    RunIdArgument,
    Source,
    die,
    is_terminal,
    load_agents,
    note,
    print_json,
    settings_of,
    wait_for,
    while_read,
)

if TYPE_CHECKING:
    from .agents import Agent
    from .cli_live import LiveView
    from .cli_shared import ShowEvent
    from .inference.endpoint import Endpoint
    from .memory.journal.contract import Journal
    from .planner.events import CallReviewed, ToolCall
    from .planner.loop import Review
    from .planner.run import RunResult
    from .settings import Settings


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
    """Run an agent on a task here, without a server, showing every step."""
    settings = settings_of(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model)
    agent = _one_agent(source)
    _report(wait_for(_run(agent, settings, as_json, in_memory=in_memory, task=task)))


def resume(
    source: Source,
    run_id: RunIdArgument,
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Carry on a run that waits or was cut off, asking about calls that need approval."""
    settings = settings_of(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model)
    _report(wait_for(_run(_one_agent(source), settings, as_json, run_id=run_id)))


def show(run_id: RunIdArgument, redis: Redis = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print a run, step by step, from its journal."""
    settings = settings_of(redis_url=redis, data_dir=data_dir)
    wait_for(_replay(run_id, settings, as_json, follow=False))


def tail(run_id: RunIdArgument, redis: Redis = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Print a run and follow it until it ends."""
    settings = settings_of(redis_url=redis, data_dir=data_dir)
    wait_for(_replay(run_id, settings, as_json, follow=True))


def doctor(
    sources: Annotated[list[str] | None, typer.Argument(help="Agent files to check as well.")] = None,
    redis: Redis = None,
    data_dir: DataDir = None,
    model_url: ModelUrl = None,
    model: Model = None,
    as_json: AsJson = False,
) -> None:
    """Check Python, Redis, the model server and agent definitions; exit code 1 when something is wrong."""
    from .cli_render import printable_lines
    from .doctor import examine

    settings = settings_of(redis_url=redis, data_dir=data_dir, model_url=model_url, model=model)
    findings = wait_for(examine(settings, sources or []))
    for finding in findings:
        if as_json:
            print_json(json.dumps(asdict(finding)))
        else:
            print(printable_lines(str(finding)))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(ExitCode.FAILED)


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
            note(f"{_described(agent, settings)}; {where}")
        view = _view(as_json)
        hooks: dict[str, Any] = {
            "on_event": while_read(_printer(view)),
            "review": _reviewer(agent, view),
            "prices": Prices(settings.price_prompt, settings.price_cached, settings.price_completion),
            "lease_s": settings.lease_s,
            "follows_endpoint": False,
        }
        with view or nullcontext():
            if task is not None:
                return await run_agent(agent, task, endpoint=endpoint, journal=journal, tenant=settings.tenant, **hooks)
            await _check_tenant(journal, run_id, settings.tenant)
            for stored in await journal.read(run_id):
                hooks["on_event"](stored.event)
            return await resume_run(agent, run_id, endpoint=endpoint, journal=journal, **hooks)


def _report(result: "RunResult[Any]") -> None:
    """End with the exit code that says how the run stands."""
    if result.status != "succeeded":
        raise typer.Exit(ExitCode.WAITS if result.status == "waiting" else ExitCode.FAILED)


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


def _reviewer(agent: "Agent[Any]", view: "LiveView | None") -> "Review | None":
    """Return what asks the person at the terminal; `None` where nobody could read the question or answer it."""
    if not is_terminal():
        return None
    from .cli_prompt import TerminalReview

    ask = TerminalReview(agent)

    async def review(call: "ToolCall") -> "CallReviewed | None":
        with view.aside() if view else nullcontext():
            return await ask(call)

    return review


async def _replay(run_id: str, settings: "Settings", as_json: bool, *, follow: bool) -> None:
    from .errors import RunNotFound
    from .memory.connect import open_journal

    view = _view(as_json)
    show_event = _printer(view)
    async with open_journal(settings) as (journal, where):
        try:
            await _check_tenant(journal, run_id, settings.tenant)
        except RunNotFound as exc:
            die(f"{exc} here ({where}; tenant {settings.tenant}): --redis or --data-dir names another journal")
        if not follow:
            for stored in await journal.read(run_id):
                show_event(stored.event)
            return
        with view or nullcontext():
            async for stored in journal.follow(run_id):
                show_event(stored.event)
                if stored.event.type == "run.waiting" and await _asks(journal, run_id):
                    raise typer.Exit(ExitCode.WAITS)


async def _asks(journal: "Journal", run_id: str) -> bool:
    """Return whether a run waits for a person."""
    from .planner.events import PEOPLE

    record = await journal.record(run_id)
    return record.status == "waiting" and record.reason in PEOPLE


async def _check_tenant(journal: "Journal", run_id: str, tenant: str) -> None:
    from .errors import RunNotFound

    record = await journal.record(run_id)
    if record.tenant != tenant:
        raise RunNotFound(run_id)


def _view(as_json: bool) -> "LiveView | None":
    """Return what shows steps to people; `None` where machines read."""
    if as_json:
        return None
    from .cli_live import LiveView

    return LiveView()


def _printer(view: "LiveView | None") -> "ShowEvent":
    """Return what shows one event: steps for people, or JSON lines."""
    if view is not None:
        return view.show
    from .planner.events import encode

    return lambda event: print_json(encode(event).decode())


def _one_agent(source: str) -> "Agent[Any]":
    found = load_agents(source)
    if len(found) != 1:
        names = ", ".join(agent.name for agent in found)
        die(f"{source} has {len(found)} agents ({names}): say which, as {source}:NAME")
    return found[0]
