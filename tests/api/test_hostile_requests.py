"""T33: bodies and clients that mean harm are refused quickly, cost no memory, and hold up nobody."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from structlog.testing import capture_logs

from loopwright.api import body as body_module
from loopwright.api import server as server_module
from loopwright.api.body import MAX_BYTES, MAX_DEPTH, checked_json
from loopwright.errors import BodyInvalid

from ..memory.support import eventually, in_loop
from ..servers import RedisServer
from .agents_under_test import clerk
from .served import Served, served

JSON = {"content-type": "application/json"}
HEAD = b"POST /v1/runs HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
FINE = b'{"agent":"clerk","task":"hi"}'


def nested(depth: int) -> bytes:
    """Return a run request whose body is nested so deep."""
    inner = depth - 1
    return b'{"agent":"clerk","task":' + b"[" * inner + b"]" * inner + b"}"


HOSTILE = {
    "1e5 levels of arrays": nested(100_000),
    "1e5 levels that never close": b"[" * 100_000,
    "levels hidden behind a quoted bracket": b'{"a":"\\"[",' + nested(70)[1:],
    "a key twice": b'{"agent":"clerk","task":1,"task":2}',
    "a key twice, written differently": b'{"agent":"clerk","task":1,"t\\u0061sk":2}',
    "a key twice inside of the task": b'{"agent":"clerk","task":{"a":1,"a":2}}',
    "NaN": b'{"agent":"clerk","task":NaN}',
    "Infinity": b'{"agent":"clerk","task":-Infinity}',
    "a float beyond all": b'{"agent":"clerk","task":1e999}',
    "1e5 digits": b'{"agent":"clerk","task":' + b"9" * 100_000 + b"}",
    "1e5 digits of a float": b'{"agent":"clerk","task":' + b"9" * 100_000 + b".0}",
    "half of a surrogate pair": b'{"agent":"clerk","task":"\\ud800"}',
    "half of a surrogate pair as a key": b'{"agent":"clerk","task":{"\\uDFFF":1}}',
    "bytes that are no UTF-8": b'{"agent":"clerk","task":"\xff\xfe"}',
    "UTF-16": FINE.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + FINE,
    "no JSON": b"agent=clerk",
    "two values": FINE + FINE,
    "an open string": b'{"agent":"clerk","task":"' + b'\\"' * 400_000,
    "nothing but spaces": b" " * 1000,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_a_body_that_is_no_plain_json_is_refused_within_a_second(name: str) -> None:
    start = time.process_time()
    with pytest.raises(BodyInvalid) as caught:
        checked_json(HOSTILE[name])
    assert time.process_time() - start < 1
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "body",
    [
        nested(MAX_DEPTH),
        b'{"agent":"clerk","task":"\\ud83d\\ude00"}',
        b'{"agent":"clerk","task":"' + b"[{" * 500 + b'"}',
        b'{"agent":"clerk","task":"\\"' + b"[" * 100 + b'\\\\"}',
        b'{"agent":"clerk","task":"1e999 NaN"}',
        json.dumps({"agent": "clerk", "task": {f"key{number}": number for number in range(50_000)}}).encode(),
        b'{"agent":"clerk","task":123456789012345678901234567890}',
        b"null",
    ],
)
def test_json_that_only_looks_strange_is_taken(body: bytes) -> None:
    start = time.process_time()
    assert checked_json(body) == json.loads(body)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", sorted(HOSTILE))
@in_loop
async def test_a_hostile_body_makes_no_run(one_server: RedisServer, tmp_path: Path, name: str) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        response = await api.http.post("/v1/runs", content=HOSTILE[name], headers=JSON)
        assert response.status_code == 400
        assert response.json()["type"] == "urn:loopwright:problem:body_invalid"
        assert await api.store.journal.runs("local") == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({"content-type": "application/json", "content-encoding": "identity, gzip"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({}, 415),
        ({"content-type": "application/json; charset=utf-8"}, 202),
        ({"content-type": "APPLICATION/JSON"}, 202),
        ({"content-type": "application/vnd.api+json"}, 202),
    ],
)
@in_loop
async def test_only_uncompressed_json_is_taken(
    one_server: RedisServer, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        response = await api.http.post("/v1/runs", content=FINE, headers=headers)
        assert response.status_code == status


@pytest.mark.parametrize("declared", [True, False])
@in_loop
async def test_a_hundred_megabytes_are_refused_at_once_and_kept_nowhere(
    one_server: RedisServer, tmp_path: Path, declared: bool
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        before = rss_kib()

        async def flood() -> Any:
            for _ in range(1600):
                yield b"x" * 65_536

        length = {"content-length": str(1600 * 65_536)} if declared else {}
        start = time.monotonic()
        try:
            response = await api.http.post("/v1/runs", content=flood(), headers=JSON | length)
            assert response.status_code == 413
            assert "1,048,576" in response.json()["detail"]
        except httpx2.TransportError:
            pass  # the server need not wait for the rest
        assert time.monotonic() - start < 10
        assert rss_kib() - before < 64 * 1024
        assert (await api.http.post("/v1/runs", content=FINE, headers=JSON)).status_code == 202


@in_loop
async def test_a_body_of_exactly_the_limit_is_taken(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        room = MAX_BYTES - len(b'{"agent":"clerk","task":[""]}')
        body = b'{"agent":"clerk","task":["' + b"x" * room + b'"]}'
        assert (await api.http.post("/v1/runs", content=body, headers=JSON)).status_code == 202
        assert (await api.http.post("/v1/runs", content=body + b" ", headers=JSON)).status_code == 413


@in_loop
async def test_two_hundred_slow_clients_hold_up_nobody_and_are_sent_away(
    one_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "BODY_S", 2.0)
    async with served(one_server, tmp_path, [clerk]) as api:
        alone = await latency(api)
        slow = [await raw(api, HEAD % 500 + b'{"agent":') for _ in range(200)]
        assert await latency(api) < max(3 * alone, 0.1)
        async with asyncio.timeout(15):
            for reader, writer in slow:
                line = await reader.readline()
                assert b" 408 " in line
                writer.close()


@in_loop
async def test_a_head_that_does_not_end_is_cut_off_by_time_and_by_size(
    one_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEAD_S", 1.0)
    async with served(one_server, tmp_path, [clerk]) as api:
        silent, writer_1 = await raw(api, b"")
        slow, writer_2 = await raw(api, b"GET /healthz HTTP/1.1\r\nhost: ")
        huge, writer_3 = await raw(api, b"GET /healthz HTTP/1.1\r\n")
        for _ in range(9):
            writer_3.write(b"x-pad: " + b"x" * 8000 + b"\r\n")
            await asyncio.sleep(0.01)
        assert b" 431 " in await asyncio.wait_for(huge.readline(), 10)
        for reader in (silent, slow):
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await asyncio.wait_for(reader.readexactly(1), 10)
        for writer in (writer_1, writer_2, writer_3):
            writer.close()


@in_loop
async def test_clients_that_leave_in_the_middle_leave_nothing_behind(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        head = (
            b"POST /v1/runs HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 29\r\n\r\n"
        )
        for cut in range(0, len(head) + len(FINE), 3):
            _, writer = await raw(api, (head + FINE)[:cut])
            writer.transport.abort()
        await eventually(lambda: quiet())
        assert await api.store.journal.runs("local") == []
        assert (await api.http.post("/v1/runs", content=FINE, headers=JSON)).status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/", 404, None),
        ("GET", "/v1/nothing", 404, None),
        ("GET", "/v1/runs/", 404, None),
        ("PUT", "/v1/runs", 405, "GET, POST"),
        ("DELETE", "/v1/runs/x", 405, "GET"),
        ("GET", "/v1/runs/x/cancel", 405, "POST"),
        ("TRACE", "/v1/runs", 405, "GET, POST"),
    ],
)
@in_loop
async def test_what_is_not_there_is_a_problem_too(
    one_server: RedisServer, tmp_path: Path, method: str, path: str, status: int, allow: str | None
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        response = await api.http.request(method, path)
        assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
        assert response.headers.get("allow") == allow
        assert response.json()["type"].startswith("urn:loopwright:problem:")


@in_loop
async def test_an_unexpected_error_says_nothing_of_the_inside_and_is_logged_by_its_request_id(
    one_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:

        async def broken(*_args: Any, **_kwargs: Any) -> None:
            raise RuntimeError("secret of the inside")

        monkeypatch.setattr(type(api.store.journal), "snapshot", broken)
        run_id = await api.submit()
        with capture_logs() as logged:
            response = await api.http.get(f"/v1/runs/{run_id}", headers={"x-request-id": "find-me-42"})
        assert (response.status_code, response.json()["request_id"]) == (500, "find-me-42")
        assert response.json()["type"] == "urn:loopwright:problem:internal_error"
        assert "secret" not in response.text and "RuntimeError" not in response.text
        assert [(each["event"], each["request_id"]) for each in logged] == [("request_failed", "find-me-42")]
        assert str(logged[0]["exc_info"]) == "secret of the inside"


async def raw(api: Served, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection and send some bytes."""
    parts = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(sent)
    return reader, writer


async def latency(api: Served) -> float:
    """Return the median time of a small request, in seconds."""
    taken = []
    for _ in range(15):
        start = time.perf_counter()
        assert (await api.http.post("/v1/runs", content=FINE, headers=JSON)).status_code == 202
        taken.append(time.perf_counter() - start)
    return sorted(taken)[7]


async def quiet() -> bool:
    """Return whether no request is being served."""
    return not any("run_asgi" in repr(task.get_coro()) for task in asyncio.all_tasks())


def rss_kib() -> int:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024
