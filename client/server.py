"""Flows about the server itself: its agents, and how it is."""

from urllib.parse import quote

from ..api.models import AgentInfo, Health, Page, Readiness
from .call import Call
from .pages import Listing


def agents(*, page: int = 100) -> Listing[AgentInfo]:
    """Yield the agents that the server knows, with their tools and schemas."""
    return Listing("/v1/agents", Page[AgentInfo].model_validate_json, {"limit": page})


def agent(name: str) -> Call[AgentInfo]:
    """Return one agent. Raises AgentNotFound."""
    return Call("GET", f"/v1/agents/{quote(name, safe='')}", AgentInfo.model_validate_json)


def health() -> Call[Health]:
    """Return the server's version; that it answers at all is the news."""
    return Call("GET", "/healthz", Health.model_validate_json)


def ready() -> Call[Readiness]:
    """Return how durable runs are here and how many workers were heard of lately.

    Raises:
        ApiUnavailable: The server takes no runs now, and did not for as long as the client is patient.
    """
    return Call("GET", "/readyz", Readiness.model_validate_json)
