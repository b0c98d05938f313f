"""Check what a process will depend on, one finding a line: Python, Redis, the model, agent definitions."""

import platform
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import LoopwrightError
from .settings import Settings

if TYPE_CHECKING:
    from .inference.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    topic: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.topic:<8} {self.text}"


async def examine(settings: Settings, sources: Sequence[str]) -> list[Finding]:
    """Look at everything; a failure in one place does not hide the others."""
    findings = [_python()]
    for check in (_redis(settings), _model(settings)):
        findings += [finding async for finding in check]
    for source in sources:
        findings += _definitions(source)
    return findings


def _python() -> Finding:
    ok = (3, 11) <= sys.version_info < (3, 14)
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("python", ok, text if ok else f"{text}; 3.11, 3.12 or 3.13 is needed")


async def _redis(settings: Settings) -> AsyncIterator[Finding]:
    from .memory.connect import open_journal, server_facts

    try:
        async with open_journal(settings) as (journal, where):
            yield Finding("redis", True, where)
            for text in server_facts(journal):
                yield Finding("redis", True, text)
    except LoopwrightError as exc:
        yield Finding("redis", False, str(exc))


async def _model(settings: Settings) -> AsyncIterator[Finding]:
    from .inference.connect import connect, describe

    try:
        async with connect(settings=settings) as endpoint:
            yield Finding("model", True, describe(settings))
            for ok, text in await _probe(endpoint):
                yield Finding("model", ok, text)
    except LoopwrightError as exc:
        yield Finding("model", False, str(exc))


async def _probe(endpoint: "Endpoint") -> list[tuple[bool, str]]:
    from .inference.embedded import EmbeddedEndpoint
    from .inference.openai_compatible import OpenAICompatibleEndpoint

    if not isinstance(endpoint, OpenAICompatibleEndpoint):
        if isinstance(endpoint, EmbeddedEndpoint):
            await endpoint.prepare()
        return [(True, f"{endpoint.name}, window {endpoint.context_tokens} tokens")]
    from .inference.probe import probe

    report = await probe(endpoint)
    honoured = ", ".join(mode for mode, ok in report.honours.items() if ok) or "none: replies are checked and repaired"
    seen = f"{report.endpoint}, window {report.context_tokens} tokens, constraints honoured: {honoured}"
    return [(report.is_usable, seen), *((False, problem) for problem in report.problems)]


def _definitions(source: str) -> list[Finding]:
    from .agents import load

    try:
        found = load(source)
    except LoopwrightError as exc:
        return [Finding("agents", False, str(exc))]
    return [
        Finding("agents", True, f"{agent.name}: {len(agent.tools)} tools, hash {agent.hash[:12]}") for agent in found
    ]
