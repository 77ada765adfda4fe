"""Emptying a node: devices go elsewhere while they are served, at their own pace or by force, and may come again."""

import asyncio
import socket
import time
from contextlib import suppress
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from push_core.rpc.port import ReceiptKind, Taking
from push_gateway.drain import Phase
from push_gateway.drain_switch import CONTROL_KEY, checked, ordered
from sdk_proto.wire import frames as f
from tests.push_gateway.support import Client, Node, Site, offer
from tests.push_gateway.test_handshake import request
from tests.support.until import until

BRISK: dict[str, Any] = {"drain_s": 10.0, "drain_rate": 1_000, "drain_leave_s": 5.0}


async def migrated(client: Client) -> f.Migrate:
    frame = await client.receive()
    assert isinstance(frame, f.Migrate), frame
    return frame


async def refused(node: Node) -> bool:
    try:
        client = await node.client()
    except (OSError, InvalidHandshake):
        return True
    await client.socket.close()
    return False


async def test_a_node_that_stops_has_its_devices_go_elsewhere_and_serves_them_until_they_have(site: Site) -> None:
    one, two = await site.node(name="one", **BRISK, drain_urls=("ws://two/",)), await site.node(name="two")
    client = await one.device(install="i", attempt=1)
    stopping = asyncio.create_task(one.gateway.stop(20.0))
    assert (await migrated(client)).urls == ("ws://two/",)
    assert not one.gateway.ready
    assert await refused(one)
    sent = offer("d-1")
    assert await one.deliver(sent) == [Taking.ACCEPTED]
    await client.ack((await client.push()).id)
    await site.receipts.of(sent.id, ReceiptKind.RECEIVED)
    assert not stopping.done()
    await two.device(install="i", attempt=2)  # and the old one is told that it is superseded
    assert await client.closed() == 4007
    await stopping
    assert site.receipts.kinds(sent.id) == [ReceiptKind.RECEIVED]
    assert await one.located() == two.gateway.incarnation


async def test_who_does_not_go_is_closed_with_4100_and_what_it_had_not_acked_is_lost(site: Site) -> None:
    node = await site.node(**BRISK | {"drain_leave_s": 0.1})
    client = await node.device()
    sent = offer("d-1")
    await node.deliver(sent)
    await client.push()
    await node.gateway.stop(20.0)
    await migrated(client)
    assert await client.closed() == 4100
    assert site.receipts.kinds(sent.id) == [ReceiptKind.LOST]
    assert await node.located() is None


async def test_whom_the_rate_leaves_no_time_is_told_when_to_come_elsewhere(site: Site) -> None:
    node = await site.node(drain_s=0.3, drain_rate=1)
    clients = [await node.device(f"d-{number}") for number in range(3)]
    await node.gateway.stop(5.0)
    said: list[Any] = []
    for client in clients:
        frames: list[Any] = []
        with suppress(ConnectionClosed):
            while True:
                frames.append(await client.receive())
        said.append(frames)
    byes = [frames[-1] for frames in said]
    assert [bye.code for bye in byes] == [4100] * 3
    assert sum(isinstance(frame, f.Migrate) for frames in said for frame in frames) == 1
    waits = sorted(bye.retry_after_ms for bye in byes if bye.retry_after_ms)
    assert len(waits) >= 2
    assert all(after - before >= 1_000 for before, after in pairwise(waits))


async def test_a_node_without_devices_stops_at_once(site: Site) -> None:
    node = await site.node(**BRISK)
    before = time.monotonic()
    await node.gateway.stop(20.0)
    assert time.monotonic() - before < 5.0


async def test_drained_by_hand_it_runs_on_empty_and_takes_devices_again_at_the_same_address(site: Site) -> None:
    node = await site.node(**BRISK | {"drain_leave_s": 0.1})
    drain, url = node.gateway.drain, node.url
    client = await node.device()
    drain.by_hand(drain.terms(within_s=10.0))
    await migrated(client)
    assert await client.closed() == 4100
    await until(lambda: drain.phase is Phase.EMPTY)
    assert await node.gateway.missing() == ["drained (by hand, empty; taco gateway undrain ends it)"]
    assert await refused(node)
    drain.by_hand(None)
    await until(lambda: drain.phase is Phase.SERVING)
    assert (node.url, await node.gateway.missing()) == (url, [])
    await node.device("d-2")


