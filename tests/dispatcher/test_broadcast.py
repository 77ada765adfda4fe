"""Live broadcasts from the dispatcher's side: told to every gateway, asked about until their time is over, ended whoever dies."""

from typing import Any

import msgspec
import pytest

from push_core.envelope import Envelope
from push_core.lifecycle import State
from push_core.messages.port import MessageView
from push_core.metrics.catalogue import Metric
from push_core.presence.port import RECEIPTS, Node
from push_core.rpc.port import Stage, Tally
from tests.dispatcher.world import APP, World

ACK_MS = 10_000


async def cast(world: World, topic: str | None = "news", **fields: Any) -> Envelope:
    to = {"everyone": True} if topic is None else {"topic": topic}
    usual = {"live_only": True, "expires": world.now + ACK_MS, "ack_timeout_ms": ACK_MS}
    return await world.push(**(usual | to | fields))


async def view_of(world: World, sent: Envelope) -> MessageView:
    (view,) = await world.messages.get([(APP, sent.id)])
    assert view is not None
    return view


async def pass_time(world: World, seconds: float) -> None:
    """As the program's loops do: looks at what is due twice a second, and the relay reads."""
    for _ in range(int(seconds * 2)):
        await world.later(0.5)
        await world.parts.relay.run_once()


async def open_ones(world: World) -> list[tuple[int, str, str]]:
    return await world.messages.open_between(0, 2**63 - 1)


@pytest.mark.parametrize("topic", ["news", None])
async def test_every_gateway_of_the_zone_is_told_once_and_counts_are_theirs(world: World, topic: str | None) -> None:
    nodes = [await world.node("gw-1"), await world.node("gw-2")]
    await world.ports.presence.lease_node(
        Node(incarnation="d#1", name="d", address="inproc:nowhere", zone="default", role=RECEIPTS), 60
    )
    await world.ports.presence.lease_node(Node(incarnation="far", name="far", address="inproc:far", zone="mars"), 60)
    nodes[0].tally, nodes[1].tally = Tally(Stage.TAKEN, written=3, full=1), Tally(Stage.DONE, written=2, acked=1)
    sent = await cast(world, topic)
    for node in nodes:
        (told,) = node.casts
        assert (told.id, told.app, told.topic, told.push, told.expires, told.again) == (
            sent.id, APP, topic, sent.push, sent.expires, False,
        )  # fmt: skip
    view = await view_of(world, sent)
    assert (view.state, view.counts, view.deliveries) == (
        State.DELIVERED,
        {"delivered": 1, "sending": 4, "expired": 1},
        [],
    )


async def test_acks_are_asked_for_until_its_time_is_over_and_then_it_ends(world: World) -> None:
    node = await world.node()
    sent = await cast(world)
    assert (await view_of(world, sent)).counts == {"sending": 3}
    node.tallies[sent.id] = Tally(Stage.DONE, written=3, acked=1)
    await pass_time(world, 2)
    assert (await view_of(world, sent)).counts == {"delivered": 1, "sending": 2}
    node.tallies[sent.id] = Tally(Stage.DONE, written=3, acked=2)
    await pass_time(world, 11)
    view = await view_of(world, sent)
    assert (view.state, view.reason, view.counts) == (State.DELIVERED, "", {"delivered": 2, "expired": 1})
    assert await open_ones(world) == []
    asked = len(node.casts)
    assert asked <= 12
    assert [told.again for told in node.casts] == [False] + [True] * (asked - 1)
    await pass_time(world, 120)
    assert len(node.casts) == asked
    assert world.metrics.counted(Metric.DI_RELAY_STUCK) == 0


async def test_it_ends_as_soon_as_everybody_has_acked(world: World) -> None:
    node = await world.node()
    sent = await cast(world)
    node.tallies[sent.id] = Tally(Stage.DONE, written=3, acked=2, refused=1)
    await pass_time(world, 1)
    view = await view_of(world, sent)
    assert (view.state, view.counts) == (State.DELIVERED, {"delivered": 2, "undeliverable": 1})
    assert await open_ones(world) == []


async def test_nobody_acked(world: World) -> None:
    await world.node()
    sent = await cast(world)
    await pass_time(world, 12)
    view = await view_of(world, sent)
    assert (view.state, view.reason, view.counts) == (State.EXPIRED, "not_acked", {"expired": 3})


