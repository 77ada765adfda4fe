"""A gateway's life: starting, refusing to start, and stopping within its grace."""

import asyncio
import time

import pytest

from push_core.clock import Clock
from push_core.errors import ConfigError, Unavailable
from push_core.rpc.port import ReceiptKind
from push_gateway.app import Gateway
from push_gateway.settings import GatewaySettings
from sdk_proto.wire import frames as f
from tests.push_gateway.support import QUICK, Site, offer


async def test_it_is_ready_between_start_and_stop(site: Site) -> None:
    gateway = Gateway(QUICK, site.ports, Clock())
    ready = [gateway.ready]
    await gateway.start()
    ready.append(gateway.ready)
    assert gateway.url.startswith("ws://127.0.0.1:")
    assert [node.address for node in await site.ports.presence.nodes()] == [gateway.address]
    await gateway.stop(1.0)
    ready.append(gateway.ready)
    assert ready == [False, True, False]
    assert await site.ports.presence.nodes() == []


async def test_a_port_that_is_taken_is_a_sentence(site: Site) -> None:
    node = await site.node()
    port = int(node.url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(ConfigError, match=rf"\[gateway\] port: {port} on 127\.0\.0\.1 is taken"):
        await site.node(port=port)
    assert [record.address for record in await site.ports.presence.nodes()] == [node.gateway.address]


async def test_two_nodes_may_share_a_port(site: Site) -> None:
    one = await site.node(reuse_port=True)
    port = int(one.url.rpartition(":")[2].partition("/")[0])
    two = await site.node(reuse_port=True, port=port)
    clients = [await one.device(f"d-{number}") for number in range(20)]
    assert one.gateway.sessions + two.gateway.sessions == len(clients)


async def test_contradicting_heartbeats_are_refused_with_a_sentence(site: Site) -> None:
    with pytest.raises(ConfigError, match="heartbeat"):
        Gateway(GatewaySettings(heartbeat_min_s=700), site.ports)


async def test_without_presence_it_does_not_start_and_leaves_nothing_running(site: Site) -> None:
    await site.ports.presence.close()
    gateway = Gateway(QUICK, site.ports, Clock())
    with pytest.raises(Unavailable):
        await gateway.start()


async def test_stopping_says_goodbye_and_tells_of_what_was_unacked(site: Site) -> None:
    node = await site.node(stop_retry_ms=3_000)
    client = await node.device()
    sent = offer("d-1")
    await node.deliver(sent)
    await client.push()
    stopping = asyncio.create_task(node.gateway.stop(2.0))
    bye = await client.receive()
    assert isinstance(bye, f.Bye)
    assert bye.code == 4000
    assert 0 <= bye.retry_after_ms <= 3_000
    await stopping
    assert await client.closed() == 4000
    assert node.receipts.kinds(sent.id) == [ReceiptKind.LOST]
    assert await node.located() is None


async def test_acks_that_came_before_the_stop_are_delivered_to_their_zone(site: Site) -> None:
    node = await site.node(receipts_linger_s=5.0)
    client = await node.device()
    sent = offer("d-1")
    await node.deliver(sent)
    await client.ack((await client.push()).id)
    await client.pong()
    await node.gateway.stop(2.0)
    assert node.receipts.kinds(sent.id) == [ReceiptKind.RECEIVED]


async def test_a_stop_ends_within_its_grace_whatever_hangs(site: Site) -> None:
    """Receipts are refused, presence hangs, a client reads nothing."""
    node = await site.node(close_linger_s=60.0)
    client = await node.device()
    await node.deliver(offer("d-1"))
    client.socket.transport.pause_reading()
    node.receipts.down = True

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    site.ports.presence.release_node = hang  # type: ignore[method-assign, assignment]
    before = time.monotonic()
    await node.gateway.stop(0.3)
    assert time.monotonic() - before < 3.0  # ten times the grace: it ended at all
    assert not node.gateway._context.registry.connections


async def test_who_says_hello_while_it_stops_is_sent_away(site: Site) -> None:
    node = await site.node()
    client = await node.client()
    node.gateway._context.stopping = True
    await client.hello()
    assert await client.closed() == 4000


async def test_no_task_outlives_a_stop(site: Site) -> None:
    before = asyncio.all_tasks()
    node = await site.node()
    client = await node.device()
    await client.socket.close()
    await node.gateway.stop(1.0)
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("gateway")}
    assert left == set()
