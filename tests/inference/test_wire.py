"""The wire format: requests encoded once, events read wherever the network cut them."""

import json
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.errors import ContextTooLong, EndpointError, EndpointRefused, EndpointUnavailable
from loopwright.inference.endpoint import Message, Sampling, Usage
from loopwright.inference.wire import Arrived, EventDecoder, MessageEncoder, read_events, request_body
from loopwright.tests.inference.fake_server import DONE, chunk, event, usage


def decode(data: bytes, seed: int = 0) -> list[bytes]:
    """Feed the bytes in random pieces."""
    chance, decoder, events = random.Random(seed), EventDecoder(), []
    while data:
        size = chance.randint(1, 9)
        events += decoder.feed(data[:size])
        data = data[size:]
    return events + decoder.finish()


def read(*events: bytes) -> Arrived:
    """Read encoded events."""
    arrived = Arrived()
    read_events("e", decode(b"".join(events)), arrived)
    return arrived


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1)),
    st.integers(),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_events_are_cut_alike_for_every_line_ending_and_every_cut(texts: list[str], seed: int, end: str) -> None:
    data = "".join(f": ping{end}{end}event: x{end}data: {text}{end}id: 3{end}{end}" for text in texts)
    assert decode(data.encode(), seed) == [text.encode() for text in texts]


@pytest.mark.parametrize(
    ("data", "events"),
    [
        (b"data:a\n\n", [b"a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\n\ndata: tail", [b"a", b"tail"]),
        (b": comment\n\n", []),
        (b"<html>busy</html>", []),
    ],
)
def test_rare_forms_of_events_are_understood(data: bytes, events: list[bytes]) -> None:
    assert decode(data) == events


def test_events_that_arrive_together_are_read_together() -> None:
    arrived = read(chunk("", role="assistant"), chunk("a"), chunk("b"), chunk(finish="length"), usage(), DONE)
    assert (arrived.text, arrived.tokens, arrived.finish_reason, arrived.is_done) == ("ab", 2, "length", True)
    assert arrived.usage == Usage(prompt_tokens=7, cached_tokens=4, completion_tokens=3)


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
def test_reasoning_is_kept_apart_from_text(key: str) -> None:
    arrived = read(chunk(**{key: "hm"}), chunk("a"))
    assert (arrived.reasoning, arrived.text) == ("hm", "a")


@pytest.mark.parametrize(
    ("said", "ours"),
    [("stop", "stop"), ("tool_calls", "stop"), ("length", "length"), ("content_filter", "abort"), ("abort", "abort")],
)
def test_finish_reasons_are_translated(said: str, ours: str) -> None:
    assert read(chunk("a", finish=said)).finish_reason == ours


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"message": "engine died", "code": 500}, EndpointUnavailable),
        ({"message": "slow down", "code": "rate_limit"}, EndpointUnavailable),
        ({"message": "maximum context length is 10", "code": 400}, ContextTooLong),
        ({"message": "bad", "code": 400}, EndpointRefused),
        ("just text", EndpointUnavailable),
    ],
)
def test_an_error_inside_the_stream_is_raised(error: object, kind: type[EndpointError]) -> None:
    with pytest.raises(kind) as caught:
        read(chunk("a"), event({"error": error}), DONE)
    assert type(caught.value) is kind


@pytest.mark.parametrize("garbage", [b"{", b"[]", b"3", b'{"choices":[7]}', b'{"choices":{"a":1}}', b"\xff\xfe"])
def test_an_event_that_cannot_be_read_is_an_unavailable_endpoint(garbage: bytes) -> None:
    with pytest.raises(EndpointUnavailable):
        read(b"data: " + garbage + b"\n\n")


def test_a_request_body_is_compact_json_with_what_was_asked() -> None:
    messages = MessageEncoder().encode((Message("system", "é"), Message("user", 'q"')))
    sampling = Sampling(temperature=0.5, seed=3, top_p=0.9)
    body = request_body(b'"m"', messages, b',"response_format":{}', sampling, 12)
    assert b", " not in body
    assert json.loads(body) == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "é"}, {"role": "user", "content": 'q"'}],
        "temperature": 0.5,
        "max_tokens": 12,
        "seed": 3,
        "top_p": 0.9,
        "response_format": {},
    }


def test_lone_surrogates_travel_as_escapes() -> None:
    encoded = MessageEncoder().encode((Message("user", "a\ud800"),))
    assert json.loads(encoded) == [{"role": "user", "content": "a\ud800"}]


def test_the_encoder_forgets_the_oldest_messages_and_stays_right() -> None:
    encoder = MessageEncoder(max_bytes=300)
    prompts = [tuple(Message("user", f"{word} {number}") for number in range(9)) for word in ("one", "two", "three")]
    for prompt in prompts * 3:
        assert json.loads(encoder.encode(prompt)) == [{"role": "user", "content": each.content} for each in prompt]


def test_encoding_a_prompt_that_grew_costs_a_small_part_of_encoding_it_anew() -> None:
    """CPU per step must not grow with the history: what was encoded once is only copied."""
    prompt = tuple(Message("user", f'{number} "quoted" text\n' * 200) for number in range(200))
    encoder = MessageEncoder()
    started = time.process_time()
    encoder.encode(prompt)
    first = time.process_time() - started
    started = time.process_time()
    for _ in range(10):
        encoder.encode(prompt)
    assert (time.process_time() - started) / 10 < first / 5
