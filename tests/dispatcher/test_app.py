"""The program as a whole: its loops turn, and it ends in order."""

import asyncio

import pytest

from dispatcher.app import Dispatcher
from dispatcher.settings import DispatcherSettings
from push_core.errors import ConfigError
from push_core.lifecycle import State
from push_core.rpc.port import ReceiptKind
from push_core.settings import load
from tests.dispatcher.world import World

FAST = DispatcherSettings(later_every_s=0.01, relay_every_s=0.01, sweep_every_s=0.05, nodes_every_s=0.05)


async def until(condition) -> None:  # type: ignore[no-untyped-def]
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.005)


async def test_from_the_queue_to_the_receipt(world: World) -> None:
    dispatcher = Dispatcher(FAST, world.ports, world.time.clock())
    await dispatcher.start()
    assert dispatcher.ready
    node = await world.node()
    await node.connect("d-1")
    await world.register("d-2", vendor_tokens={"stub": "t"})
    envelope = world.envelope("d-1", "d-2")
    await world.commit(envelope)
    await world.publish(envelope)

    async def with_vendor() -> bool:
        return await world.state(envelope, "d-2") is State.VENDOR

    await until(with_vendor)
    await world.rpc.peers().report("default", [world.receipt(envelope, "d-1", ReceiptKind.RECEIVED, stored=False)])
    assert await world.state(envelope, "d-1") is State.DELIVERED
    await dispatcher.stop(1.0)
    assert not dispatcher.ready


async def test_the_relays_loops_find_what_nobody_published(world: World) -> None:
    dispatcher = Dispatcher(FAST, world.ports, world.time.clock())
    envelope = world.envelope("d-1")
    await world.commit(envelope)
    await dispatcher.start()

    async def found() -> bool:
        world.time.advance(0.5)
        return await world.state(envelope, "d-1") is State.WAITING

    await until(found)
    await dispatcher.stop(1.0)


async def test_a_role_that_is_not_there_does_nothing(world: World) -> None:
    dispatcher = Dispatcher(DispatcherSettings(roles=("receipts",)), world.ports, world.time.clock())
    await dispatcher.start()
    await world.publish(world.envelope("d-1"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert await world.queues.depth("push.shared.normal") == 1
    assert dispatcher.address
    await dispatcher.stop(0.1)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (DispatcherSettings(roles=("lnog",)), "roles: 'lnog' is not a role"),
        (DispatcherSettings(vendor_channels=("apsn",)), "vendor_channels: 'apsn' is not a channel"),
        (DispatcherSettings(webhook_allowed_networks=("10.0.0.0/99",)), "webhook_allowed_networks"),
        (DispatcherSettings(webhook_ports=("http",)), "webhook_ports"),
    ],
)
async def test_settings_that_make_no_sense_are_said_in_a_sentence(
    world: World, settings: DispatcherSettings, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence.replace("(", r"\(")):
        await Dispatcher(settings, world.ports).start()


async def test_a_start_that_fails_leaves_nothing_half_started(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(*_: object) -> bool:
        raise RuntimeError("a defect")

    monkeypatch.setattr(world.ports.presence, "lease_node", refused)
    dispatcher = Dispatcher(DispatcherSettings(), world.ports)
    with pytest.raises(RuntimeError, match="a defect"):
        await dispatcher.start()
    assert world.rpc.zones.addresses("default") == []
    assert not dispatcher.ready


def test_settings_come_from_a_file_and_the_environment() -> None:
    settings = load(
        DispatcherSettings,
        "dispatcher",
        tables={"dispatcher": {"classes": ["shared", "big"]}},
        env={"TACO_DISPATCHER_RELAY_RATE": "50"},
    )
    assert (settings.classes, settings.relay_rate) == (("shared", "big"), 50)


async def test_stopping_twice_or_before_the_start_is_no_error(world: World) -> None:
    dispatcher = Dispatcher(DispatcherSettings(), world.ports)
    await dispatcher.stop(0.0)
    await dispatcher.start()
    await dispatcher.stop(0.1)
    await dispatcher.stop(0.1)
