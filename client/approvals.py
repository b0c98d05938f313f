"""Flows about calls that wait for a person: list them, approve, edit, reject, and settle those in doubt."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import JsonValue

from ..api.models import Approval, DecisionAnswer, Page
from .call import Call
from .pages import Listing


def pending(*, page: int = 100) -> Listing[Approval]:
    """Yield the calls that wait for a decision.

    Args:
        page: How many are asked for at a time.
    """
    return Listing("/v1/approvals", Page[Approval].model_validate_json, {"limit": page})


def approve(approval: Approval) -> Call[DecisionAnswer]:
    """Let a call be made with exactly the arguments that the approval shows.

    Args:
        approval: As `pending` gave it: the decision is about its digest, and void when anything changed since.

    Raises:
        ApprovalVoid: Tool, version or arguments changed, it has expired, or somebody decided otherwise.
        ApprovalNotFound: Nothing waits under this id.
    """
    return _decision(approval, "approve")


def edit(approval: Approval, arguments: Mapping[str, JsonValue]) -> Call[DecisionAnswer]:
    """Let a call be made with other arguments.

    Args:
        approval: As `pending` gave it.
        arguments: All arguments of the call, not only those that change.

    Raises:
        EditInvalid: They do not satisfy the tool's schema.
        ApprovalVoid: As for `approve`.
    """
    return _decision(approval, "edit", arguments=dict(arguments))


def reject(approval: Approval, reason: str = "") -> Call[DecisionAnswer]:
    """Refuse a call. The model reads the reason and goes on without it. Raises as `approve`."""
    return _decision(approval, "reject", reason=reason)


def settle(approval: Approval, *, result: str | None, reason: str = "") -> Call[DecisionAnswer]:
    """Say what became of a call that is in doubt.

    Args:
        approval: As `pending` gave it, of kind `in_doubt`.
        result: What the tool returned, when the call did take effect; `None`: it did not.
        reason: Note for the journal.

    Raises:
        ApprovalVoid: It was settled otherwise, or the run waits for it no more.
    """
    if result is None:
        return _decision(approval, "did_not_happen", reason=reason)
    return _decision(approval, "happened", result=result, reason=reason)


def _decision(approval: Approval, decision: str, **more: Any) -> Call[DecisionAnswer]:
    body = {"decision": decision, "digest": approval.digest, **more}
    path = f"/v1/approvals/{quote(approval.id, safe='')}"
    return Call("POST", path, DecisionAnswer.model_validate_json, body=body)
