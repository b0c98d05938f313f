"""Events arrive exactly once and in order, whatever happens to connections and servers in between."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from loopwright.client import AsyncClient, Client, Live
from loopwright.client.call import Lost, Reply
from loopwright.client.following import STEADY_S, Following
from loopwright.client.trouble import Patience
from loopwright.errors import ApiUnavailable, RunNotFound

from ..inference.fake_server import Act, Seen
from ..inference.fake_server import Reply as Page
from .api_script import ScriptedApi, drops, fails, gives, run, sends, stored, streams

END = 30
JOURNAL = [stored(number) for number in range(1, END)] + [stored(END, "run.succeeded", output="1")]
IDS = [event["id"] for event in JOURNAL]

Read = Callable[..., list[Any]]


def blocking(url: str, method: str = "events", patience_s: float = 10.0, **more: Any) -> list[Any]:
    with Client(url, patience_s=patience_s) as client:
        return list(getattr(client, method)("r1", **more))


def asynchronous(url: str, method: str = "events", patience_s: float = 10.0, **more: Any) -> list[Any]:
    async def work() -> list[Any]:
        async with AsyncClient(url, patience_s=patience_s) as client:
            return [each async for each in getattr(client, method)("r1", **more)]

    return asyncio.run(work())


@pytest.fixture(params=[blocking, asynchronous])
def read(request: pytest.FixtureRequest) -> Read:
    """Read a stream to its end, in both colours."""
    found: Read = request.param
    return found


class Flaky:
    """Serves the journal from behind the id it is asked for, and breaks off in another way each time."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.breaks = 0

    def __call__(self, seen: Seen) -> Page:
        if seen.headers["accept"] != "text/event-stream":
            return gives(run(status="running"))
        after = seen.headers.get("last-event-id")
        left = JOURNAL[IDS.index(after) + 1 :] if after else JOURNAL
        how = self._random.choice(["reset", "close", "end", "half", "503", "drop", "repeat"])
        parts: list[Any] = [sends(event) for event in left[: self._random.randint(1, 6)]]
        if len(parts) >= len(left):
            return streams(b": here\n\n", *parts)
        self.breaks += 1
        if how == "503":
            return fails(503, "stopping")
        if how == "drop":
            return drops()
        if how == "half":
            parts.append(sends(left[len(parts)])[: self._random.randint(1, 60)])
            return streams(*parts)
        if how == "repeat" and after:
            return streams(sends(JOURNAL[IDS.index(after)]), *parts)
        return streams(*parts, {"reset": Act.RESET, "close": Act.CLOSE}.get(how, b": bye\n\n"))


@pytest.mark.parametrize("seed", range(4))
def test_every_event_comes_once_however_often_the_stream_is_cut(seed: int, read: Read) -> None:
    server = Flaky(seed)
    with ScriptedApi(server) as api:
        assert [event.id for event in read(api.url)] == IDS
    assert server.breaks >= 3


def test_a_stream_goes_on_behind_the_event_that_the_caller_names(read: Read) -> None:
    with ScriptedApi(Flaky(1)) as api:
        assert [event.id for event in read(api.url, after=IDS[24])] == IDS[25:]
    assert api.requests[0].headers["last-event-id"] == IDS[24]


def test_the_final_event_ends_the_stream_even_if_the_server_does_not(read: Read) -> None:
    with ScriptedApi(streams(sends(JOURNAL[-1]), Act.STALL)) as api:
        assert [event.type for event in read(api.url)] == ["run.succeeded"]
        assert api.wait_for_hang_up()
    assert len(api.requests) == 1


def test_nothing_is_left_of_a_run_whose_end_was_seen_before(read: Read) -> None:
    def plays(seen: Seen) -> Page:
        if seen.headers["accept"] == "text/event-stream":
            return streams(b": here\n\n")
        return gives({"items": []}) if "/events" in seen.path else gives(run(status="succeeded"))

    with ScriptedApi(plays) as api:
        assert read(api.url, after=IDS[-1]) == []
    assert len(api.requests) == 3


