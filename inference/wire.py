"""The OpenAI-compatible wire format: the body of a request, and the events of a streamed completion.

Sources: the OpenAI chat completions reference, vLLM's OpenAI-compatible server, and the server-sent events chapter of
the HTML standard. Everything here is pure; `openai_compatible` moves the bytes.
"""

import json
from typing import Any

from pydantic_core import from_json

from ..errors import EndpointUnavailable
from .endpoint import FinishReason, Message, Role, Sampling, Usage
from .faults import from_event

CACHE_BYTES = 64 * 1024 * 1024
"""Encoded messages kept per endpoint; the oldest leave first and are encoded anew when needed."""

MAX_EVENT_BYTES = 1024 * 1024
"""Longest single event; a page that is no event stream ends here."""

_FINISH: dict[str, FinishReason] = {
    "length": "length",
    "content_filter": "abort",
    "abort": "abort",
    "repetition": "abort",
}


def encode(value: Any) -> bytes:
    """Return compact JSON in UTF-8; lone surrogates, which UTF-8 cannot hold, travel as escapes."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


class MessageEncoder:
    """Encodes prompts, remembering each message, so that a prompt that grew by two messages encodes two.

    The rest of the work per request is one dictionary look-up per message, by a hash that the string already
    carries, and the copy of the bytes.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held = 0
        self._known: dict[Role, dict[str, bytes]] = {"system": {}, "user": {}, "assistant": {}}

    def encode(self, messages: tuple[Message, ...]) -> bytes:
        """Return the messages as a JSON array."""
        known = self._known
        parts = [known[each.role].get(each.content) or self._add(each) for each in messages]
        return b"[" + b",".join(parts) + b"]"

    def _add(self, message: Message) -> bytes:
        encoded = encode({"role": message.role, "content": message.content})
        if len(encoded) > self._max_bytes:
            return encoded
        self._held += len(encoded)
        self._known[message.role][message.content] = encoded
        while self._held > self._max_bytes:
            fullest = max(self._known.values(), key=len)
            self._held -= len(fullest.pop(next(iter(fullest))))
        return encoded


def request_body(model: bytes, messages: bytes, constraint: bytes, sampling: Sampling, max_tokens: int | None) -> bytes:
    """Return the body of a streaming chat completion.

    Args:
        model: The model's name as JSON.
        messages: The messages as a JSON array.
        constraint: Further members of the body as `,"key":value...`, or nothing.
        sampling: How tokens are drawn; its `max_tokens` gives way to the next argument.
        max_tokens: Most tokens of the completion; `None` leaves it to the server.
    """
    fields: dict[str, Any] = {"temperature": sampling.temperature}
    if max_tokens is not None:
        fields["max_tokens"] = max_tokens
    if sampling.seed is not None:
        fields["seed"] = sampling.seed
    if sampling.top_p is not None:
        fields["top_p"] = sampling.top_p
    head = b'{"model":' + model + b',"stream":true,"stream_options":{"include_usage":true},"messages":'
    return b"".join((head, messages, b",", encode(fields)[1:-1], constraint, b"}"))


class EventDecoder:
    """Cuts a byte stream into the `data` of its server-sent events, wherever the network cut the bytes."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of each event that these bytes complete; an empty line ends an event."""
        data = self._rest + data
        held = b""
        if b"\r" in data:
            if data.endswith(b"\r"):
                data, held = data[:-1], b"\r"
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *events, rest = data.split(b"\n\n")
        self._rest = rest + held
        return [data for event in events if (data := _data(event))]

    def finish(self) -> list[bytes]:
        """Return the data of an event that the end of the stream completes."""
        data = _data(self._rest.replace(b"\r", b"\n").strip(b"\n"))
        self._rest = b""
        return [data] if data else []

    @property
    def held_bytes(self) -> int:
        """Bytes of the event that has not ended yet."""
        return len(self._rest)


def _data(event: bytes) -> bytes:
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


class Arrived:
    """What the events of one network read add to a completion.

    Attributes:
        text: New characters of the completion.
        reasoning: New characters of the model's reasoning, where the server tells it apart.
        tokens: Events that carried text: a lower bound of the tokens.
        finish_reason: Why the model stopped, once it did.
        usage: Tokens of the whole request, once known.
        is_done: Nothing follows.
        is_cut: The stream ended without saying so.
    """

    __slots__ = ("finish_reason", "is_cut", "is_done", "reasoning", "text", "tokens", "usage")

    def __init__(self) -> None:
        self.text = ""
        self.reasoning = ""
        self.tokens = 0
        self.finish_reason: FinishReason | None = None
        self.usage: Usage | None = None
        self.is_done = False
        self.is_cut = False


def read_events(endpoint: str, events: list[bytes], arrived: Arrived) -> None:
    """Add to `arrived` what these events say.

    Raises:
        EndpointError: An event reports a failure, or is not JSON of the expected shape.
    """
    for event in events:
        if event == b"[DONE]":
            arrived.is_done = True
            break
        try:
            _read_chunk(endpoint, _parse(event), arrived)
        except (ValueError, TypeError, AttributeError, KeyError, IndexError) as error:
            shown = event[:80].decode(errors="replace")
            raise EndpointUnavailable(endpoint, f"unreadable event in the stream: {shown!r}") from error


def _parse(event: bytes) -> Any:
    """Return the event's JSON: by the faster parser, or by the one that allows for lone surrogates."""
    try:
        return from_json(event)
    except ValueError:
        return json.loads(event)


def _read_chunk(endpoint: str, chunk: dict[str, Any], arrived: Arrived) -> None:
    if choices := chunk.get("choices"):
        choice = choices[0]
        delta = choice.get("delta")
        if delta:
            if text := delta.get("content") or delta.get("refusal"):
                arrived.text += text
                arrived.tokens += 1
            elif reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
                arrived.reasoning += reasoning
        if reason := choice.get("finish_reason"):
            arrived.finish_reason = _FINISH.get(reason, "stop")
    elif error := chunk.get("error"):
        raise from_event(endpoint, error)
    if usage := chunk.get("usage"):
        arrived.usage = read_usage(usage)


def read_usage(usage: dict[str, Any]) -> Usage:
    """Return the tokens that a server reports; servers that count no cached tokens have read all of them."""
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        cached_tokens=details.get("cached_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
    )
