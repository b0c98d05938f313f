"""Where webhooks may go: public addresses, and the receivers inside the house that the operator names.

A URL is read when a run is submitted (`check_webhook_url`, nothing is resolved) and its addresses are held against
the same rules whenever it is sent (`check_receiver_addresses`), so a name that moves into the house is not followed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from ..errors import ToolError, WebhookRefused

if TYPE_CHECKING:
    from ..settings import Settings
    from ..tools.builtin.http_guard import Target

_HOST_PORT = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9_.-]+)):([0-9]{1,5})")

_PORTS = frozenset((80, 443, *range(1_024, 65_536)))
"""Ports of the web, and those that nobody needs a privilege for; not those of mail and the like."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """Receivers that need not be public.

    Attributes:
        receivers: (host, port) allowed wherever the host leads.
        networks: Addresses allowed whatever their name.
    """

    receivers: frozenset[tuple[str, int]]
    networks: tuple[IPv4Network | IPv6Network, ...]

    def names(self, target: "Target") -> bool:
        """Say whether a receiver is named itself."""
        return (target.host, target.port) in self.receivers

    def holds(self, address: str) -> bool:
        """Say whether an address lies in one of the networks."""
        return bool(self.networks) and any(ip_address(address) in network for network in self.networks)


@cache
def read_allowed(text: str) -> Allowed:
    """Read the setting `webhook_allow`.

    Raises:
        ValueError: An entry is neither `host:port` nor a range of addresses; it is named.
    """
    receivers: set[tuple[str, int]] = set()
    networks: list[IPv4Network | IPv6Network] = []
    for entry in filter(None, (each.strip().lower() for each in text.split(","))):
        found = _HOST_PORT.fullmatch(entry)
        if found and 0 < int(found[3]) < 65_536:
            receivers.add((found[1] or found[2], int(found[3])))
        else:
            networks.append(_network(entry))
    return Allowed(frozenset(receivers), tuple(networks))


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(entry)
    except ValueError:
        raise ValueError(f"{entry!r} is neither host:port nor a range such as 10.1.0.0/16") from None


def check_webhook_url(url: str, settings: "Settings") -> "Target":
    """Read the URL of a webhook and refuse what could never be delivered; nothing is resolved or opened.

    Raises:
        WebhookRefused: It is not http(s), names a user, a single word, or an address that is not public.
    """
    from ..tools.builtin.http_guard import is_name, is_public, read_url

    try:
        target = read_url(url)
    except ToolError as exc:
        raise WebhookRefused(url[:200], exc.message) from None
    allowed = read_allowed(settings.webhook_allow)
    if target.port not in _PORTS and not allowed.names(target):
        raise WebhookRefused(url[:200], f"port {target.port} is not one of 80, 443, 1024 and above")
    if allowed.names(target) or is_name(target.host) or _is_reachable(target.host, allowed, is_public(target.host)):
        return target
    raise WebhookRefused(
        url[:200],
        "its host is neither a full name nor a public address; LOOPWRIGHT_WEBHOOK_ALLOW permits receivers of your own",
    )


def check_receiver_addresses(target: "Target", answers: Iterable[str], settings: "Settings") -> list[str]:
    """Return the addresses of a receiver if webhooks may go to every one of them.

    Raises:
        WebhookRefused: There is none, or one is neither public nor permitted.
    """
    from ..tools.builtin.http_guard import is_public

    found = list(dict.fromkeys(answers))
    allowed = read_allowed(settings.webhook_allow)
    if not found:
        raise WebhookRefused(str(target.url)[:200], f"host {target.host} has no address")
    if allowed.names(target) or all(_is_reachable(each, allowed, is_public(each)) for each in found):
        return found
    raise WebhookRefused(str(target.url)[:200], f"host {target.host} has an address that is not public")


def _is_reachable(address: str, allowed: Allowed, public: bool) -> bool:
    try:
        return public or allowed.holds(address)
    except ValueError:
        return False
