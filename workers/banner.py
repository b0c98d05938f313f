"""What `loopwright serve` says when it is ready: where, with which agents and model, how durable, who may come in."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..client import AsyncClient
    from ..memory.server import EmbeddedRedis
    from ..settings import Settings


@dataclass(frozen=True, slots=True)
class Banner:
    """What a server is made of.

    Attributes:
        url: Where the API listens.
        agents: Names of the agents; the sources, where the server asks for a key.
        model: Which model answers.
        journal: How durable runs are, and where they are kept.
        workers: Worker processes of this server.
        slots: Runs that they drive at the same time.
        keys: Who may come in.
        took_s: Seconds that the start took.
    """

    url: str
    agents: Sequence[str]
    model: str
    journal: str
    workers: int
    slots: int
    keys: str
    took_s: float

    @property
    def lines(self) -> list[str]:
        """The banner as people read it."""
        from .. import __version__

        example = self.agents[0] if self.agents else "AGENT"
        processes = f"{self.workers} process{'' if self.workers == 1 else 'es'}, {self.slots} slots"
        return [
            f"loopwright {__version__} is ready at {self.url} ({self.took_s:.1f} s)",
            f"  agents   {', '.join(self.agents) or 'none yet: name files with agents as arguments'}",
            f"  model    {self.model}",
            f"  journal  {self.journal}",
            f"  workers  {processes if self.workers else 'none here: loopwright worker starts one'}",
            f"  keys     {self.keys}",
            f'  try      loopwright submit {example} "..." --follow',
            "  stop     Ctrl-C",
        ]

    @property
    def json(self) -> str:
        """The banner as machines read it: one JSON object."""
        return json.dumps({"event": "ready", **asdict(self)})


async def look_around(
    url: str,
    settings: "Settings",
    sources: Sequence[str],
    workers: int,
    redis: "EmbeddedRedis | None",
    took_s: float,
) -> Banner:
    """Return the banner of a server that runs. What only the server knows is asked of it.

    Args:
        url: Where the API listens.
        settings: What all parts were started with.
        sources: Where the agents came from.
        workers: How many worker processes run.
        redis: The embedded Redis, if it is used.
        took_s: Seconds that the start took.
    """
    from ..client import AsyncClient

    async with AsyncClient(url, patience_s=2.0) as client:
        names, keys = await _agents(client, sources)
        durability = await _durability(client, settings)
    journal = f"{durability}, {_place(settings, redis)}"
    return Banner(url, names, _model(settings), journal, workers, workers * settings.slots, keys, round(took_s, 2))


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
