"""Internet addresses as the guard compares them, and sets of networks that are asked for each connection. Pure.

An address is kept as text in its one usual form: an IPv4 address that came as IPv6 (`::ffff:192.0.2.7`) is an IPv4 address, so that no
limit and no rule can be passed by writing it another way.
"""

import ipaddress
import socket
from collections.abc import Iterable

MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291 §2.5.5.2


def packed(address: str) -> bytes | None:
    """4 bytes, 16 of IPv6, or None for what is no address. What follows `%` (RFC 4007, a zone of this machine) doesn't count.

    >>> packed("192.0.2.7"), packed("::ffff:192.0.2.7"), packed("fe80::1%eth0") == packed("fe80::1"), packed("localhost")
    (b'\\xc0\\x00\\x02\\x07', b'\\xc0\\x00\\x02\\x07', True, None)
    """
    try:
        if ":" not in address:
            return socket.inet_pton(socket.AF_INET, address)
        found = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):  # the latter for what no C text can hold
        return None
    return found[12:] if found.startswith(MAPPED) else found


def text_of(address: bytes) -> str:
    """Of 4 or 16 bytes.

    >>> text_of(bytes(15) + b"\\1"), text_of(MAPPED + b"\\xc0\\0\\2\\7")
    ('::1', '192.0.2.7')
    """
    if address.startswith(MAPPED):
        address = address[12:]
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def normal(address: str) -> str | None:
    """The usual form; None for what is no address.

    >>> normal("2001:DB8:0::7"), normal("::ffff:192.0.2.7"), normal("x")
    ('2001:db8::7', '192.0.2.7', None)
    """
    found = packed(address)
    return None if found is None else text_of(found)


class Prefixes:
    """Which of up to thousands of networks an address is in: one look-up for each length of prefix that occurs. A network has bits; an
    address has those of all the networks that it is in."""

    def __init__(self) -> None:
        self._tables: dict[int, dict[int, dict[int, int]]] = {4: {}, 16: {}}  # bytes, bits left out, number, bits

    def add(self, network: str, bits: int) -> None:
        """Raises ValueError with a sentence for what is no network."""
        found = _network(network)
        size = 4 if found.version == 4 else 16
        shift = 8 * size - found.prefixlen
        table = self._tables[size].setdefault(shift, {})
        number = int(found.network_address) >> shift
        table[number] = table.get(number, 0) | bits

    def of(self, address: str) -> int:
        """0 for an address that is in none, and for what is no address."""
        found = packed(address)
        if found is None:
            return 0
        number, bits = int.from_bytes(found, "big"), 0
        for shift, table in self._tables[len(found)].items():
            bits |= table.get(number >> shift, 0)
        return bits


class Networks:
    """A set of networks. Raises ValueError with a sentence for what is none."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._prefixes = Prefixes()
        self._any = False
        for network in networks:
            self._prefixes.add(network, 1)
            self._any = True

    def __bool__(self) -> bool:
        return self._any

    def __contains__(self, address: str) -> bool:
        return self._any and self._prefixes.of(address) != 0


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no network: give one as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7") from None
        raise ValueError(f"{text!r} has bits beyond its prefix; the network is {meant}") from None
    if found.version == 6 and found.network_address.ipv4_mapped is not None:
        raise ValueError(f"{text!r} is IPv4 written as IPv6, and such addresses are compared as IPv4: write it so")
    return found
