"""What dies is soon left alone, whatever else is asked of it; what comes back is soon used like before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.tcp_proxy import TcpProxy
from ops.cluster.servers import MariaServer, RabbitServer, RedisServer
from push_core.adapters import ApiPorts, StoreSettings, open_ports
from push_core.clock import Clock
from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.presence.port import Node
from push_core.queues.port import Parcel, Published
from push_core.rpc.port import Deliver, Delivered, Kick, Poke
from push_core.sql.upgrade import upgrade_store
from tests.support.audience import NoAudience
from tests.support.servers import require_server
from tests.support.until import until

AT_ONCE = 20


async def ports_on(**stores: str) -> tuple[ApiPorts, MemoryMetrics]:
    """The stores of a test on SQLite and in memory but for these, with a breaker that is quick to look again."""
    usual = {"messages": "sqlite://", "devices": "sqlite://", "metrics": "memory://"}
    settings = StoreSettings(**(usual | stores), breaker_probe_s=0.2, breaker_recover_s=0.2)  # type: ignore[arg-type]
    ports = await open_ports(settings, clock=Clock(), data=None, only=ApiPorts)
    assert isinstance(ports.metrics, MemoryMetrics)
    return ports, ports.metrics


async def how_many_pass(call: Callable[[], Awaitable[Any]]) -> int:
    outcomes = await asyncio.gather(*(call() for _ in range(AT_ONCE)), return_exceptions=True)
    assert all(not isinstance(outcome, BaseException) or isinstance(outcome, Unavailable) for outcome in outcomes)
    return sum(not isinstance(outcome, BaseException) for outcome in outcomes)


async def left_alone_and_used_again(
    target: str,
    metrics: MemoryMetrics,
    call: Callable[[], Awaitable[Any]],
    probe: Callable[[], Awaitable[Any]] | None,
    die: Callable[[], object],
    come_back: Callable[[], object],
) -> None:
    def refused() -> int:
        return metrics.counted(Metric.BREAKER_REFUSED, target=target)

    def made() -> int:
        return metrics.counted(Metric.NEIGHBOUR_CALLS, target=target)

    assert await how_many_pass(call) == AT_ONCE
    await asyncio.to_thread(die)

    async def is_left_alone() -> bool:
        assert await how_many_pass(call) == 0
        return refused() > 2 * AT_ONCE

    await until(is_left_alone)
    if probe is not None:
        before = made()
        for _ in range(3):
            with pytest.raises(Unavailable):
                await probe()
        assert made() == before + 3, "what keeps something alive always goes"
    await asyncio.to_thread(come_back)

    async def is_used_again() -> bool:
        return await how_many_pass(call) == AT_ONCE

    await until(is_used_again)
    before = refused()
    for _ in range(5):
        assert await how_many_pass(call) == AT_ONCE
    assert refused() == before


async def test_redis(tmp_path: Path) -> None:
    require_server(RedisServer)
    with RedisServer(tmp_path / "redis") as server:
        ports, metrics = await ports_on(presence=f"{server.dsn}?timeout_ms=1000")
        node = Node(incarnation="life-1", name="gw-1", address="127.0.0.1:1", zone="default")
        await left_alone_and_used_again(
            "presence",
            metrics,
            call=lambda: ports.presence.locate([("demo", "d-1")]),
            probe=lambda: ports.presence.lease_node(node, 15.0),
            die=server.kill,
            come_back=server.start,
        )
        await ports.close()


async def test_mariadb(tmp_path: Path) -> None:
    require_server(MariaServer)
    with MariaServer(tmp_path / "mariadb") as server:
        options = "?partition_days=0&timeout_s=1&connect_timeout_s=1"
        await asyncio.to_thread(upgrade_store, server.dsn + options, "devices")
        ports, metrics = await ports_on(devices=server.dsn + options)
        await left_alone_and_used_again(
            "devices",
            metrics,
            call=lambda: ports.devices.get([("demo", "d-1")]),
            probe=ports.devices.ping,
            die=server.kill,
            come_back=server.start,
        )
        await ports.close()


async def test_rabbitmq(rabbit_server: RabbitServer) -> None:
    async with TcpProxy("127.0.0.1", rabbit_server.port) as proxy:
        dsn = rabbit_server.dsn.replace(f":{rabbit_server.port}", f":{proxy.port}")
        ports, metrics = await ports_on(queues=f"{dsn}?timeout_ms=1000&prefix=fuse.")
        loop = asyncio.get_running_loop()

        async def publish() -> None:
            if await ports.queues.publish([Parcel("shared.urgent", b"body")]) != [Published.CONFIRMED]:
                raise Unavailable("not confirmed")

        await left_alone_and_used_again(
            "queues",
            metrics,
            call=publish,
            probe=None,
            die=lambda: loop.call_soon_threadsafe(proxy.stall),
            come_back=lambda: loop.call_soon_threadsafe(proxy.flow),
        )
        await ports.close()


class Service(NoAudience):
    """A gateway that can be told to answer nobody."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    async def deliver(self, call: Deliver) -> Delivered:
        await self.open.wait()
        return Delivered(b"")

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        return [True for _ in kicks]

    async def poke(self, pokes: Sequence[Poke]) -> None:
        pass


async def test_a_method_of_a_peer_and_its_other_methods_are_still_called() -> None:
    ports, metrics = await ports_on(rpc="grpc://127.0.0.1:0")
    service = Service()
    listener = ports.rpc.listen(node=service, zone="default")
    await listener.start()
    peers = ports.rpc.peers()
    loop = asyncio.get_running_loop()
    call = Deliver("life-1", Clock().wall_ms() + 60_000, [])
    try:
        await left_alone_and_used_again(
            "rpc.deliver",
            metrics,
            call=lambda: peers.deliver(listener.address, call, timeout_s=1.0),
            probe=None,
            die=lambda: loop.call_soon_threadsafe(service.open.clear),
            come_back=lambda: loop.call_soon_threadsafe(service.open.set),
        )
        service.open.clear()
        await asyncio.gather(
            *(peers.deliver(listener.address, call, timeout_s=0.5) for _ in range(AT_ONCE)), return_exceptions=True
        )
        assert await peers.kick(listener.address, [Kick("demo", "d-1", 1, 4300, "", "life-1")]) == [True]
        assert metrics.counted(Metric.BREAKER_REFUSED, target="rpc.kick") == 0
        service.open.set()
    finally:
        await peers.close()
        await listener.stop(1.0)
        await ports.close()


async def test_embedded_stores_have_no_breaker() -> None:
    ports, metrics = await ports_on()
    await ports.devices.close()
    for _ in range(50):
        with pytest.raises(Unavailable, match="closed"):
            await ports.devices.get([("demo", "d-1")])
    assert metrics.counted(Metric.BREAKER_REFUSED) == 0
    await ports.close()
