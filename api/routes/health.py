"""Whether the process answers, and whether the service takes runs."""

from fastapi import APIRouter

from ...errors import StoreFull
from ...memory.client import translated
from ...memory.journal.room import FULL
from ..deps import ServiceDep
from ..models import Health, Readiness

router = APIRouter()


@router.get("/healthz", operation_id="health", response_model=Health)
async def health() -> Health:
    """Say that the process answers. Needs no key."""
    from ... import __version__

    return Health(version=__version__)


@router.get("/readyz", operation_id="readiness", response_model=Readiness)
async def readiness(service: ServiceDep) -> Readiness:
    """Say whether runs are taken, and how many workers were heard of lately; 503 when the store is away. No key."""
    journal = service.store.journal
    async with translated():
        await service.store.client.ping()
    room = await journal.room()
    if room is not None and room > FULL:
        raise StoreFull(f"{room:.0%} of its memory is in use")
    heard = await service.store.presence.total()
    return Readiness(
        durability=journal.durability, redis="ok", workers=heard.workers, slots=heard.slots, busy=heard.busy
    )
