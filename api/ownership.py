"""Whose run it is: asked before anything of a run is shown or changed."""

from typing import TYPE_CHECKING

from ..errors import RunNotFound
from ..memory.journal.contract import RunRecord
from ..memory.journal.ids import shard_of, shard_of_tenant
from .caller import Caller

if TYPE_CHECKING:
    from .service import Service


async def own_record(service: "Service", caller: Caller, run_id: str) -> RunRecord:
    """Return the summary of a run of the caller's tenant.

    Raises:
        RunNotFound: There is none, or it is another tenant's: nobody can tell which.
    """
    try:
        if shard_of(run_id) == shard_of_tenant(caller.tenant):
            record = await service.store.journal.record(run_id)
            if record.tenant == caller.tenant:
                return record
    except RunNotFound:
        pass
    raise RunNotFound(run_id[:100])
