import pytest

from dispatcher.delivery import Delivery
from dispatcher.settings import DispatcherSettings
from dispatcher.settle import Settlement, Then
from push_core.envelope import vendor_queue_name
from tests.dispatcher.world import World


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "unknown to the store"])
async def test_a_vendor_is_handed_a_delivery_only_if_its_change_was_made(stored: bool) -> None:
    world = await World.open(DispatcherSettings(vendor_channels=("stub",)))
    envelope = world.envelope("d-1")
    if stored:
        await world.commit(envelope)
    settlement = Settlement()
    settlement.add(Then.VENDOR, Delivery(envelope, "d-1"), now=world.now, net_ms=60_000, route=("stub", "token"))
    await world.parts.pipeline.actions.carry_out(settlement)
    assert await world.queues.depth(vendor_queue_name("stub")) == int(stored)
    await world.close()
