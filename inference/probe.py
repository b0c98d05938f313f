"""Ask a model server what it can do, for `loopwright doctor`, through the openai SDK as any other client would.

The SDK is imported inside `probe`: its two seconds of import do not matter here, and it is a second opinion on whether
the server speaks the protocol that others expect.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import EndpointError
from .abilities import ANSWER_TOKENS, FORCED, ORDER, TRIALS, is_forced, read_window
from .constraints.request import Mode
from .faults import from_status

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from .openai_compatible import OpenAICompatibleEndpoint

PROBE_S = 60.0
"""Longest wait for one answer; a server that compiles its first grammar needs some seconds."""

MODES: tuple[Mode, ...] = ("vllm_grammar", "vllm_json", "response_format")


@dataclass(slots=True)
class ProbeReport:
    """What a server was seen to do.

    Attributes:
        endpoint: Name of the endpoint.
        models: Models that the server lists.
        has_model: The endpoint's model is among them.
        context_tokens: The model's window; `None` when the server does not tell.
        honours: Whether each constraint mode gave the forced answer.
        mode: The mode that `auto` will use.
        is_compact: Forced JSON came without whitespace; `None` when no schema is honoured. Servers that allow
            whitespace let a weak model run on in it: vLLM needs `disable_any_whitespace`.
        streams: A streamed completion arrived in order.
        reports_usage: The stream ended with token counts.
        reports_cached: The counts tell cached tokens.
        first_token_s: Seconds to the first streamed token.
        problems: What failed, one sentence each; empty when all is well.
    """

    endpoint: str
    models: list[str] = field(default_factory=list)
    has_model: bool = False
    context_tokens: int | None = None
    honours: dict[Mode, bool] = field(default_factory=dict)
    mode: Mode = "none"
    is_compact: bool | None = None
    streams: bool = False
    reports_usage: bool = False
    reports_cached: bool = False
    first_token_s: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def is_usable(self) -> bool:
        """Whether runs can be served: the model is there and streams."""
        return self.has_model and self.streams


async def probe(endpoint: "OpenAICompatibleEndpoint") -> ProbeReport:
    """Return what the endpoint's server does; failures are listed in the report, never raised.

    Sends one listing and four short completions. The report's `mode` is what was found, also where the endpoint
    was told its mode.
    """
    from openai import AsyncOpenAI

    report = ProbeReport(endpoint.name)
    connection = endpoint.connection
    client = AsyncOpenAI(base_url=connection.url, api_key=connection.api_key or "none", timeout=PROBE_S, max_retries=1)
    parts: dict[str, Callable[[], Awaitable[None]]] = {
        "the list of models": partial(_list, client, endpoint.model, report),
        **{f"mode {mode}": partial(_constrain, client, endpoint, mode, report) for mode in MODES},
        "streaming": partial(_stream, client, endpoint.model, report),
    }
    try:
        for what, act in parts.items():
            if problem := await _problem(act):
                report.problems.append(connection.without_key(f"{what}: {problem}"))
                if not report.models:
                    break
    finally:
        await client.close()
    report.mode = next((mode for mode in ORDER if report.honours.get(mode)), "none")
    return report


async def _problem(act: Callable[[], Awaitable[None]]) -> str | None:
    """Do one part of the probe; return what went wrong as a sentence."""
    from openai import OpenAIError

    try:
        await act()
    except (OpenAIError, EndpointError, AttributeError, TypeError, ValueError, IndexError) as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return None


async def _list(client: "AsyncOpenAI", model: str, report: ProbeReport) -> None:
    listed = await client.models.list()
    report.models = [each.id for each in listed.data]
    report.has_model = model in report.models
    report.context_tokens = read_window(listed.model_dump(), model)
    if not report.has_model:
        report.problems.append(f"the server does not list model {model!r}")


async def _constrain(
    client: "AsyncOpenAI", endpoint: "OpenAICompatibleEndpoint", mode: Mode, report: ProbeReport
) -> None:
    from openai import APIStatusError

    report.honours[mode] = False
    try:
        reply = await client.chat.completions.create(
            model=endpoint.model,
            messages=[{"role": "user", "content": "Reply with the word OK."}],
            max_tokens=ANSWER_TOKENS,
            temperature=0.0,
            extra_body=TRIALS[mode],
        )
    except APIStatusError as error:
        refusal = from_status(endpoint.name, error.status_code, error.response.text)
        if error.status_code in (429, 503):
            raise refusal from error
        return
    text = reply.choices[0].message.content or ""
    report.honours[mode] = is_forced(mode, text)
    if report.honours[mode] and mode != "vllm_grammar":
        report.is_compact = report.is_compact is not False and text == f'{{"probe":"{FORCED}"}}'


async def _stream(client: "AsyncOpenAI", model: str, report: ProbeReport) -> None:
    started = time.monotonic()
    options: dict[str, Any] = {"stream_options": {"include_usage": True}}
    stream = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Count to five."}], max_tokens=32, stream=True, **options
    )
    async for chunk in stream:
        if chunk.choices and report.first_token_s is None:
            report.first_token_s = time.monotonic() - started
        report.streams = report.streams or bool(chunk.choices and chunk.choices[0].finish_reason)
        if chunk.usage is not None:
            report.reports_usage = True
            report.reports_cached = chunk.usage.prompt_tokens_details is not None
    if not report.streams:
        report.problems.append("streaming: the stream ended without a finish reason")
