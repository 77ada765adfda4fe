"""The one way out to addresses that a user gave: http and https only, names resolved once and the address pinned, private and other
special networks refused unless the operator allows them, no credentials in URLs, no redirects (`guarded_http` follows none).

What is checked is the address that is then dialled, so that a name which changes its answer (DNS rebinding) gains nothing, and however an
address is written (decimal, octal, hexadecimal) it is judged as what it resolves to.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from urllib.parse import urlsplit

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Addresses of a name, as text, in order of preference. Raises OSError."""

SPECIAL: tuple[IPNetwork, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        # IANA IPv4 Special-Purpose Address Registry, and multicast (RFC 5771)
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches the machine itself
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local; cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relay
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, limited broadcast
        # IANA IPv6 Special-Purpose Address Registry: all outside of global unicast 2000::/3, and these within
        "::/3",  # unspecified, loopback, mapped, NAT64, discard, …
        "4000::/2",
        "8000::/1",  # unique local, link-local, multicast, …
        "2001::/23",  # protocol assignments, Teredo, benchmarking, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
        "5f00::/16",  # segment routing
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052; the local-use prefix (RFC 8215) is special and stays refused
_COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291 2.5.5.1, deprecated
_LONGEST_NAME, _LONGEST_LABEL = 253, 63  # RFC 1035 2.3.4, as text
_NUMBER_LIKE = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", re.IGNORECASE)


class Refused(Exception):
    """The address may not be called. The message says why, without repeating what may be secret in the URL."""


class Guard:
    """`allowed` are networks of the operator's choice that may be reached although they are special; `ports` numbers and ranges.
    Raises ValueError for what is no network or port range."""

    def __init__(
        self,
        *,
        allowed: Iterable[str] = (),
        ports: Iterable[str] = ("80", "443", "1024-65535"),
        resolve: Resolve | None = None,
        resolve_timeout_s: float = 3.0,
    ) -> None:
        self._allowed = tuple(ipaddress.ip_network(network) for network in allowed)
        self._ports = tuple(port_range(text) for text in ports)
        self._resolve = resolve or resolve_by_system
        self._resolve_timeout_s = resolve_timeout_s

    def check_url(self, url: str) -> None:
        """What can be said of a URL before its name is resolved. Raises Refused."""
        if any(character <= " " or character == "\x7f" or character == "\\" for character in url):
            raise Refused("the URL holds spaces, control characters or backslashes")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise Refused("not a URL") from None
        if parts.scheme.lower() not in ("http", "https"):
            raise Refused("only http and https are called")
        if "@" in parts.netloc:
            raise Refused("the URL carries credentials")
        host = parts.hostname
        if not host:
            raise Refused("the URL has no host")
        self.check_port(port if port is not None else 443 if parts.scheme.lower() == "https" else 80)
        if "%" in host:
            raise Refused("the host is escaped or names a zone")
        if len(host) > _LONGEST_NAME or any(len(label) > _LONGEST_LABEL for label in host.split(".")):
            raise Refused("the host is longer than a name can be")
        if _NUMBER_LIKE.fullmatch(host) and not _is_plain_ipv4(host):
            raise Refused("the host is a number that is not written as an address")

    def check_port(self, port: int) -> None:
        """Raises Refused."""
        if not any(first <= port <= last for first, last in self._ports):
            raise Refused(f"port {port} is not open to webhooks")

    def check_address(self, text: str) -> None:
        """Raises Refused for an address in a special network, or one that carries such an address within."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise Refused("the name resolves to what is no address") from None
        if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
            raise Refused("the address names a zone")
        for one in unwrap(address):
            if not self._may_reach(one):
                raise Refused(f"the address is in a network that webhooks may not reach ({kind_of(one)})")

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses to dial for a host, all of them checked. One that is refused refuses the name. Raises Refused, OSError, TimeoutError."""
        self.check_port(port)
        async with asyncio.timeout(self._resolve_timeout_s):
            found = await self._resolve(host, port)
        if not found:
            raise OSError(f"{host} has no address")
        for address in found:
            self.check_address(address)
        return found

    def _may_reach(self, address: IPAddress) -> bool:
        if any(address.version == network.version and address in network for network in self._allowed):
            return True
        return not any(address.version == network.version and address in network for network in SPECIAL)


def unwrap(address: IPAddress) -> Sequence[IPAddress]:
    """The addresses that count: an IPv4-mapped one is the IPv4 address; a translated or tunnelled one is itself and what it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        # A translator dials the IPv4 address: that one decides, since the prefix is no host's address.
        return (ipaddress.IPv4Address(int(address) & 0xFFFFFFFF),)
    carried: list[IPAddress] = [address]
    if address.sixtofour is not None:
        carried.append(address.sixtofour)
    if address.teredo is not None:
        carried.extend(address.teredo)
    if address in _COMPATIBLE and int(address) > 1:
        carried.append(ipaddress.IPv4Address(int(address)))
    return carried


def kind_of(address: IPAddress) -> str:
    for name in ("is_loopback", "is_link_local", "is_multicast", "is_unspecified", "is_private", "is_reserved"):
        if getattr(address, name):
            return name.removeprefix("is_").replace("_", "-")
    return "special"


def port_range(text: str) -> tuple[int, int]:
    """`"443"` or `"1024-65535"`. Raises ValueError.

    >>> port_range("443"), port_range("1024-65535")
    ((443, 443), (1024, 65535))
    """
    first, dash, last = text.partition("-")
    if not dash:
        last = first
    if not all(part.isascii() and part.isdigit() for part in (first, last)):
        raise ValueError(f"{text!r} is not a port or a range of ports")
    pair = int(first), int(last)
    if not 0 < pair[0] <= pair[1] <= 65_535:
        raise ValueError(f"{text!r} is not a range of ports within 1-65535")
    return pair


async def resolve_by_system(host: str, port: int) -> list[str]:
    """The system's resolver, in a thread of the loop. A call that outlives its deadline ends there by itself."""
    try:
        infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # the name can't be written in IDNA
        raise OSError("not a name") from None
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


def _is_plain_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True
