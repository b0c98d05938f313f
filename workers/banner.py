"""What `loopwright serve` says when it is ready: where, with which agents and model, how durable, who may come in."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..client import AsyncClient
    from ..memory.server import EmbeddedRedis
    from ..settings import Settings


async def banner(
    url: str,
    settings: "Settings",
    sources: Sequence[str],
    workers: int,
    redis: "EmbeddedRedis | None",
    took_s: float,
) -> list[str]:
    """Return the lines of the banner. What only the server knows is asked of it.

    Args:
        url: Where the API listens.
        settings: What all parts were started with.
        sources: Where the agents came from.
        workers: How many worker processes run.
        redis: The embedded Redis, if it is used.
        took_s: Seconds that the start took.
    """
    from .. import __version__
    from ..client import AsyncClient

    async with AsyncClient(url, patience_s=2.0) as client:
        names, keys = await _agents(client, sources)
        durability = await _durability(client, settings)
    processes = f"{workers} process{'' if workers == 1 else 'es'}, {workers * settings.slots} slots"
    example = names[0] if names else "AGENT"
    return [
        f"loopwright {__version__} is ready at {url} ({took_s:.1f} s)",
        f"  agents   {', '.join(names) or 'none yet: name files with agents as arguments'}",
        f"  model    {_model(settings)}",
        f"  journal  {durability}, {_place(settings, redis)}",
        f"  workers  {processes if workers else 'none here: loopwright worker starts one'}",
        f"  keys     {keys}",
        f'  try      loopwright submit {example} "..." --follow',
        "  stop     Ctrl-C",
    ]


async def _agents(client: "AsyncClient", sources: Sequence[str]) -> tuple[list[str], str]:
    """Return the names of the agents, and who may use them."""
    from ..errors import LoopwrightError, ScopeMissing, Unauthorized

    try:
        return [each.name async for each in client.agents.list()], "none: programs on this machine are served"
    except (Unauthorized, ScopeMissing):
        return list(sources), "needed for every request"
    except LoopwrightError as exc:
        return list(sources), f"not known: {exc}"


async def _durability(client: "AsyncClient", settings: "Settings") -> str:
    from ..errors import LoopwrightError

    try:
        ready = await client.ready()
    except LoopwrightError:
        return settings.durability
    return ready.durability


def _model(settings: "Settings") -> str:
    from ..inference.connect import describe

    if settings.model_url is None:
        return "the small embedded one (plain requests only); --model-url names a server"
    return describe(settings).removeprefix("model ")


def _place(settings: "Settings", redis: "EmbeddedRedis | None") -> str:
    from ..memory.connect import address_of

    if redis is None:
        return f"at {address_of(settings.redis_url or '')}"
    return f"embedded, in {settings.data_dir}{'' if redis.is_owner else ' (served by another process)'}"
