"""Whose connection it is: what proxies say of it is believed when they are trusted, and it is what limits and rules go by."""

import asyncio
import socket
from typing import Any

import pytest

from push_core.errors import ConfigError
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_gateway.guard.rules import CONTROL_KEY
from push_gateway.link import Link
from sdk_proto.wire import frames as f
from tests.push_gateway.guard.test_proxy_protocol import INET, v2
from tests.push_gateway.guard.test_rules import rule
from tests.push_gateway.support import Client, Node, Site
from tests.push_gateway.test_connection import Raw, gone
from tests.push_gateway.test_handshake import request

LOCAL = ("127.0.0.0/8",)


def told(address: str) -> bytes:
    return f"PROXY TCP4 {address} 127.0.0.1 4711 8081\r\n".encode()


async def proxied(node: Node, header: bytes) -> Client:
    """A device behind a proxy that says this first."""
    host, port = node.url.removeprefix("ws://").partition("/")[0].split(":")
    sock = socket.create_connection((host, int(port)))
    sock.sendall(header)
    sock.setblocking(False)
    return await node.client(sock=sock)


async def behind(node: Node, forwarded: str) -> Client:
    return await node.client(additional_headers={"X-Forwarded-For": forwarded})


def counted(node: Node, metric: Metric, **tags: str) -> int:
    metrics = node.ports.metrics
    assert isinstance(metrics, MemoryMetrics)
    node.gateway._context.counters.flush()
    node.gateway._guard.book.flush()
    return metrics.counted(metric, **tags)


async def set_rules(node: Node, *rules: dict[str, Any]) -> None:
    await node.ports.control.control.put(CONTROL_KEY, {"rules": list(rules)})
    await node.ports.control.poll()


async def test_a_proxy_says_whose_connection_it_is(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, proxy_protocol=True)
    for device, header in (("a", told("203.0.113.9")), ("b", v2(1, 0x11, INET))):
        client = await proxied(node, header)
        await client.sign_in(device)
    signed = node.gateway._context.registry.signed
    assert [connection.client for connection in signed.values()] == ["203.0.113.9", "192.0.2.7"]
    assert counted(node, Metric.GW_PROXY_HEADERS, outcome="client") == 2


async def test_a_header_may_come_in_pieces_and_with_what_follows_it(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, proxy_protocol=True)
    raw = await Raw.to(node)
    header = told("203.0.113.9") + request()
    for byte in header[:20]:
        raw.write(bytes((byte,)))
        await asyncio.sleep(0)
    raw.write(header[20:])
    assert b" 101 " in await raw.until(b"\r\n\r\n")
    raw.close()
    await gone(node)


async def test_a_health_check_of_the_proxy_is_its_own(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, proxy_protocol=True)
    raw = await Raw.to(node)
    raw.write(v2(0, 0x00) + b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await raw.rest()).startswith(b"HTTP/1.1 200 ")
    assert counted(node, Metric.GW_PROXY_HEADERS, outcome="local") == 1


async def test_a_trusted_proxy_without_a_header_is_hung_up_on(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, proxy_protocol=True, upgrade_timeout_s=0.05)
    for data, outcome in ((request(), "bad"), (b"PROXY TCP4 1", "late")):
        raw = await Raw.to(node)
        raw.write(data)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await raw.until(b"\r\n")
        raw.close()
        assert counted(node, Metric.GW_PROXY_HEADERS, outcome=outcome) == 1
    await gone(node)


async def test_a_stranger_can_not_say_who_it_is(site: Site) -> None:
    node = await site.node(
        trusted_proxies=("192.0.2.0/24",), proxy_protocol=True, forwarded_for=True, address_connections=5
    )
    raw = await Raw.to(node)
    raw.write(told("203.0.113.9") + request())
    assert (await raw.rest()).startswith(b"HTTP/1.1 400 ")
    client = await behind(node, "203.0.113.9")
    await client.sign_in("d-1")
    (connection,) = node.gateway._context.registry.signed.values()
    assert connection.client == "127.0.0.1"


async def test_a_proxy_that_speaks_http_says_it_in_a_header(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, forwarded_for=True)
    client = await behind(node, "1.1.1.1, 203.0.113.9")
    await client.sign_in("d-1")
    (connection,) = node.gateway._context.registry.signed.values()
    assert connection.client == "203.0.113.9"


async def test_both_together_a_proxy_in_front_of_a_proxy(site: Site) -> None:
    node = await site.node(trusted_proxies=(*LOCAL, "10.0.0.0/8"), proxy_protocol=True, forwarded_for=True)
    raw = await Raw.to(node)
    raw.write(told("10.0.0.7") + request(X_Forwarded_For="203.0.113.9"))
    await raw.until(b"\r\n\r\n")
    (link,) = node.gateway._context.registry.connections
    assert isinstance(link, Link)
    assert link.client == "203.0.113.9"
    raw.close()


