"""The endpoint against a scripted server: what it sends, what it yields, and how each failure ends."""

import asyncio
import json
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from loopwright.errors import (
    ContextTooLong,
    EndpointError,
    EndpointRefused,
    EndpointTimedOut,
    EndpointUnavailable,
    Misuse,
    SettingsInvalid,
    StreamRunaway,
    to_json,
)
from loopwright.inference.completion import Timeouts
from loopwright.inference.endpoint import CompletionRequest, Delta, Endpoint, Message, Sampling, Usage
from loopwright.inference.openai_compatible import OpenAICompatibleEndpoint
from loopwright.inference.retry import RetryPolicy
from loopwright.tests.inference.fake_server import (
    DONE,
    Act,
    FakeServer,
    Reply,
    answers,
    chunk,
    does,
    event,
    fails,
    nobody_listens,
    says,
    usage,
)

REQUEST = CompletionRequest((Message("system", "be brief"), Message("user", "hi")))
KEY = "sk-very-secret-1234567890"


class Waits:
    """Takes the place of sleeping: notes each wait and returns at once."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def endpoint(url: str, **options: Any) -> OpenAICompatibleEndpoint:
    """Return an endpoint that never sleeps and asks nothing beforehand."""
    defaults = {"constraint_mode": "none", "context_tokens": 4096, "sleep": Waits(), "random": lambda: 1.0}
    return OpenAICompatibleEndpoint(url, "m", **(defaults | options))


async def collect(subject: OpenAICompatibleEndpoint, request: CompletionRequest = REQUEST) -> list[Delta]:
    """Return all deltas of one completion."""
    return [delta async for delta in subject.stream(request)]


def run(
    server: FakeServer | str,
    act: Callable[[OpenAICompatibleEndpoint], Coroutine[Any, Any, Any]] = collect,
    **options: Any,
) -> Any:
    """Do something with an endpoint and close it."""

    async def main() -> Any:
        subject = endpoint(server if isinstance(server, str) else server.url, **options)
        try:
            return await act(subject)
        finally:
            await subject.aclose()

    return asyncio.run(main())


def text_of(deltas: list[Delta]) -> str:
    return "".join(each.text for each in deltas)


def test_it_is_an_endpoint() -> None:
    subject = endpoint("http://host:1/v1")
    assert isinstance(subject, Endpoint)
    assert subject.name == "m@host:1"
    assert subject.context_tokens == 4096


def test_a_completion_streams_and_ends_with_its_reason_and_usage() -> None:
    with FakeServer(says("Hel", "lo", finish="length")) as server:
        deltas = run(server)
    assert text_of(deltas) == "Hello"
    assert deltas[-1].finish_reason == "length"
    assert deltas[-1].usage == Usage(prompt_tokens=7, cached_tokens=4, completion_tokens=3)
    assert all(each.finish_reason is None and each.usage is None for each in deltas[:-1])


def test_the_request_carries_messages_sampling_and_the_wish_for_usage() -> None:
    request = CompletionRequest(REQUEST.messages, sampling=Sampling(temperature=0.7, max_tokens=9, seed=5, top_p=0.5))
    with FakeServer(says("a")) as server:
        run(server, lambda subject: collect(subject, request), api_key=KEY)
        seen = server.chats[0]
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.body == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        "temperature": 0.7,
        "max_tokens": 9,
        "seed": 5,
        "top_p": 0.5,
    }


def test_reasoning_arrives_apart_from_text() -> None:
    with FakeServer(does(chunk(reasoning_content="hm"), 0.02, chunk("a"), chunk(finish="stop"), DONE)) as server:
        deltas = run(server)
    assert "".join(each.reasoning for each in deltas) == "hm"
    assert text_of(deltas) == "a"
    assert deltas[-1].usage is None


def test_events_cut_anywhere_by_the_network_are_put_together() -> None:
    whole = chunk("gr\u00fc\u00df ") + b": ping\n\n" + chunk("\u20ac 😀") + chunk(finish="stop") + usage() + DONE
    chance = random.Random(3)
    cuts = sorted(chance.sample(range(len(whole)), 40))
    parts = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    with FakeServer(does(*parts)) as server:
        assert text_of(run(server)) == "gr\u00fc\u00df \u20ac 😀"


def test_completions_one_after_another_share_a_connection() -> None:
    async def thrice(subject: OpenAICompatibleEndpoint) -> None:
        for _ in range(3):
            await collect(subject)

    with FakeServer(says("a", "b")) as server:
        run(server, thrice)
        assert (len(server.chats), server.connections) == (3, 1)


def test_a_stream_that_ends_without_done_is_complete_when_it_gave_a_reason() -> None:
    with FakeServer(does(chunk("a"), chunk(finish="stop"))) as server:
        deltas = run(server)
    assert (text_of(deltas), deltas[-1].finish_reason) == ("a", "stop")


@pytest.mark.parametrize(
    "parts",
    [
        (chunk("a"), Act.WAIT),
        (chunk("a"), Act.WAIT, Act.CLOSE),
        (chunk("a"), Act.WAIT, Act.RESET),
        (chunk("a"), Act.WAIT, chunk("b")[:-9], Act.CLOSE),
        (chunk("a"), Act.WAIT, event({"error": {"message": "engine died", "code": 500}}), DONE),
        (chunk("a"), Act.WAIT, b"data: {broken\n\n"),
    ],
    ids=["ends", "closed", "reset", "cut JSON", "error event", "garbage"],
)
def test_a_stream_that_breaks_after_its_first_token_is_raised_and_not_repeated(parts: tuple[Any, ...]) -> None:
    seen: list[str] = []

    async def note(subject: OpenAICompatibleEndpoint) -> None:
        async for delta in subject.stream(REQUEST):
            seen.append(delta.text)
            server.gate.set()

    with FakeServer(does(*parts)) as server, pytest.raises(EndpointUnavailable):
        try:
            run(server, note)
        finally:
            assert seen == ["a"]
            assert len(server.chats) == 1


@pytest.mark.parametrize(
    "failure",
    [
        fails(429, retry_after="3"),
        fails(503),
        fails(500),
        fails(502),
        does(Act.RESET),
        does(Act.CLOSE),
        does(chunk("", role="assistant"), Act.RESET),
        does(event({"error": {"message": "engine died", "code": 500}}), DONE),
        does(b"<html>starting</html>"),
        answers({"status": "starting"}),
    ],
    ids=["429", "503", "500", "502", "reset", "close", "reset after role", "error event", "page", "json"],
)
def test_a_failure_before_the_first_token_is_tried_again(failure: Reply) -> None:
    waits = Waits()
    with FakeServer(failure, failure, says("ok")) as server:
        assert text_of(run(server, sleep=waits)) == "ok"
        assert len(server.chats) == 3
    asked = 3.0 if failure.status == 429 else 0.0
    assert [wait >= asked for wait in waits.seconds] == [True, True]


def test_overload_that_lasts_is_reported_with_what_the_server_asked_for() -> None:
    with FakeServer(fails(429, "slow down", retry_after="2")) as server, pytest.raises(EndpointUnavailable) as caught:
        run(server, retry=RetryPolicy(attempts=3))
    assert caught.value.retry_after_s == 2.0
    assert "slow down" in str(caught.value)
    assert len(server.chats) == 3


def test_nobody_listening_is_an_unavailable_endpoint() -> None:
    with nobody_listens() as url, pytest.raises(EndpointUnavailable) as caught:
        run(url, retry=RetryPolicy(attempts=2))
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (fails(400, "unknown field"), EndpointRefused),
        (fails(401, "wrong key"), EndpointRefused),
        (fails(404, "no such model"), EndpointRefused),
        (fails(400, "This model's maximum context length is 4096 tokens."), ContextTooLong),
    ],
)
def test_a_refusal_is_raised_at_once(failure: Reply, kind: type[EndpointError]) -> None:
    with FakeServer(failure) as server, pytest.raises(kind) as caught:
        run(server)
    assert len(server.chats) == 1
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("reply", "timeouts", "problem"),
    [
        (does(Act.STALL), Timeouts(first_token_s=0.3), "first token"),
        (does(chunk("", role="assistant"), Act.STALL), Timeouts(first_token_s=0.3), "first token"),
        (does(chunk("a"), Act.STALL), Timeouts(idle_token_s=0.3), "no token for 0.3 s"),
        (does(chunk("a"), *[0.05, b": ping\n\n"] * 200), Timeouts(idle_token_s=0.3), "no token for 0.3 s"),
        (does(*[chunk("a"), 0.05] * 200), Timeouts(total_s=0.5), "deadline"),
    ],
    ids=["silent", "role only", "stalls", "keep-alives only", "endless"],
)
def test_tokens_that_do_not_come_in_time_are_a_timeout(reply: Reply, timeouts: Timeouts, problem: str) -> None:
    with FakeServer(reply) as server, pytest.raises(EndpointTimedOut, match=problem):
        run(server, timeouts=timeouts)
    assert len(server.chats) <= 1


def test_the_deadline_of_a_request_goes_before_the_endpoints_own() -> None:
    request = CompletionRequest(REQUEST.messages, deadline_s=0.3)
    with FakeServer(does(chunk("a"), Act.STALL)) as server, pytest.raises(EndpointTimedOut, match="deadline"):
        run(server, lambda subject: collect(subject, request))


def test_closing_the_iterator_closes_the_request() -> None:
    async def leave(subject: OpenAICompatibleEndpoint) -> bool:
        stream = subject.stream(REQUEST)
        assert (await anext(stream)).text == "a"
        await stream.aclose()
        return await asyncio.to_thread(server.wait_for_hang_up)

    with FakeServer(does(chunk("a"), Act.STALL)) as server:
        assert run(server, leave)


def test_cancelling_the_task_closes_the_request_and_frees_its_slot() -> None:
    async def cancel(subject: OpenAICompatibleEndpoint) -> str:
        task = asyncio.create_task(collect(subject))
        while not server.chats:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(server.wait_for_hang_up)
        return text_of(await collect(subject))

    with FakeServer(does(chunk("a"), Act.STALL), says("next")) as server:
        assert run(server, cancel, max_concurrency=1) == "next"


def test_more_completions_than_slots_wait_their_turn() -> None:
    async def many(subject: OpenAICompatibleEndpoint) -> list[str]:
        return [text_of(each) for each in await asyncio.gather(*(collect(subject) for _ in range(12)))]

    with FakeServer(does(0.01, chunk("a"), chunk(finish="stop"), DONE)) as server:
        assert run(server, many, max_concurrency=3) == ["a"] * 12
        assert server.connections <= 3


def test_waiting_for_a_slot_counts_against_the_deadline() -> None:
    async def two(subject: OpenAICompatibleEndpoint) -> None:
        first = subject.stream(REQUEST)
        await anext(first)
        try:
            await collect(subject, CompletionRequest(REQUEST.messages, deadline_s=0.2))
        finally:
            await first.aclose()

    with FakeServer(does(chunk("a"), Act.STALL)) as server, pytest.raises(EndpointTimedOut, match="slots"):
        run(server, two, max_concurrency=1)


def test_a_runaway_is_cut_off_and_its_request_closed() -> None:
    endless = does(chunk("Sure"), *[part for _ in range(400) for part in (0.001, chunk("ha"))], Act.STALL)
    with FakeServer(endless) as server, pytest.raises(StreamRunaway) as caught:
        run(server)
    assert caught.value.wasted_tokens <= 64


def test_a_doubled_token_is_passed_on_as_it_came() -> None:
    """Whether the text is a decision is for the planner's validation; nothing here hides what the server said."""
    with FakeServer(says('{"thought":', '{"thought":', '"a"}')) as server:
        assert text_of(run(server)) == '{"thought":{"thought":"a"}'


