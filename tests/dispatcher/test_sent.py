"""What was given to which node, and what becomes of it when the node is gone."""

from collections.abc import Sequence

import msgspec
import pytest

from dispatcher.sent import Sent
from push_core.errors import Unavailable
from push_core.lifecycle import State
from push_core.metrics.catalogue import Metric
from push_core.queues.port import Parcel, Published
from push_core.rpc.port import ReceiptKind
from tests.dispatcher.world import APP, World
from tests.support.hand_clock import HandClock


def test_what_was_given_is_remembered_for_its_time_only() -> None:
    time = HandClock()
    sent = Sent(60.0, 1_000, time.monotonic)
    sent.remember("a", [1, 2])
    time.advance(40.0)
    sent.remember("a", [3, 1])
    sent.remember("b", [4])
    time.advance(30.0)
    assert sent.take("a") == [3, 1]
    assert sent.take("a") == []
    assert sent.nodes() == ["b"]


def test_the_oldest_goes_at_the_bound() -> None:
    time = HandClock()
    sent = Sent(60.0, 3, time.monotonic)
    sent.remember("a", [1, 2])
    time.advance(1.0)
    sent.remember("a", [3, 4])
    assert len(sent) == 2
    assert sent.take("a") == [3, 4]
    assert len(sent) == 0


def test_nodes_that_were_given_nothing_for_long_are_forgotten() -> None:
    time = HandClock()
    sent = Sent(60.0, 1_000, time.monotonic)
    sent.remember("a", [1])
    time.advance(62.0)
    sent.forget_old()
    assert (sent.nodes(), len(sent)) == ([], 0)


async def test_what_a_dead_node_had_is_put_back_at_once(world: World) -> None:
    node, other = await world.node("gw-1"), await world.node("gw-2")
    await node.connect("d-1", "d-2", "d-3")
    acked = await world.push("d-1")
    lost, moved = await world.push("d-2"), await world.push("d-3")
    await world.report(acked, "d-1", ReceiptKind.RECEIVED, stored=False)
    await world.parts.node_watch.run_once()
    assert world.metrics.newest(Metric.DI_NODES, role="gateway") == 2
    await node.die()
    await other.connect("d-3")
    assert await world.parts.node_watch.run_once() == 2
    assert world.metrics.newest(Metric.DI_NODES, role="gateway") == 1
    assert world.metrics.counted(Metric.DI_NODES_LOST) == 1
    await world.handle()
    assert await world.state(acked, "d-1") is State.DELIVERED
    assert await world.reason(lost, "d-2") == "offline"
    assert [(row.id, row.again) for row in await world.inbox("d-2")] == [(lost.id, True)]
    assert other.written == [(moved.id, APP, "d-3", True)]
    assert await world.parts.node_watch.run_once() == 0


async def test_a_later_life_at_its_address_says_that_a_node_is_gone_before_its_lease_does(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    assert await world.parts.node_watch.run_once() == 0
    again = msgspec.structs.replace(node.node, incarnation="gw-1#2")
    await world.ports.presence.lease_node(again, 15.0)
    assert await world.parts.node_watch.run_once() == 1
    await world.handle()
    assert await world.state(envelope, "d-1") is State.ACCEPTED  # written again, as the route still names the old life


async def test_a_node_that_nobody_is_found_at_is_gone_before_its_lease_is(world: World) -> None:
    node, other = await world.node("gw-1"), await world.node("gw-2")
    await node.connect("d-1", "d-2")
    envelope = await world.push("d-1")
    assert node.listener is not None
    await node.listener.stop(0)
    await world.push("d-2")
    assert await world.parts.node_watch.run_once() == 0
    world.time.advance(3.0)
    await other.connect("d-1")
    assert await world.parts.node_watch.run_once() == 1
    await world.handle()
    assert [row[0] for row in other.written] == [envelope.id]


async def test_a_call_without_an_answer_is_put_back_with_the_rest(world: World) -> None:
    node, other = await world.node("gw-1"), await world.node("gw-2")
    await node.connect("d-1")
    node.lose_answers = True
    envelope = await world.push("d-1")
    await node.die()
    await other.connect("d-1")
    assert await world.parts.node_watch.run_once() == 1
    await world.handle()
    assert [row[0] for row in other.written] == [envelope.id]


async def test_a_message_goes_back_only_for_the_devices_that_did_not_ack(world: World) -> None:
    node, other = await world.node("gw-1"), await world.node("gw-2")
    await node.connect("d-1", "d-2")
    envelope = await world.push("d-1", "d-2")
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    await node.die()
    await other.connect("d-1", "d-2")
    assert await world.parts.node_watch.run_once() == 1
    await world.handle()
    assert [row[2] for row in other.written] == ["d-2"]


async def test_what_a_living_node_has_stays_with_it(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.push("d-1")
    assert await world.parts.node_watch.run_once() == 0


async def test_what_was_not_put_back_yet_is_owed(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    await node.die()
    envelopes = world.messages.envelopes

    async def down(ids):  # type: ignore[no-untyped-def]
        raise Unavailable("the store is down")

    world.ports.messages.envelopes = down  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await world.parts.node_watch.run_once()
    world.ports.messages.envelopes = envelopes  # type: ignore[method-assign]
    assert await world.parts.node_watch.run_once() == 1
    await world.handle()
    assert await world.state(envelope, "d-1") is State.WAITING


async def test_what_a_dead_node_had_is_not_forgotten_when_the_broker_is_away_too(world: World) -> None:
    node, other = await world.node("gw-1"), await world.node("gw-2")
    await node.connect("d-1")
    envelope = await world.push("d-1")
    await node.die()
    await other.connect("d-1")
    publish = world.queues.publish

    async def away(parcels: Sequence[Parcel]) -> list[Published]:
        return [Published.UNCONFIRMED] * len(parcels)

    world.queues.publish = away  # type: ignore[method-assign]
    await world.parts.node_watch.run_once()
    world.queues.publish = publish  # type: ignore[method-assign]
    await world.later()  # and not when the relay reads this second again, in minutes
    assert [row[0] for row in other.written] == [envelope.id]
