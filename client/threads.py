"""Flows about conversations."""

from collections.abc import Mapping
from urllib.parse import quote

from pydantic import JsonValue

from ..api.models import Page, Thread, ThreadMessage
from .call import Call, new_key
from .pages import Listing


def create(thread_id: str | None = None, *, metadata: Mapping[str, JsonValue] | None = None) -> Call[Thread]:
    """Create a conversation. A run that names an unknown thread creates it, too.

    Args:
        thread_id: Its id; left out, one is drawn.
        metadata: Kept with it.

    Raises:
        ThreadExists: There is one of that id.
    """
    body = {"metadata": dict(metadata or {})} | ({"id": thread_id} if thread_id else {})
    return Call("POST", "/v1/threads", Thread.model_validate_json, body=body, key=new_key())


def listed(*, page: int = 100) -> Listing[Thread]:
    """Yield conversations, the one used last first."""
    return Listing("/v1/threads", Page[Thread].model_validate_json, {"limit": page})


def get(thread_id: str) -> Call[Thread]:
    """Return a conversation, with the run that has it now and those that wait for it. Raises ThreadNotFound."""
    return Call("GET", _path(thread_id), Thread.model_validate_json)


def messages(thread_id: str, *, page: int = 100) -> Listing[ThreadMessage]:
    """Yield what was said, oldest first. Raises ThreadNotFound."""
    return Listing(f"{_path(thread_id)}/messages", Page[ThreadMessage].model_validate_json, {"limit": page})


def delete(thread_id: str) -> Call[None]:
    """Delete a conversation and its messages; its runs stay. Raises ThreadNotFound."""
    return Call("DELETE", _path(thread_id), nothing)


def nothing(_body: bytes) -> None:
    """Read an answer without a body."""


def _path(thread_id: str) -> str:
    return f"/v1/threads/{quote(thread_id, safe='')}"
