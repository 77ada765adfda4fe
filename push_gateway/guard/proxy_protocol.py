"""The PROXY protocol, versions 1 and 2: what a proxy says before the connection it passes on, so that we know whose it is. Pure.

Source: haproxy's doc/proxy-protocol.txt, §2.1 and §2.2. Whether a connection begins with a header is configured (`[gateway] proxy_protocol`) and
never guessed from its bytes; a header that is not exact ends the connection. What follows the addresses (TLVs) is passed over.
"""

import msgspec

from push_gateway.guard.addresses import normal, text_of

V1 = b"PROXY "
V2 = b"\r\n\r\n\0\r\nQUIT\n"
V1_LONGEST = 107  # §2.1, with its CRLF
_V2_FIXED = 16
_LOCAL, _PROXY = 0, 1
_UNSPEC, _INET, _INET6, _UNIX = 0, 1, 2, 3
_LEAST = {_UNSPEC: 0, _INET: 12, _INET6: 36, _UNIX: 216}  # bytes of both addresses and ports


class Proxied(msgspec.Struct, frozen=True):
    """A whole header of `length` bytes. `address` is the client's; None: the connection is the proxy's own (a health check), or the proxy
    does not say whose, and the real address of its peer counts."""

    address: str | None
    length: int


class Bad(msgspec.Struct, frozen=True):
    """Not a header, or not an exact one: end the connection."""

    reason: str


def read(data: bytes, longest: int) -> Proxied | Bad | None:
    """The header at the beginning of a connection's bytes; None: more is needed. `longest` bounds one of version 2. Never raises."""
    if data.startswith(V1):
        return _version_1(data)
    if data.startswith(V2):
        return _version_2(data, longest)
    if V1.startswith(data) or V2.startswith(data):
        return None
    return Bad("it does not begin with a PROXY header")


def _version_1(data: bytes) -> Proxied | Bad | None:
    end = data.find(b"\r\n", 0, V1_LONGEST)
    if end < 0:
        return Bad("the line is too long") if len(data) >= V1_LONGEST else None
    family, *parts = data[len(V1) : end].split(b" ")
    if family == b"UNKNOWN":  # whatever follows is ignored
        return Proxied(None, end + 2)
    if family not in (b"TCP4", b"TCP6"):
        return Bad("the protocol is none of TCP4, TCP6, UNKNOWN")
    if len(parts) != 4:
        return Bad("two addresses and two ports are needed")
    source, destination, *ports = parts
    colon = family == b"TCP6"
    address = _address(source, colon)
    if address is None or _address(destination, colon) is None:
        return Bad("an address is not of its protocol")
    if not all(map(_is_port, ports)):
        return Bad("a port is not a number from 0 to 65535")
    return Proxied(address, end + 2)


def _address(text: bytes, colon: bool) -> str | None:
    return normal(text.decode("latin-1")) if (b":" in text) is colon and b"%" not in text else None


def _is_port(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 5 and (text[0] != 0x30 or len(text) == 1) and int(text) <= 65_535


def _version_2(data: bytes, longest: int) -> Proxied | Bad | None:
    if len(data) < _V2_FIXED:
        return None
    version, command = data[12] >> 4, data[12] & 0x0F
    if version != 2 or command not in (_LOCAL, _PROXY):
        return Bad("the version is not 2, or the command neither LOCAL nor PROXY")
    length = _V2_FIXED + int.from_bytes(data[14:16], "big")
    if length > longest:
        return Bad(f"a header has at most {longest} bytes here")
    family, transport = data[13] >> 4, data[13] & 0x0F
    if command == _PROXY:
        least = _LEAST.get(family)
        if least is None or transport > 2:
            return Bad("the family or transport is not of this protocol")
        if transport and length < _V2_FIXED + least:
            return Bad("the addresses are cut short")
    if len(data) < length:
        return None
    if command == _LOCAL or transport == _UNSPEC or family not in (_INET, _INET6):
        return Proxied(None, length)
    return Proxied(text_of(data[16:20] if family == _INET else data[16:32]), length)
