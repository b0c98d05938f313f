"""Check what a process will depend on, one finding a line: Python, Redis, the model, agent definitions."""

import platform
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import LoopwrightError
from .settings import Settings


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


async def _probe(endpoint: Any) -> list[tuple[bool, str]]:
    if not hasattr(endpoint, "base_url"):
        return [(True, f"{endpoint.name}, window {endpoint.context_tokens} tokens")]
    from .inference.probe import probe

    report = await probe(endpoint)
    return report.findings()


def _definitions(source: str) -> list[Finding]:
    from .agents import load

    try:
        found = load(source)
    except LoopwrightError as exc:
        return [Finding("agents", False, str(exc))]
    return [
        Finding("agents", True, f"{agent.name}: {len(agent.tools)} tools, hash {agent.hash[:12]}") for agent in found
    ]
