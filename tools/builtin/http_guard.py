"""Decide whether a URL may be reached at all: the host allow-list, and which addresses count as public.

The defence is that of the SSRF guides (OWASP, RFC 6890 and the IANA special-purpose registries): names only, matched
against a list; every address of a name must be public; the connection goes to an address that was checked.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from ...errors import ToolError

if TYPE_CHECKING:
    import httpx2

MAX_URL = 2_000
_PORTS = {"http": 80, "https": 443}
_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
# The last label begins with a letter, so that no spelling of an IPv4 address (decimal, octal, hexadecimal) is a name.
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?=[a-z]){_LABEL}")
_WILDCARD = re.compile(rf"\*\.((?:{_LABEL}\.)+(?=[a-z]){_LABEL})")

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast, and one cloud's metadata service.
_DENIED_V4 = [
    IPv4Network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
    )
]
# Global unicast is 2000::/3; inside it: protocol assignments with Teredo, documentation, 6to4, AS112.
_GLOBAL_V6 = IPv6Network("2000::/3")
_DENIED_V6 = [
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
]


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be fetched, once its host has been resolved.

    Attributes:
        url: The URL without fragment.
        host: Its host in ASCII, lower case.
        port: Its port, also when the URL leaves it out.
    """

    url: "httpx2.URL"
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class HostRules:
    """What may be fetched.

    Attributes:
        exact: Hosts allowed as they are.
        suffixes: Domains whose subdomains are allowed, from `*.DOMAIN`; the domain itself is not.
        ports: Ports allowed.
    """

    exact: frozenset[str]
    suffixes: tuple[str, ...]
    ports: frozenset[int]

    def allows(self, host: str) -> bool:
        """Say whether a host is on the list."""
        return host in self.exact or any(host.endswith(f".{suffix}") for suffix in self.suffixes)

    def describe(self) -> str:
        """Return the list in words for the model."""
        return ", ".join((*sorted(self.exact), *(f"*.{suffix}" for suffix in self.suffixes)))


def host_problems(hosts: object, ports: Iterable[object]) -> Iterator[str]:
    """Yield `field: message` for every entry that cannot stand in the rules."""
    if isinstance(hosts, str) or not isinstance(hosts, Sequence):
        yield "allowed_hosts: must be a list of host names"
    elif not hosts:
        yield "allowed_hosts: is empty, and fetching stays off unless hosts are allowed, e.g. ['*.example.org']"
    else:
        for index, entry in enumerate(hosts):
            name = _ascii(entry) if isinstance(entry, str) else ""
            if not (_HOST.fullmatch(name) or _WILDCARD.fullmatch(name)):
                yield f"allowed_hosts[{index}]: must be a name such as example.org or *.example.org, not {entry!r}"
    for index, port in enumerate(ports):
        if type(port) is not int or not 0 < port < 65_536:
            yield f"ports[{index}]: must be a port number, not {port!r}"


def host_rules(hosts: Sequence[str], ports: Iterable[int]) -> HostRules:
    """Build the rules from entries without `host_problems`."""
    names = [_ascii(host) for host in hosts]
    exact = frozenset(name for name in names if not name.startswith("*"))
    return HostRules(exact, tuple(name[2:] for name in names if name.startswith("*")), frozenset(ports))


def check_url(text: str, rules: HostRules, base: "httpx2.URL | None" = None) -> Target:
    """Read a URL and hold it against the rules; nothing is resolved or opened.

    Args:
        text: The URL, or with `base` a reference to join to it.
        rules: What may be fetched.
        base: URL of the page that redirects here.

    Raises:
        ToolError: The URL may not be fetched; the reason is named.
    """
    target = read_url(text, base)
    if not is_name(target.host):
        raise ToolError(f"{target.host[:100]!r} is not a host name; addresses and single words are not accepted")
    if not rules.allows(target.host):
        raise ToolError(f"host {target.host} is not allowed; allowed are: {rules.describe()}")
    if target.port not in rules.ports:
        raise ToolError(f"port {target.port} is not allowed; allowed are: {', '.join(map(str, sorted(rules.ports)))}")
    return target


def read_url(text: str, base: "httpx2.URL | None" = None) -> Target:
    """Read a URL that is http or https and carries neither a user nor anything that readers take differently.

    Args:
        text: The URL, or with `base` a reference to join to it.
        base: URL of the page that leads here.

    Raises:
        ToolError: It is no such URL; the reason is named.
    """
    if len(text) > MAX_URL:
        raise ToolError(f"the URL has {len(text):,} characters; at most {MAX_URL:,} are accepted")
    if re.search(r"[\x00-\x20\x7f\\]", text):
        raise ToolError("a URL holds no spaces, control characters or backslashes")
    url = _parse(text, base)
    if url.scheme not in _PORTS:
        raise ToolError("only http:// and https:// URLs are accepted")
    if url.userinfo or "@" in url.netloc.decode("ascii", "replace"):
        raise ToolError("a URL with user name or password is not accepted")
    host = url.raw_host.decode("ascii", "replace").lower().removesuffix(".")
    port = _PORTS[url.scheme] if url.port is None else url.port
    return Target(url.copy_with(fragment=None), host, port)


def is_name(host: str) -> bool:
    """Say whether a host is a full name, in lower case: no spelling of an address, no single word."""
    return bool(_HOST.fullmatch(host))


def check_addresses(host: str, answers: Iterable[str]) -> list[str]:
    """Return the addresses of a host if every one of them is public.

    Raises:
        ToolError: There is none, or one is not public; the model is not told which.
    """
    found = list(dict.fromkeys(answers))
    if not found:
        raise ToolError(f"host {host} has no address")
    if not all(is_public(answer) for answer in found):
        raise ToolError(f"host {host} has an address that is not public; it is not accepted")
    return found


def is_public(text: str) -> bool:
    """Say whether an address is global unicast and neither translates nor tunnels to another."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in network for network in _DENIED_V4)
    return _is_public_v6(address)


def _is_public_v6(address: IPv6Address) -> bool:
    if address.scope_id is not None or address not in _GLOBAL_V6 or not address.is_global:
        return False
    isatap = int(address) >> 32 & 0xFDFF_FFFF == 0x5EFE  # RFC 5214: the rest is an IPv4 address
    return not isatap and not any(address in network for network in _DENIED_V6)


def _parse(text: str, base: "httpx2.URL | None") -> "httpx2.URL":
    import httpx2

    try:
        return httpx2.URL(text) if base is None else base.join(text)
    except (httpx2.InvalidURL, ValueError, TypeError):
        raise ToolError("the URL cannot be read; accepted are URLs such as https://example.org/page") from None


def _ascii(host: str) -> str:
    """Return a host name in lower case and, when it is international, in its ASCII form; "" when it has none."""
    name = host.strip().lower()
    if name.isascii():
        return name
    wildcard = "*." if name.startswith("*.") else ""
    try:
        return wildcard + _parse(f"http://{name.removeprefix('*.')}/", None).raw_host.decode("ascii")
    except ToolError:
        return ""
