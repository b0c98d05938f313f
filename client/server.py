"""Flows about the server itself: its agents, its webhooks, and how it is."""

from urllib.parse import quote

from ..api.models import AgentInfo, DeadLetter, Health, Page, Readiness, WebhookSecret
from .call import Call
from .pages import Listing


def agents(*, page: int = 100) -> Listing[AgentInfo]:
    """Yield the agents that the server knows, with their tools and schemas."""
    return Listing("/v1/agents", Page[AgentInfo].model_validate_json, {"limit": page})


def agent(name: str) -> Call[AgentInfo]:
    """Return one agent. Raises AgentNotFound."""
    return Call("GET", f"/v1/agents/{quote(name, safe='')}", AgentInfo.model_validate_json)


def webhook_secret() -> Call[WebhookSecret]:
    """Return what this tenant's webhooks are signed with. Needs the scope `admin`."""
    return Call("GET", "/v1/webhooks/secret", WebhookSecret.model_validate_json)


def rotate_webhook_secret() -> Call[WebhookSecret]:
    """Draw a new secret; for a day the one until now signs as well. Needs the scope `admin`.

    Raises:
        ApiUnavailable: It is not known whether one was drawn; `secret` tells.
    """
    return Call("POST", "/v1/webhooks/secret", WebhookSecret.model_validate_json, body={}, is_once=True)


def dead_letters(*, page: int = 100) -> Listing[DeadLetter]:
    """Yield the webhooks that were given up, newest first, at most `page` of them."""
    return Listing("/v1/webhooks/dead-letters", Page[DeadLetter].model_validate_json, {"limit": page})


def health() -> Call[Health]:
    """Return the server's version; that it answers at all is the news."""
    return Call("GET", "/healthz", Health.model_validate_json)


def ready() -> Call[Readiness]:
    """Return how durable runs are here and how many workers were heard of lately.

    Raises:
        ApiUnavailable: The server takes no runs now, and did not for as long as the client is patient.
    """
    return Call("GET", "/readyz", Readiness.model_validate_json)
