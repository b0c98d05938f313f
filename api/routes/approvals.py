"""Routes of approvals: what waits for a person, and what the person decided."""

from typing import Annotated

from fastapi import APIRouter, Query

from ..approvals import decide, list_approvals
from ..deps import ApproveCaller, ReadCaller, ServiceDep
from ..models import Approval, Decision, DecisionAnswer, Page
from .runs import RunCursor

router = APIRouter()


@router.get("/approvals", operation_id="list_approvals", response_model=Page[Approval])
async def get_approvals(
    service: ServiceDep,
    caller: ReadCaller,
    cursor: RunCursor = None,
    limit: Annotated[int, Query(ge=1, le=200, description="About how many; calls of one run stay together.")] = 50,
) -> Page[Approval]:
    """List the calls that wait for a person, those of the youngest runs first."""
    return await list_approvals(service, caller, cursor or "", limit)


@router.post("/approvals/{approval_id}", operation_id="decide", response_model=DecisionAnswer)
async def post_decision(
    approval_id: str, decision: Decision, service: ServiceDep, caller: ApproveCaller
) -> DecisionAnswer:
    """Decide about a call: approve, edit or reject one that asks; say of one in doubt whether it happened.

    The decision names the digest of tool, version and arguments; when any of them is another by now, it is void (409).
    The call is made with exactly the arguments in the answer. The same decision may be sent again.
    """
    return await decide(service, caller, approval_id, decision)