def test_a_run_that_ended_while_the_server_was_restarted_is_read_to_its_end(read: Read) -> None:
    """The server closes its streams when it stops; that the run has ended since does not mean that all was seen."""
    left = [streams(b": bye\n\n"), streams(sends(JOURNAL[-1]))]

    def plays(seen: Seen) -> Page:
        if seen.headers["accept"] == "text/event-stream":
            return left.pop(0)
        return gives({"items": JOURNAL[-1:]}) if "/events" in seen.path else gives(run(status="succeeded"))

    with ScriptedApi(plays) as api:
        assert [event.id for event in read(api.url, after=IDS[-2])] == IDS[-1:]


def test_what_the_model_writes_comes_in_between_and_is_never_resumed_from(read: Read) -> None:
    delta = b'event: delta\ndata: {"step": 1, "text": "Hel"}\n\n'
    progress = b'event: progress\ndata: {"call_id": "1.1", "share": 0.5}\n\n'
    unknown = b"event: advice\ndata: {}\n\n"
    first = streams(sends(JOURNAL[0]), delta, unknown, progress)
    with ScriptedApi(first, streams(sends(JOURNAL[-1]))) as api:
        items = read(api.url, "stream")
    assert items[1:3] == [Live("delta", {"step": 1, "text": "Hel"}), Live("progress", {"call_id": "1.1", "share": 0.5})]
    assert items[1].text == "Hel"
    assert len(items) == 4
    assert "deltas=true" in api.requests[0].path
    assert api.requests[1].headers["last-event-id"] == IDS[0]


def test_events_alone_do_not_ask_for_deltas(read: Read) -> None:
    with ScriptedApi(streams(sends(JOURNAL[-1]))) as api:
        read(api.url)
    assert "deltas" not in api.requests[0].path


def test_a_run_that_is_not_there_is_said_at_once(read: Read) -> None:
    with ScriptedApi(fails(404, "run_not_found", facts={"run_id": "r1"})) as api, pytest.raises(RunNotFound):
        read(api.url)


@pytest.mark.parametrize(
    "reply",
    [
        drops(),
        fails(503),
        streams(),
        streams(b"event: run.noticed\ndata: {nonsense\n\n"),
        gives({"items": []}),
    ],
)
def test_a_server_that_never_gets_anywhere_is_given_up(reply: Page, read: Read) -> None:
    def plays(seen: Seen) -> Page:
        return reply if seen.headers["accept"] == "text/event-stream" else gives(run(status="running"))

    with ScriptedApi(plays) as api, pytest.raises(ApiUnavailable):
        read(api.url, patience_s=0.5)
    assert len(api.requests) >= 2


def test_a_reader_may_stop_in_the_middle() -> None:
    with ScriptedApi(streams(sends(JOURNAL[0]), sends(JOURNAL[1]), Act.STALL)) as api, Client(api.url) as client:
        for event in client.events("r1"):
            assert event.id == IDS[0]
            break
        assert api.wait_for_hang_up()


def test_an_asynchronous_reader_can_be_cancelled() -> None:
    async def work(url: str) -> None:
        async with AsyncClient(url) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    async for _ in client.events("r1"):
                        pass

    with ScriptedApi(streams(sends(JOURNAL[0]), Act.STALL)) as api:
        asyncio.run(work(api.url))
        assert api.wait_for_hang_up()


def follow(patience: Patience, clock: list[float]) -> Following:
    return Following("r1", "", False, patience, now=lambda: clock[0])


def test_streams_that_end_after_a_while_without_news_are_no_failures() -> None:
    """A proxy that cuts idle connections every minute must not end a run of hours."""
    clock = [0.0]
    following = follow(Patience(1.0, first_s=0.5, random=lambda: 1.0), clock)
    for _ in range(100):
        following.call()
        following.opened()
        clock[0] += STEADY_S
        assert following.pause(Lost("cut")) == 0.5


def test_streams_that_end_at_once_are_opened_anew_more_and_more_slowly() -> None:
    clock = [0.0]
    following = follow(Patience(100.0, first_s=1.0, longest_s=8.0, random=lambda: 1.0), clock)
    pauses = []
    for _ in range(5):
        following.call()
        following.opened()
        pauses.append(following.pause(Lost("cut")))
        clock[0] += pauses[-1]
    assert pauses == [1.0, 2.0, 4.0, 8.0, 8.0]
    assert following.pause(Reply(503, {"retry-after": "20"}, b"")) == 20.0
