"""From an alias to devices."""

import msgspec

from dispatcher.settings import DispatcherSettings
from push_core.lifecycle import State
from push_core.rpc.port import ReceiptKind
from tests.dispatcher.world import APP, World


async def test_every_device_of_the_alias_gets_the_push_page_by_page() -> None:
    world = await World.open(DispatcherSettings(expansion_page=2))
    node = await world.node()
    devices = [f"d-{n}" for n in range(5)]
    for device in devices:
        await world.register(device, alias="u-1")
    await node.connect(*devices[:3])
    envelope = await world.push(alias="u-1")
    assert sorted(row[2] for row in node.written) == devices[:3]
    assert [await world.state(envelope, device) for device in devices[3:]] == [State.WAITING] * 2
    assert await world.messages.open_between(0, 2**63 - 1) == [(envelope.id, APP, device) for device in devices[:3]]
    await world.close()


async def test_a_full_last_page_ends_after_an_empty_one() -> None:
    world = await World.open(DispatcherSettings(expansion_page=2))
    await world.register("d-1", alias="u-1")
    await world.register("d-2", alias="u-1")
    envelope = await world.push(alias="u-1")
    (view,) = await world.messages.get([(APP, envelope.id)])
    assert view is not None
    assert (view.state, view.counts) == (State.WAITING, {"waiting": 2})
    await world.close()


async def test_an_alias_without_a_device_ends_undeliverable(world: World) -> None:
    envelope = await world.push(alias="nobody")
    (view,) = await world.messages.get([(APP, envelope.id)])
    assert view is not None
    assert (view.state, view.reason) == (State.UNDELIVERABLE, "no_device")


async def test_another_apps_alias_is_another_alias(world: World) -> None:
    await world.register("d-1", alias="u-1")
    envelope = await world.push(alias="u-1", app="customer")
    (view,) = await world.messages.get([("customer", envelope.id)])
    assert view is not None
    assert view.reason == "no_device"


async def test_an_expansion_that_died_starts_over_and_repeats_nothing(world: World) -> None:
    node = await world.node()
    for device in ("d-1", "d-2"):
        await world.register(device, alias="u-1")
    await node.connect("d-1", "d-2")
    envelope = await world.push(alias="u-1")
    await world.report(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)
    node.unacked.clear()
    node.unacked = {(APP, device): {} for device in ("d-1", "d-2")}
    await world.publish(msgspec.structs.replace(envelope, repeat=True))
    await world.handle()
    assert [(row[2], row[3]) for row in node.written] == [("d-1", False), ("d-2", False), ("d-2", True)]


async def test_a_message_recalled_before_its_expansion_expands_to_nothing(world: World) -> None:
    node = await world.node()
    await world.register("d-1", alias="u-1")
    await node.connect("d-1")
    envelope = world.envelope(alias="u-1")
    await world.commit(envelope)
    await world.publish(envelope)
    await world.messages.recall([(APP, envelope.id)], now=world.now)
    await world.handle()
    assert node.written == []


async def test_an_expired_alias_message_ends_for_each_device(world: World) -> None:
    await world.register("d-1", alias="u-1")
    envelope = world.envelope(alias="u-1", expires=world.now + 1_000)
    await world.commit(envelope)
    await world.publish(envelope)
    world.time.advance(1.0)
    await world.handle()
    assert await world.state(envelope, "d-1") is State.EXPIRED
