"""One live connection a device: on one node, on two, and when calls cross."""

import asyncio
from typing import Any

from push_core.errors import Unavailable
from push_core.rpc.port import Kick, ReceiptKind, Taking
from tests.push_gateway.support import APP, Node, Site, offer


async def test_a_later_attempt_of_the_same_install_wins_with_4007(node: Node) -> None:
    first = await node.device(install="i-1", attempt=1)
    second = await node.device(install="i-1", attempt=2)
    assert await first.closed() == 4007
    await second.pong()
    assert node.gateway.sessions == 1


async def test_an_earlier_attempt_that_comes_late_loses_with_4007(node: Node) -> None:
    second = await node.device(install="i-1", attempt=2)
    first = await node.client()
    await first.hello(install="i-1", attempt=1)
    assert await first.closed() == 4007
    await second.pong()


async def test_another_install_wins_with_4301(node: Node) -> None:
    first = await node.device(install="i-1", attempt=9)
    second = await node.device(install="i-2", attempt=1)
    assert await first.closed() == 4301
    await second.pong()


async def test_without_an_install_the_newest_wins_with_4301(node: Node) -> None:
    first = await node.device()
    second = await node.device()
    assert await first.closed() == 4301
    await second.pong()


async def test_the_late_end_of_the_loser_does_not_remove_the_winner_s_route(node: Node) -> None:
    first = await node.device()
    second = await node.device()
    await first.closed()
    await node.gateway._context.sign_outs.close()  # everything that was to be said to presence has been said
    assert await node.located() == node.gateway.incarnation
    assert await node.deliver(offer("d-1")) == [Taking.ACCEPTED]
    await second.push()


async def test_many_connections_of_one_device_at_once_leave_one(node: Node) -> None:
    clients = [await node.client() for _ in range(20)]
    for client in clients:
        await client.hello()
    codes = await asyncio.gather(*(asyncio.wait_for(client.closed(), 5) for client in clients[:-1]))
    assert set(codes) == {4301}
    assert node.gateway.sessions == 1
    assert await node.located() == node.gateway.incarnation


async def test_what_the_loser_had_unacked_is_lost_and_comes_again(node: Node) -> None:
    first = await node.device()
    sent = offer("d-1")
    await node.deliver(sent)
    await first.push()
    await node.device()
    lost = await node.receipts.of(sent.id, ReceiptKind.LOST)
    assert lost.deadline == lost.written_at + sent.ack_timeout_ms


async def test_a_device_that_moves_to_another_node_is_kicked_off_the_first(site: Site) -> None:
    one, two = await site.node(name="gw-1"), await site.node(name="gw-2")
    first = await one.device(install="i-1", attempt=1)
    second = await two.device(install="i-1", attempt=2)
    assert await first.closed() == 4007
    await second.pong()
    assert await one.located() == two.gateway.incarnation
    assert (one.gateway.sessions, two.gateway.sessions) == (0, 1)


async def test_a_kick_is_told_again_until_the_node_did_it(site: Site) -> None:
    one, two = await site.node(), await site.node()
    first = await one.device(install="i-1")
    peers = two.gateway._peers
    kick, tries = peers.kick, 0

    async def lossy(*args: Any, **kwargs: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise Unavailable("not reached")
        return await kick(*args, **kwargs)

    peers.kick = lossy  # type: ignore[method-assign]
    await two.device(install="i-2")
    assert await first.closed() == 4301
    assert tries == 4


async def test_a_kick_ends_with_its_node(site: Site) -> None:
    one, two = await site.node(), await site.node()
    await one.device(install="i-1")
    kicks = two.gateway._sign_ins._kicks
    tried = asyncio.Event()

    async def unreachable(*args: Any, **kwargs: Any) -> Any:
        tried.set()
        raise Unavailable("not reached")

    two.gateway._peers.kick = unreachable  # type: ignore[method-assign]
    await two.device(install="i-2")
    await tried.wait()
    assert len(kicks) == 1
    await site.ports.presence.release_node(one.gateway.incarnation)
    while len(kicks):
        await asyncio.sleep(0)


async def test_a_kick_names_one_connection_or_any(node: Node) -> None:
    client = await node.device()
    peers, address = node.ports.rpc.peers(), node.gateway.address
    assert await peers.kick(address, [Kick(APP, "d-1", 99, 4301)]) == [False]
    assert await peers.kick(address, [Kick(APP, "d-2", -1, 4000)]) == [False]
    assert await peers.kick(address, [Kick(APP, "d-1", 1, 4301, "", "another life")]) == [False]
    await client.pong()
    assert await peers.kick(address, [Kick(APP, "d-1", -1, 4304, "blocked")]) == [True]
    assert await client.closed() == 4304
    while await node.located() is not None:
        await asyncio.sleep(0)


async def test_two_answers_of_presence_that_cross_leave_the_last_winner(site: Site, node: Node) -> None:
    """The first connection's answer is slow: meanwhile the second one signs in and wins."""
    sign_in, release, asked = site.ports.presence.sign_in, asyncio.Event(), asyncio.Event()

    async def slow_once(routes: Any) -> Any:
        answer = await sign_in(routes)
        if not asked.is_set():
            asked.set()
            await release.wait()
        return answer

    site.ports.presence.sign_in = slow_once  # type: ignore[method-assign]
    first = await node.client()
    await first.hello()
    await asked.wait()
    second = await node.device()
    assert await first.closed() == 4301
    release.set()
    await second.pong()
    assert await node.deliver(offer("d-1")) == [Taking.ACCEPTED]
    await second.push()
    assert await node.located() == node.gateway.incarnation
