"""Which road a delivery takes: the long connection, a vendor, or one and then the other."""

from push_core.envelope import vendor_queue_name
from push_core.lifecycle import State
from push_core.models import Channels
from tests.dispatcher.world import APP, HOUR, World


async def test_auto_asks_the_vendor_at_once_when_the_device_is_offline(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    envelope = await world.push("d-1")
    assert await world.state(envelope, "d-1") is State.WAITING
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.VENDOR
    (row,) = await world.inbox("d-1")
    assert row.via_vendor


async def test_auto_uses_the_long_connection_when_there_is_one(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    await world.push("d-1")
    await world.handle_vendors()
    assert len(node.written) == 1
    assert not world.stub.accepted


async def test_long_never_asks_a_vendor(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    envelope = await world.push("d-1", channels=Channels.LONG)
    await world.handle_vendors()
    assert await world.state(envelope, "d-1") is State.WAITING
    assert not world.stub.accepted


async def test_vendor_only_uses_no_connection_and_no_inbox(world: World) -> None:
    node = await world.node()
    await node.connect("d-1")
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    envelope = await world.push("d-1", channels=Channels.VENDOR)
    await world.handle_vendors()
    assert node.calls == []
    assert await world.state(envelope, "d-1") is State.VENDOR
    assert await world.inbox("d-1") == []
    await world.later(HOUR / 1_000)
    assert (await world.state(envelope, "d-1"), await world.reason(envelope, "d-1")) == (State.EXPIRED, "unconfirmed")


async def test_vendor_only_without_a_token_has_no_channel(world: World) -> None:
    envelope = await world.push("d-1", channels=Channels.VENDOR)
    assert await world.reason(envelope, "d-1") == "no_channel"


async def test_a_blocked_device_is_not_reached_through_a_vendor(world: World) -> None:
    await world.register("d-1", vendor_tokens={"stub": "t-1"})
    await world.ports.devices.block([(APP, "d-1")], True, now=world.now)
    auto = await world.push("d-1")
    vendor = await world.push("d-1", channels=Channels.VENDOR)
    assert await world.queues.depth(vendor_queue_name("stub")) == 0
    assert await world.reason(auto, "d-1") == "offline"
    assert await world.reason(vendor, "d-1") == "blocked"


async def test_a_token_of_a_channel_that_is_not_offered_is_no_token(world: World) -> None:
    await world.register("d-1", vendor_tokens={"apns": "t-1"})
    envelope = await world.push("d-1", channels=Channels.VENDOR)
    assert await world.reason(envelope, "d-1") == "no_channel"
