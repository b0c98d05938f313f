"""Which calls wait for a person, and what exactly a person decides about.

A decision names a digest: the hash of the tool, its version and the bytes of the arguments. It holds for nothing
else, so a call that is approved is made with those bytes by that tool, or it is asked about again.
"""

import hashlib
import json
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .events import ToolCall
from .state import OpenCall, RunState

if TYPE_CHECKING:
    from ..tools.tool import Tool
    from .blueprint import Blueprint


class OpenReview(NamedTuple):
    """A call that waits for a person.

    Attributes:
        call: The call; its `arguments` are the bytes that will be sent.
        kind: `approval`: may it be made? `in_doubt`: did it take effect?
        digest: What a decision has to name.
        asked_ms: When the question was first asked; 0: when the calls before it are through.
        expires_ms: When it expires; `None`: never.
    """

    call: ToolCall
    kind: Literal["approval", "in_doubt"]
    digest: str
    asked_ms: int
    expires_ms: int | None


def call_digest(tool: "Tool[..., Any]", arguments: str) -> str:
    """Return the hash of a tool, its version and the JSON text of its arguments, byte for byte."""
    pinned = json.dumps([tool.name, tool.hash, arguments])
    return hashlib.sha256(pinned.encode()).hexdigest()


def needs_review(blueprint: "Blueprint", each: OpenCall) -> bool:
    """Return whether a person has to decide about a call before it is made: not yet asked, or about something else."""
    tool = blueprint.tools.get(each.call.tool)
    if tool is None or not tool.approval:
        return False
    decided = each.reviewed
    if decided is None:
        return True
    return decided.digest not in ("", call_digest(tool, each.call.arguments))


def open_reviews(state: RunState, blueprint: "Blueprint") -> list[OpenReview]:
    """Return the calls of a waiting run that a person can decide about now, in the order of the decision."""
    if state.status != "waiting":
        return []
    return [found for each in state.open if (found := open_review(state, blueprint, each))]


def open_review(state: RunState, blueprint: "Blueprint", each: OpenCall) -> OpenReview | None:
    """Return what a person is asked about an open call, or `None`."""
    tool = blueprint.tools.get(each.call.tool)
    if tool is None or each.finished:
        return None
    if each.in_doubt:
        return OpenReview(each.call, "in_doubt", call_digest(tool, each.call.arguments), state.asked_ms, None)
    if not needs_review(blueprint, each):
        return None
    return OpenReview(each.call, "approval", call_digest(tool, each.call.arguments), state.asked_ms, state.expires_ms)
