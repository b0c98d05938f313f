"""`GET /metrics`: figures that Prometheus can read, for those who may."""

from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from loopwright import Agent, tool
from loopwright.planner.events import RunCreated
from loopwright.workers.doorbell import Doorbell, tool_queue

from ..memory.support import created, in_loop
from ..servers import RedisServer
from .served import bearer, served


@tool(queue="gpu")
def render(scene: str) -> str:
    """Render a scene."""
    return scene


ARTIST = Agent(name="artist", instructions="Draw.", tools=[render])
PRODUCER = Agent(
    name="producer",
    instructions="Produce.",
    tools=[Agent(name="a", instructions="A.", tools=[render], description="A.").as_tool()],
)


def parsed(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every sample by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sample(samples: Any, name: str, **labels: str) -> float | None:
    """Return one value."""
    return samples.get((f"loopwright_{name}", frozenset(labels.items())))  # type: ignore[no-any-return]


@in_loop
async def test_counts_and_times_of_all_processes_are_exposed(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [ARTIST]) as api:
        metrics = api.store.metrics
        metrics.count("runs_finished", agent="artist", status="failed", reason="poison")
        metrics.count("steps", 3, agent="artist")
        metrics.count("tokens", 120, agent='art"ist\n', kind="prompt")
        for seconds in (0.3, 0.4, 700.0):
            metrics.observe("run", seconds, agent="artist")
        await metrics.flush()
        answer = await api.http.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    seen = parsed(answer.text)
    assert sample(seen, "runs_finished_total", agent="artist", status="failed", reason="poison") == 1
    assert sample(seen, "steps_total", agent="artist") == 3
    assert sample(seen, "tokens_total", agent='art"ist\n', kind="prompt") == 120
    assert sample(seen, "run_seconds_bucket", agent="artist", le="0.2") == 0
    assert sample(seen, "run_seconds_bucket", agent="artist", le="0.5") == 2
    assert sample(seen, "run_seconds_bucket", agent="artist", le="+Inf") == 3
    assert sample(seen, "run_seconds_count", agent="artist") == 3
    assert sample(seen, "run_seconds_sum", agent="artist") == 700.7


@in_loop
async def test_backlog_and_workers_are_exposed_as_they_are_now(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [ARTIST, PRODUCER]) as api:
        quiet = parsed((await api.http.get("/metrics")).text)
        assert sample(quiet, "workers") == sample(quiet, "due_runs") == sample(quiet, "oldest_due_seconds") == 0
        bell = Doorbell(api.store.client)
        runs: list[RunCreated] = [created(tenant) for tenant in ("acme", "beta", "gamma")]
        for each in runs:
            await api.store.journal.create(each)
            await bell.ring(each.run_id, "high" if each is runs[0] else "normal")
        await bell.aclose()
        one_server.command("LPUSH", tool_queue("gpu"), "x")
        await api.store.presence.beat("w1", {"slots": 256, "busy": 7, "queues": ["runs"]})
        await api.store.presence.beat("w2", {"slots": 256, "busy": 3, "queues": ["runs"]})
        seen = parsed((await api.http.get("/metrics")).text)
    assert sample(seen, "queue_messages", queue="loopwright.high") == 1
    assert sample(seen, "queue_messages", queue="loopwright.normal") == 2
    assert sample(seen, "queue_messages", queue="loopwright.low") == 0
    assert sample(seen, "queue_messages", queue="loopwright.tool.gpu") == 1
    assert sample(seen, "due_runs") == 3 and (sample(seen, "oldest_due_seconds") or 0) >= 0
    assert (sample(seen, "workers"), sample(seen, "slots"), sample(seen, "busy_slots")) == (2, 512, 10)


@in_loop
async def test_figures_of_all_tenants_are_for_this_machine_and_for_admins(
    one_server: RedisServer, tmp_path: Path
) -> None:
    async with served(one_server, tmp_path, [ARTIST]) as api:
        far = {"x-forwarded-for": "192.0.2.7"}
        admin, other = await api.key("admin", tenant="ops"), await api.key("runs", "approve")
        assert (await api.http.get("/metrics")).status_code == 200
        assert (await api.http.get("/metrics", headers=far)).status_code == 401
        assert (await api.http.get("/metrics", headers={**far, **other})).status_code == 403
        assert (await api.http.get("/metrics", headers=other)).status_code == 403
        assert (await api.http.get("/metrics", headers={**far, **admin})).status_code == 200
        wrong = bearer(f"lw_{'0' * 16}.{'A' * 43}")
        assert (await api.http.get("/metrics", headers=wrong)).status_code == 401


@in_loop
async def test_requests_are_counted_by_route_and_status(one_server: RedisServer, tmp_path: Path) -> None:
    async with served(one_server, tmp_path, [ARTIST]) as api:
        for path in ("/v1/agents/artist", "/v1/agents/none", "/v1/agents/artist", "/v1/nothing-here"):
            await api.http.get(path)
        await api.store.metrics.flush()
        seen = parsed((await api.http.get("/metrics")).text)
    route = "/v1/agents/{name}"
    assert sample(seen, "api_requests_total", method="GET", route=route, status="200") == 2
    assert sample(seen, "api_requests_total", method="GET", route=route, status="404") == 1
    assert sample(seen, "api_requests_total", method="GET", route="other", status="404") == 1
    assert sample(seen, "api_seconds_count", method="GET", route=route) == 3
