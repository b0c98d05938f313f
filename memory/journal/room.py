"""How full Redis is: new runs are refused before the memory ends, so that those that run can go on."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from ...errors import StoreFull

FULL = 0.9
"""Share of `maxmemory` above which no new runs are taken."""

_FRESH_S = 1.0


class Room:
    """The server's use of its memory, asked at most once a second.

    Args:
        ask: Returns the server's `INFO memory`.
    """

    def __init__(self, ask: Callable[[], Awaitable[bytes]]) -> None:
        self._ask = ask
        self._asking: asyncio.Task[None] | None = None
        self._until = 0.0
        self._share: float | None = None

    async def share(self) -> float | None:
        """Return the share of `maxmemory` that is in use, 0 to 1 and a little more; `None`: nothing bounds it."""
        if time.monotonic() >= self._until:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.get_running_loop().create_task(self._look(), name="journal-room")
            await asyncio.shield(self._asking)  # one question for all who wait, and one failure
        return self._share

    async def aclose(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _look(self) -> None:
        self._share = share_of(await self._ask())
        self._until = time.monotonic() + _FRESH_S

    async def check(self) -> None:
        """Raise StoreFull when there is next to no memory left."""
        share = await self.share()
        if share is not None and share > FULL:
            raise StoreFull(f"Redis uses {share:.0%} of its maxmemory; new runs are taken again below {FULL:.0%}")


def share_of(info: bytes) -> float | None:
    """Return used_memory by maxmemory from an answer to `INFO memory`."""
    values = dict(line.partition(b":")[::2] for line in info.splitlines())
    most = int(values.get(b"maxmemory", 0))
    return int(values.get(b"used_memory", 0)) / most if most else None
