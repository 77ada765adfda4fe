"""The way of a delivery from the queue to a gateway or an inbox."""

from push_core.lifecycle import State
from push_core.rpc.port import ReceiptKind, Taking
from tests.dispatcher.world import World


async def test_a_connected_device_gets_the_push_and_its_ack_settles_it(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    envelope = await world.push("d-1")
    assert node.written == [(envelope.id, "courier", "d-1", False)]
    assert await world.state(envelope, "d-1") is State.ACCEPTED
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    assert await world.state(envelope, "d-1") is State.DELIVERED


async def test_a_device_that_is_offline_finds_the_push_in_its_inbox(world: World) -> None:
    envelope = await world.push("d-1")
    assert await world.state(envelope, "d-1") is State.WAITING
    assert await world.reason(envelope, "d-1") == "offline"
    (row,) = await world.inbox("d-1")
    assert (row.id, row.push, row.again, row.via_vendor) == (envelope.id, envelope.push, False, False)


async def test_a_full_window_stores_the_push_and_tells_the_gateway(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    node.plan["d-1"] = Taking.FULL
    envelope = await world.push("d-1")
    assert await world.reason(envelope, "d-1") == "full"
    assert [(poke.app, poke.device) for poke in node.pokes] == [("courier", "d-1")]
