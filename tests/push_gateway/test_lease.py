"""The node in presence: its lease, and routes that come back whatever presence lost."""

import asyncio
from typing import Any

from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.presence.memory import MemoryPresence
from push_core.presence.port import Node as NodeRecord
from push_core.presence.port import Route
from push_core.rpc.port import Taking
from tests.push_gateway.support import APP, Node, Site, offer

OFTEN: dict[str, Any] = {"lease_renew_s": 0.01, "register_per_s": 100_000}


async def until_located(node: Node, device: str = "d-1", incarnation: str | None = None) -> None:
    while await node.located(device) != (incarnation or node.gateway.incarnation):
        await asyncio.sleep(0.001)


def run_out(node: Node) -> None:
    """As if it had not been renewed in time."""
    presence = node.ports.presence
    assert isinstance(presence, MemoryPresence)
    presence._leases[node.gateway.incarnation].until = 0.0


async def until_told(site: Site, why: str) -> None:
    """The gateway's counts come once a second."""
    metrics = site.ports.metrics
    assert isinstance(metrics, MemoryMetrics)
    while not metrics.counted(Metric.GW_REGISTERED_AGAIN, why=why):
        await asyncio.sleep(0.01)


async def test_a_lease_that_ran_out_brings_the_routes_back(site: Site) -> None:
    node = await site.node(**OFTEN)
    clients = [await node.device(f"d-{number}") for number in range(5)]
    run_out(node)
    for number in range(5):
        await until_located(node, f"d-{number}")
    for client in clients:
        await client.pong()
    await until_told(site, "lease")


async def test_an_emptied_presence_is_noticed_and_filled_again(site: Site) -> None:
    node = await site.node(**OFTEN)
    clients = [await node.device(f"d-{number}") for number in range(40)]
    presence = site.ports.presence
    assert isinstance(presence, MemoryPresence)
    presence.__init__()  # type: ignore[misc]  # as a store that was restarted without its data
    for number in range(40):
        await until_located(node, f"d-{number}")
    for client in clients:
        await client.pong()
    await until_told(site, "routes")


async def test_what_was_stored_while_a_device_could_not_be_found_is_sent(site: Site) -> None:
    node = await site.node(**OFTEN)
    client = await node.device()
    waiting = await node.store("d-1")  # a dispatcher found no route and nobody to poke
    await site.ports.presence.release_node(node.gateway.incarnation)
    assert (await client.push()).id == waiting


async def test_a_device_that_was_joining_when_the_lease_was_lost_is_registered_too(site: Site) -> None:
    """Its route was set under the lease that ran out. Without this it is offline to dispatchers until its turn in the slow comparing."""
    node = await site.node(**OFTEN)
    presence, inbox, locate = site.ports.presence, site.ports.messages.inbox, site.ports.presence.locate
    gate, joined = asyncio.Event(), asyncio.Event()

    async def slow_inbox(*args: Any, **kwargs: Any) -> Any:
        joined.set()
        await gate.wait()
        return await inbox(*args, **kwargs)

    async def no_comparing(keys: Any) -> Any:
        raise Unavailable("not now")  # on a node with many sessions a device's turn comes within ten minutes

    site.ports.messages.inbox = slow_inbox  # type: ignore[method-assign]
    presence.locate = no_comparing  # type: ignore[method-assign]
    lost, lease_node = asyncio.Event(), presence.lease_node

    async def lost_once(node: NodeRecord, ttl_s: float) -> bool:
        if lost.is_set():
            return await lease_node(node, ttl_s)
        await presence.release_node(node.incarnation)
        await lease_node(node, ttl_s)
        lost.set()
        return False

    client = await node.client()
    await client.hello("d-1")
    await joined.wait()
    presence.lease_node = lost_once  # type: ignore[method-assign]
    await lost.wait()
    for _ in range(20):
        await asyncio.sleep(0.001)  # those who are signed in are being registered
    gate.set()
    await client.receive()
    while await locate([(APP, "d-1")]) == [None]:
        await asyncio.sleep(0.001)


