"""The secrets that a tenant's webhooks are signed with, in the form of Standard Webhooks.

| key                    | type | holds                                                           | lives    |
|------------------------|------|-----------------------------------------------------------------|----------|
| {sNN}:whsec:<tenant>   | hash | current, previous (`whsec_` and base64), until (ms, of previous) | for ever |

A receiver checks signatures with the same secret, so it cannot be kept as a hash: who can read this Redis can sign.
"""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from redis.asyncio import Redis

from .client import run_script
from .journal.ids import shard_of_tenant
from .journal.scripts import Script

SECRET_BYTES = 32
PREVIOUS_S = 86_400.0
"""How long signatures by the secret before the last rotation are still sent, in seconds."""


@dataclass(frozen=True, slots=True)
class SigningSecrets:
    """What a tenant's webhooks are signed with.

    Attributes:
        current: The secret, `whsec_` and base64.
        previous: The one before, while both sign.
        previous_until_ms: When `previous` ceases to sign, in milliseconds since 1970.
    """

    current: str
    previous: str | None = None
    previous_until_ms: int | None = None

    @property
    def all(self) -> tuple[str, ...]:
        """Every secret that signs now, the current one first."""
        return (self.current,) if self.previous is None else (self.current, self.previous)


READ = Script(
    "read_secrets",
    """
-- KEYS secrets. ARGV the secret to begin with, '' or the secret to rotate to, ms for which the old one signs on.
-- -> current, previous or '', until. Sent twice it rotates once.
redis.call('HSETNX', KEYS[1], 'current', ARGV[1])
local had = redis.call('HMGET', KEYS[1], 'current', 'previous', 'until')
local now = now_ms()
if ARGV[2] ~= '' and had[1] ~= ARGV[2] then
  had = {ARGV[2], had[1], digits(now + ARGV[3])}
  redis.call('HSET', KEYS[1], 'current', had[1], 'previous', had[2], 'until', had[3])
end
if had[2] and tonumber(had[3]) <= now then
  redis.call('HDEL', KEYS[1], 'previous', 'until')
  had = {had[1], false, false}
end
return {had[1], had[2] or '', had[3] or ''}
""",
)


def new_secret(random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """Draw a secret: `whsec_` and 32 random bytes in base64."""
    return f"whsec_{base64.b64encode(random(SECRET_BYTES)).decode()}"


class WebhookSecrets:
    """Signing secrets of tenants; made at first use.

    Args:
        client: Client of the side stores.
        previous_s: Seconds for which the secret before a rotation signs on.
    """

    def __init__(self, client: Redis, *, previous_s: float = PREVIOUS_S) -> None:
        self._client = client
        self._previous_ms = int(previous_s * 1000)

    async def get(self, tenant: str) -> SigningSecrets:
        """Return what the tenant's webhooks are signed with now."""
        return await self._read(tenant, "")

    async def rotate(self, tenant: str) -> SigningSecrets:
        """Draw a new secret; the one until now signs on beside it for a day, and one before that no longer."""
        return await self._read(tenant, new_secret())

    async def _read(self, tenant: str, to: str) -> SigningSecrets:
        key = f"{{s{shard_of_tenant(tenant):02d}}}:whsec:{tenant}"
        return _secrets(await run_script(self._client, READ, (key,), new_secret(), to, self._previous_ms))


def _secrets(reply: list[bytes]) -> SigningSecrets:
    current, previous, until = (each.decode() for each in reply)
    return SigningSecrets(current, previous or None, int(until) if until else None)
