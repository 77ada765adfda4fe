"""Whose request it is, by what proxies wrote into `X-Forwarded-For`. Pure.

Each proxy adds the address that it was called from at the right; what a client wrote itself stands left of that. So the list is read from the right,
as long as the one who wrote is trusted: the first address that is not a trusted proxy's is the client's, and nothing left of it is believed.
"""

from collections.abc import Sequence

from push_gateway.guard.addresses import Networks, normal

MOST_HOPS = 32  # looked at, from the right: more proxies than that in a row are a loop


def client_of(peer: str, headers: Sequence[str], trusted: Networks) -> str:
    """The client's address, in its usual form. `peer` is who is connected; `headers` are the values of X-Forwarded-For in their order.

    >>> client_of("10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], Networks(["10.0.0.0/8"]))
    '203.0.113.9'
    >>> client_of("203.0.113.9", ["1.1.1.1"], Networks(["10.0.0.0/8"]))
    '203.0.113.9'
    """
    address = normal(peer) or peer
    if address not in trusted or not headers:
        return address
    hops = ",".join(headers).rsplit(",", MOST_HOPS)
    if len(hops) > MOST_HOPS:
        del hops[0]  # all the rest, unread
    for hop in reversed(hops):
        found = _address(hop.strip(" \t"))
        if found is None:  # "unknown", or nonsense: whose it is beyond that proxy, nobody knows
            return address
        address = found
        if address not in trusted:
            break
    return address


def _address(hop: str) -> str | None:
    """As proxies write it: an address, with a port or without; IPv6 in brackets or without.

    >>> _address("192.0.2.7:4711"), _address("[2001:db8::7]:4711"), _address("2001:db8::7"), _address("unknown"), _address("[::1")
    ('192.0.2.7', '2001:db8::7', '2001:db8::7', None, None)
    """
    if hop.startswith("["):
        inside, bracket, port = hop[1:].partition("]")
        if not bracket or (port and not _is_port(port)) or ":" not in inside:
            return None
        return normal(inside)
    if hop.count(":") == 1:
        hop, _, port = hop.partition(":")
        if not _is_port(f":{port}"):
            return None
    return normal(hop)


def _is_port(text: str) -> bool:
    return text[0] == ":" and text[1:].isdecimal() and text.isascii() and len(text) <= 6
