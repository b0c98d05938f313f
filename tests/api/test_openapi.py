"""T32: the OpenAPI description is complete, its examples work, and the server does what it says."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from loopwright import Agent
from loopwright.api.app import Api
from loopwright.api.examples import EXAMPLES
from loopwright.api.service import Service
from loopwright.memory.store import open_store
from loopwright.settings import Settings
from loopwright.testing import answer, call

from ..memory.support import in_loop
from ..servers import RedisServer
from .agents_under_test import look, send
from .process import api_process
from .served import served

HERE = Path(__file__).parent
EXAMPLES_PER_OPERATION = os.environ.get("LOOPWRIGHT_TEST_SCHEMATHESIS", "4")
"""How many requests schemathesis makes up per operation and phase; 1200 makes more than 20,000 in all."""

SCHEMATHESIS_S = 240 if EXAMPLES_PER_OPERATION == "4" else 7200

treasurer = Agent(name="treasurer", instructions="Answer money questions.", tools=[look, send])


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """The description, made without any store."""
    return Api(cast(Service, SimpleNamespace())).openapi()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_operation_has_a_name_and_says_what_it_does(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(description)]
    assert len(names) == len(set(names)) > 25
    for _, path, operation in operations(description):
        assert operation["description"].endswith("."), path
        assert all("title" in each["schema"] for each in operation.get("parameters", ())), path


def test_every_problem_is_a_problem_and_every_answer_has_a_schema(description: dict[str, Any]) -> None:
    for method, path, operation in operations(description):
        for status, response in operation["responses"].items():
            content = response.get("content", {})
            if status[0] == "4" or status[0] == "5":
                assert list(content) == ["application/problem+json"], (method, path, status)
            elif status != "204" and path != "/metrics":
                assert all(each.get("schema") for each in content.values()) and content, (method, path, status)
        assert "503" in operation["responses"]
        if path.startswith("/v1/"):
            assert {"401", "403", "429"} <= set(operation["responses"])
            assert operation["security"] == [{"key": []}]
    assert "HTTPValidationError" not in json.dumps(description)
    events = description["paths"]["/v1/runs/{run_id}/events"]["get"]["responses"]["200"]["content"]
    assert set(events) == {"application/json", "text/event-stream"}


def test_every_reference_leads_somewhere_and_every_example_belongs_to_a_model(description: dict[str, Any]) -> None:
    known = description["components"]["schemas"]
    text = json.dumps(description)
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used <= set(known)
    assert {name for name, each in known.items() if "examples" in each} == set(EXAMPLES)
    bodies = {
        operation["requestBody"]["content"]["application/json"]["schema"].get("$ref", "").rpartition("/")[2]
        for _, _, operation in operations(description)
        if "requestBody" in operation
    }
    assert bodies - {"", "WebhookSecret"} <= set(EXAMPLES)


@in_loop
async def test_every_example_works(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [treasurer]) as api:
        run_id = await api.submit("treasurer")
        await api.drive(run_id, call("look", what="rate"), answer("done"))
        asking = await api.submit("treasurer")
        await api.drive(asking, call("send", text="hi"))
        digest = (await api.http.get("/v1/approvals")).json()["items"][0]["digest"]
        places = {
            "RunRequest": "/v1/runs", "BatchRequest": "/v1/runs/batch", "CancelRequest": f"/v1/runs/{run_id}/cancel",
            "ForkRequest": f"/v1/runs/{run_id}/fork", "ThreadRequest": "/v1/threads",
            "ScheduleRequest": "/v1/schedules", "ScheduleChange": "/v1/schedules/morning-rates",
            "Decision": f"/v1/approvals/{asking}:1.1",
        }  # fmt: skip
        assert set(places) == set(EXAMPLES)
        await api.http.post("/v1/threads", json={"id": "t"})
        for model, path in places.items():
            for example in EXAMPLES[model][:1] if model == "Decision" else EXAMPLES[model]:
                body = example | ({"digest": digest} if model == "Decision" else {})
                body = body | ({"id": "other"} if model == "ThreadRequest" and "id" in body else {})
                method = "PATCH" if model == "ScheduleChange" else "POST"
                response = await api.http.request(method, path, json=body)
                assert response.is_success, (model, response.text)


def test_the_server_does_what_its_description_says(one_server: RedisServer, tmp_path: Path) -> None:
    one_server.command("FLUSHALL")
    token = make_key(one_server, tmp_path)
    with api_process(one_server, tmp_path) as api, forgiving(one_server):
        api.wait_until_ready()
        command = [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run",
            f"{api.url}/openapi.json", "--header", f"Authorization: Bearer {token}", "--checks", "all", "--phases",
            "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES_PER_OPERATION,
            "--generation-deterministic", "--no-color", "--continue-on-failure",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SCHEMATHESIS_S, check=False, cwd=tmp_path
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        assert " generated, " in done.stdout
        assert "Traceback" not in api.text


def make_key(server: RedisServer, folder: Path) -> str:
    """Make a key that may do everything as fast as it can."""
    import asyncio

    async def make() -> str:
        settings = Settings(redis_url=server.url, data_dir=str(folder / "data"))
        async with open_store(settings) as store:
            return (await store.keys.create("local", ["admin"], rate=1e6, burst=1_000_000))[1]

    return asyncio.run(make())


@contextlib.contextmanager
def forgiving(server: RedisServer) -> Iterator[None]:
    """Forget wrong keys at once: schemathesis presents more of them than an address may in a minute."""
    over = threading.Event()

    def forget() -> None:
        while not over.wait(0.05):
            server.command("DEL", "lw:wrong:127.0.0.1")

    forgetting = threading.Thread(target=forget)
    forgetting.start()
    try:
        yield
    finally:
        over.set()
        forgetting.join()
