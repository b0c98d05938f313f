"""Routes of webhooks: the secret that they are signed with, and what could not be delivered."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from ...memory.outbox import Delivery
from ...memory.webhook_secrets import SigningSecrets
from ..deps import AdminCaller, ReadCaller, ServiceDep
from ..models import DeadLetter, Page, WebhookSecret
from ..views import answer, moment

router = APIRouter()

_NO_STORE = {"cache-control": "no-store"}


@router.get("/webhooks/secret", operation_id="get_webhook_secret", response_model=WebhookSecret)
async def get_secret(service: ServiceDep, caller: AdminCaller) -> Response:
    """Return what this tenant's webhooks are signed with; the secret is made at the first use."""
    return _shown(await service.store.outbox.secrets.get(caller.tenant))


@router.post("/webhooks/secret", operation_id="rotate_webhook_secret", response_model=WebhookSecret)
async def rotate_secret(service: ServiceDep, caller: AdminCaller) -> Response:
    """Draw a new secret. For a day the one until now signs as well, so that receivers have time to change."""
    return _shown(await service.store.outbox.secrets.rotate(caller.tenant))


@router.get("/webhooks/dead-letters", operation_id="list_dead_letters", response_model=Page[DeadLetter])
async def list_dead_letters(
    service: ServiceDep, caller: ReadCaller, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> Response:
    """List what was given up, newest first: refused URLs, receivers that are gone, and the last of ten attempts."""
    found = await service.store.outbox.dead_letters(caller.tenant, limit)
    return answer(Page[DeadLetter](items=[_dead(each) for each in found]))


def _shown(secrets: SigningSecrets) -> Response:
    until = None if secrets.previous_until_ms is None else moment(secrets.previous_until_ms)
    shown = WebhookSecret(secret=secrets.current, previous=secrets.previous, previous_until=until)
    return answer(shown, headers=_NO_STORE)


def _dead(delivery: Delivery) -> DeadLetter:
    return DeadLetter(
        id=delivery.id,
        run_id=delivery.run,
        url=delivery.url,
        type=f"run.{delivery.status}",
        at=moment(delivery.at),
        attempts=delivery.attempts,
        error=delivery.error,
    )
