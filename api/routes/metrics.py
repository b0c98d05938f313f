"""The route of metrics: figures of the whole installation for Prometheus."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from ...memory.backlog import Backlog, read_backlog
from ...workers.doorbell import LANES, QUEUES, tool_queue
from ..auth import authenticate, check_scope, is_local
from ..deps import ServiceDep

if TYPE_CHECKING:
    from ...agents.agent import Agent
    from ...agents.registry import Registry

router = APIRouter()


async def metrics_reader(request: Request, service: ServiceDep) -> None:
    """Do nothing when the request may read figures of all tenants: from this machine, or with a key for `admin`.

    Raises:
        Unauthorized, ScopeMissing, RateLimited: It may not.
    """
    if "authorization" not in request.headers and is_local(request.scope):
        return
    check_scope(await authenticate(request.scope, service), "admin")


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text."}},
)
async def get_metrics(service: ServiceDep, allowed: Annotated[None, Depends(metrics_reader)]) -> Response:
    """Return backlog, workers, runs, tokens and latencies of the installation, in the text format of Prometheus.

    Programs on the server's own machine need no key; others need one with the scope `admin`.
    """
    from ..exposition import MEDIA_TYPE, Gauges, render

    store = service.store
    backlog = await read_backlog(store.client, [*QUEUES, *_tool_queues(service.registry)])
    heard = await store.presence.total()
    gauges = Gauges(_by_priority(backlog), heard.workers, heard.slots, heard.busy)
    return Response(render(await store.metrics.read(), gauges), media_type=MEDIA_TYPE)


def _by_priority(backlog: Backlog) -> Backlog:
    """Return the backlog with the lanes of each priority taken together."""
    lanes = {f".{lane}" for lane in range(LANES)}
    lengths: Counter[str] = Counter()
    for queue, length in backlog.queued.items():
        stem, dot, lane = queue.rpartition(".")
        lengths[stem if queue in QUEUES and dot + lane in lanes else queue] += length
    return Backlog(dict(lengths), backlog.due, backlog.oldest_s)


def _tool_queues(registry: "Registry") -> list[str]:
    found: set[str] = set()
    agents: list[Agent[Any]] = list(registry.agents)
    for agent in agents:
        for tool in agent.tools:
            if tool.queue is not None:
                found.add(tool_queue(tool.queue))
            if tool.agent is not None and tool.agent not in agents:
                agents.append(tool.agent)
    return sorted(found)