async def test_a_device_that_moved_while_the_lease_was_lost_is_closed_here(site: Site) -> None:
    node = await site.node(**OFTEN)
    client = await node.device()
    presence = site.ports.presence
    await presence.lease_node(NodeRecord(incarnation="other", name="gw-2", address="inproc:99", zone="default"), 60.0)
    await presence.release_node(node.gateway.incarnation)
    await presence.sign_in([Route(app=APP, device="d-1", incarnation="other", epoch=1)])
    assert await client.closed() == 4007
    assert await node.located() == "other"


async def test_a_route_that_names_another_node_ends_the_session_here(site: Site) -> None:
    """Its kick was lost: the slow comparing finds it."""
    node = await site.node(**OFTEN)
    client = await node.device()
    presence = site.ports.presence
    await presence.lease_node(NodeRecord(incarnation="other", name="gw-2", address="inproc:99", zone="default"), 60.0)
    await presence.sign_in([Route(app=APP, device="d-1", incarnation="other", epoch=1)])
    assert await client.closed() == 4007


async def test_sessions_live_on_while_presence_is_away(site: Site) -> None:
    node = await site.node(**OFTEN)
    client = await node.device()
    presence = site.ports.presence
    lease, tries = presence.lease_node, 0

    async def away(*args: Any) -> Any:
        nonlocal tries
        tries += 1
        raise Unavailable("away")

    presence.lease_node = away  # type: ignore[method-assign, assignment]
    while tries < 3:
        await asyncio.sleep(0.001)
    ready = [node.gateway.ready]  # nobody could sign in here
    assert await node.deliver(offer("d-1")) == [Taking.ACCEPTED]
    await client.push()
    presence.lease_node = lease  # type: ignore[method-assign]
    while not node.gateway.ready:
        await asyncio.sleep(0.001)
    assert ready == [False]
    assert await node.located() == node.gateway.incarnation


async def test_registering_again_is_tried_until_it_works(site: Site) -> None:
    node = await site.node(**OFTEN)
    await node.device()
    presence = site.ports.presence
    register, tries = presence.register_again, 0

    async def flaky(*args: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("not yet")
        return await register(*args)

    presence.register_again = flaky  # type: ignore[method-assign, assignment]
    await presence.release_node(node.gateway.incarnation)
    await until_located(node)
    assert tries == 3


async def test_a_renewal_under_way_does_not_take_the_lease_again_after_it_was_given_up(site: Site) -> None:
    node = await site.node(**OFTEN)
    presence = node.ports.presence
    lease_node = presence.lease_node
    arrived, may_go_on, over = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slowly(node: NodeRecord, ttl_s: float) -> bool:
        arrived.set()
        await may_go_on.wait()
        unbroken = await lease_node(node, ttl_s)
        over.set()
        return unbroken

    presence.lease_node = slowly  # type: ignore[method-assign]
    await arrived.wait()
    giving_up = asyncio.create_task(node.gateway._lease.give_up())
    while node.gateway._context.leased:
        await asyncio.sleep(0)
    may_go_on.set()
    await giving_up
    await over.wait()
    assert await presence.nodes() == []
    assert not node.gateway._context.leased


async def test_a_start_finds_that_the_life_before_died_and_not_that_it_stopped(site: Site) -> None:
    first = await site.node(name="one")
    assert Metric.GW_DIED not in {metric for metric, _ in first.gateway._context.counters._counts}
    second = await site.node(name="one")  # the first has not given up its lease
    assert (Metric.GW_DIED, "") in second.gateway._context.counters._counts
    await first.gateway.stop(1.0)
    await second.gateway.stop(1.0)
    third = await site.node(name="one")
    assert (Metric.GW_DIED, "") not in third.gateway._context.counters._counts