@pytest.mark.parametrize("key", ["proxy_protocol", "forwarded_for"])
async def test_nobody_is_trusted_by_mistake(site: Site, key: str) -> None:
    settings: dict[str, Any] = {key: True}
    with pytest.raises(ConfigError, match=rf"\[gateway\] {key}: name the proxies"):
        await site.node(**settings)
    with pytest.raises(ConfigError, match=r"\[gateway\] trusted_proxies: 'everybody' is no network"):
        await site.node(trusted_proxies=("everybody",))


# ── connections of one address ────────────────────────────────────────────────────────────────────────────────────


async def test_an_address_has_so_many_connections_and_others_have_theirs(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, proxy_protocol=True, address_connections=2)
    inside = [await proxied(node, told("203.0.113.9")) for _ in range(2)]
    await inside[0].sign_in("d-1")
    raw = await Raw.to(node)
    raw.write(told("203.0.113.9"))
    with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
        await raw.until(b"\r\n")
    raw.close()
    await (await proxied(node, told("203.0.113.8"))).sign_in("d-2")
    assert counted(node, Metric.LIMITED, limit="address_connections") == 1
    for client in node.clients:
        client.socket.transport.abort()
    await gone(node)
    assert len(node.gateway._guard.door) == 0  # a lost connection is counted down, however far it had come
    await (await proxied(node, told("203.0.113.9"))).sign_in("d-1")


async def test_without_a_proxy_the_peer_counts(site: Site) -> None:
    node = await site.node(address_connections=1)
    first, second = await Raw.to(node), await Raw.to(node)
    assert await second.rest() == b""
    first.close()
    await gone(node)
    assert len(node.gateway._guard.door) == 0


async def test_behind_a_proxy_that_speaks_http_one_too_many_gets_an_answer(site: Site) -> None:
    """A proxy takes a connection that is hung up on for a fault of ours, and may send nobody here any more."""
    node = await site.node(trusted_proxies=LOCAL, forwarded_for=True, address_connections=1, overload_retry_ms=7_000)
    inside = await behind(node, "203.0.113.9")
    raw = await Raw.to(node)
    raw.write(request(X_Forwarded_For="203.0.113.9"))
    answer = await raw.rest()
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"Retry-After: 7\r\n" in answer
    await inside.sign_in("d-1")
    await (await behind(node, "203.0.113.8")).sign_in("d-2")


# ── rules ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_refused_user_agent_gets_no_upgrade(site: Site) -> None:
    node = await site.node()
    await set_rules(node, rule("scripts", user_agent="curl/*", action="refuse", sign_ins_per_s=0))
    raw = await Raw.to(node)
    raw.write(request(User_Agent="curl/8.1"))
    assert (await raw.rest()).startswith(b"HTTP/1.1 403 ")
    raw = await Raw.to(node)
    raw.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8.1\r\n\r\n")
    assert (await raw.rest()).startswith(b"HTTP/1.1 200 ")  # health is nobody's sign-in
    await (await node.client(user_agent_header="okhttp/4")).sign_in("d-1")
    assert counted(node, Metric.GW_RULES, rule="scripts", outcome="refused") == 1


async def test_a_limited_network_gets_4003_and_a_time_and_one_on_trial_comes_in(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, forwarded_for=True, overload_retry_ms=0)
    slow = rule("slow", networks=["203.0.113.0/24"], sign_ins_per_s=0.01, burst=1)
    await set_rules(node, slow | {"dry_run": True})
    for device in ("a", "b"):
        await (await behind(node, "203.0.113.9")).sign_in(device)
    assert counted(node, Metric.GW_RULES, rule="slow", outcome="would_limit") == 1
    await set_rules(node, slow)
    await (await behind(node, "203.0.113.9")).sign_in("c")
    client = await behind(node, "203.0.113.10")
    await client.hello("d")
    bye = await client.receive()
    assert isinstance(bye, f.Bye)
    assert (bye.code, bye.reason) == (4003, "too many sign-ins")
    assert 90_000 <= bye.retry_after_ms <= 100_000
    await (await behind(node, "198.51.100.1")).sign_in("e")
    assert counted(node, Metric.LIMITED, limit="rules") == 1


async def test_per_address_rates_go_by_the_address_that_was_told(site: Site) -> None:
    node = await site.node(trusted_proxies=LOCAL, proxy_protocol=True, address_sign_ins=0.01, address_sign_ins_burst=1)
    await (await proxied(node, told("203.0.113.9"))).sign_in("d-1")
    refused = await proxied(node, told("203.0.113.9"))
    await refused.hello("d-2")
    assert await refused.closed() == 4003
    await (await proxied(node, told("203.0.113.8"))).sign_in("d-3")


async def test_nothing_is_asked_or_kept_where_nothing_is_configured(node: Node) -> None:
    await node.device("d-1")
    (connection,) = node.gateway._context.registry.signed.values()
    assert connection.address == ""
    assert connection.client == "127.0.0.1"
    assert len(node.gateway._guard.door) == 0
