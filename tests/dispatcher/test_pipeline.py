"""The way of a delivery from the queue to a gateway, an inbox or a vendor's queue."""

import asyncio

import msgspec
import pytest

from dispatcher.settings import DispatcherSettings
from push_core.envelope import vendor_queue_name
from push_core.errors import Unavailable
from push_core.lifecycle import State
from push_core.rpc.port import Poke, ReceiptKind, Taking
from tests.dispatcher.world import APP, World


async def test_a_connected_device_gets_the_push_and_its_ack_settles_it(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    assert node.written == [(envelope.id, APP, "d-1", False)]
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    assert await world.state(envelope, "d-1") is State.DELIVERED


async def test_the_trace_id_rides_along_and_the_trail_tells_where_it_went(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    assert node.calls[0].traceparent == envelope.traceparent
    (event,) = await world.trail.of_message(APP, envelope.id)
    assert (event.step, event.node, event.device, event.traceparent) == ("offered", "gw-1", "d-1", envelope.traceparent)


async def test_the_trail_tells_what_was_put_off_expanded_and_expired(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.register("d-1", alias="u-1")
    node.lose_answers = True
    put_off = await world.push(alias="u-1")
    expired = world.envelope("d-1", expires=world.now)
    await world.commit(expired)
    await world.publish(expired)
    await world.handle()
    assert [event.step for event in await world.trail.of_message(APP, put_off.id)] == ["expanded", "put_off"]
    (event,) = await world.trail.of_message(APP, expired.id)
    assert (event.step, event.traceparent) == ("expired", expired.traceparent)


async def test_a_batch_is_one_call_to_each_node(world: World) -> None:
    one, other = await world.node("gw-1"), await world.node("gw-2")
    await one.connect("a", "b", "c")
    await other.connect("d")
    envelopes = [world.envelope(device) for device in "abcd"]
    await world.commit(*envelopes)
    await world.publish(*envelopes)
    await world.handle()
    assert [len(call.offers) for call in one.calls] == [3]
    assert [len(call.offers) for call in other.calls] == [1]


async def test_a_device_that_is_offline_finds_the_push_in_its_inbox(world: World) -> None:
    envelope = await world.push("d-1")
    assert await world.state(envelope, "d-1") is State.WAITING
    assert await world.reason(envelope, "d-1") == "offline"
    (row,) = await world.inbox("d-1")
    assert (row.id, row.push, row.again, row.via_vendor) == (envelope.id, envelope.push, False, False)


async def test_equal_device_names_in_two_apps_never_meet(world: World) -> None:
    node = await world.node()
    await node.connect("d-1", app="customer")
    envelope = await world.push("d-1")
    assert node.written == []
    assert await world.state(envelope, "d-1") is State.WAITING


async def test_a_full_window_stores_the_push_and_tells_the_gateway(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.FULL
    envelope = await world.push("d-1")
    assert await world.reason(envelope, "d-1") == "full"
    assert [(poke.app, poke.device) for poke in node.pokes] == [(APP, "d-1")]


async def test_a_full_window_asks_the_vendor_only_at_the_ack_deadline(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    node.plan["d-1"] = Taking.FULL
    envelope = await world.push("d-1")
    assert await world.later(9.0) == 0
    assert await world.later(1.0) == 1
    assert (await world.standing(envelope, "d-1")).vendor == "stub"


async def test_a_stale_route_is_corrected_and_the_push_stored(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    node.sessions.clear()
    envelope = await world.push("d-1")
    assert await world.reason(envelope, "d-1") == "offline"
    assert await world.ports.presence.locate([(APP, "d-1")]) == [None]


async def test_a_device_that_reconnected_while_its_push_was_stored_is_told(world: World) -> None:
    """The stale route is found; before the row is stored the device signs in at another node, whose first look at the inbox finds nothing."""
    old, new = await world.node("gw-1"), await world.node("gw-2")
    await old.connect("d-1")
    old.sessions.clear()
    apply = world.messages.apply

    async def apply_late(changes, *, now):  # type: ignore[no-untyped-def]
        await new.connect("d-1")
        return await apply(changes, now=now)

    world.ports.messages.apply = apply_late  # type: ignore[method-assign]
    envelope = await world.push("d-1")
    assert await world.state(envelope, "d-1") is State.WAITING
    assert [poke.device for poke in new.pokes] == ["d-1"]


async def test_a_gateway_that_could_not_be_told_is_told_later(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.FULL
    node.refuse_pokes = True
    await world.push("d-1")
    node.refuse_pokes = False
    assert await world.later(10.0) == 1
    assert [poke.device for poke in node.pokes] == ["d-1"]
    assert await world.later(100.0) == 0


@pytest.mark.parametrize(("live_only", "reason"), [(False, "ttl"), (True, "not_connected")])
async def test_what_is_past_its_time_is_offered_to_nobody(world: World, live_only: bool, reason: str) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = world.envelope("d-1", expires=world.now + 5_000, live_only=live_only)
    await world.commit(envelope)
    await world.publish(envelope)
    world.time.advance(5.0)
    await world.handle()
    assert node.calls == []
    assert (await world.state(envelope, "d-1"), await world.reason(envelope, "d-1")) == (State.EXPIRED, reason)


async def test_a_gateway_that_found_it_expired_ends_it(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.EXPIRED
    node.gate = asyncio.Event()
    envelope = world.envelope("d-1", expires=world.now + 1_000)
    await world.commit(envelope)
    await world.publish(envelope)
    handling = asyncio.create_task(world.handle())
    while not node.calls:
        await asyncio.sleep(0)
    world.time.advance(1.0)
    node.gate.set()
    await handling
    assert await world.state(envelope, "d-1") is State.EXPIRED


async def test_a_call_that_was_looked_at_too_late_is_tried_again(world: World) -> None:
    """The gateway was stopped and woke after the call's deadline: it wrote nothing, and the message still has time."""
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.EXPIRED
    envelope = await world.push("d-1")
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    node.plan.clear()
    await world.later(10.0)
    assert [(row[0], row[3]) for row in node.written] == [(envelope.id, True)]


@pytest.mark.parametrize("taking", [Taking.FULL, Taking.ABSENT])
async def test_a_live_only_push_that_is_not_written_ends_and_waits_nowhere(world: World, taking: Taking) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    node.plan["d-1"] = taking
    envelope = await world.push("d-1", live_only=True, expires=world.now + 10_000)
    assert await world.reason(envelope, "d-1") == "not_connected"
    assert await world.inbox("d-1") == []
    assert await world.queues.depth(vendor_queue_name("stub")) == 0


async def test_a_live_only_push_without_an_answer_counts_its_ack_until_the_deadline(world: World) -> None:
    node = await world.node()
    await node.connect("d-1", "d-2")
    node.lose_answers = True
    envelope = await world.push("d-1", "d-2", live_only=True, expires=world.now + 10_000)
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    await world.later(10.0)
    assert await world.state(envelope, "d-1") is State.DELIVERED
    assert (await world.state(envelope, "d-2"), await world.reason(envelope, "d-2")) == (State.EXPIRED, "not_acked")


async def test_no_answer_takes_no_second_road_before_the_ack_deadline(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    node.lose_answers = True
    envelope = await world.push("d-1")
    node.lose_answers = False
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    assert await world.inbox("d-1") == []
    assert await world.later(9.0) == 0
    assert await world.later(1.0) == 1
    assert len(node.calls) == 2
    assert node.written == [(envelope.id, APP, "d-1", False)], "un-acked there already: not written twice"
    assert not world.stub.accepted


async def test_an_ack_that_comes_before_the_second_look_ends_it(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    node.lose_answers = True
    envelope = await world.push("d-1")
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    await world.later(10.0)
    assert len(node.calls) == 1
    assert await world.later(1_000.0) == 0


async def test_a_node_that_can_not_be_reached_is_looked_up_again_and_the_push_tried_once_more(world: World) -> None:
    """The device moved to another node between the look-up and the call."""
    old, new = await world.node("gw-1"), await world.node("gw-2")
    await old.connect("d-1")
    assert old.listener is not None
    await old.listener.stop(0)
    locate = world.ports.presence.locate

    async def locate_then_move(keys):  # type: ignore[no-untyped-def]
        found = await locate(keys)
        if not new.sessions:
            await new.connect("d-1")
        return found

    world.ports.presence.locate = locate_then_move  # type: ignore[method-assign]
    envelope = await world.push("d-1")
    assert [row[0] for row in new.written] == [envelope.id]


async def test_what_is_for_a_node_that_can_not_be_reached_waits_in_the_inbox(world: World) -> None:
    """The device is about to come back elsewhere, and finds it there at once."""
    node = await world.node()
    await node.connect("d-1")
    assert node.listener is not None
    await node.listener.stop(0)
    envelope = await world.push("d-1")
    assert await world.reason(envelope, "d-1") == "offline"
    assert [(row.id, row.again) for row in await world.inbox("d-1")] == [(envelope.id, False)]


async def test_a_node_that_could_not_be_reached_is_told_later_what_waits_for_its_devices(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    listener = node.listener
    assert listener is not None
    await listener.stop(0)
    await world.push("d-1")
    for _ in range(3):
        assert await world.later(10.0) == 1, "its row comes again, sooner than the ack deadline"
    await listener.start()
    assert node.pokes == []
    await world.later(10.0)
    assert node.pokes == [Poke(APP, "d-1")]
    assert await world.later(1_000.0) == 0


async def test_a_slow_node_holds_up_nobody_else() -> None:
    world = await World.open(DispatcherSettings(slow_node_s=0.02))
    slow, quick = await world.node("gw-1"), await world.node("gw-2")
    await slow.connect("d-1")
    await quick.connect("d-2")
    slow.gate = asyncio.Event()
    first = await world.push("d-1", "d-2")  # returns although gw-1 has not answered
    assert [row[2] for row in quick.written] == ["d-2"]
    world.time.advance(1.0)
    second = await world.push("d-1")  # gw-1 is known to be slow: not even waited for
    assert len(slow.calls) == 1
    slow.gate.set()
    assert await world.crew.finish(5.0)
    assert {row[0] for row in slow.written} == {first.id}
    assert [row.id for row in await world.inbox("d-1")] == [second.id]
    assert slow.pokes == []
    world.time.advance(20.0)
    await world.later()
    assert slow.pokes == [Poke(APP, "d-1")]
    await world.close()


async def test_what_one_batch_has_waited_for_a_node_the_next_one_need_not() -> None:
    world = await World.open(DispatcherSettings(slow_node_s=30.0, silent_node_s=60.0))
    slow, quick = await world.node("gw-1"), await world.node("gw-2")
    await slow.connect("d-1")
    await quick.connect("d-2")
    slow.gate = asyncio.Event()
    waits = asyncio.create_task(world.push("d-1"))
    while not slow.calls:
        await asyncio.sleep(0)
    world.time.advance(30.0)
    await world.push("d-1", "d-2")  # returns at once, not after 30 s
    assert not waits.done()
    assert [row[2] for row in quick.written] == ["d-2"]
    slow.gate.set()
    first = await waits
    assert await world.crew.finish(5.0)
    assert first.id in {row[0] for row in slow.written}
    await world.close()


async def test_a_late_answer_is_settled_when_it_comes() -> None:
    world = await World.open(DispatcherSettings(slow_node_s=0.02))
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.FULL
    node.gate = asyncio.Event()
    envelope = await world.push("d-1")
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    node.gate.set()
    assert await world.crew.finish(5.0)
    assert await world.reason(envelope, "d-1") == "full"
    await world.close()


# ── repeats ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_repeat_of_what_was_acked_costs_a_look_and_no_more(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    node.unacked[APP, "d-1"].clear()
    await world.publish(msgspec.structs.replace(envelope, repeat=True))
    await world.handle()
    assert len(node.calls) == 1


async def test_a_repeat_of_what_is_open_is_offered_again_and_says_so(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    node.unacked[APP, "d-1"].clear()
    await world.publish(msgspec.structs.replace(envelope, repeat=True))
    await world.handle()
    assert [row[3] for row in node.written] == [False, True]


async def test_a_batch_that_came_back_is_handled_as_repeats(world: World) -> None:
    """Its first handler stored what it had to and died before it said so."""
    envelope = world.envelope("d-1", "d-2")
    await world.commit(envelope)
    await world.parts.pipeline.handle([envelope], redelivered=False)
    node = await world.node()
    await node.connect("d-1")
    await world.parts.pipeline.handle([envelope], redelivered=True)
    assert node.written == []
    assert [poke.device for poke in node.pokes] == ["d-1"], "who died may not have told the gateway"
    assert len(await world.inbox("d-1")) == 1


async def test_a_batch_is_handled_again_when_presence_was_down(world: World) -> None:
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await world.publish(envelope)
    locate = world.ports.presence.locate

    async def down(keys):  # type: ignore[no-untyped-def]
        raise Unavailable("presence is down")

    world.ports.presence.locate = down  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await world.handle()
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    world.ports.presence.locate = locate  # type: ignore[method-assign]
    assert await world.handle() == 1
    assert await world.state(envelope, "d-1") is State.WAITING
