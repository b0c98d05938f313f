"""Keys as callers meet them: who gets in, who does not, and what is said to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loopwright.api.auth import authenticate, is_alive, is_local
from loopwright.errors import RateLimited, Unauthorized
from loopwright.memory.client import make_client
from loopwright.memory.keys import FRESH_S, Keys
from loopwright.memory.pepper import Pepper

from ..memory.support import eventually, in_loop
from ..servers import RedisServer, redis_server
from .agents_under_test import clerk
from .served import Served, bearer, served

WRONG = bearer(f"lw_{'0' * 16}.{'A' * 43}")


def request_from(client: str | None, **headers: str) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "client": (client, 4711) if client else None, "headers": raw}


@in_loop
async def test_without_any_key_programs_on_this_machine_may_do_everything(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, tenant="home") as api:
        assert (await api.http.get("/v1/agents")).status_code == 200
        caller = await authenticate(request_from("127.0.0.1", host="127.0.0.1:8300"), api.service)
    assert (caller.tenant, caller.key_id) == ("home", "local")
    assert caller.may("admin") and caller.may("runs")


@pytest.mark.parametrize(
    ("request_", "local"),
    [
        (request_from("127.0.0.1"), True),
        (request_from("127.8.9.1", host="localhost:8300"), True),
        (request_from("::1", host="[::1]:8300"), True),
        (request_from("::ffff:127.0.0.1", host="127.0.0.1"), True),
        (request_from("127.0.0.1", host="api.localhost", origin="http://localhost:3000"), True),
        (request_from("192.0.2.7", host="127.0.0.1"), False),
        (request_from("::ffff:192.0.2.7", host="127.0.0.1"), False),
        (request_from(None, host="127.0.0.1"), False),
        (request_from("127.0.0.1", host="127.0.0.1", x_forwarded_for="192.0.2.7"), False),
        (request_from("127.0.0.1", host="127.0.0.1", forwarded="for=192.0.2.7"), False),
        (request_from("127.0.0.1", host="evil.example"), False),
        (request_from("127.0.0.1", host="127.0.0.1.evil.example"), False),
        (request_from("127.0.0.1", host="127.0.0.1", origin="https://evil.example"), False),
        (request_from("127.0.0.1", host="127.0.0.1", origin="null"), False),
        (request_from("127.0.0.1", host="[::1"), False),
    ],
)
def test_a_request_is_local_when_neither_a_proxy_nor_a_web_page_sent_it(request_: dict[str, Any], local: bool) -> None:
    assert is_local(request_) is local


@in_loop
async def test_without_any_key_nobody_else_gets_in(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        for away in (request_from("192.0.2.7"), request_from("192.0.2.7", authorization=WRONG["authorization"])):
            with pytest.raises(Unauthorized):
                await authenticate(away, api.service)
        refused = await api.http.get("/v1/agents", headers={"x-forwarded-for": "192.0.2.7"})
    assert refused.status_code == 401
    assert "loopwright keys create" in refused.json()["detail"]


@in_loop
async def test_the_first_key_closes_the_door_behind_it(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        assert (await api.http.get("/v1/agents")).status_code == 200
        assert await is_alive("local", api.service)
        header = await api.key("read")
        assert (await api.http.get("/v1/agents")).status_code == 401
        assert not await is_alive("local", api.service)
        assert (await api.http.get("/v1/agents", headers=header)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {},
        WRONG,
        {"authorization": "Bearer"},
        {"authorization": "Bearer lw_x"},
        {"authorization": "Basic bHdfeDp5"},
        {"authorization": "Bearer " + "x" * 5000},
        {"authorization": "Bearer \xff\xfe"},
    ],
)
@in_loop
async def test_what_is_no_key_is_answered_alike_and_says_what_to_send(
    one_server: RedisServer, tmp_path: Path, header: dict[str, str]
) -> None:
    async with served(one_server, tmp_path) as api:
        await api.key("read")
        raw = [(name.encode(), value.encode("latin-1")) for name, value in header.items()]
        refused = await api.http.get("/v1/agents", headers=raw)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Bearer")
    problem = refused.json()
    assert problem["type"] == "urn:loopwright:problem:unauthorized"
    assert "Authorization: Bearer" in problem["remedy"]
    assert not header or problem["detail"] == "the API key is not valid: it is wrong, expired or revoked"


@in_loop
async def test_two_authorization_headers_are_no_key(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        good = (await api.key("read"))["authorization"]
        twice = [("authorization", good), ("authorization", good)]
        assert (await api.http.get("/v1/agents", headers=twice)).status_code == 401


@in_loop
async def test_a_missing_scope_is_named(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        header = await api.key("read", "runs")
        body = {"decision": "reject", "digest": ""}
        refused = await api.http.post("/v1/approvals/x:1.1", json=body, headers=header)
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:loopwright:problem:scope_missing"
    assert "'approve'" in refused.json()["detail"] and "read, runs" in refused.json()["detail"]


@in_loop
async def test_a_key_that_is_expired_or_revoked_is_told_nothing_more(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        record, token = await api.store.keys.create("local", ["read"])
        assert (await api.http.get("/v1/agents", headers=bearer(token))).status_code == 200
        await api.store.keys.revoke(record.id)
        refused = await api.http.get("/v1/agents", headers=bearer(token))
        wrong = await api.http.get("/v1/agents", headers=WRONG)
    assert refused.status_code == 401
    assert refused.json()["detail"] == wrong.json()["detail"]


@in_loop
async def test_a_revocation_elsewhere_is_seen_within_five_seconds(one_server: RedisServer, tmp_path: Path) -> None:
    """T36, for requests and for streams, which ask `is_alive`."""
    async with served(one_server, tmp_path) as api, served_too(api) as elsewhere:
        record, token = await elsewhere.create("local", ["read"])
        assert (await api.http.get("/v1/agents", headers=bearer(token))).status_code == 200
        assert await is_alive(record.id, api.service)
        loop = asyncio.get_running_loop()
        start = loop.time()
        await elsewhere.revoke(record.id)

        async def gone() -> bool:
            answer = await api.http.get("/v1/agents", headers=bearer(token))
            return answer.status_code == 401 and not await is_alive(record.id, api.service)

        await eventually(gone)
        assert loop.time() - start <= FRESH_S + 3


@in_loop
async def test_an_answer_that_waited_for_a_run_does_not_go_to_a_key_that_was_revoked_meanwhile(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [clerk]) as api:
        record, token = await api.store.keys.create("local", ["runs"])
        run = {"agent": "clerk", "task": "hello"}
        run_id = (await api.http.post("/v1/runs", json=run, headers=bearer(token))).json()["id"]
        waits = {**bearer(token), "prefer": "wait=1"}
        waiting = asyncio.create_task(api.http.get(f"/v1/runs/{run_id}", headers=waits))
        await asyncio.sleep(0.2)
        await api.store.keys.revoke(record.id)
        answer = await waiting
    assert answer.status_code == 401 and run_id not in answer.text


@asynccontextmanager
async def served_too(api: Served) -> AsyncIterator[Keys]:
    """Yield the keys as another process has them."""
    client = make_client(api.store.url)
    try:
        yield Keys(client, Pepper.of(api.service.settings))
    finally:
        await client.aclose()


@in_loop
async def test_ten_thousand_wrong_keys_are_answered_twenty_times_a_minute(
    one_server: RedisServer, tmp_path: Path
) -> None:
    """T36; the full number is not needed to see the limit, and right keys from the same address still pass."""
    async with served(one_server, tmp_path) as api:
        header = await api.key("read")
        statuses = [(await api.http.get("/v1/agents", headers=WRONG)).status_code for _ in range(200)]
        refused = await api.http.get("/v1/agents", headers=WRONG)
        assert (await api.http.get("/v1/agents", headers=header)).status_code == 200
        with pytest.raises(Unauthorized):
            await authenticate(request_from("192.0.2.7", **WRONG), api.service)
    assert statuses == [401] * 20 + [429] * 180
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.json()["type"] == "urn:loopwright:problem:rate_limited"


@in_loop
async def test_a_key_has_its_rate_and_another_key_of_the_tenant_has_its_own(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path) as api:
        noisy, quiet = await api.key("read", rate=0.5, burst=3), await api.key("read", rate=0.5, burst=3)
        statuses = [(await api.http.get("/v1/agents", headers=noisy)).status_code for _ in range(6)]
        refused = await api.http.get("/v1/agents", headers=noisy)
        assert statuses == [200] * 3 + [429] * 3
        assert 1 <= int(refused.headers["retry-after"]) <= 2
        assert refused.json()["retryable"]
        assert [(await api.http.get("/v1/agents", headers=quiet)).status_code for _ in range(3)] == [200] * 3


@in_loop
async def test_a_refusal_for_the_rate_comes_before_the_body_is_read(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path) as api:
        record, token = await api.store.keys.create("local", ["runs"], rate=0.1, burst=1)
        scope = request_from("192.0.2.7", **bearer(token))
        assert (await authenticate(scope, api.service)).key_id == record.id
        with pytest.raises(RateLimited):
            await authenticate(scope, api.service)


@in_loop
async def test_redis_away_is_503_and_never_a_way_in(tmp_path: Path) -> None:
    with redis_server("system", tmp_path / "redis") as server:
        async with served(server, tmp_path) as api:
            assert (await api.http.get("/v1/agents")).status_code == 200
            header = await api.key("read")
            server.kill()
            await asyncio.sleep(FRESH_S)
            for headers in (header, WRONG, {}):
                refused = await api.http.get("/v1/agents", headers=headers)
                assert refused.status_code == 503 and refused.headers["retry-after"]


@in_loop
async def test_no_secret_of_a_key_is_logged_or_answered(
    one_server: RedisServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """T30, for keys."""
    async with served(one_server, tmp_path) as api:
        record, token = await api.store.keys.create("local", ["read"])
        secret = token.partition(".")[2]
        answers = [
            await api.http.get(path, headers=bearer(token)) for path in ("/v1/agents", "/v1/agents/none", "/v1/none")
        ]
        await api.store.keys.revoke(record.id)
        answers.append(await api.http.get("/v1/agents", headers=bearer(token)))
        seen = "".join(f"{each.headers}{each.text}" for each in answers) + repr(record)
    out = capfd.readouterr()
    assert secret not in seen + out.out + out.err
