"""Recalls before, during and after a delivery."""

import msgspec

from push_core.envelope import Work
from push_core.lifecycle import State
from push_core.messages.port import Later, Task
from push_core.models import Priority
from push_core.rpc.port import ReceiptKind, Taking
from tests.dispatcher.world import APP, World


async def recall(world: World, envelope_id: int) -> list[str]:
    (recalled,) = await world.messages.recall([(APP, envelope_id)], now=world.now)
    assert recalled is not None
    return recalled.notify


async def test_a_recall_before_handling_stops_an_old_envelope(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await world.publish(envelope)
    await recall(world, envelope.id)
    world.time.advance(2.0)
    await world.handle()
    assert node.written == []
    assert await world.state(envelope, "d-1") is State.RECALLED


async def test_a_recall_of_what_waits_takes_it_from_the_inbox(world: World) -> None:
    envelope = await world.push("d-1")
    assert await recall(world, envelope.id) == []
    assert await world.inbox("d-1") == []
    assert await world.state(envelope, "d-1") is State.RECALLED


async def test_a_recall_of_what_was_delivered_is_told_to_who_is_connected(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1", "d-2")
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    notify = await recall(world, envelope.id)
    assert notify == ["d-1"]
    await world.publish(msgspec.structs.replace(envelope, devices=notify, work=Work.RECALL, priority=Priority.URGENT))
    await world.handle()
    assert node.recalls == [(envelope.id, "d-1")]
    assert [row.recall for row in await world.inbox("d-1")] == [True], "until the gateway says that it was shown"
    await world.report(envelope, "d-1", ReceiptKind.RECALL_SHOWN)
    assert await world.inbox("d-1") == []


async def test_a_recall_that_meets_a_full_window_is_found_in_the_inbox(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.FULL
    envelope = world.envelope("d-1", work=Work.RECALL)
    await world.publish(envelope)
    await world.handle()
    assert [poke.device for poke in node.pokes] == ["d-1"]


async def test_a_later_row_of_a_recalled_message_publishes_nothing(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await recall(world, envelope.id)
    await world.messages.put_later([Later(id=envelope.id, app=APP, device="d-1", task=Task.REPUBLISH, due=world.now)])
    await world.later()
    assert node.calls == []


async def test_a_recall_while_the_push_is_under_way_is_told_and_its_late_ack_changes_nothing(world: World) -> None:
    """The push was handled as a young one, unchecked; the recall that follows takes it back."""
    node = await world.node()
    await node.connect("d-1")
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await world.publish(envelope)
    notify = await recall(world, envelope.id)
    await world.handle()
    await world.publish(msgspec.structs.replace(envelope, devices=notify, work=Work.RECALL, priority=Priority.URGENT))
    await world.handle()
    assert [row[0] for row in node.written] == [envelope.id]
    assert node.recalls == [(envelope.id, "d-1")]
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    assert await world.state(envelope, "d-1") is State.RECALLED
