"""A gateway whose presence is a real Redis that is emptied, killed, held or late: sessions live on, and routes come back by themselves."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.tcp_proxy import TcpProxy
from ops.cluster.servers import RedisServer
from push_core.errors import Unavailable
from push_core.rpc.port import Taking
from tests.push_gateway.support import APP, STORES, Client, Node, Site, offer, open_site
from tests.support.redis_time import direct
from tests.support.servers import require_server

COUNT = 30
OFTEN = {"lease_renew_s": 0.05, "lease_ttl_s": 2.0, "register_batch": 10, "register_per_s": 10_000}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    require_server(RedisServer)
    with RedisServer(tmp_path / "redis") as server:
        assert isinstance(server, RedisServer)
        yield server


@pytest.fixture
async def proxy(redis: RedisServer) -> AsyncIterator[TcpProxy]:
    async with TcpProxy("127.0.0.1", redis.port) as proxy:
        yield proxy


@pytest.fixture
async def site(redis: RedisServer, proxy: TcpProxy) -> AsyncIterator[Site]:
    dsn = redis.dsn.replace(f":{redis.port}/", f":{proxy.port}/")
    async with open_site(replace(STORES, presence=f"{dsn}?timeout_ms=3000")) as site:
        yield site


@pytest.fixture
async def node(site: Site) -> Node:
    return await site.node(tls=None, **OFTEN)


@pytest.fixture
async def clients(node: Node) -> list[Client]:
    return [await node.device(f"d-{number}") for number in range(COUNT)]


async def all_located(node: Node) -> None:
    while True:
        try:
            found = await node.ports.presence.locate([(APP, f"d-{number}") for number in range(COUNT)])
        except Unavailable:
            found = []
        if found and all(each and each.route.incarnation == node.gateway.incarnation for each in found):
            return
        await asyncio.sleep(0.02)


async def until_ready(node: Node, *, ready: bool) -> None:
    while node.gateway.ready is not ready:
        await asyncio.sleep(0.01)


async def alive(node: Node, clients: list[Client]) -> None:
    """Every session is the one that it was, and takes pushes."""
    assert await node.deliver(offer(*(f"d-{number}" for number in range(COUNT)))) == [Taking.ACCEPTED] * COUNT
    for client in clients:
        await client.push()


async def test_emptied(node: Node, clients: list[Client], redis: RedisServer) -> None:
    waiting = await node.store("d-7")  # its dispatcher found no route
    with direct(redis.dsn) as server:
        server.flushall()
    await all_located(node)
    assert (await clients[7].push()).id == waiting
    await alive(node, clients)


async def test_killed_and_restarted_empty(node: Node, clients: list[Client], redis: RedisServer) -> None:
    await asyncio.to_thread(redis.kill)
    await until_ready(node, ready=False)
    await alive(node, clients)
    await asyncio.to_thread(redis.start)
    await until_ready(node, ready=True)
    await all_located(node)
    await alive(node, clients)


async def test_held_for_longer_than_the_lease(node: Node, clients: list[Client], redis: RedisServer) -> None:
    redis.pause()
    await asyncio.sleep(OFTEN["lease_ttl_s"] + 0.1)
    await alive(node, clients)
    redis.resume()
    await all_located(node)
    await alive(node, clients)


async def test_answering_late(node: Node, clients: list[Client], proxy: TcpProxy) -> None:
    """Within the timeout: slower, and nothing else."""
    proxy.answer_delay_s = 0.3
    newcomer = await node.device("late")
    await all_located(node)
    assert proxy.connections <= 8
    proxy.answer_delay_s = 0.0
    await newcomer.pong()
    await alive(node, clients)


async def test_all_connections_cut_at_once(node: Node, clients: list[Client], proxy: TcpProxy) -> None:
    for _ in range(5):
        proxy.cut()
        await asyncio.sleep(0.02)
    await all_located(node)
    await alive(node, clients)
    assert proxy.connections <= 8