def test_the_window_is_learned_from_the_server_at_first_use() -> None:
    async def learn(subject: OpenAICompatibleEndpoint) -> int | None:
        assert subject.context_tokens is None
        await asyncio.gather(collect(subject), collect(subject))
        return subject.context_tokens

    with FakeServer(says("a")) as server:
        assert run(server, learn, context_tokens=None) == 4096
        assert sum(each.path.endswith("/models") for each in server.requests) == 1


@pytest.mark.parametrize("models", [fails(404), answers({"data": [{"id": "m"}]}), answers([]), answers({"data": []})])
def test_a_server_that_does_not_tell_its_window_works_without(models: Reply) -> None:
    async def learn(subject: OpenAICompatibleEndpoint) -> int | None:
        await collect(subject)
        return subject.context_tokens

    with FakeServer(says("a"), models=models) as server:
        assert run(server, learn, context_tokens=None) is None


def test_max_tokens_is_capped_to_what_the_window_leaves() -> None:
    request = CompletionRequest((Message("user", "x" * 3500),), sampling=Sampling(max_tokens=4000))
    with FakeServer(says("a")) as server:
        run(server, lambda subject: collect(subject, request))
        assert 2900 < server.chats[0].body["max_tokens"] < 3100


def test_the_token_estimate_follows_the_usage_that_the_server_reports() -> None:
    prompt = (Message("user", "word " * 2000),)

    async def learn(subject: OpenAICompatibleEndpoint) -> tuple[int, int]:
        before = subject.count_tokens(prompt)
        for _ in range(12):
            await collect(subject, CompletionRequest(prompt))
        return before, subject.count_tokens(prompt)

    counted = usage({"prompt_tokens": 5004, "completion_tokens": 1})
    with FakeServer(does(chunk("a"), chunk(finish="stop"), counted, DONE)) as server:
        before, after = run(server, learn)
    assert 2700 < before < 3000
    assert 4800 < after < 5100


def test_the_key_shows_in_no_repr_error_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    failures = [
        fails(401, f"Incorrect API key provided: {KEY}"),
        fails(500, KEY),
        does(event({"error": {"message": KEY}})),
    ]
    for failure in failures:
        with FakeServer(failure) as server, pytest.raises(EndpointError) as caught:
            run(server, api_key=KEY)
        assert KEY not in str(caught.value) + repr(caught.value) + json.dumps(to_json(caught.value))
    assert KEY not in repr(endpoint("http://h/v1", api_key=KEY))
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    "url", ["host:8000/v1", "ftp://host/v1", "", "http://", "http://user:pass@host/v1", "http://[::/v1"]
)
def test_a_base_url_that_cannot_work_is_refused_when_the_endpoint_is_made(url: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        endpoint(url)
    assert "pass" not in str(caught.value).replace("password", "")


def test_a_closed_endpoint_says_so() -> None:
    async def main() -> None:
        subject = endpoint("http://127.0.0.1:9/v1")
        await subject.aclose()
        await collect(subject)

    with pytest.raises(Misuse, match="closed"):
        asyncio.run(main())