async def test_taken_back_while_it_moves_devices_it_leaves_the_rest_where_they_are(site: Site) -> None:
    node = await site.node(**BRISK | {"drain_rate": 1})
    drain = node.gateway.drain
    clients = [await node.device(f"d-{number}") for number in range(3)]
    drain.by_hand(drain.terms(within_s=100.0))
    await migrated(clients[0])
    drain.by_hand(None)
    await until(lambda: drain.phase is Phase.SERVING)
    await clients[2].pong()
    assert node.gateway.sessions == 3


async def test_told_to_stop_while_it_moves_devices_it_goes_on_with_less_time(site: Site) -> None:
    node = await site.node(drain_s=0.5, drain_rate=1)
    clients = [await node.device(f"d-{number}") for number in range(3)]
    drain = node.gateway.drain
    drain.by_hand(drain.terms(within_s=1_000.0))
    await migrated(clients[0])
    await node.gateway.stop(5.0)
    assert await clients[2].closed() == 4100


async def test_the_switch_in_control_empties_the_nodes_that_it_names_also_those_that_start_later(site: Site) -> None:
    node, other = await site.node(name="gw-7.2", **BRISK), await site.node(name="gw-8", **BRISK)
    client = await node.device()
    control = site.ports.control
    await control.control.put(CONTROL_KEY, {"gw-7": {"urls": ["ws://elsewhere/"]}})
    await control.poll()
    assert (await migrated(client)).urls == ("ws://elsewhere/",)
    await client.socket.close()
    assert other.gateway.ready
    later = await site.node(name="gw-7.3")
    await until(lambda: later.gateway.drain.phase is Phase.EMPTY)
    assert "by the switch in control" in (await later.gateway.missing())[0]
    later.gateway.drain.by_hand(None)  # is not enough
    assert later.gateway.drain.phase is Phase.EMPTY
    await control.control.put(CONTROL_KEY, {"gw-7": "nonsense"})
    await control.poll()
    assert later.gateway.drain.phase is Phase.EMPTY
    await control.control.put(CONTROL_KEY, None)
    await control.poll()
    await until(lambda: later.gateway.ready and node.gateway.ready)
    await later.device("d-2")


async def test_who_waits_in_the_kernels_queue_is_let_in_before_the_gate_is_shut(site: Site) -> None:
    """A listener that is closed resets them: each would be one failed attempt of a phone."""
    node = await site.node(**BRISK)
    place = urlsplit(node.url)
    queued = [socket.create_connection((place.hostname or "", place.port or 0)) for _ in range(50)]
    drain = node.gateway.drain  # the loop has not had a turn since
    drain.by_hand(drain.terms(within_s=10.0))
    await until(lambda: not node.gateway._gate.is_open)
    for each in queued:
        each.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(each, request())
        assert b" 101 " in await asyncio.get_running_loop().sock_recv(each, 4_096)
        each.close()


async def test_before_listening_stops_there_may_be_time_for_a_balancer_to_notice(site: Site) -> None:
    node = await site.node(**BRISK, drain_notice_s=0.3)
    drain = node.gateway.drain
    drain.by_hand(drain.terms(within_s=10.0))
    await until(lambda: not node.gateway.ready)
    assert not await refused(node)
    await until(lambda: drain.phase is Phase.EMPTY)
    assert await refused(node)


@pytest.mark.parametrize(
    ("value", "node", "order"),
    [
        (None, "gw-1", None),
        ({}, "gw-1", None),
        ({"gw-1": {}}, "gw-1", {"within_s": 3_600.0}),
        ({"gw-1": {"rate": 5, "within_s": 9}}, "gw-1.12", {"rate": 5, "within_s": 9.0}),
        ({"gw-1": {}, "gw-1.2": {"rate": 7}}, "gw-1.2", {"within_s": 3_600.0, "rate": 7}),
        ({"gw-1": {}}, "gw-1.a", None),
        ({"gw-1": {}}, "gw-12", None),
        ({"gw.1": {}}, "gw.1", {"within_s": 3_600.0}),
    ],
)
def test_whom_the_switch_names(value: Any, node: str, order: Any) -> None:
    assert ordered(value, node) == order


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        ([], "not an object"),
        ({"rat": 1}, "rat is not a field"),
        ({"rate": 0}, "rate must be a number from 1"),
        ({"rate": True}, "rate must be a number"),
        ({"over_s": float("inf")}, "over_s must be a number"),
        ({"within_s": "5"}, "within_s must be a number"),
        ({"urls": ["http://a/"]}, "ws:// and wss:// addresses"),
        ({"urls": "wss://a/"}, "urls must be a list"),
    ],
)
def test_an_order_that_makes_no_sense_is_a_sentence(order: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        checked(order)
