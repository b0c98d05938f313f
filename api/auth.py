"""Who asks: from an API key to a caller, before anything else of a request is read.

Without any key in the store the server is open to programs on the same machine, and to them only: not to what came
through a proxy, and not to web pages in a browser on this machine (their `Host` or `Origin` gives them away).
"""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from ..errors import ScopeMissing, Unauthorized
from ..memory.key_record import KeyRecord
from .caller import SCOPES, Caller, Scope
from .service import Service

LOCAL_KEY = "local"
"""Key id of callers where no keys are in use."""

_NO_KEY = (
    "this server has no API keys yet and answers programs on its own machine only; `loopwright keys create` ends that"
)
_ASK = "an API key is needed: send `Authorization: Bearer lw_…`; `loopwright keys create` makes one"
_WRONG = "the API key is not valid: it is wrong, expired or revoked"
_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")
_MAX_HEADER = 200


async def authenticate(scope: Mapping[str, Any], service: Service) -> Caller:
    """Return who sends a request, and count the request against the key's rate.

    Args:
        scope: ASGI scope of the request.
        service: Where keys and rates are kept.

    Raises:
        Unauthorized: There is no key where one is needed, or it is wrong, expired or revoked.
        RateLimited: The key makes too many requests, or the address presents too many wrong keys.
        PepperMismatch: The keys cannot be checked on this host.
        JournalUnavailable: Redis gave no answer.
    """
    presented = _headers(scope, b"authorization")
    if not presented:
        return await _without_key(scope, service)
    record = await _verified(presented, service)
    if record is None:
        if not await service.store.keys.any() and is_local(scope):
            return _local(service)
        await service.store.limits.wrong_key(_address(scope))
        raise Unauthorized(_WRONG)
    await service.store.limits.take(record.id, rate=record.rate, burst=record.burst)
    return Caller(record.tenant, record.id, _scopes(record))


def check_scope(caller: Caller, scope: Scope) -> None:
    """Do nothing when the caller may do what asks for a scope.

    Raises:
        ScopeMissing: The caller may not.
    """
    if not caller.may(scope):
        raise ScopeMissing(scope, ", ".join(sorted(caller.scopes)) or "none")


async def check_alive(caller: Caller, service: Service) -> None:
    """Do nothing when the key that a request was authenticated with still works; for answers that came late.

    Raises:
        Unauthorized: The key was revoked or has expired meanwhile.
        JournalUnavailable: Redis gave no answer.
    """
    if not await is_alive(caller.key_id, service):
        raise Unauthorized(_WRONG)


async def is_alive(key_id: str, service: Service) -> bool:
    """Return whether a key that a caller was authenticated with still works; for streams that stay open.

    What is answered is at most two seconds old. Callers without a key are alive until the first key is made.

    Raises:
        JournalUnavailable: Redis gave no answer.
    """
    if key_id == LOCAL_KEY:
        return not await service.store.keys.any()
    return await service.store.keys.is_active(key_id)


def is_local(scope: Mapping[str, Any]) -> bool:
    """Return whether a request comes from a program on this machine, and neither through a proxy nor from a web page.

    A page that a browser shows may send requests to 127.0.0.1. It cannot hide where it comes from: `Origin`; nor, when
    its name was made to point here (DNS rebinding), what it asked for: `Host`.
    """
    if not _is_loopback(_address(scope)) or any(_headers(scope, name) for name in _FORWARDED):
        return False
    hosts = _headers(scope, b"host")
    origins = _headers(scope, b"origin")
    return (
        len(hosts) <= 1
        and all(_is_loopback_name(f"//{each}") for each in hosts)
        and all(_is_loopback_name(each) for each in origins)
    )


async def _without_key(scope: Mapping[str, Any], service: Service) -> Caller:
    if await service.store.keys.any():
        raise Unauthorized(_ASK)
    if not is_local(scope):
        raise Unauthorized(_NO_KEY)
    return _local(service)


async def _verified(presented: list[str], service: Service) -> KeyRecord | None:
    if len(presented) != 1 or len(presented[0]) > _MAX_HEADER:
        return None
    kind, _, token = presented[0].partition(" ")
    if kind.lower() != "bearer":
        return None
    return await service.store.keys.verify(token.strip())


def _local(service: Service) -> Caller:
    return Caller(service.settings.tenant, LOCAL_KEY, frozenset(SCOPES))


def _scopes(record: KeyRecord) -> frozenset[Scope]:
    """Return the scopes that this version knows; a key made by a later one keeps its others to itself."""
    return frozenset(each for each in SCOPES if each in record.scopes)


def _headers(scope: Mapping[str, Any], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == name]


def _address(scope: Mapping[str, Any]) -> str:
    client = scope.get("client")
    return client[0] if client else ""


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _is_loopback_name(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    return host == "localhost" or host.endswith(".localhost") or _is_loopback(host)