@pytest.mark.parametrize("gateways", [0, 1])
async def test_nobody_was_there(world: World, gateways: int) -> None:
    for _ in range(gateways):
        (await world.node()).tally = Tally(Stage.DONE)
    sent = await cast(world)
    await pass_time(world, 12)
    view = await view_of(world, sent)
    assert (view.state, view.reason, view.counts) == (State.EXPIRED, "not_connected", {})
    assert await open_ones(world) == []


async def test_a_gateway_that_was_not_reached_is_told_at_the_next_look(world: World) -> None:
    node = await world.node()
    node.lose_answers = True
    sent = await cast(world)
    assert (await view_of(world, sent)).state is State.ACCEPTED
    node.lose_answers = False
    late = await world.node("gw-2")
    await pass_time(world, 2)
    assert (await view_of(world, sent)).counts == {"sending": 6}
    assert [told.again for told in late.casts][:1] == [True]


async def test_a_gateway_that_is_busy_is_asked_again(world: World) -> None:
    node = await world.node()
    node.tally = Tally(Stage.BUSY)
    sent = await cast(world)
    node.tallies[sent.id] = Tally(Stage.DONE, written=1, acked=1)
    await pass_time(world, 1)
    assert (await view_of(world, sent)).counts == {"delivered": 1}


async def test_what_a_gateway_counted_stays_when_it_dies_and_the_message_ends(world: World) -> None:
    node = await world.node()
    sent = await cast(world)
    node.tallies[sent.id] = Tally(Stage.DONE, written=3, acked=2)
    await pass_time(world, 2)
    await node.die()
    await pass_time(world, 12)
    view = await view_of(world, sent)
    assert (view.state, view.counts) == (State.DELIVERED, {"delivered": 2, "expired": 1})
    assert await open_ones(world) == []


@pytest.mark.parametrize("handled", [False, True])
async def test_a_dispatcher_that_dies_leaves_it_to_the_next_one(world: World, handled: bool) -> None:
    node = await world.node()
    if handled:
        sent = await cast(world)
    else:  # accepted, and lost before anybody took it
        sent = world.envelope(topic="news", live_only=True, expires=world.now + ACK_MS, ack_timeout_ms=ACK_MS)
        await world.commit(sent)
    world.restart()
    await pass_time(world, 14)
    assert node.casts
    assert (await view_of(world, sent)).counts == {"expired": 3}
    assert await open_ones(world) == []


async def test_what_is_found_after_its_time_ends_and_is_given_to_nobody_who_would_write_it(world: World) -> None:
    node = await world.node()
    node.tally = Tally(Stage.LATE)
    sent = world.envelope(topic="news", live_only=True, expires=world.now + ACK_MS, ack_timeout_ms=ACK_MS)
    await world.commit(sent)
    world.time.advance(60)
    await world.publish(sent)
    await world.handle()
    assert (await view_of(world, sent)).reason == "not_connected"
    assert await open_ones(world) == []


async def test_one_that_is_recalled_is_told_to_nobody(world: World) -> None:
    node = await world.node()
    sent = world.envelope(topic="news", live_only=True, expires=world.now + ACK_MS, ack_timeout_ms=ACK_MS)
    await world.commit(sent)
    await world.messages.recall([(APP, sent.id)], now=world.now)
    await world.publish(sent)
    await world.handle()
    assert node.casts == []
    assert (await view_of(world, sent)).state is State.RECALLED


async def test_a_broadcast_and_named_deliveries_of_one_batch_go_their_ways(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    named = world.envelope("d-1")
    live = world.envelope(topic="news", live_only=True, expires=world.now + ACK_MS, ack_timeout_ms=ACK_MS)
    await world.commit(named, live)
    await world.publish(named, live)
    await world.handle()
    assert [row[0] for row in node.written] == [named.id]
    assert [told.id for told in node.casts] == [live.id]


async def test_an_envelope_of_the_release_before_is_no_broadcast(world: World) -> None:
    fields = msgspec.to_builtins(world.envelope("d-1"))
    old = msgspec.convert(fields[:-2], Envelope)
    assert (old.is_broadcast, old.topic, old.everyone) == (False, None, False)
